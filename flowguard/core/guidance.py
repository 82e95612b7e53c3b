"""Where the visitor should be, what is missing and what would pass: asked of the same lines as `passage` (CONTRACT 5).

A condition that raises while any of this is looked for counts as no.
"""

from __future__ import annotations

from itertools import islice
from typing import Hashable, Iterator, NamedTuple, Optional, Union

from flowguard.core.flow import Definition
from flowguard.core.passage import (
    NO_RUN,
    Agrees,
    Attempt,
    Kind,
    Passage,
    decide,
    enterable,
    everything_agrees,
    met,
    methods_of,
    missing,
    quietly,
)
from flowguard.core.run import Run, finished

# States that a refusal lists: several times what anybody can choose from, while ten thousand names would make an answer
# of hundreds of kilobytes, which takes a millisecond to write.
MOST_ALLOWED = 1_000


class Guidance(NamedTuple):
    """What a refused visitor can do (CONTRACT 5).

    target: the state where the visitor should be; passes: a GET of it would pass now.
    allowed: the states that a GET would enter, of many the first. missing: what the refused state still waits for.
    """

    target: str
    passes: bool
    allowed: tuple[str, ...]
    missing: tuple[Union[str, tuple[str, ...]], ...]


def target(flow: Definition, run: Optional[Run], now: Optional[int], agrees: Agrees = everything_agrees) -> str:
    """Where the visitor should be now: without a run the first start; in a finished run its current state; otherwise
    the current state, or, where that is done and exactly one successor can be entered by a GET, that successor."""
    if run is None or not run.trail:
        return flow.starts[0]
    current = run.trail[-1]
    if current not in run.done or finished(flow, run):
        return current

    def gettable(name: str) -> bool:
        state = flow.states[name]
        return state.get and enterable(flow, run, state, False, now, agrees)

    onward = tuple(islice(flow.onward[current].those(gettable, met(flow, run)), 2))
    return onward[0] if len(onward) == 1 else current


def hoped(flow: Definition, run: Run, state: str) -> Run:
    """The run as it will be if the submission of *state* that is under way counts. Times aside."""
    if run.current != state and state in flow.states:
        run = run.entering(state, run.entered) if run.trail else run.begun(state, run.values, run.entered)
    return run.doing(state)


def passes(flow: Definition, run: Optional[Run], name: str, now: Optional[int], agrees: Agrees) -> bool:
    """Would a GET of the state *name* pass?"""
    if not flow.states[name].get:
        return False
    return isinstance(decide(flow, run, Attempt(name, False, now, agrees=quietly(agrees))), Passage)


def can_go(flow: Definition, run: Optional[Run], name: str, now: Optional[int], agrees: Agrees) -> bool:
    """Would a request for the state *name* pass, by any method that its path takes?"""
    return any(
        isinstance(decide(flow, run, Attempt(name, submission, now, agrees=quietly(agrees))), Passage)
        for submission in methods_of(flow.states[name])
    )


def allowed(
    flow: Definition, run: Optional[Run], now: Optional[int], agrees: Agrees = everything_agrees
) -> tuple[str, ...]:
    """The states that a GET would enter: successors of the current state in the flow's order, then starts."""
    return tuple(_allowed(flow, run, now, agrees))


def _allowed(flow: Definition, run: Optional[Run], now: Optional[int], agrees: Agrees) -> Iterator[str]:
    """The same, one after the other, as far as somebody wants to know."""

    def enters(name: str) -> bool:
        if not flow.states[name].get:
            return False
        verdict = decide(flow, run, Attempt(name, False, now, agrees=quietly(agrees)))
        return isinstance(verdict, Passage) and verdict.kind in (Kind.ENTER, Kind.BEGIN)

    if run is None or not run.trail:
        yield from flow.beginnings.those(enters, {})
        return
    known, current = met(flow, run), run.trail[-1]
    yield from flow.onward[current].those(enters, known)
    yield from flow.beginnings.those(enters, known, but=flow.states[current].to)


def beginning(flow: Definition, run: Optional[Run], now: Optional[int], agrees: Agrees) -> Optional[str]:
    """The first start that a GET would reach."""
    known: dict[str, Hashable] = {}
    if run is not None and run.trail:
        known = met(flow, run)
        successors = flow.states[run.trail[-1]].to
        known.update((name, name) for name in flow.starts if name in successors)  # they are reached by other lines
    return next(flow.beginnings.those(lambda name: passes(flow, run, name, now, agrees), known), None)


def guidance(flow: Definition, run: Optional[Run], attempt: Attempt) -> Guidance:
    """What the visitor whose *attempt* was refused can do, given the run as the refusal left it."""
    now, agrees = attempt.now, attempt.agrees
    goal = target(flow, run, now, agrees)
    state = flow.states.get(attempt.state)
    waits = missing(flow, run or NO_RUN, state)
    entered = tuple(islice(_allowed(flow, run, now, agrees), MOST_ALLOWED))
    return Guidance(goal, passes(flow, run, goal, now, agrees), entered, waits)
