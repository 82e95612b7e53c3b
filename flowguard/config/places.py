"""Where something is wrong, and how it is said: what is there, what is expected, and a remedy."""

from __future__ import annotations

import difflib
from typing import Any, Iterable, Mapping, NamedTuple

from flowguard.errors import Problem

#: What a check returns when nothing can be made of a value: whoever asked goes on with the default.
WRONG: Any = object()


class Place(NamedTuple):
    """Somewhere in a configuration: its key path, and the list that takes what is wrong there."""

    path: str
    problems: list[Problem]

    def key(self, name: object) -> Place:
        return Place(f"{self.path}.{name}", self.problems) if isinstance(name, str) else self.item(name)

    def item(self, index: object) -> Place:
        return Place(f"{self.path}[{index!r}]", self.problems)

    def option(self, name: object) -> Place:
        return Place(f"{self.path}({name})", self.problems)

    def wrong(self, what: str) -> Any:
        self.problems.append(Problem(self.path, what))
        return WRONG


def shown(value: object) -> str:
    """A value as messages show it: never more than a line of it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def kind(value: object) -> str:
    """What is there, in a message: the value where it is short, else what sort of thing it is."""
    if isinstance(value, (str, bytes)):
        return f"the {'string' if isinstance(value, str) else 'bytes'} {shown(value)}"
    if value is None or isinstance(value, (bool, int, float)):
        return shown(value)
    name = "dict" if isinstance(value, Mapping) else type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def did_you_mean(word: object, names: Iterable[str]) -> str:
    """A hint to the nearest of *names*, with a space before it; or nothing."""
    close = difflib.get_close_matches(str(word), list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def listed(words: Iterable[str]) -> str:
    """'a', 'b' or 'c'."""
    *others, last = (repr(word) for word in words)
    return f"{', '.join(others)} or {last}" if others else last
