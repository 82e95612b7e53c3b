"""May it pass? The seven lines of CONTRACT 3, in its words. Start reading here.

Let S be the requested state and C the current one. The first line that applies decides:

1. No run: a start begins one; anything else is `not_started`.
2. S is C: a reload passes; a submission passes unless it is a duplicate, too fast or too late.
3. The run is finished: as 1, with the reason `finished`.
4. C -> S is declared, and was not yet taken or S is `repeat`: S is to be entered, unless something is in its way.
5. S is in the trail and its `back` is not `refuse`: a look, or an edit.
6. S is a start, and the flow has `restart` or the run is stuck: as 1, with the reason `illegal`.
7. Otherwise refuse.

Each line is one function below; `LINES` is their order. A refusal is a value; what comes of it is said by
`guidance` (a module of its own): where the visitor should be, what is missing, what would pass.

In a stuck run, lines 2, 4 and 5 give way to line 6 where they would leave the visitor without any way on (`_way_out`).
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, Hashable, NamedTuple, Optional, Union

from flowguard.core.flow import EDIT, REFUSE, SKEW, Condition, Definition, State
from flowguard.core.run import NOTHING, Run, Values, finished

Agrees = Callable[[Condition], bool]


class Reason(str, Enum):
    """Why a request was refused: the words of CONTRACT 5."""

    NOT_STARTED = "not_started"
    ILLEGAL = "illegal"
    DUPLICATE = "duplicate"
    SKIPPED = "skipped"
    CONDITION = "condition"
    TOO_FAST = "too_fast"
    EXPIRED = "expired"
    FINISHED = "finished"
    BUSY = "busy"
    BAD_COOKIE = "bad_cookie"
    WRONG_USER = "wrong_user"
    PATH = "path"
    UNAVAILABLE = "unavailable"


class Kind(Enum):
    """What a passing request is to the run, until the application's answer says what came of it."""

    BEGIN = "begin"  # a new run is to begin in S
    ENTER = "enter"  # S is to be entered from C
    STAY = "stay"  # S is C
    EDIT = "edit"  # a submission of an earlier state
    LOOK = "look"  # nothing changes
    PEEK = "peek"  # HEAD or OPTIONS: nothing changes, whatever is answered
    COMPANION = "companion"  # a path beside the steps
    STRAY = "stray"  # no transition leads there from C: for visitors who are watched and not led


def everything_agrees(_condition: Condition) -> bool:
    return True


NO_RUN = Run("")


class Attempt(NamedTuple):
    """A request, as the rules see it.

    state: the name of the state (or companion) whose path was asked for.
    submission: anything but a safe request.
    by_get: it is a submission by a GET, because the state has effects.
    users: who asks, as a digest under each of the secrets, the newest last; empty for nobody.
    now: milliseconds since the epoch; None leaves every time aside.
    peek: HEAD and OPTIONS: judged like GET, and never change a run.
    values: the path's variables, (name, text).
    agrees: says of a condition whether it agrees.
    lost: why a run that the visitor brought could not be used.
    """

    state: str
    submission: bool
    now: Optional[int]
    peek: bool = False
    values: Values = ()
    agrees: Agrees = everything_agrees
    lost: Optional[Reason] = None
    by_get: bool = False
    users: tuple[str, ...] = ()


class Passage(NamedTuple):
    """The request may pass. `line` is the line of the contract that says so; `claim`, that only one such submission
    may be under way in this run. `others`: what the application may take the request for instead, where a header names
    a method beside the wire's. `user`: who asked, as a digest."""

    kind: Kind
    state: str
    submission: bool
    line: int
    values: Values = ()
    claim: bool = False
    by_get: bool = False
    others: tuple[Passage, ...] = ()
    user: str = ""


class Refusal(NamedTuple):
    """The request may not pass. `ends`: the run is over with it (its time in a state has run out)."""

    reason: Reason
    state: str
    line: int
    ends: bool = False


Verdict = Union[Passage, Refusal]


class Case(NamedTuple):
    """What a line looks at. `ours`: the path's variables have the values that this run has; where they have not, S is
    neither C nor a successor nor in the trail."""

    flow: Definition
    run: Run
    state: State
    attempt: Attempt
    ours: bool


def decide(flow: Definition, run: Optional[Run], attempt: Attempt) -> Verdict:
    """May *attempt* pass, given *run*? Pure: the same arguments give the same answer (CONTRACT 3)."""
    run = NO_RUN if run is None else run
    state = flow.states.get(attempt.state)
    if state is None:
        return _companion(flow, run, attempt)
    case = Case(flow, run, state, attempt, not attempt.values or run.agrees_with(attempt.values, flow.vary))
    for line in LINES:
        verdict = line(case)
        if verdict is not None:
            return verdict
    return _line_7(case)


