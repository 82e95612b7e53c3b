"""A run: one visitor's way through a flow, and what entering, going back and starting anew do to it (CONTRACT 1, 4).

Every change is a new run. A run is bounded by its flow: the trail holds each state once, the history each transition
once, by the latest entry or taking.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Optional, TypeVar

from flowguard.core.flow import Definition

Item = TypeVar("Item")
Values = tuple[tuple[str, str], ...]
Numbers = tuple[int, int, int, int, int]  # seq, first, started, changed, entered: what a run has of its own, and its id
# Longer values of a rule variable are refused (CONTRACT 2): the cookie holds them.
MAX_VALUE = 128  # bytes of UTF-8

NOTHING: frozenset[str] = frozenset()


class Run(NamedTuple):
    """One visitor's way. With an empty trail it is only a name that counts on: as good as no run.

    id: a random text, the same through restarts and resets.
    seq: counts the changes, on through restarts and resets.
    first: the `seq` with which this run began: what tells it from earlier runs of the same id.
    trail: the states entered, each once, by its latest entry; the last is the current state.
    history: the transitions taken, (from, to), each once, by its latest taking.
    done: states of which a submission counted since they were last entered.
    spent: `once` states that never pass again in this run.
    values: the rule variables, (name, text as in the path), that hold for the whole run; of those in `vary`, the
        latest at the last change.
    started, changed, entered: milliseconds since the epoch: of the run, its last change, the current state.
    closed: the application said that the run is finished.
    user: whose run it is, as a digest; empty where it is nobody's.
    """

    id: str
    seq: int = 0
    first: int = 0
    trail: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    done: frozenset[str] = NOTHING
    spent: frozenset[str] = NOTHING
    values: Values = ()
    started: int = 0
    changed: int = 0
    entered: int = 0
    closed: bool = False
    user: str = ""

    @property
    def current(self) -> Optional[str]:
        return self.trail[-1] if self.trail else None

    def _changed(self, **changes: Any) -> Run:
        """As `_replace`, which every named tuple has, in half the time."""
        fields: list[Any] = list(self)
        for name, value in changes.items():
            fields[_PLACES[name]] = value
        return Run._make(fields)

    def begun(self, state: str, values: Values, now: int) -> Run:
        """A new run of the same id, which begins in *state*."""
        return Run(self.id, self.seq, self.seq + 1, (state,), values=values, started=now, entered=now)

    def emptied(self) -> Run:
        """After a reset or an expiry: only the id and the count go on."""
        return Run(self.id, self.seq, self.seq + 1)

    def counted(self, now: int) -> Run:
        """The same, as one more change."""
        return self._changed(seq=self.seq + 1, changed=now)

    def entering(self, state: str, now: int) -> Run:
        """*state* becomes the latest of the trail, and not done; the transition to it the latest of the history."""
        step = (self.trail[-1], state)
        return self._changed(
            trail=(*_without(self.trail, state), state),
            history=(*_without(self.history, step), step),
            done=self.done - {state} if state in self.done else self.done,
            entered=now,
            closed=False,
        )

    def going_back(self, state: str, now: int) -> Run:
        """Forget the states after *state*, what was done there, and the transitions from and to them."""
        place = self.trail.index(state)
        forgotten = frozenset(self.trail[place + 1 :])
        return self._changed(
            trail=self.trail[: place + 1],
            history=tuple(step for step in self.history if not forgotten.intersection(step)),
            done=self.done - forgotten - ({state} - self.spent),
            entered=now,
            closed=False,
        )

    def going_back_before(self, state: str, now: int) -> Run:
        """Forget *state* as well: at the state before it, which stays done; empty where there is none."""
        place = self.trail.index(state)
        if place == 0:
            return self.emptied()
        before = self.trail[place - 1]
        back = self.going_back(before, now)
        return back.doing(before) if before in self.done else back

    def straying(self, state: str, now: int) -> Run:
        """*state* becomes the current one, though no transition leads there: by going back where that is possible."""
        if state in self.trail:
            return self.going_back(state, now)
        return self._changed(trail=(*self.trail, state), entered=now, closed=False)

    def doing(self, state: str) -> Run:
        return self if state in self.done else self._changed(done=self.done | {state})

    def spending(self, state: str) -> Run:
        return self if state in self.spent else self._changed(spent=self.spent | {state})

    def freeing(self, state: str) -> Run:
        return self._changed(spent=self.spent - {state}) if state in self.spent else self

    def remembering(self, other: Run) -> Run:
        """The same, and what another copy of it knows that this one does not: what is spent, and whose it is."""
        if other.spent <= self.spent and (self.user or not other.user):
            return self
        return self._changed(spent=self.spent | other.spent, user=self.user or other.user)

    def pinning(self, values: Values) -> Run:
        """The first value of each variable holds for the whole run."""
        if not values:
            return self
        known = dict(self.values)
        added = tuple(pair for pair in values if pair[0] not in known)
        return self._changed(values=self.values + added) if added else self

    def varying(self, values: Values, vary: frozenset[str]) -> Run:
        """The same with the latest values of the variables that may change."""
        latest = dict(self.values)
        latest.update((name, value) for name, value in values if name in vary)
        return self._changed(values=tuple(latest.items()))

    def agrees_with(self, values: Values, vary: frozenset[str] = NOTHING) -> bool:
        """Is no variable in *values*, but for those that may change, another than the run's?"""
        if not values or not self.values:
            return True
        known = dict(self.values)
        return all(known.get(name, value) == value or name in vary for name, value in values)


def numbers_in(run: Run) -> Numbers:
    return run.seq, run.first, run.started, run.changed, run.entered


def with_numbers(run: Run, id: str, numbers: Numbers) -> Run:
    """A run that has come as far as *run*, and has an id and numbers of its own."""
    seq, first, started, changed, entered = numbers
    return Run(
        id, seq, first, run.trail, run.history, run.done, run.spent, run.values, started, changed, entered, run.closed,
        run.user,
    )  # fmt: skip


def _without(items: tuple[Item, ...], item: Item) -> Iterable[Item]:
    return [other for other in items if other != item] if item in items else items


_PLACES = {name: place for place, name in enumerate(Run._fields)}


def exhausted(flow: Definition, run: Run) -> bool:
    """Is every transition out of the current state taken, and does none lead to a `repeat` state? An end has none."""
    state = flow.states[run.trail[-1]]
    if not state.to:
        return False
    taken = {after for before, after in run.history if before == state.name}
    return len(taken) >= len(state.to) and all(to in taken and not flow.states[to].repeat for to in state.to)


def finished(flow: Definition, run: Run) -> bool:
    """Is the current state an end or exhausted, and done where it is `submit`? Or did the application say so?"""
    if run.closed:
        return True
    state = flow.states[run.trail[-1]]
    if state.submit and state.name not in run.done:
        return False
    return state.end or exhausted(flow, run)
