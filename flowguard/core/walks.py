"""Every run that a flow lets its visitors come to: what `lints` looks at.

Nothing here says what may pass or what counts. Each request is put to `decide` and each answer to `settle`, for a
visitor who tries everything, whose conditions agree, and who is patient enough for every `min_seconds`; before an
application that answers by a page or by a success (or, if asked for, leads back to where the visitor was before).

Runs are many where ways part and meet again (a chain of n forks has 2^n), so the search is bounded, and says whether it
came to its end.
"""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple

from flowguard.core.flow import Definition
from flowguard.core.outcome import Answer, Destination, Overrule, settle
from flowguard.core.passage import NO_RUN, Attempt, Kind, Passage, decide, usable
from flowguard.core.run import Run

MOST_ANSWERS = 30_000  # settled, 10 to 40 microseconds each: about a second

PAGE = Answer(200, html=True)
SUCCESS = PAGE._replace(overrule=Overrule.SUCCESS)


class Step(NamedTuple):
    """What a request and its answer can make of a run. `anew`: it was over, and `after` is the next one."""

    after: Run
    anew: bool = False


class Walks(NamedTuple):
    """The runs that were found, nearest first, and the steps from each. If it is not `complete`, some are missing.

    A run stands for all that differ from it in nothing that a rule looks at: see `essence`.
    """

    steps: Mapping[Run, tuple[Step, ...]]
    complete: bool


def walks(flow: Definition, leading_back: bool = False, most: int = MOST_ANSWERS) -> Walks:
    """Try everything in every run, up to *most* answers. leading_back: the application redirects to earlier states,
    too, whenever it likes, and what is beside the steps undoes what it can."""
    found: dict[Run, tuple[Step, ...]] = {}
    seen, waiting = {NO_RUN}, [NO_RUN]
    for run in waiting:  # and for those that are added meanwhile
        if most <= 0:
            break
        tried = list(_steps(flow, run, leading_back))
        most -= len(tried)
        found[run] = tuple(dict.fromkeys(step for step in tried if step.after != run))
        for step in found[run]:
            if step.after not in seen:
                seen.add(step.after)
                waiting.append(step.after)
    return Walks(found, len(found) == len(waiting))


def essence(flow: Definition, run: Run) -> Run:
    """*run* without what no rule looks at: its name and count, its times and variables, and whether a state that is
    neither current nor `submit` is done (it may be left either way, and is not done when it is entered anew)."""
    done = frozenset(name for name in run.done if flow.states[name].submit or name == run.current)
    return Run("", trail=run.trail, history=run.history, done=done, spent=run.spent, closed=run.closed)


def _steps(flow: Definition, run: Run, leading_back: bool) -> Iterator[Step]:
    """What comes of every request that passes and with which the run goes on."""
    now = (flow.states[run.trail[-1]].min_time if run.trail else None) or 0  # the current state was entered at 0
    if run.trail and usable(flow, run, now) is not None:
        return
    for name, submission in _requests(flow, run, leading_back):
        passage = decide(flow, run, Attempt(name, submission, now))
        if isinstance(passage, Passage) and (passage.kind is not Kind.BEGIN or not run.trail):
            for answer in _answers(run, passage, leading_back):
                after = settle(flow, run, passage, answer, 0).run
                yield Step(essence(flow, after), bool(run.trail) and after.first != run.first)


def _requests(flow: Definition, run: Run, leading_back: bool) -> Iterator[tuple[str, bool]]:
    """Names to ask for, and whether by a submission. What is left out, no line of `passage` can pass: S must be the
    current state, a successor, in the trail, or a start."""
    onward = flow.states[run.trail[-1]].to if run.trail else ()
    for name in dict.fromkeys((*run.trail, *onward, *flow.starts)):
        state = flow.states[name]
        yield from ((name, submission) for submission in (False,) * state.get + (True,) * state.unsafe)
    yield from ((name, True) for name in flow.companions if leading_back)


def _answers(run: Run, passage: Passage, leading_back: bool) -> Iterator[Answer]:
    yield PAGE
    if leading_back or passage.kind is not Kind.LOOK:  # what is looked at is left by going back to it
        yield SUCCESS
    if leading_back and passage.kind is Kind.STAY:
        yield from (Answer(303, to=Destination(name, name)) for name in run.trail[:-1])
