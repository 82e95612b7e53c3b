"""What stands at a rule: which of a flow's states a request to it asks for, by its method and by its parameters."""

from __future__ import annotations

from functools import partial
from typing import Mapping, NamedTuple, Optional, Sequence

from flowguard.beaten import METHODS, Serve, Track
from flowguard.config import Key
from flowguard.core.flow import SAFE
from flowguard.gate import Select
from flowguard.parameters import Fork, Match
from flowguard.reading import Environ, has_countless_methods, methods_of
from flowguard.watching import Duty


class Choice(NamedTuple):
    """Which state each method of a request asks for; whether that is doubtful, so that it must not pass; and which
    others an application could see that looks for parameters in one place only."""

    select: Select
    doubtful: bool = False
    others: tuple[str, ...] = ()


class Route:
    """What stands at a rule: who is on duty for its flow, and which of its states a request asks for. otherwise: what
    every method asks for, where no key of a state is there."""

    __slots__ = ("_by_method", "_choice", "_fork", "_otherwise", "duty", "lanes", "resets")

    def __init__(
        self, duty: Duty, keys: Sequence[Key], otherwise: str = "", resets: bool = False,
        track: Optional[Track] = None,
    ) -> None:  # fmt: skip
        self.duty = duty
        self.resets = resets
        self._by_method = {method: key.name for key in reversed(keys) for method in key.methods or ()}
        unsafe = [key for key in keys if key.methods is None or key.methods - SAFE]
        self._otherwise = (*unsafe, *keys)[0].name if keys else otherwise
        self._fork = Fork(keys, duty.gate.plan.options.parameters) if any(key.parameters for key in keys) else None
        self._choice = Choice(self.select)
        self.lanes: dict[str, Serve] = {}
        if track is not None and self._fork is None:
            lanes = ((method, track.lane(self.select(method), method)) for method in METHODS)
            self.lanes = {method: lane.serve for method, lane in lanes if lane is not None}

    @property
    def straight(self) -> Mapping[str, Serve]:
        """The lanes, where they are always open: nobody else is ever on duty."""
        return self.lanes if self.duty.always else {}

    def select(self, method: str) -> str:
        """A method that no key of the path names is judged by its first key that takes an unsafe one or, if none
        does, by its first key."""
        return self._by_method.get(method, self._otherwise)

    def choose(self, environ: Environ) -> Optional[Choice]:
        """By the request's parameters, where the keys name some; None if it belongs to no flow."""
        if has_countless_methods(environ):
            return Choice(self.select, doubtful=True)
        if self._fork is None:
            return self._choice
        match = self._fork.of_request(environ, self.duty.gate.plan.options.max_body)
        choice = self._chosen(match)
        return self._compared(choice, match.others, environ) if choice and match and match.others else choice

    def choose_get(self, query: str) -> Optional[Choice]:
        """The same for a GET of this query."""
        return self._choice if self._fork is None else self._chosen(self._fork.of_query(query))

    def _chosen(self, match: Optional[Match]) -> Optional[Choice]:
        if match is None:
            return Choice(self.select, doubtful=True)
        return Choice(partial(_select, match.keys)) if match.keys else None

    def _compared(self, choice: Choice, others: Sequence[Sequence[Key]], environ: Environ) -> Choice:
        """What must be done once at most is told by parameters that all stand in one place."""
        methods, states = methods_of(environ).all, self.duty.flow.states
        chosen = {choice.select(method) for method in methods}
        names = dict.fromkeys(_select(keys, method) for keys in others if keys for method in methods)
        unlike = tuple(name for name in names if name not in chosen)
        return choice._replace(doubtful=any(name in states and states[name].once for name in unlike), others=unlike)


def _select(keys: Sequence[Key], method: str) -> str:
    """Of *keys* that match, those with most parameters first, the first that takes the method. Where none does, it is
    judged by the best of them: the first that takes an unsafe one or, if none does, the first."""
    best = [key for key in keys if len(key.parameters) == len(keys[0].parameters)]
    takers = [key for key in keys if key.methods is None or method in key.methods]
    unsafe = [key for key in best if key.methods is None or key.methods - SAFE]
    return (*takers, *unsafe, *best)[0].name
