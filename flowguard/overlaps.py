"""Rules that share paths without being equal: to which of them such a path belongs is up to werkzeug's order, and who
reads the configuration may think that it is the other.

An overlap is never claimed without a path that shows it, found by `PathTable` itself. The paths that are tried are made
of the rules' literals and of samples for their converters, so an overlap of two unusual converters may be missed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import combinations, islice, product
from typing import Iterator, NamedTuple, Optional, Sequence

from werkzeug.routing import AnyConverter, BaseConverter, ValidationError

from flowguard.paths import Found, PathTable
from flowguard.patterns import Token, Variable, parse, segments

_MOST = 64  # paths that are tried for a pair of rules
# What the converters of werkzeug take: texts, numbers, a UUID, and all of these of any length up to one's.
_TEXTS = ("x", "1", "1.5", "0" * 8 + "-0000-4000-8000-" + "0" * 12, *("1" * length for length in range(2, 37)))

Segment = tuple[list[Token], bool]  # its tokens, and whether it takes the rest of the path


class Overlap(NamedTuple):
    """`path` is a path of two rules (positions in their list), and belongs to `winner`."""

    winner: int
    loser: int
    path: str


def overlaps(rules: Sequence[str]) -> list[Overlap]:
    """Every pair of *rules* (which `paths.problems` has nothing to say on) that is seen to share a path."""
    whole, alone = PathTable(rules), [PathTable([rule]) for rule in rules]
    parsed = [segments(*parse(rule)) for rule in rules]
    found = []
    for first, second in combinations(range(len(rules)), 2):
        for path in islice(_paths(parsed[first], parsed[second]), _MOST):
            winner = _index(whole, path)
            if winner in (first, second) and _index(alone[first], path) == _index(alone[second], path) == 0:
                found.append(Overlap(winner, first + second - winner, path))
                break
    return found


def _index(table: PathTable, path: str) -> Optional[int]:
    found = table.find(path)
    return found.index if isinstance(found, Found) else None


def swallowed_below(rule: str) -> Optional[str]:
    """The path below which *rule* takes whatever stands there (``<path:…>``); None for other rules."""
    literals, variables = parse(rule)
    if all(variable.converter.part_isolating for variable in variables):
        return None
    return literals[0][: literals[0].rindex("/") + 1]


def _paths(one: list[Segment], other: list[Segment]) -> Iterator[str]:
    """Paths that may be both rules', most likely ones first."""
    texts = []
    for place, (mine, theirs) in enumerate(zip(one, other)):
        found = _texts(mine[0]), _texts(theirs[0])
        if mine[1] or theirs[1]:
            rests = [_rest(segment[place:]) for segment in (one, other)]
            texts.append([*rests, *found[0], *found[1]])
            break
        literal = [choices for choices, (tokens, _) in zip(found, (mine, theirs)) if not _variables(tokens)]
        if len(literal) == 2 and found[0] != found[1]:
            return
        texts.append(literal[0] if literal else list(dict.fromkeys(found[0] + found[1])))
    else:
        if len(one) != len(other):
            return
    for chosen in product(*texts):
        yield "/" + "/".join(chosen)


def _rest(tail: list[Segment]) -> str:
    return "/".join(_texts(tokens)[0] for tokens, _ in tail)


def _variables(tokens: Sequence[Token]) -> list[Variable]:
    return [token for token in tokens if isinstance(token, Variable)]


def _texts(tokens: Sequence[Token]) -> list[str]:
    """What a segment may look like."""
    choices = [_samples(token.converter) if isinstance(token, Variable) else (token,) for token in tokens]
    return ["".join(chosen) for chosen in islice(product(*choices), _MOST)]


@lru_cache(maxsize=1024)
def _samples(converter: BaseConverter) -> tuple[str, ...]:
    """Texts that *converter* takes; one at least: its own idea of one where it takes none of ours."""
    texts = sorted(converter.items) if isinstance(converter, AnyConverter) else _TEXTS
    return tuple(islice((text for text in texts if _takes(converter, text)), 4)) or ("x",)


def _takes(converter: BaseConverter, text: str) -> bool:
    try:
        return bool(re.fullmatch(converter.regex, text)) and converter.to_python(text) is not None
    except ValidationError:
        return False
