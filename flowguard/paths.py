"""PATH_INFO -> which of the declared rules: the security boundary of CONTRACT 8.

A path as declared is found; *another spelling* of a declared path (`flowguard.spelling` lists how a path may be read)
is named as such, so that it never reaches the application; every other path is none of ours. Nothing is rewritten.

`PathTable.find` is what every request pays for. Nearly every path is settled by its first lines: one as declared by a
dict look-up, any other *plain* one (no escapes, parameters, dot segments, double slashes, control characters or
non-ASCII) by its folded form. Nothing is remembered between requests.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Sequence, Union
from urllib.parse import quote

from flowguard.patterns import MAX_PATH, MAX_VALUE, Hit, Node, Part, Pattern, TooLong
from flowguard.spelling import FILTER, MANY, ODD, Reading, fold, literal, readings, spell

__all__ = ["MAX_PATH", "MAX_VALUE", "Answer", "Found", "Misspelt", "PathTable", "TooLong", "problems"]

SLASH = ord("/")
# Segments of a rule.
MAX_DEPTH = 100
# Patterns that one segment may have to be compared with, one by one, about 0.3 microseconds each.
MAX_PATTERNS = 100


class Found(NamedTuple):
    """The path is one of ours, as declared, or its twin with or without the last slash. Don't change `args`."""

    index: int  # type: ignore[assignment]  # a result is read by its names: tuple.index is not missed
    args: dict[str, Any]  # the values as werkzeug converts them
    values: tuple[tuple[str, str], ...]  # (variable, its text in the path), in the rule's order


class Misspelt(NamedTuple):
    """Another spelling of one of ours: it must never reach the application.

    `path` is the declared spelling below the mount point, percent-quoted, fit for a Location.
    """

    index: int  # type: ignore[assignment]  # as above
    path: str


Answer = Union[Found, Misspelt, TooLong]


class PathTable:
    """The declared rules, ready for look-up. Raises ValueError where `problems` has something to say on the syntax."""

    def __init__(self, rules: Sequence[str]) -> None:
        self._patterns = [Pattern(index, rule) for index, rule in enumerate(rules)]
        self._root = Node()  # rules with variables
        # The place of their last literal segment (0 where they have none) -> what it is, folded.
        self._anchors: dict[int, set[bytes]] = {}
        self._declared: dict[str, Found] = {}  # static rules, as PATH_INFO spells them
        self._folded: dict[bytes, Pattern] = {}  # static rules, by their folded segments
        self._suspects: set[bytes] = set()  # what a plain path folds to, if it may be a static rule
        self._depth = 0  # the most segments that a rule fixes
        self._endless = False  # whether a rule has a `path` variable
        for pattern in self._patterns:
            if pattern.variables:
                self._add(pattern)
        for pattern in self._patterns:
            if not pattern.variables:
                self._add_static(pattern)

    def _add(self, pattern: Pattern) -> None:
        parts = self._root.add(pattern)
        literals = [(place, part) for place, part in enumerate(parts, 1) if isinstance(part, bytes)]
        place, name = literals[-1] if literals else (0, b"")  # a path starts with a slash: before it is nothing
        self._anchors.setdefault(place, set()).add(name)
        self._depth = max(self._depth, len(parts))
        self._endless |= any(isinstance(part, Part) and part.final for part in parts)

    def _add_static(self, pattern: Pattern) -> None:
        rule = pattern.literals[0]
        bare = rule.rstrip("/")
        key = fold(bare)
        self._depth = max(self._depth, key.count(b"/"))
        self._folded.setdefault(key, pattern)
        self._suspects.update((key, key + b"/"))
        found = Found(pattern.index, {}, ())
        self._declared[_wire(rule)] = found
        segments = bare.split("/")[1:]
        if pattern.branch or self._walk(segments, True, key.split(b"/")[1:]) is None:  # a twin comes second
            self._declared.setdefault(_wire(bare if pattern.branch else f"{bare}/"), found)

    def find(self, path_info: str) -> Optional[Answer]:
        """Which rule is PATH_INFO (as WSGI has it: bytes as latin-1), however spelled? None if it is none of ours."""
        found = self._declared.get(path_info)
        if found is not None:
            return found
        try:
            key = path_info.encode("latin-1").translate(FILTER)
        except UnicodeEncodeError:  # a server that does not keep to PEP 3333
            return self._search(path_info.encode("utf-8", "surrogatepass"))
        if ODD in key or "//" in path_info or "/." in path_info or not key or key[0] != SLASH or key in self._suspects:
            return self._search(path_info.encode("latin-1"))
        if not self._anchors:
            return None
        keys = key.split(b"/")
        for place, names in self._anchors.items():
            if place < len(keys) and keys[place] in names:
                return self._plain(path_info, keys)
        return None

    def _plain(self, path: str, keys: list[bytes]) -> Optional[Answer]:
        """`find` for a plain path that is no static rule: it has one reading."""
        segments = path[1:].split("/")
        slash = not segments[-1]
        if slash:
            del segments[-1]
        hit = self._walk(segments, slash, keys[1:])
        if hit is None or isinstance(hit, TooLong):
            return hit
        return _found(hit) if _as_declared(hit, path) else _misspelt(hit)

    def _search(self, raw: bytes) -> Optional[Answer]:
        """`find` for an odd path: every reading of it counts, and one that is another rule's counts more."""
        hit = self._exact(raw)
        for reading in readings(raw, MANY if self._endless else self._depth):
            other = self._match(reading)
            if isinstance(other, TooLong):
                return other
            if other is not None and (hit is None or other.pattern is not hit.pattern):
                return _misspelt(other)
        return None if hit is None else _found(hit)

    def _exact(self, raw: bytes) -> Optional[Hit]:
        """The rule that matches the path as it stands."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        if text[:1] != "/" or text[1:2] == "/":
            return None
        _, *segments = text.split("/")
        slash = segments[-1] == ""
        hit = self._match(Reading(segments[:-1] if slash else segments, slash))
        return hit if isinstance(hit, Hit) and _as_declared(hit, text) else None

    def _match(self, reading: Reading) -> Union[Hit, TooLong, None]:
        """The rule that a reading is, in werkzeug's order."""
        segments, slash = reading
        if len(segments) > self._depth and not self._endless:
            return None
        keys = [literal(segment) for segment in segments[: self._depth]]
        static = None
        if len(segments) <= self._depth:
            static = self._folded.get(b"".join(b"/" + key for key in keys))
            if static is not None and (static.branch or not slash):
                return Hit(static, {}, ())
        hit = self._walk(segments, slash, keys)
        return Hit(static, {}, ()) if hit is None and static is not None else hit

    def _walk(self, segments: Sequence[str], slash: bool, keys: Sequence[bytes]) -> Union[Hit, TooLong, None]:
        hit = self._root.walk(segments, slash, keys)
        return self._root.walk(segments, False, keys) if hit is None and slash else hit

    def variables(self, index: int) -> tuple[str, ...]:
        """The names of a rule's variables, in order."""
        return self._patterns[index].names

    def build(self, index: int, values: Mapping[str, str]) -> Optional[str]:
        """The path of a rule, percent-quoted, from the texts of its variables.

        None if a variable is missing, empty, or would make a path that a browser takes for another one.
        """
        pattern = self._patterns[index]
        texts = tuple(values.get(name, "") for name in pattern.names)
        path = pattern.spell(texts)
        if "" in texts or not {".", ".."}.isdisjoint(path.split("/")) or path[1:2] == "/":
            return None
        return _quoted(path)


