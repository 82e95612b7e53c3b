"""What a flow is: its states, its companions and how they hang together (CONTRACT 2). Frozen once it is built.

Times are whole milliseconds, so that a run that went through a cookie is the run that went in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, Hashable, Mapping, NamedTuple, Optional, Union

from flowguard.core.crowds import Crowd

#: A condition of the deployer's. The core never calls one: whoever asks the core says whether it agrees.
Condition = Callable[[Any], object]

#: Requests that are no submission, but for states whose GET has effects (CONTRACT 3).
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

REFUSE, VIEW, EDIT = "refuse", "view", "edit"  # what `back` may say

# Hosts' clocks differ: a limit is lengthened by this much, a time ahead by as much is taken as now (CONTRACT 6).
SKEW = 60_000  # milliseconds


class Glob(NamedTuple):
    """A Location pattern whose only wildcard is ``*``: the literal pieces between the stars."""

    text: str
    pieces: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Glob:
        return cls(text, tuple(text.split("*")))

    def matches(self, subject: str) -> bool:
        """Linear in the subject, however many stars there are: the leftmost place of each piece is good enough."""
        first, last = self.pieces[0], self.pieces[-1]
        if len(self.pieces) == 1:
            return subject == first
        if not first and not last and len(self.pieces) == 3:  # most are "*TEXT*"
            return self.pieces[1] in subject
        if not subject.startswith(first) or not subject.endswith(last) or len(subject) < len(first) + len(last):
            return False
        position, end = len(first), len(subject) - len(last)
        for piece in self.pieces[1:-1]:
            position = subject.find(piece, position, end)
            if position < 0:
                return False
            position += len(piece)
        return True


class Answers(NamedTuple):
    """Which answers of the application an `accept` or a `reject` speaks of. texts: of ``"body:TEXT"``."""

    statuses: frozenset[int] = frozenset()
    globs: tuple[Glob, ...] = ()
    texts: frozenset[str] = frozenset()


NO_ANSWERS = Answers()


@dataclass(frozen=True)
class State:
    """One step of a flow. The fields are those of CONTRACT 2, times in milliseconds.

    `requires` is in conjunctive form: of each group, one must be completed. `get` and `unsafe` say which methods the
    state's paths take: a GET, and any that is not safe. A GET of a state with `effects` is a submission: for the rules
    it takes none that is safe, so that nobody is ever sent there.
    """

    name: str
    start: bool = False
    to: Mapping[str, Optional[Condition]] = field(default_factory=dict)
    requires: tuple[tuple[str, ...], ...] = ()
    submit: bool = False
    once: bool = False
    repeat: bool = False
    back: str = REFUSE
    when: Optional[Condition] = None
    accept: Answers = NO_ANSWERS
    reject: Answers = NO_ANSWERS
    effects: bool = False
    min_time: Optional[int] = None
    max_time: Optional[int] = None
    on_refusal: object = None
    get: bool = True
    unsafe: bool = True

    @property
    def end(self) -> bool:
        return not self.to

    @property
    def likeness(self) -> Hashable:
        """What the rules look at in a state that the run has not met: two of which it is the same can't be told apart
        but by their names. Conditions by their identity, for not all callables have a hash."""
        when = None if self.when is None else id(self.when)
        return self.start, self.requires, self.once, self.repeat, when, self.min_time, self.get, self.unsafe

    @property
    def texts(self) -> frozenset[str]:
        """What is to be looked for in the answers to its requests."""
        return self.accept.texts | self.reject.texts


@dataclass(frozen=True)
class Companion:
    """A path beside the steps, allowed only while the current state is one of `within`; None: at any time.

    A submission of it that did not fail takes the run back to before the first of the states in `undoes`. Without
    those it never changes a run.
    """

    name: str
    within: Optional[frozenset[str]]
    on_refusal: object = None
    undoes: frozenset[str] = frozenset()
    accept: Answers = NO_ANSWERS
    reject: Answers = NO_ANSWERS
    effects: bool = False

    @property
    def texts(self) -> frozenset[str]:
        """What is to be looked for in the answers to its requests."""
        return self.accept.texts | self.reject.texts


@dataclass(frozen=True)
class Definition:
    """A whole flow, as the rules see it. `states` is in the order of declaration."""

    name: str
    states: Mapping[str, State]
    companions: Mapping[str, Companion] = field(default_factory=dict)
    restart: bool = False
    bind: bool = False  # a run belongs to its user
    instance: Optional[str] = None  # a rule variable: one run for each of its values
    vary: frozenset[str] = frozenset()  # rule variables that may change within a run
    ttl: int = 14_400_000
    idle: Optional[int] = None
    reject: Answers = NO_ANSWERS

    def step(self, name: str) -> Union[State, Companion]:
        """The state or companion of that name."""
        return self.states.get(name) or self.companions[name]

    @cached_property
    def owned(self) -> bool:
        """Is there more to a run than who brings it: a user, an instance?"""
        return self.bind or self.instance is not None

    @cached_property
    def conditional(self) -> bool:
        """Is there any condition that somebody must be asked about?"""
        return any(
            state.when is not None or any(condition is not None for condition in state.to.values())
            for state in self.states.values()
        )

    @cached_property
    def effects(self) -> frozenset[str]:
        """The states and companions of which a GET is a submission."""
        return frozenset(name for name in (*self.states, *self.companions) if self.step(name).effects)

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """The states in which a run may begin, in the order of declaration."""
        return tuple(state.name for state in self.states.values() if state.start)

    @cached_property
    def beginnings(self) -> Crowd:
        """The same, to be asked about together."""
        return Crowd((name, self.states[name].likeness) for name in self.starts)

    @cached_property
    def onward(self) -> Mapping[str, Crowd]:
        """The successors of each state, in its order, to be asked about together."""
        alike = {name: state.likeness for name, state in self.states.items()}
        return {
            state.name: Crowd((name, (id(condition), alike[name])) for name, condition in state.to.items())
            for state in self.states.values()
        }

    def prepare(self) -> None:
        """Work out now what the first request would wait for otherwise: ten milliseconds, of ten thousand states."""
        for known_once in ("beginnings", "conditional", "effects", "onward"):
            getattr(self, known_once)
