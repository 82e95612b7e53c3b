"""Where a run goes that is watched and not led: in report mode a request counts as if it had been legal (CONTRACT 2).

The history holds declared transitions only, whatever a visitor does. A visitor who went back where no `back` let them
is taken back; one who begins again, or with other values, gets a new run: so that one slip is one line of the report,
and not one for each step that follows.
"""

from __future__ import annotations

from typing import Optional

from flowguard.core.flow import Definition
from flowguard.core.passage import NO_RUN, Attempt, Kind, Passage, user_of
from flowguard.core.run import Run, finished


def as_if_legal(flow: Definition, run: Optional[Run], attempt: Attempt) -> Passage:
    """The passage that an *attempt* of *run* has which was refused, and got through all the same."""
    kind = _kind(flow, NO_RUN if run is None else run, attempt)
    return Passage(
        kind, attempt.state, attempt.submission, 0, attempt.values, by_get=attempt.by_get, user=user_of(attempt)
    )


def _kind(flow: Definition, run: Run, attempt: Attempt) -> Kind:
    name = attempt.state
    if attempt.peek:
        return Kind.PEEK
    if name not in flow.states:
        return Kind.COMPANION
    if not run.trail or not run.agrees_with(attempt.values, flow.vary):
        return Kind.BEGIN
    if name == run.trail[-1]:
        return Kind.STAY
    if finished(flow, run):
        return Kind.BEGIN
    return Kind.ENTER if name in flow.states[run.trail[-1]].to else Kind.STRAY
