"""Why a request passed or did not, and how its answer was read: debug lines of `flowguard.decision`, in the contract's
words. For whoever wonders about an honest visitor; `flowguard explain` prints what they say.

Nobody pays for them who has not turned them on: ask `wanted` first.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Any, cast

from flowguard import records
from flowguard.core.flow import Definition
from flowguard.core.outcome import Answer, Settled, read_by
from flowguard.core.passage import NO_RUN, Kind, Passage, Reason, Refusal, missing, says
from flowguard.judge import Judged

logger = logging.getLogger("flowguard.decision")


wanted = partial(logger.isEnabledFor, logging.DEBUG)


def answered(flow: Definition, judged: Judged, passage: Passage, answer: Answer, settled: Settled) -> None:
    """Say which line let a request pass, and which row its answer was read by."""
    beside = passage.kind is Kind.COMPANION
    said = {
        **_judged(flow, judged, passage.line, beside), "kind": passage.kind.value, "outcome": settled.outcome.value,
        "row": _named(read_by(flow, judged.held.run, passage, answer), judged), "now": settled.run.current,
    }  # fmt: skip
    logger.debug(
        "passed %(state)s from %(current)s, by line %(line)s (%(kind)s): %(words)s. "
        "Its answer: %(row)s (%(outcome)s); now at %(now)s (run %(run)s)", said, extra={"flowguard": said},
    )  # fmt: skip


def refused(flow: Definition, judged: Judged) -> None:
    """Say which line refused a request, and what is missing."""
    refusal = cast(Refusal, judged.verdict)
    beside = refusal.reason is Reason.ILLEGAL and refusal.state in flow.companions
    waits = missing(flow, judged.run or NO_RUN, flow.states.get(refusal.state))
    said = {**_judged(flow, judged, refusal.line, beside), "reason": refusal.reason.value, "missing": waits}
    logger.debug(
        "refused %(state)s from %(current)s, by line %(line)s (%(reason)s): %(words)s. Missing: %(missing)s "
        "(run %(run)s)", said, extra={"flowguard": said},
    )  # fmt: skip


def _judged(flow: Definition, judged: Judged, line: int, beside: bool) -> dict[str, Any]:
    """What both have in common. A line of 0, but for a companion's, is no line of the contract."""
    run = judged.run
    return {
        "flow": flow.name, "state": judged.attempt.state, "current": run.current if run else None,
        "run": records.digest(run.id) if run else None, "line": line,
        "words": _named(says(line), judged) if line or beside else "no line of the contract",
    }  # fmt: skip


def _named(words: str, judged: Judged) -> str:
    """The states' names in place of the contract's letters."""
    state, current = judged.attempt.state, judged.run.current if judged.run else None
    names = {"S": state, "C": "the current state" if current in (None, state) else current}
    return re.sub(r"\b[SC]\b", lambda match: str(names[match[0]]), words)
