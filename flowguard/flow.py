"""`Flow`: a flow that is declared as a value, or piece by piece beside its views; and driven by hand."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Callable, Mapping, NoReturn, Optional, TypeVar

from flowguard import paths as rules
from flowguard.config import Declared, Plan, read_declared
from flowguard.config.places import kind
from flowguard.core.flow import Condition, Definition
from flowguard.core.outcome import Answer, settle
from flowguard.core.passage import Attempt, Passage, Reason, decide
from flowguard.core.run import Run
from flowguard.errors import ConfigError, DuplicateTransition, InvalidTransition, Problem, SkippedTransition

View = TypeVar("View", bound=Callable[..., Any])
Agrees = TypeVar("Agrees", bound=Condition)

_ERRORS = {
    Reason.DUPLICATE: DuplicateTransition,
    Reason.SKIPPED: SkippedTransition,
    Reason.NOT_STARTED: SkippedTransition,
}
_PAGE, _NO_PAGE = Answer(200, html=True), Answer(204)


class Flow(Declared):
    """A flow: a dict of paths and its options (CONTRACT 2), or declared piece by piece beside the views.

    Give it to a guard, `FlowGuard(application, flow, secret_key=…)`, or drive it by hand:

    >>> flow = Flow({"/cart": {"to": ["/pay"]}, "/pay": {"once": True}}, name="shop")
    >>> run = flow.begin()
    >>> run = flow.settle(run, flow.check(run, "/cart"))
    >>> run = flow.settle(run, flow.check(run, "/pay"))
    >>> run = flow.settle(run, flow.check(run, "/pay", submission=True))
    >>> run.trail, sorted(run.spent)
    (('/cart', '/pay'), ['/pay'])
    >>> flow.check(run, "/pay", submission=True)
    Traceback (most recent call last):
        ...
    flowguard.errors.DuplicateTransition: /pay -> /pay: duplicate

    It is read on its first use, by a guard or by hand; then what is wrong raises a `ConfigError` that names every
    problem, and declaring more is one, too. The order of declarations is free: names are looked up on that first use.
    """

    def __init__(self, paths: Optional[Mapping[str, Any]] = None, **options: Any) -> None:
        super().__init__({}, options)
        if paths is not None and not isinstance(paths, Mapping):
            self._refuse("", f"is {kind(paths)}, not a dict of paths. Write {{'/cart': {{…}}}}.")
        self.paths.update(paths or {})

    def state(self, key: str, **settings: Any) -> Callable[[View], View]:
        """Declare a path and its state beside the view that serves it; the view stays as it is.

        key: a rule, after methods if need be (``"POST /charge"``). settings: those of a dict's value (CONTRACT 2).
        Raises `ConfigError` if the key is declared already, or the flow is in use.
        """
        self._open(f"[{key!r}]")
        if key in self.paths:
            self._refuse(f"[{key!r}]", "is declared already. Remove one.")
        self.paths[key] = settings
        return _unchanged

    def condition(self, source: str, to: Optional[str] = None) -> Callable[[Agrees], Agrees]:
        """Make the decorated function the condition of the transition from *source* to *to*; without *to*, of
        entering *source* (its `when`). It gets a context and says whether it agrees; it stays as it is.

        Raises `ConfigError` if the flow is in use.
        """

        def declare(function: Agrees) -> Agrees:
            self._open(f".condition({source!r}{'' if to is None else f', {to!r}'})")
            self.conditions.append((source, to, function))
            return function

        return declare

    @cached_property
    def plan(self) -> Plan:
        """The flow, read. Raises `ConfigError`."""
        problems: list[Problem] = []
        plan = read_declared(self, problems, rules.problems)
        if plan is None:
            raise ConfigError(problems)
        return plan

    @property
    def definition(self) -> Definition:
        """The flow as the rules see it. Raises `ConfigError`."""
        return self.plan.definition

    def begin(self, id: str = "by hand") -> Run:
        """A run in which nothing has happened yet."""
        return Run(id)

    def check(
        self, run: Optional[Run], to: str, *, submission: bool = False, now: Optional[int] = None, context: Any = None
    ) -> Passage:
        """May *run* ask for the state *to*, or submit it? If so, what the request is to the run: for `settle`.

        now: milliseconds since the epoch; None leaves every time aside. context: what conditions are called with.
        Raises `DuplicateTransition` if the step was taken and is not taken twice, `SkippedTransition` if something
        before it is missing (or no run has begun), `InvalidTransition` for every other reason, unknown states too.
        """
        definition = self.definition
        reason: Reason = Reason.ILLEGAL
        if to in definition.states or to in definition.companions:
            attempt = Attempt(to, submission, now, agrees=lambda condition: bool(condition(context)))
            verdict = decide(definition, run, attempt)
            if isinstance(verdict, Passage):
                return verdict
            reason = verdict.reason
        raise _ERRORS.get(reason, InvalidTransition)(None if run is None else run.current, to, reason.value)

    def settle(self, run: Run, passage: Passage, answer: Optional[Answer] = None, *, now: int = 0) -> Run:
        """The run after the request that *passage* let through was answered by *answer*.

        answer: None for what counts: a page for a safe request, a 204 for a submission. now: milliseconds.
        """
        if answer is None:
            answer = _NO_PAGE if passage.submission else _PAGE
        return settle(self.definition, run, passage, answer, now).run

    def _open(self, where: str) -> None:
        if self.sealed:
            self._refuse(where, "is declared too late: the flow is in use. Declare it before the guard is made.")

    def _refuse(self, where: str, what: str) -> NoReturn:
        raise ConfigError([Problem(f"{self.options.get('name', 'flow')}{where}", what)])


def _unchanged(view: View) -> View:
    return view
