"""Every exception of flowguard. Imports nothing of flowguard, so that anything may import it.

A refusal is not an error: it is a value (`flowguard.core.passage.Refusal`). Errors are for a wrong configuration, a
ledger that does not answer, and for those who drive a machine by hand (`Flow.check`).
"""

from __future__ import annotations

from typing import Iterable, NamedTuple, Optional


class FlowguardError(Exception):
    """The root of flowguard's exceptions."""


class Problem(NamedTuple):
    """One thing that is wrong in a configuration.

    `where` is the key path (``checkout['/pay'].to[0]``), `what` the sentence that says what is there, what is expected
    and, where a name is close, "did you mean".
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(FlowguardError, ValueError):
    """A configuration that cannot work. `problems` holds every `Problem` that could be seen, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class LedgerUnavailable(FlowguardError):
    """The ledger did not answer, or has no room. `ledger` names it without its credentials, `cause` says why."""

    def __init__(self, ledger: str, cause: str) -> None:
        self.ledger = ledger
        self.cause = cause
        super().__init__(ledger, cause)

    def __str__(self) -> str:
        return f"the ledger {self.ledger} is not available: {self.cause}"


class InvalidTransition(FlowguardError):
    """Raised by `Flow.check` for a step that the flow does not allow.

    Fields: `from_` (the current state, or None; also readable as ``getattr(error, "from")``), `to`, and `reason`, a
    word of CONTRACT 5.
    """

    def __init__(self, from_: Optional[str], to: str, reason: str) -> None:
        self.from_ = from_
        self.to = to
        self.reason = reason
        setattr(self, "from", from_)  # the contract's name for it is a keyword of Python
        super().__init__(from_, to, reason)

    def __str__(self) -> str:
        return f"{self.from_ or '(no run)'} -> {self.to}: {self.reason}"


class DuplicateTransition(InvalidTransition):
    """The step was taken before, and may be taken once only."""


class SkippedTransition(InvalidTransition):
    """Something that must come before the step is not completed."""
