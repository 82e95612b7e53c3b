"""PATH_INFO -> which of the declared rules: the security boundary of CONTRACT 8.

A path as declared is found; *another spelling* of a declared path (`flowguard.spelling` lists how a path may be read)
is named as such, so that it never reaches the application; every other path is none of ours. Nothing is rewritten.

`PathTable.find` is what every request pays for. Nearly every path is settled by its first lines: one as declared by a
dict look-up, any other *plain* one (no escapes, parameters, dot segments, double slashes, control characters or
non-ASCII) by its folded form. Nothing is remembered between requests.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Sequence, Union
from urllib.parse import quote

from flowguard.core.run import MAX_VALUE
from flowguard.patterns import MAX_PATH, Hit, Keys, Node, Part, Pattern, TooLong
from flowguard.spelling import FILTER, LONG, MANY, ODD, Entangled, Folded, Reading, fold, readings, spell
from flowguard.wire import native

__all__ = [
    "MAX_PATH", "MAX_VALUE", "UNREADABLE", "Answer", "Found", "Misspelt", "PathTable", "TooLong", "Unreadable",
    "problems",
]  # fmt: skip

SLASH = ord("/")
DOTS = re.compile(r"/\.\.?(?:/|\Z)")
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


class Unreadable:
    """The path is too long, or nobody can tell in a millisecond whose it is."""


UNREADABLE = Unreadable()
Answer = Union[Found, Misspelt, TooLong, Unreadable]


class PathTable:
    """The declared rules, ready for look-up. Raises ValueError where `problems` has something to say on the syntax."""

    def __init__(self, rules: Sequence[str]) -> None:
        self._patterns = [Pattern(index, rule) for index, rule in enumerate(rules)]
        self._root = Node()  # rules with variables
        # The place of their last literal segment (0 where they have none) -> what it is, folded.
        self._anchors: dict[int, set[bytes]] = {}
        self.declared: dict[str, Found] = {}  # static rules, as PATH_INFO spells them
        self._folded: dict[bytes, Pattern] = {}  # static rules, by their folded segments
        self._beginnings: set[bytes] = set()  # of static rules, folded, segment by segment
        self._suspects: set[bytes] = set()  # what a plain path folds to, if it may be a static rule
        self._depth = 0  # the most segments that a rule fixes
        self._endless = False  # whether a rule has a `path` variable
        self._parsing = False  # whether a rule has a variable whose value can be spelled otherwise
        for pattern in self._patterns:
            if pattern.variables:
                self._add(pattern)
        for pattern in self._patterns:
            if not pattern.variables:
                self._add_static(pattern)

    def _add(self, pattern: Pattern) -> None:
        self._root.add(pattern)
        parts = pattern.parts
        literals = [(place, part) for place, part in enumerate(parts, 1) if isinstance(part, bytes)]
        place, name = literals[-1] if literals else (0, b"")  # a path starts with a slash: before it is nothing
        self._anchors.setdefault(place, set()).add(name)
        self._depth = max(self._depth, len(parts))
        self._endless |= any(isinstance(part, Part) and part.final for part in parts)
        self._parsing |= any(isinstance(part, Part) and part.parser is not None for part in parts)

    def _add_static(self, pattern: Pattern) -> None:
        rule = pattern.literals[0]
        bare = rule.rstrip("/")
        key = fold(bare)
        self._depth = max(self._depth, key.count(b"/"))
        self._folded.setdefault(key, pattern)
        self._beginnings.update(_beginnings(key))
        self._suspects.update((key, key + b"/"))
        found = Found(pattern.index, {}, ())
        self.declared[native(rule)] = found
        segments = bare.split("/")[1:]
        if pattern.branch or self._root.walk(segments, True, key.split(b"/")[1:]) is None:  # a twin comes second
            self.declared.setdefault(native(bare if pattern.branch else f"{bare}/"), found)

    def find(self, path_info: str) -> Optional[Answer]:
        """Which rule is PATH_INFO (as WSGI has it: bytes as latin-1), however spelled? None if it is none of ours."""
        return self.declared.get(path_info) or self.find_other(path_info)

    def find_other(self, path_info: str) -> Optional[Answer]:
        """`find` for one that is not in `declared`."""
        if len(path_info) > MAX_PATH:
            return UNREADABLE
        try:
            key = path_info.encode("latin-1").translate(FILTER)
        except UnicodeEncodeError:  # a server that does not keep to PEP 3333
            return self._search(path_info.encode("utf-8", "surrogatepass"))
        odd = ODD in key or "//" in path_info or ("/." in path_info and DOTS.search(path_info))
        if odd or not key or key[0] != SLASH or key in self._suspects:
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
        return _answer(self._walk(segments, slash, keys[1:]), path)

    def _search(self, raw: bytes, again: bool = True) -> Optional[Answer]:
        """`find` for an odd path: every reading of it counts, and one that is another rule's counts more.

        again: look whether the declared spelling is still odd (its values may be), so that it is one hop away.
        """
        folded = Folded()
        text, hit = self._exact(raw, folded)
        if text is not None and len(text) <= LONG and spell(text) == text:  # all readings are this one
            return _answer(hit, text)
        own = hit.pattern if text is not None and isinstance(hit, Hit) and _as_declared(hit, text) else None
        try:
            for other in self._others(raw, own, folded):
                answer = self._search(_bytes(other), again=False) if again and isinstance(other, Hit) else None
                return answer if isinstance(answer, Misspelt) else _told(other)
        except Entangled:
            return UNREADABLE
        return None if own is None else _answer(hit, text or "")

    def _others(self, raw: bytes, own: Optional[Pattern], folded: Folded) -> Iterator[Union[Hit, TooLong]]:
        """What the readings of a path are, but for its *own* rule's."""
        for reading in readings(raw, MANY if self._endless else self._depth):
            other = self._match(reading, folded)
            if other is not None and (own is None or _index(other) != own.index):
                yield other

    def _exact(self, raw: bytes, folded: Folded) -> tuple[Optional[str], Union[Hit, TooLong, None]]:
        """The text of a path, and what matches it as it stands; None if there is no such text."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None, None
        if text[:1] != "/" or text[1:2] == "/":
            return None, None
        segments = text[1:].split("/")
        slash = not segments[-1]
        return text, self._match(Reading(segments[:-1] if slash else segments, slash), folded)

    def _match(self, reading: Reading, folded: Folded) -> Union[Hit, TooLong, None]:
        """The rule that a reading is, in werkzeug's order."""
        segments, slash = reading
        if len(segments) > self._depth and not self._endless:
            return None
        keys = folded.of(segments)
        static = self._static(keys, len(segments))
        if static is None:
            return self._walk(segments, slash, keys)
        hit = self._root.walk(segments, True, keys) if slash and not static.branch else None
        return hit or Hit(static, {}, ())

    def _static(self, keys: Keys, count: int) -> Optional[Pattern]:
        """The static rule of *count* segments."""
        path = b""
        for place in range(count):
            path += b"/" + keys[place]
            if path not in self._beginnings:
                return None
        return self._folded.get(path)

    def _walk(self, segments: Sequence[str], slash: bool, keys: Keys) -> Union[Hit, TooLong, None]:
        hit = self._root.walk(segments, slash, keys)
        hit = self._root.walk(segments, False, keys) if hit is None and slash else hit
        return self._root.walk(segments, False, keys, parsing=True) if hit is None and self._parsing else hit

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


