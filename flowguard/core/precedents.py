"""What was decided once holds for everybody who has come the same way: the rules need not be asked anew.

They look at how far a run has come, and neither at its id nor at its count; in a *steady* flow (no conditions, no times
in a state, no instance, no variables that change) they look at nothing else: not at the clock, and of who asks only
whether the run is his. So they are asked about a *pattern*, a run that is nobody's, at no time; and what they make of
the pattern is done to the run of whoever comes the same way, and whose it is (`moved`).
"""

from __future__ import annotations

from typing import Optional

from flowguard.core.flow import Definition
from flowguard.core.outcome import Answer, Settled, settle
from flowguard.core.passage import Attempt, Passage, Verdict, decide
from flowguard.core.run import Numbers, Run, with_numbers

# What stands for a time in a pattern: the one that a run has, and that of its change.
AS_IT_WAS, NOW = -1, 1


class Precedent:
    """What the rules say of an attempt by anyone whose run is like *run*: a pattern, or None where there is no run.

    attempt: at no time, by nobody, of no variables; `lost` says why there is no run.
    """

    __slots__ = ("_flow", "attempt", "run", "verdict")

    def __init__(self, flow: Definition, run: Optional[Run], attempt: Attempt) -> None:
        self._flow, self.run, self.attempt = flow, run, attempt
        self.verdict: Verdict = decide(flow, run, attempt)

    def settled(self, answer: Answer) -> Settled:
        """What *answer* does to the pattern; its very run is in there where nothing changes."""
        assert self.run is not None
        assert isinstance(self.verdict, Passage)
        return settle(self._flow, self.run, self.verdict, answer, NOW)


def is_steady(flow: Definition) -> bool:
    """Does a run get the same verdict at any time, whoever asks, and does an answer do the same to it?"""
    timed = any((state.min_time, state.max_time) != (None, None) for state in flow.states.values())
    return not (timed or flow.conditional or flow.instance is not None or flow.vary)


def pattern_of(run: Run) -> Run:
    """*run* without all that it has of its own."""
    return with_numbers(run, "", (0, 0, AS_IT_WAS, AS_IT_WAS, AS_IT_WAS))._replace(user="")


def moved(numbers: Numbers, after: Run, now: int) -> Numbers:
    """The numbers of a run, when there happened to it what made *after* of its pattern."""
    seq, first, *times = numbers
    started, changed, entered = [
        before if of_pattern == AS_IT_WAS else now if of_pattern == NOW else of_pattern
        for before, of_pattern in zip(times, (after.started, after.changed, after.entered))
    ]
    return seq + after.seq, seq + after.first if after.first else first, started, changed, entered


def goes_on(after: Run) -> bool:
    """Is it the run that it was, changed now; and neither another of the same id, nor an emptied one?"""
    return (after.first, after.started, after.changed) == (0, AS_IT_WAS, NOW) and after.entered in (AS_IT_WAS, NOW)
