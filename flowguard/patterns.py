"""werkzeug's rules, compiled for `flowguard.paths`: the grammar, the converters and the order are werkzeug's.

werkzeug's own matcher compiles its patterns anew for each request once a node has more than 512 of them (0.3 s for
5,000 rules), and has no notion of a rule that is spelled otherwise. Here literals are looked up, in their folded form;
patterns are compiled once, at their first use, and chosen by the literals at their ends, so that no number of rules
makes a request slow.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Protocol, Sequence, Union
from uuid import UUID

from werkzeug.routing import (
    AnyConverter,
    BaseConverter,
    FloatConverter,
    IntegerConverter,
    Map,
    PathConverter,
    Rule,
    UnicodeConverter,
    UUIDConverter,
    ValidationError,
)

from flowguard.core.run import MAX_VALUE
from flowguard.spelling import fold

MAX_PATH = 8192  # characters
# Who else reads such a value: Falcon by its converters, many a handler by itself. They take `+7`, `1_0` and a UUID
# without its dashes, which werkzeug's own converters don't.
_PARSERS: tuple[tuple[type[BaseConverter], Callable[[str], object]], ...] = (
    (IntegerConverter, int), (FloatConverter, float), (UUIDConverter, UUID),
)  # fmt: skip

# werkzeug's grammar: <variable>, <converter:variable>, <converter(arguments):variable>.
_VARIABLE = re.compile(r"<((?:[a-zA-Z_][a-zA-Z0-9_]*(?:\(.*?\))?:)?)([a-zA-Z_][a-zA-Z0-9_]*)>")


class Variable(NamedTuple):
    """`<converter:name>`."""

    name: str
    converter: BaseConverter

    def declared(self, text: str) -> str:
        """The item of an `any` that *text* is another spelling of; the text itself for other converters."""
        if isinstance(self.converter, AnyConverter) and text not in self.converter.items:
            return next((item for item in sorted(self.converter.items) if fold(item) == fold(text)), text)
        return text


Token = Union[str, Variable]


@lru_cache(maxsize=1024)
def _kind(converter: BaseConverter) -> str:
    """Equal for converters that accept the same."""
    options = sorted((key, repr(value)) for key, value in vars(converter).items() if key != "map")
    return f"{type(converter).__name__} {options}"


class _Taken(Exception):
    """Carries a converter out of werkzeug before it compiles the rule, which takes 0.2 ms."""

    def __init__(self, converter: BaseConverter) -> None:
        self.converter = converter
        super().__init__(converter)


class _Probe(Rule):
    def get_converter(self, *args: Any, **kwargs: Any) -> BaseConverter:
        raise _Taken(super().get_converter(*args, **kwargs))


_MAP = Map()


@lru_cache(maxsize=1024)
def _converter(spec: str) -> BaseConverter:
    """What werkzeug makes of `int:`, `string(length=2):` or an empty *spec*. Raises what werkzeug raises."""
    try:
        _MAP.add(_Probe(f"/<{spec}x>"))
    except _Taken as taken:
        converter = taken.converter
    try:
        if re.fullmatch(converter.regex, ""):
            raise ValueError("a variable must not be empty")
        if isinstance(converter, (IntegerConverter, FloatConverter)):
            converter.to_python("1")
    except ValidationError:
        pass  # 1 is out of its range
    except (re.error, OverflowError, TypeError) as error:
        raise ValueError(f"the arguments of {spec!r} make no sense: {error}") from error
    return converter


def variables_of(rule: str) -> tuple[str, ...]:
    """The names of a rule's variables, in order, whatever else may be wrong with it."""
    return tuple(match[2] for match in _VARIABLE.finditer(rule))