def foreign(flow: Definition, run: Run, attempt: Attempt) -> Optional[Reason]:
    """Why *run* is not that of whoever makes *attempt*, or None if it is. One that was begun by nobody belongs to the
    first user who goes on with it; one of another `instance` has been given this one's name (CONTRACT 2)."""
    if flow.instance is not None and dict(run.values).get(flow.instance) != dict(attempt.values).get(flow.instance):
        return Reason.BAD_COOKIE
    if flow.bind and run.user and run.user not in attempt.users:
        return Reason.WRONG_USER
    return None


def usable(flow: Definition, run: Run, now: int) -> Optional[Reason]:
    """Why *run* can't be used any more, or None if it can: its times, against the flow's (CONTRACT 2, 6)."""
    return out_of_time(flow, (run.started, run.changed, run.entered), now)


def out_of_time(flow: Definition, times: tuple[int, int, int], now: int) -> Optional[Reason]:
    """The same by its times alone: started, changed, entered."""
    started, changed, entered = times
    ahead = now + SKEW
    if started > ahead or changed > ahead or entered > ahead:
        return Reason.BAD_COOKIE
    if now - started > flow.ttl + SKEW or (flow.idle is not None and now - changed > flow.idle + SKEW):
        return Reason.EXPIRED
    return None


# --- the lines ------------------------------------------------------------------------------------------------------


def _line_1(case: Case) -> Optional[Verdict]:
    """No run: it begins, if S is a start."""
    if case.run.trail:
        return None
    return _begin(case, 1, case.attempt.lost or Reason.NOT_STARTED)


def _line_2(case: Case) -> Optional[Verdict]:
    """S is C."""
    state, run, attempt = case.state, case.run, case.attempt
    if not case.ours or state.name != run.trail[-1]:
        return None
    if not attempt.submission:
        if state.start and finished(case.flow, run):
            return _pass(case, Kind.BEGIN, 2)
        return None if _way_out(case) else _pass(case, Kind.STAY, 2)
    if state.repeat:
        return _pass(case, Kind.STAY, 2)
    if _submitted(case.flow, run, state):
        return None if not state.get and _way_out(case) else _refuse(case, Reason.DUPLICATE, 2)
    late = _hurry(run, state, attempt.now) or _delay(run, state, attempt.now)
    return _refuse(case, late, 2) if late else _pass(case, Kind.STAY, 2)


def _line_3(case: Case) -> Optional[Verdict]:
    """The run is finished: as 1, with the reason `finished`."""
    return _begin(case, 3, Reason.FINISHED) if finished(case.flow, case.run) else None


def _line_4(case: Case) -> Optional[Verdict]:
    """C -> S is declared, and was not yet taken or S is `repeat`. Where this would refuse a safe request that line 5
    passes, line 5 decides."""
    verdict = _step(case)
    gives_way = isinstance(verdict, Refusal) and (_may_look(case) or _way_out(case))
    return None if gives_way else verdict


def _line_5(case: Case) -> Optional[Verdict]:
    """S is in the trail and its `back` is not `refuse`. A look leaves a stuck run only if a submission would."""
    if _may_look(case):
        return None if not _submission_leads_out(case) and _way_out(case) else _pass(case, Kind.LOOK, 5)
    return _pass(case, Kind.EDIT, 5) if case.attempt.submission and _may_edit(case) else None


def _line_6(case: Case) -> Optional[Verdict]:
    """S is a start, and the flow has `restart` or the run is stuck: as 1, with the reason `illegal`."""
    if not case.state.start:
        return None
    if not case.flow.restart and not stuck(case.flow, case.run, case.attempt.agrees):
        return None
    return _begin(case, 6, Reason.ILLEGAL)


def _line_7(case: Case) -> Verdict:
    """Otherwise refuse."""
    taken = case.ours and (case.run.trail[-1], case.state.name) in case.run.history
    again = taken or (case.attempt.submission and _goes_back(case))
    return _refuse(case, Reason.DUPLICATE if again else Reason.ILLEGAL, 7)


#: In their order. What none of them decides, line 7 refuses.
LINES: tuple[Callable[[Case], Optional[Verdict]], ...] = (_line_1, _line_2, _line_3, _line_4, _line_5, _line_6)


