"""What stands at a rule: which of a flow's states a request to it asks for, by its method and by its parameters."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, Optional, Sequence

from flowguard.config import Key
from flowguard.core.flow import SAFE
from flowguard.gate import Select
from flowguard.parameters import Fork
from flowguard.reading import Environ
from flowguard.watching import Duty


class Choice(NamedTuple):
    """Which state each method of a request asks for; and whether that is doubtful, so that it must not pass."""

    select: Select
    doubtful: bool = False


class Route:
    """What stands at a rule: who is on duty for its flow, and which of its states a request asks for. otherwise: what
    every method asks for, where no key of a state is there."""

    __slots__ = ("_by_method", "_choice", "_fork", "_otherwise", "duty", "resets")

    def __init__(self, duty: Duty, keys: Sequence[Key], otherwise: str = "", resets: bool = False) -> None:
        self.duty = duty
        self.resets = resets
        self._by_method = {method: key.name for key in reversed(keys) for method in key.methods or ()}
        unsafe = [key for key in keys if key.methods is None or key.methods - SAFE]
        self._otherwise = (*unsafe, *keys)[0].name if keys else otherwise
        self._fork = Fork(keys) if any(key.parameters for key in keys) else None
        self._choice = Choice(self.select)

    def select(self, method: str) -> str:
        """A method that no key of the path names is judged by its first key that takes an unsafe one or, if none
        does, by its first key."""
        return self._by_method.get(method, self._otherwise)

    def choose(self, environ: Environ) -> Optional[Choice]:
        """By the request's parameters, where the keys name some; None if it belongs to no flow."""
        if self._fork is None:
            return self._choice
        return self._chosen(self._fork.of_request(environ, self.duty.gate.plan.options.max_body))

    def choose_get(self, query: str) -> Optional[Choice]:
        """The same for a GET of this query."""
        return self._choice if self._fork is None else self._chosen(self._fork.of_query(query))

    def _chosen(self, keys: Optional[Sequence[Key]]) -> Optional[Choice]:
        if keys is None:
            return Choice(self.select, doubtful=True)
        return Choice(partial(_select, keys)) if keys else None


def _select(keys: Sequence[Key], method: str) -> str:
    """Of *keys* that match, those with most parameters first, the first that takes the method. Where none does, it is
    judged by the best of them: the first that takes an unsafe one or, if none does, the first."""
    best = [key for key in keys if len(key.parameters) == len(keys[0].parameters)]
    takers = [key for key in keys if key.methods is None or method in key.methods]
    unsafe = [key for key in best if key.methods is None or key.methods - SAFE]
    return (*takers, *unsafe, *best)[0].name