def parse(rule: str) -> tuple[list[str], list[Variable]]:
    """A rule's literals and, between them, its variables. Raises ValueError, LookupError or TypeError, as werkzeug."""
    if "<" not in rule:
        return [rule], []
    literals: list[str] = []
    variables: list[Variable] = []
    position = 0
    for match in _VARIABLE.finditer(rule):
        literals.append(rule[position : match.start()])
        variables.append(Variable(match[2], _converter(match[1])))
        position = match.end()
    literals.append(rule[position:])
    if any("<" in literal for literal in literals):
        raise ValueError(f"malformed url rule: {rule!r}")
    return literals, variables


class TooLong(NamedTuple):
    """One of ours, but a variable's text is longer than `MAX_VALUE`."""

    index: int  # type: ignore[assignment]  # a result is read by its names: tuple.index is not missed


class Hit(NamedTuple):
    """A pattern, and the values with which it matched."""

    pattern: Pattern
    args: dict[str, Any]
    texts: tuple[str, ...]


class Pattern:
    """A rule: literals[0], variables[0], literals[1], …, literals[-1]."""

    def __init__(self, index: int, rule: str) -> None:
        self.index = index
        self.literals, self.variables = parse(rule)
        self.names = tuple(variable.name for variable in self.variables)
        self.branch = rule.endswith("/")
        self._template = "%s".join(literal.replace("%", "%%") for literal in self.literals)
        self._words = any(isinstance(variable.converter, AnyConverter) for variable in self.variables)

    def spell(self, texts: tuple[str, ...]) -> str:
        """The path of these values."""
        return self._template % texts

    def likeness(self) -> tuple[object, ...]:
        """Equal for rules that are equal but for their variables' names and the last slash."""
        *literals, last = self.literals
        kinds = tuple(_kind(variable.converter) for variable in self.variables)
        if kinds:
            return (*map(fold, literals), fold(last.rstrip("/")), kinds)
        return (last.rstrip("/"),)

    def hit(self, texts: tuple[str, ...]) -> Union[Hit, TooLong, None]:
        """The values converted; None if a converter refuses one (then the next rule is tried, as werkzeug says)."""
        if self._words:
            texts = tuple(variable.declared(text) for variable, text in zip(self.variables, texts))
        args: dict[str, Any] = {}
        for (name, converter), text in zip(self.variables, texts):
            if len(text) > MAX_VALUE // 4 and len(text.encode("utf-8", "surrogatepass")) > MAX_VALUE:
                return TooLong(self.index)
            try:
                args[name] = converter.to_python(text)
            except ValidationError:
                return None
        return Hit(self, args, texts)

    @cached_property
    def parts(self) -> list[Union[bytes, Part]]:
        """What each segment must be: a folded literal or a `Part`; a `Part` with a `path` variable takes the rest."""
        parts: list[Union[bytes, Part]] = []
        for tokens, final in segments(self.literals, self.variables):
            if any(isinstance(token, Variable) for token in tokens):
                parts.append(_part(tuple(tokens), final, final and self.branch))
            else:
                parts.append(fold("".join(map(str, tokens))))
        return parts


def segments(literals: list[str], variables: list[Variable]) -> list[tuple[list[Token], bool]]:
    """The tokens of each segment of what `parse` found, and whether it takes the rest of the path."""
    found: list[tuple[list[Token], bool]] = [([], False)]
    tokens, final = found[0]
    for number, literal in enumerate(literals):
        text = literal[1:] if number == 0 else literal
        text = text[:-1] if number == len(literals) - 1 and text.endswith("/") else text
        first, *others = [text] if found[-1][1] else text.split("/")
        found[-1][0].extend([first] if first else [])
        found.extend(([other] if other else [], False) for other in others)
        if number < len(variables):
            tokens, final = found.pop()
            converter = variables[number].converter
            found.append(([*tokens, variables[number]], final or not converter.part_isolating))
    return found


