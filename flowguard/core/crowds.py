"""Where thousands of states are asked about, those that the rules can't tell apart are asked about once.

A start may have ten thousand successors, and to ask of each what would become of a request for it takes thirty
milliseconds. But most of them are alike: of a state that the run has not met, the rules look at nothing but what it is
(`State.likeness`), and at the condition on the way to it.
"""

from __future__ import annotations

from typing import Callable, Container, Hashable, Iterable, Iterator, Mapping

Asked = Callable[[str], bool]


class Crowd:
    """Names of states, in their order, each with what it has in common with others."""

    __slots__ = ("_kinds", "_names")

    def __init__(self, names: Iterable[tuple[str, Hashable]]) -> None:
        kinds: dict[Hashable, int] = {}
        self._names = {name: kinds.setdefault(likeness, len(kinds)) for name, likeness in names}
        self._kinds = len(kinds)

    def those(self, asked: Asked, met: Mapping[str, Hashable], but: Container[str] = ()) -> Iterator[str]:
        """Those of which *asked* says yes, in their order. It is asked once of all that are alike.

        met: what is known beside of some of them; they are like others only where that is the same. but: who is left
        out.
        """
        answers: dict[Hashable, bool] = {}
        hopes = self._kinds + len(self._names.keys() & met.keys())  # so many questions at most, of which none was a no
        for name, kind in self._names.items():
            if name in but:
                continue
            question = (kind, met[name]) if name in met else kind
            answer = answers.get(question)
            if answer is None:
                answer = answers[question] = asked(name)
                hopes -= not answer
            if answer:
                yield name
            elif not hopes:
                return
