"""What the application sees of its visitor's run: `environ["flowguard.run"]`; and the events that hooks get."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Optional

from flowguard.core.flow import Definition
from flowguard.core.guidance import allowed, can_go
from flowguard.core.outcome import Overrule
from flowguard.core.passage import Agrees, everything_agrees
from flowguard.core.run import Run


class RunHandle:
    """The visitor's run, as it was when the request was judged, and the application's way to overrule how its answer
    is read (CONTRACT 4). A call replaces an earlier one; one that comes after the first byte of the answer does
    nothing.

    flow: the flow's name. state: the state (or companion) that was asked for. current: the current state, or None
    without a run. history: the transitions taken, pairs (from, to), in the order of their latest taking. notice: why
    the visitor was redirected here, a word of CONTRACT 5, once; else None.
    """

    state: str
    notice: Optional[str] = None
    overrule: Optional[Overrule] = None

    def __init__(
        self, flow: Definition, run: Optional[Run], state: str, now: int,
        agrees: Agrees = everything_agrees, notice: Optional[str] = None,
    ) -> None:  # fmt: skip
        self.state = state
        self.notice = notice
        self._flow = flow
        self._run = run
        self._now = now
        self._agrees = agrees

    @property
    def flow(self) -> str:
        return self._flow.name

    @property
    def current(self) -> Optional[str]:
        return self._run.current if self._run is not None else None

    @property
    def history(self) -> tuple[tuple[str, str], ...]:
        return self._run.history if self._run is not None else ()

    @property
    def allowed(self) -> tuple[str, ...]:
        """The states that a GET would enter."""
        return allowed(self._flow, self._run, self._now, self._agrees)

    @property
    def status(self) -> str:
        """The history, a line ``a -> b`` for each transition."""
        return "\n".join(f"{before} -> {after}" for before, after in self.history)

    def can_transition(self, to: str) -> bool:
        """Would a request for the state *to* pass now, by any method that its path takes?

        Raises KeyError for a name that is no state of this flow.
        """
        return can_go(self._flow, self._run, to, self._now, self._agrees)

    def success(self) -> None:
        """This request counts as a success: its state is entered and done."""
        self.overrule = Overrule.SUCCESS

    def failed(self) -> None:
        """A submission failed; or, on a safe request, what the current state did is taken back."""
        self.overrule = Overrule.FAILED

    def finish(self) -> None:
        """This request counts as a success, and the run is finished with it."""
        self.overrule = Overrule.FINISH

    def reset(self) -> None:
        """The run is forgotten."""
        self.overrule = Overrule.RESET

    def __repr__(self) -> str:
        return f"<flowguard run {self.flow!r}: at {self.current!r}, asked for {self.state!r}>"


class Event(NamedTuple):
    """What a hook gets. `kind`: ``entered``, ``refused`` or ``finished``; `reason` only where it was refused."""

    kind: str
    flow: str
    state: str
    current: Optional[str]
    reason: Optional[str]
    environ: Mapping[str, Any]


Hook = Callable[[Event], object]