class Part:
    """What a segment with variables looks like."""

    def __init__(self, tokens: Sequence[Token], final: bool, branch: bool) -> None:
        self.final = final
        self.variables = [token for token in tokens if isinstance(token, Variable)]
        literals = [token for token in tokens if isinstance(token, str)]
        self.ends = tuple(token if isinstance(token, str) else "" for token in (tokens[0], tokens[-1]))
        # werkzeug's order: more and longer literals first, then more variables, then the lighter converters.
        statics = [-len(piece) for literal in literals for piece in literal.split("/") if piece]
        weights = [variable.converter.weight for variable in self.variables]
        self.weight = (-len(statics), list(enumerate(statics)), -len(weights), weights)
        pieces = (f"({token.converter.regex})" if isinstance(token, Variable) else re.escape(token) for token in tokens)
        self.content = "".join(pieces) + ("(?<!/)/?" if branch else "")
        self.joints = _joints(tokens)
        # Where variables can share out a text in many ways, one that holds no admissible values is not searched.
        self.longest = len("".join(literals)) + MAX_VALUE * len(self.variables) if self.joints else MAX_PATH
        self._match: Optional[Callable[[str], Optional[re.Match[str]]]] = None
        converter = self.variables[0].converter if len(self.variables) == 1 else None
        self.parser = next((parse for kind, parse in _PARSERS if isinstance(converter, kind)), None)

    @property
    def words(self) -> Optional[set[str]]:
        """The only texts of it, where these are few and known."""
        converter = self.variables[0].converter
        alone = len(self.variables) == 1 and not any(self.ends)
        return set(converter.items) if alone and isinstance(converter, AnyConverter) else None

    def match(self, text: str) -> Optional[tuple[str, ...]]:
        """The texts of the variables."""
        if len(text) > self.longest:
            return (text,) * len(self.variables)
        if self._match is None:  # compiling takes 0.1 ms: not for ten thousand rules at start-up
            self._match = re.compile(self.content, re.IGNORECASE).fullmatch
        match = self._match(text)
        return None if match is None else match.groups()

    def parsed(self, text: str) -> Optional[tuple[str, ...]]:
        """The text of the variable, where *text* holds another spelling of its value."""
        start, end = len(self.ends[0]), len(text) - len(self.ends[1])
        if self.parser is None or end - start > MAX_VALUE:
            return None
        try:
            value = str(self.parser(text[start:end]))
        except (ValueError, OverflowError):
            return None
        return self.match(text[:start] + value + text[end:])


_part = lru_cache(maxsize=1024)(Part)  # many rules have parts in common


def _joints(tokens: Sequence[Token]) -> int:
    """How many places there are where one variable ends and the next begins at more than one position of a text."""
    joints, last, between = 0, None, ""
    for token in tokens:
        if isinstance(token, str):
            between += token
            continue
        if last is not None and "/" not in between:
            joints += (
                not between
                or isinstance(last, (UnicodeConverter, PathConverter))
                or bool(re.fullmatch(last.regex, f"1{between}1"))
            )
        last, between = token.converter, ""
    return joints


class Keys(Protocol):
    """The segments of a path, folded: what a rule's literals are looked up by."""

    def __getitem__(self, place: int, /) -> bytes:
        """The segment at *place*, from 0 on."""


