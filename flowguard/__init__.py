"""flowguard keeps multi-step web flows in order, in front of any WSGI application."""

from flowguard.core.outcome import Answer, Destination, Outcome, Overrule, Settled, settle
from flowguard.core.passage import Attempt, Kind, Passage, Reason, Refusal, decide
from flowguard.core.run import Run
from flowguard.errors import (
    ConfigError,
    DuplicateTransition,
    FlowguardError,
    InvalidTransition,
    LedgerUnavailable,
    Problem,
    SkippedTransition,
)
from flowguard.findings import Finding
from flowguard.flow import Flow
from flowguard.handle import Event, RunHandle
from flowguard.inspector import check
from flowguard.middleware import FlowGuard
from flowguard.refusals import Refused

__version__ = "0.1.0"

__all__ = [
    "Answer", "Attempt", "ConfigError", "Destination", "DuplicateTransition", "Event", "Finding", "Flow", "FlowGuard",
    "FlowguardError", "InvalidTransition", "Kind", "LedgerUnavailable", "Outcome", "Overrule", "Passage", "Problem",
    "Reason", "Refusal", "Refused", "Run", "RunHandle", "Settled", "SkippedTransition", "check", "decide", "settle",
]  # fmt: skip
