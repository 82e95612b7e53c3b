"""A flow and the runs it allows, for whoever wants to know what can happen in it (`lints`).

It all follows from the runs that `walks` found, and so from the rules themselves. Where runs are too many to try all,
there is the graph of transitions alone: it tells what no run can do, and nothing else is claimed.
"""

from __future__ import annotations

from functools import cached_property
from typing import Iterable, Iterator, Mapping

from flowguard.core.flow import EDIT, Definition, State
from flowguard.core.passage import completed
from flowguard.core.run import Run, finished
from flowguard.core.walks import MOST_ANSWERS, Walks, walks


class Survey:
    """A flow and its runs, worked out as far as somebody asks.

    ordered: the option, whose requirements nobody wrote. pages: the application is known to answer forms by pages.
    most: how much is tried (see `walks`).
    """

    def __init__(
        self, flow: Definition, ordered: bool = False, pages: bool = False, most: int = MOST_ANSWERS
    ) -> None:
        self.flow, self.states, self.pages = flow, flow.states, pages
        self._ordered, self._most = ordered, most

    @cached_property
    def visits(self) -> Walks:
        """What a visitor can come to by himself."""
        return walks(self.flow, most=self._most)

    @cached_property
    def everything(self) -> Walks:
        """The same, if the application may lead back, too."""
        return walks(self.flow, leading_back=True, most=self._most)

    @property
    def complete(self) -> bool:
        """Were all runs tried?"""
        return self.visits.complete and self.everything.complete

    @cached_property
    def entered(self) -> frozenset[str]:
        """The states that may be entered; where the search was cut short, those that transitions lead to."""
        if self.everything.complete:
            return frozenset(name for run in self.everything.steps for name in run.trail)
        return _reached(self.flow.starts, {name: tuple(state.to) for name, state in self.states.items()})

    @cached_property
    def ends(self) -> tuple[str, ...]:
        return tuple(state.name for state in self.states.values() if state.end)

    @cached_property
    def caught(self) -> tuple[Run, ...]:
        """The runs that can't come to an end any more, nearest first; unless the application leads back."""
        return tuple(_caught(self.flow, self.visits))

    @cached_property
    def hopeless(self) -> frozenset[str]:
        """The states that are entered only by runs which are caught there."""
        if not self.visits.complete:  # at a start a run may be over by exhaustion
            return frozenset(self.states) - _reached((*self.ends, *self.flow.starts), _backwards(_ways_on(self.flow)))
        kept = set(self.caught)
        hopeful = {run.current for run in self.visits.steps if run not in kept}
        return frozenset(run.trail[-1] for run in self.caught) - hopeful

    def way(self, run: Run) -> tuple[str, ...]:
        """The states that a visitor goes through to come to *run*, by one of the nearest ways."""
        found = [run.trail[-1]]
        while run in self._before:
            run = self._before[run]
            if run.trail and run.trail[-1] != found[-1]:
                found.append(run.trail[-1])
        return tuple(reversed(found))

    @cached_property
    def _before(self) -> Mapping[Run, Run]:
        """Of each run, the one from which it was found."""
        found: dict[Run, Run] = {}
        for run, steps in self.visits.steps.items():
            for step in steps:
                found.setdefault(step.after, run)
        return found

    def written(self, state: State) -> tuple[tuple[str, ...], ...]:
        """What *state* requires by its own `requires`."""
        if not self._ordered:
            return state.requires
        return state.requires[list(self.states).index(state.name) :]

    def occasions(self, name: str) -> list[Run]:
        """The runs in which nothing but the requirements of the state *name* can stand in its way."""
        return [run for run in self.everything.steps if run.trail and self._leads(run, name)]

    def _leads(self, run: Run, name: str) -> bool:
        current = self.states[run.trail[-1]]
        return name in current.to and completed(self.flow, run, current.name)


# --- the graph of transitions ----------------------------------------------------------------------------------------

Ways = Mapping[str, Iterable[str]]


def _reached(roots: Iterable[str], ways: Ways) -> frozenset[str]:
    seen = set(roots)
    work = list(seen)
    while work:
        fresh = set(ways[work.pop()]) - seen
        seen |= fresh
        work += fresh
    return frozenset(seen)


def _ways_on(flow: Definition) -> dict[str, tuple[str, ...]]:
    """Where each state may lead, back to the states before it that may be edited included."""
    onward = {name: tuple(state.to) for name, state in flow.states.items()}
    backward = _backwards(onward)
    editable = {name for name, state in flow.states.items() if state.back == EDIT}
    return {name: (*to, *(editable & _reached([name], backward))) for name, to in onward.items()}


def _backwards(ways: Ways) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in ways}
    for name, onward in ways.items():
        for to in onward:
            found[to].append(name)
    return found


def _caught(flow: Definition, visits: Walks) -> Iterator[Run]:
    """Those of the runs from which no step leads to a run that is finished at an end, or over; one that was not tried
    may be."""
    before: dict[Run, list[Run]] = {}
    for run, steps in visits.steps.items():
        for step in steps:
            before.setdefault(step.after, []).append(run)
    work = [run for run, steps in visits.steps.items() if _at_an_end(flow, run) or any(step.anew for step in steps)]
    work += [run for run in before if run not in visits.steps]
    free = set(work)
    while work:
        fresh = set(before.get(work.pop(), ())) - free
        free |= fresh
        work += fresh
    return (run for run in visits.steps if run.trail and run not in free)


def _at_an_end(flow: Definition, run: Run) -> bool:
    return bool(run.trail) and flow.states[run.trail[-1]].end and finished(flow, run)