def _companion(flow: Definition, run: Run, attempt: Attempt) -> Verdict:
    """A companion path passes only if the current state is in its list, or if it has none; else `illegal`."""
    companion = flow.companions[attempt.state]
    here = companion.within is None or run.current in companion.within
    # Another order's basket is no way around this rule; but a finished run holds nobody to its order any more.
    left_alone = bool(companion.undoes) and bool(run.trail) and finished(flow, run)
    if here and (left_alone or run.agrees_with(attempt.values, flow.vary)):
        kind = Kind.PEEK if attempt.peek else Kind.COMPANION
        return Passage(kind, attempt.state, attempt.submission, 0, by_get=attempt.by_get, user=user_of(attempt))
    return Refusal(Reason.ILLEGAL, attempt.state, 0)


def says(line: int) -> str:
    """A line in the contract's words, its first sentence; 0: that of companions."""
    texts = [_companion.__doc__, *(decides.__doc__ for decides in LINES), _line_7.__doc__]
    return " ".join((texts[line] or "").split()).partition(". ")[0].rstrip(".")


# --- what the lines share -------------------------------------------------------------------------------------------


def _pass(case: Case, kind: Kind, line: int) -> Passage:
    attempt = case.attempt
    if attempt.peek:
        kind = Kind.PEEK
    claim = attempt.submission and not case.state.repeat
    return Passage(
        kind, attempt.state, attempt.submission, line, attempt.values, claim, attempt.by_get, user=user_of(attempt)
    )


def user_of(attempt: Attempt) -> str:
    return attempt.users[-1] if attempt.users else ""


def _refuse(case: Case, reason: Reason, line: int) -> Refusal:
    return Refusal(reason, case.attempt.state, line, reason is Reason.EXPIRED and line > 1 and not case.attempt.peek)


def _begin(case: Case, line: int, otherwise: Reason) -> Verdict:
    """A new run begins in S if S is a start and its `when` agrees, but not by a submission of a `once` state, which
    needs a run first, nor of one with `min_seconds`."""
    state, submission = case.state, case.attempt.submission
    if not state.start:
        return _refuse(case, otherwise, line)
    if state.when is not None and not case.attempt.agrees(state.when):
        return _refuse(case, Reason.CONDITION, line)
    if submission and state.once:
        return _refuse(case, otherwise, line)
    if submission and state.min_time is not None and case.attempt.now is not None:
        return _refuse(case, Reason.TOO_FAST, line)
    return _pass(case, Kind.BEGIN, line)


def _submitted(flow: Definition, run: Run, state: State) -> bool:
    """Would a further submission of C, which is not `repeat`, be a duplicate?"""
    return state.name in run.done or state.name in run.spent or finished(flow, run)


def _step(case: Case) -> Optional[Verdict]:
    """Line 4 by itself."""
    current = case.flow.states[case.run.trail[-1]]
    if not case.ours or case.state.name not in current.to:
        return None
    if not case.state.repeat and (current.name, case.state.name) in case.run.history:
        return None
    reason = _obstacle(case, current)
    return _pass(case, Kind.ENTER, 4) if reason is None else _refuse(case, reason, 4)


def _obstacle(case: Case, current: State) -> Optional[Reason]:
    """What stands in the way of C -> S, in the order of line 4."""
    state, attempt, run = case.state, case.attempt, case.run
    if attempt.submission and state.name in run.spent:
        return Reason.DUPLICATE
    if missing(case.flow, run, state):
        return Reason.SKIPPED
    if attempt.submission and state.min_time is not None and attempt.now is not None:
        return Reason.TOO_FAST
    late = _hurry(run, current, attempt.now) or _delay(run, current, attempt.now)
    if late is not None:
        return late
    for condition in (current.to[state.name], state.when):
        if condition is not None and not attempt.agrees(condition):
            return Reason.CONDITION
    return None


def _hurry(run: Run, state: State, now: Optional[int]) -> Optional[Reason]:
    """`too_fast`: the visitor must stay longer. Not shortened by a clock that runs ahead."""
    if state.min_time is None or now is None or now - run.entered >= state.min_time:
        return None
    return Reason.TOO_FAST


def _delay(run: Run, state: State, now: Optional[int]) -> Optional[Reason]:
    """`expired`: the visitor has stayed too long."""
    if state.max_time is None or now is None or now - run.entered <= state.max_time + SKEW:
        return None
    return Reason.EXPIRED


def _goes_back(case: Case) -> bool:
    return case.ours and case.state.back != REFUSE and case.state.name in case.run.trail[:-1]


def _may_look(case: Case) -> bool:
    return not case.attempt.submission and _goes_back(case)


def _may_edit(case: Case) -> bool:
    if case.state.back != EDIT or not _goes_back(case):
        return False
    return case.run.spent.isdisjoint(case.run.trail[case.run.trail.index(case.state.name) :])