def _quoted(path: str) -> str:
    # What the URL standard leaves as it is in a path segment, as werkzeug does.
    return quote(path, safe="!$&'()*+,/:;=@", errors="replace")


def _answer(hit: Union[Hit, TooLong, None], path: str) -> Optional[Answer]:
    """What to say of a path that has one reading."""
    if hit is None or isinstance(hit, TooLong):
        return hit
    if not _as_declared(hit, path):
        return _misspelt(hit)
    return Found(hit.pattern.index, hit.args, tuple(zip(hit.pattern.names, hit.texts)))


def _beginnings(key: bytes) -> Iterator[bytes]:
    """Of a folded path, after each of its segments."""
    place = len(key)
    while place > 0:
        yield key[:place]
        place = key.rfind(b"/", 0, place)


def _index(hit: Union[Hit, TooLong]) -> int:
    return hit.pattern.index if isinstance(hit, Hit) else hit.index


def _told(hit: Union[Hit, TooLong]) -> Union[Misspelt, TooLong]:
    return _misspelt(hit) if isinstance(hit, Hit) else hit


def _bytes(hit: Hit) -> bytes:
    return hit.pattern.spell(hit.texts).encode("utf-8", "replace")


def _as_declared(hit: Hit, path: str) -> bool:
    spelled = hit.pattern.spell(hit.texts)
    return path == spelled or path == f"{spelled}/" or f"{path}/" == spelled


def _misspelt(hit: Hit) -> Misspelt:
    return Misspelt(hit.pattern.index, _quoted(hit.pattern.spell(hit.texts)))


def problems(rules: Sequence[str]) -> list[tuple[int, str]]:
    """(position, sentence) for every rule that can't be used, in order of position; the sentence follows the rule."""
    wrong: dict[int, str] = {}
    first: dict[object, int] = {}
    root = Node()
    for position, rule in enumerate(rules):
        try:
            pattern = _usable(position, rule)
        except ValueError as error:
            wrong[position] = str(error)
            continue
        other = first.setdefault(pattern.likeness(), position)
        if other != position:
            wrong[position] = f"is the same path as {rules[other]!r}, but for the names of variables or the last slash."
        elif pattern.variables:
            root.add(pattern)
    for position in root.crowded(MAX_PATTERNS):
        wrong[position] = (
            f"would be the last straw: more than {MAX_PATTERNS} rules differ only in the variables of one segment, "
            "which makes every request slow. Tell them apart by literal text."
        )
    return sorted(wrong.items())


def _usable(position: int, rule: str) -> Pattern:
    """A rule that is fine by itself. Raises ValueError, with the sentence."""
    if rule[:1] != "/":
        raise ValueError(f"does not start with a slash. Write {'/' + rule!r}.")
    try:
        pattern = Pattern(position, rule)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"is not a rule that werkzeug takes: {error.args[0]}") from error
    literals = "".join(pattern.literals)
    if not literals.isprintable() or " " in literals:
        char = next(char for char in literals if char == " " or not char.isprintable())
        raise ValueError(f"holds {char!r}. Write the path without white space and control characters.")
    sample = pattern.spell(("x",) * len(pattern.names))
    if spell(sample) != sample:
        raise ValueError(f"is not how its path is spelled: matching would read it as {spell(sample)!r}.")
    if rule.count("/") > MAX_DEPTH:
        raise ValueError(f"has more than {MAX_DEPTH} segments.")
    if pattern.variables:
        _check_variables(pattern)
    return pattern


def _check_variables(pattern: Pattern) -> None:
    """What would make a rule ambiguous, or slow for some paths, is a ValueError."""
    if len(pattern.names) != len(set(pattern.names)):
        raise ValueError("has two variables of the same name.")
    if sum(not variable.converter.part_isolating for variable in pattern.variables) > 1:
        raise ValueError("has two <path:> variables: where the first one ends can't be told, nor found in linear time.")
    if any(isinstance(part, Part) and part.joints > 1 for part in pattern.parts):
        raise ValueError("has more than two variables in one segment that can't be told apart. Part them by a slash.")