class Node:
    """The patterns that begin alike, by their next segment."""

    def __init__(self) -> None:
        self.literals: dict[bytes, Node] = {}
        self.patterns: list[Pattern] = []
        self.parts: dict[object, tuple[Part, Node]] = {}
        self._choice: Optional[_Choice] = None

    def add(self, pattern: Pattern) -> None:
        """Put a pattern below this node."""
        node = self
        for part in pattern.parts:
            if isinstance(part, Part):
                key = (part.content, part.final, part.ends)
                node._choice = None
                node = node.parts.setdefault(key, (part, Node()))[1]
            else:
                node = node.literals.setdefault(part, Node())
        node.patterns.append(pattern)

    def crowded(self, limit: int) -> list[int]:
        """The last pattern below each node where a segment may have to be compared with more than *limit* parts."""
        found = [index for node in self._below() for index in node.crowded(limit)]
        if self.parts and self.choice.cost > limit:
            found.append(max(pattern.index for node in self._all() for pattern in node.patterns))
        return found

    def _below(self) -> Iterable[Node]:
        return (*self.literals.values(), *(node for _, node in self.parts.values()))

    def _all(self) -> Iterator[Node]:
        yield self
        for node in self._below():
            yield from node._all()

    @property
    def choice(self) -> _Choice:
        """How to tell quickly which of the parts may match."""
        if self._choice is None:
            self._choice = _Choice(self.parts.values())
        return self._choice

    def walk(
        self, segments: Sequence[str], slash: bool, keys: Keys, parsing: bool = False, depth: int = 0,
        texts: tuple[str, ...] = (),
    ) -> Union[Hit, TooLong, None]:  # fmt: skip
        """The first pattern, in werkzeug's order, that a reading matches from *depth* on.

        keys: the segments, folded; parsing: other spellings of a value count as well; texts: what the variables have
        taken so far.
        """
        if depth == len(segments):
            return self._end(texts, slash)
        below = self.literals.get(keys[depth]) if self.literals else None
        hit = None if below is None else below.walk(segments, slash, keys, parsing, depth + 1, texts)
        if hit is not None or not self.parts:
            return hit
        choice = self.choice
        rest = "/".join(segments[depth:]) + "/" * slash if choice.final else ""
        for part, node in choice.of(segments[depth], rest):
            match = part.match(rest if part.final else segments[depth])
            if match is None and parsing:
                match = part.parsed(segments[depth])
            if match is not None:
                taken = texts + match
                hit = (
                    node._end(taken, False) if part.final
                    else node.walk(segments, slash, keys, parsing, depth + 1, taken)
                )  # fmt: skip
                if hit is not None:
                    return hit
        return None

    def _end(self, texts: tuple[str, ...], slash: bool) -> Union[Hit, TooLong, None]:
        """The first of the patterns that end here. Without a slash any does: werkzeug redirects to the one with it."""
        for pattern in self.patterns:
            hit = pattern.hit(texts) if pattern.branch or not slash else None
            if hit is not None:
                return hit
        return None


class _Choice:
    """The parts of a node, by the literals at their ends, so that a segment is compared with a few of them only."""

    def __init__(self, parts: Iterable[tuple[Part, Node]]) -> None:
        self.parts = sorted(parts, key=lambda entry: entry[0].weight)
        self.final = any(part.final for part, _ in self.parts)
        self._words: dict[bytes, list[int]] = {}
        self._ends: dict[tuple[bool, int, int], dict[tuple[bytes, bytes], list[int]]] = {}
        for place, (part, _) in enumerate(self.parts):
            if part.words is not None:
                for word in {fold(word) for word in part.words}:
                    self._words.setdefault(word, []).append(place)
            else:
                first, last = part.ends
                shape = self._ends.setdefault((part.final, len(first), len(last)), {})
                shape.setdefault((fold(first), fold(last)), []).append(place)

    @property
    def cost(self) -> int:
        """How many patterns one segment may have to be compared with."""
        shapes = (1 + max(map(len, shape.values())) for shape in self._ends.values())
        return sum(shapes) + max(map(len, self._words.values()), default=0)

    def of(self, segment: str, rest: str) -> list[tuple[Part, Node]]:
        """The parts that *segment*, or the *rest* of the path, may match, in order."""
        if len(self.parts) < 4:
            return self.parts
        places = list(self._words.get(fold(segment), ())) if self._words else []
        rest = rest[:-1] if rest.endswith("/") else rest
        for (final, first, last), shape in self._ends.items():
            text = rest if final else segment
            places += shape.get((fold(text[:first]), fold(text[-last:] if last else "")), ())
        return [self.parts[place] for place in sorted(places)]