def _way_out(case: Case) -> bool:
    """Would line 6 let a new run begin in S, because this one is stuck? (A condition that raises counts as no.)"""
    flow, run, agrees = case.flow, case.run, case.attempt.agrees
    if not case.state.start or finished(flow, run) or not stuck(flow, run, agrees):
        return False
    quiet = case._replace(attempt=case.attempt._replace(agrees=quietly(agrees)))
    return isinstance(_begin(quiet, 6, Reason.ILLEGAL), Passage)


def _submission_leads_out(case: Case) -> bool:
    """Would a submission of S begin a new run in it, or go back to it and on to an end? Then a look may stay one."""
    submission = case._replace(attempt=case.attempt._replace(submission=True))
    if not case.state.unsafe:
        return False
    if not _may_edit(submission):
        return _way_out(submission)
    if not (_step(submission) is None or _way_out(submission)):
        return False
    flow, spent = case.flow, case.run.spent  # which no edit frees
    return _leads_to_an_end(flow, case.state, spent) or not _leads_to_an_end(flow, case.state, NOTHING)


def _leads_to_an_end(flow: Definition, state: State, spent: frozenset[str]) -> bool:
    """Does a way lead from *state* to an end by none that is *spent*?"""
    seen, work = {state.name}, [state.name]
    while work:
        here = flow.states[work.pop()]
        if here.end:
            return True
        onward = [name for name in here.to if name not in seen and name not in spent]
        seen.update(onward)
        work.extend(onward)
    return False


def completed(flow: Definition, run: Run, name: str) -> bool:
    """Is the state in the trail and, where it is `submit`, done?"""
    return name in run.trail and (not flow.states[name].submit or name in run.done)


def missing(flow: Definition, run: Run, state: Optional[State]) -> tuple[Union[str, tuple[str, ...]], ...]:
    """What *state* (None: a companion) still waits for: the current state first if it must be submitted, then every
    unmet requirement; of a group of which ANY would do, the whole group."""
    current = flow.states[run.trail[-1]] if run.trail else None
    first = (current.name,) if current is not None and current.submit and current.name not in run.done else ()
    if state is None or not state.requires:
        return first
    unmet = tuple(
        group[0] if len(group) == 1 else group
        for group in state.requires
        if not any(completed(flow, run, name) for name in group)
    )
    return first + tuple(group for group in unmet if group not in first)


def stuck(flow: Definition, run: Run, agrees: Agrees = everything_agrees) -> bool:
    """Times aside: no submission of C that its path takes would pass, and no transition from C can be entered by any
    method that its path takes. A condition that raises counts as no."""
    current = flow.states[run.trail[-1]]
    if current.unsafe and (current.repeat or not _submitted(flow, run, current)):
        return False


    def leads_on(name: str) -> bool:
        state = flow.states[name]
        return any(enterable(flow, run, state, submission, None, agrees) for submission in methods_of(state))

    return next(flow.onward[current.name].those(leads_on, met(flow, run)), None) is None


def met(flow: Definition, run: Run) -> dict[str, Hashable]:
    """Of the states that the run has met, what the rules look at beside what they are: whether the way there from C is
    taken, and whether they are spent. C itself is like no other, nor is a start that may be gone back to: whether it
    leads out of a stuck run, its place in the trail decides (`_submission_leads_out`)."""
    current = run.trail[-1]
    taken = {after for before, after in run.history if before == current}
    found: dict[str, Hashable] = {}
    for name in (*run.trail, *taken, *run.spent):
        state = flow.states[name]
        alone = name == current or (state.start and state.back != REFUSE)
        found[name] = name if alone else (name in taken, name in run.spent)
    return found


def methods_of(state: State) -> tuple[bool, ...]:
    """Whether the state's paths take a safe request (False) and a submission (True)."""
    return ((False,) if state.get else ()) + ((True,) if state.unsafe else ())


def enterable(
    flow: Definition, run: Run, state: State, submission: bool, now: Optional[int], agrees: Agrees
) -> bool:
    """Would line 4 let *state* be entered? Asked for others than the request, so a condition that raises is a no."""
    attempt = Attempt(state.name, submission, now, agrees=quietly(agrees))
    return isinstance(_step(Case(flow, run, state, attempt, True)), Passage)


def quietly(agrees: Agrees) -> Agrees:
    """The same conditions, asked for another's sake than the request's: one that raises counts as no."""
    if agrees is everything_agrees:
        return agrees

    def asked(condition: Condition) -> bool:
        try:
            return agrees(condition)
        except Exception:  # whatever the deployer's function raises: nobody asked for this state
            return False

    return asked