def _wire(path: str) -> str:
    return path.encode("utf-8", "surrogatepass").decode("latin-1")


def _quoted(path: str) -> str:
    # What the URL standard leaves as it is in a path segment, as werkzeug does.
    return quote(path, safe="!$&'()*+,/:;=@", errors="replace")


def _as_declared(hit: Hit, path: str) -> bool:
    spelled = hit.pattern.spell(hit.texts)
    return path == spelled or path == f"{spelled}/" or f"{path}/" == spelled


def _found(hit: Hit) -> Found:
    return Found(hit.pattern.index, hit.args, tuple(zip(hit.pattern.names, hit.texts)))


def _misspelt(hit: Hit) -> Misspelt:
    return Misspelt(hit.pattern.index, _quoted(hit.pattern.spell(hit.texts)))


def problems(rules: Sequence[str]) -> list[tuple[int, str]]:
    """(position, sentence) for every rule that can't be used, in order of position; the sentence follows the rule."""
    wrong: dict[int, str] = {}
    first: dict[object, int] = {}
    root = Node()
    for position, rule in enumerate(rules):
        sentence = _problem(rule)
        if sentence is None:
            pattern = Pattern(position, rule)
            other = first.setdefault(pattern.likeness(), position)
            if other == position:
                root.add(pattern)
                continue
            sentence = f"is the same path as {rules[other]!r}, but for the names of variables or the last slash."
        wrong[position] = sentence
    for position in root.crowded(MAX_PATTERNS):
        wrong[position] = (
            f"would be the last straw: more than {MAX_PATTERNS} rules differ only in the variables of one segment, "
            "which makes every request slow. Tell them apart by literal text."
        )
    return sorted(wrong.items())


def _problem(rule: str) -> Optional[str]:
    """What is wrong with one rule by itself."""
    if rule[:1] != "/":
        return f"does not start with a slash. Write {'/' + rule!r}."
    try:
        pattern = Pattern(0, rule)
    except (ValueError, LookupError, TypeError) as error:
        return f"is not a rule that werkzeug takes: {error.args[0] if error.args else error}"
    spaced = [char for literal in pattern.literals for char in literal if char.isspace() or not char.isprintable()]
    if spaced:
        return f"holds {spaced[0]!r}. Write the path without white space and control characters."
    sample = pattern.spell(("x",) * len(pattern.names))
    if spell(sample) != sample:
        return f"is not how its path is spelled: matching would read it as {spell(sample)!r}."
    return _slow(pattern)


def _slow(pattern: Pattern) -> Optional[str]:
    """What would make it ambiguous, or slow for some paths."""
    parts = [part for part in pattern.parts() if isinstance(part, Part)]
    names = pattern.names
    if len(names) != len(set(names)):
        return "has two variables of the same name."
    if sum(not variable.converter.part_isolating for variable in pattern.variables) > 1:
        return "has two <path:> variables: where one ends and the other begins can't be told, nor found in linear time."
    if any(part.joints > 1 for part in parts):
        return "has more than two variables in one segment that can't be told apart. Put a slash between them."
    if len(pattern.parts()) > MAX_DEPTH:
        return f"has more than {MAX_DEPTH} segments."
    return None
