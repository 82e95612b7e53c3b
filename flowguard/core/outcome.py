"""Did it count? The rows of CONTRACT 4, in its words: what the application's answer does to the run.

`ROWS` is the table; the first row that applies decides. `settle` carries it out. The application may overrule the
table by an `Overrule`: what it says in a response header or on ``environ["flowguard.run"]``.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, NamedTuple, Optional, Union

from flowguard.core.flow import NO_ANSWERS, Answers, Companion, Definition, State
from flowguard.core.passage import Kind, Passage
from flowguard.core.run import NOTHING, Run, Values, exhausted, finished


class Outcome(Enum):
    """What an answer meant."""

    NOTHING = "nothing"
    ENTERED = "entered"
    ENTERED_DONE = "entered and done"
    BACK = "went back"
    SUCCESS = "success"
    FAILED = "failed"
    SHOWN = "shown"
    UNKNOWN = "unknown"
    FINISH = "finish"
    RESET = "reset"


class Overrule(str, Enum):
    """What an application may say in place of the table."""

    SUCCESS = "success"
    FAILED = "failed"
    FINISH = "finish"
    RESET = "reset"


class Destination(NamedTuple):
    """Where a redirect leads.

    state: the state of this flow that a GET there would ask for, or None. values: that path's variables.
    path, query: below the mount point on the same host; path is None for anything else. url: the whole of it.
    companion: the one that a GET there would ask for, which is no state. shut: nobody gets there.
    """

    state: Optional[str]
    url: str
    path: Optional[str] = None
    query: str = ""
    values: Values = ()
    companion: Optional[str] = None
    shut: bool = False


class Answer(NamedTuple):
    """The application's answer, as the rules see it. A status of 0: it raised before it answered.

    texts: those of the state's `accept` and `reject` that stand in it.
    """

    status: int
    html: bool = False
    to: Optional[Destination] = None
    overrule: Optional[Overrule] = None
    texts: frozenset[str] = frozenset()


NO_ANSWER = Answer(0)


class Settled(NamedTuple):
    """What came of a request. `run` is the very run that went in where nothing changed."""

    run: Run
    outcome: Outcome


class Case(NamedTuple):
    """What a row looks at. `by_get`: a submission by a GET. `trail`: the run's, as far as the redirect's path may mean
    it; `elsewhere`: that path has other values than the run as it will be."""

    flow: Definition
    state: State
    submission: bool
    by_get: bool
    answer: Answer
    trail: tuple[str, ...]
    elsewhere: bool


class Row(NamedTuple):
    """One row of the table: for a safe request that would enter S, for a submission of S, and of a `once` S."""

    says: str
    applies: Callable[[Case], bool]
    safe: Outcome
    submission: Outcome
    once: Optional[Outcome] = None


# --- the table -------------------------------------------------------------------------------------------------------


def _matches(answers: Answers, answer: Answer, submission: bool) -> bool:
    if answers is NO_ANSWERS:
        return False
    if submission and answer.status in answers.statuses:
        return True
    if not answers.texts.isdisjoint(answer.texts):
        return True
    if answer.to is not None:
        for glob in answers.globs:
            if glob.matches(_subject(answer.to, glob.text)):
                return True
    return False


def _subject(to: Destination, glob: str) -> str:
    """A glob is matched against the path below the mount point on the same host, with its query if the glob has a
    ``?``; else against the whole URL. But one that begins with ``*/`` speaks of a path wherever it is, and not of a
    host: many an application takes that from a header, and ``//login.example/`` would say that it wants a login."""
    if to.path is None:
        _, elsewhere, rest = to.url.partition("://")
        return f"/{rest.partition('/')[2]}" if elsewhere and glob.startswith("*/") else to.url
    return f"{to.path}?{to.query}" if "?" in glob and to.query else to.path


def _rejects(flow: Definition, step: Union[State, Companion], answer: Answer, submission: bool) -> bool:
    return _matches(step.reject, answer, submission) or _matches(flow.reject, answer, submission)


def _rejected(case: Case) -> bool:
    return _rejects(case.flow, case.state, case.answer, case.submission)


def _accepted(case: Case) -> bool:
    return _matches(case.state.accept, case.answer, case.submission)


def _onward(case: Case) -> bool:
    to, state = case.answer.to, case.state
    if to is None:
        return False
    if to.state in state.to:
        return not case.elsewhere
    if not state.end:
        return False
    return to.state is None or (case.flow.states[to.state].start and (to.state != state.name or case.elsewhere))


def _to_itself(case: Case) -> bool:
    to = case.answer.to
    return to is not None and to.state == case.state.name and not case.elsewhere


def _to_the_trail(case: Case) -> bool:
    to = case.answer.to
    return to is not None and to.state in case.trail


def _redirect(case: Case) -> bool:
    return case.answer.to is not None


def _is_2xx(case: Case) -> bool:
    return 200 <= case.answer.status < 300


def _page(case: Case) -> bool:
    return not case.submission and _is_2xx(case)


def _page_of_effects(case: Case) -> bool:
    return case.by_get and _is_2xx(case)


def _without_page(case: Case) -> bool:
    return _is_2xx(case) and (case.answer.status in (201, 202, 204, 205) or not case.answer.html)


def _is_4xx(case: Case) -> bool:
    return 400 <= case.answer.status < 500


def _anything(_case: Case) -> bool:
    return True


ROWS = (
    Row("matches `reject`", _rejected, Outcome.NOTHING, Outcome.FAILED),
    Row("matches `accept`", _accepted, Outcome.ENTERED, Outcome.SUCCESS),
    Row("a redirect to a successor of S; where S is an end, also to another start or to anything that is no state of "
        "this flow", _onward, Outcome.ENTERED_DONE, Outcome.SUCCESS),
    Row("a redirect to S itself", _to_itself, Outcome.NOTHING, Outcome.FAILED),
    Row("a redirect to a state in the trail", _to_the_trail, Outcome.BACK, Outcome.BACK, Outcome.FAILED),
    Row("any other redirect", _redirect, Outcome.NOTHING, Outcome.UNKNOWN),
    Row("2xx, for a safe request", _page, Outcome.ENTERED, Outcome.NOTHING),
    Row("2xx, for a GET of a state with `effects`", _page_of_effects, Outcome.NOTHING, Outcome.SUCCESS),
    Row("201, 202, 204, 205, or another 2xx that is not HTML", _without_page, Outcome.NOTHING, Outcome.SUCCESS),
    Row("2xx HTML", _is_2xx, Outcome.NOTHING, Outcome.SHOWN),
    Row("4xx", _is_4xx, Outcome.NOTHING, Outcome.FAILED),
    Row("anything else (1xx, 304, 5xx, an exception)", _anything, Outcome.NOTHING, Outcome.UNKNOWN),
)  # fmt: skip


def row_for(flow: Definition, run: Run, passage: Passage, answer: Answer) -> Row:
    """The first row of the table that applies."""
    case = _case(flow, run, passage, answer)
    for row in ROWS:
        if row.applies(case):
            break
    return row


def _case(flow: Definition, run: Run, passage: Passage, answer: Answer) -> Case:
    trail, elsewhere = run.trail, False
    if answer.to is not None and answer.to.values:
        values = answer.to.values
        after = Run(run.id, values=passage.values) if passage.kind is Kind.BEGIN else run.pinning(passage.values)
        trail = trail if run.agrees_with(values, flow.vary) else ()
        elsewhere = not after.agrees_with(values, flow.vary)
    return Case(flow, flow.states[passage.state], passage.submission, passage.by_get, answer, trail, elsewhere)


def undecided(flow: Definition, run: Run, passage: Passage, answer: Answer) -> frozenset[str]:
    """The texts that would change what *answer* means if they were found in it, beside those that were."""
    if answer.overrule is not None or passage.kind in (Kind.PEEK, Kind.LOOK):
        return frozenset()
    step, submission = flow.step(passage.state), passage.submission
    if _rejects(flow, step, answer, submission) or (passage.kind is Kind.COMPANION and not submission):
        return frozenset()
    return step.reject.texts if _matches(step.accept, answer, submission) else step.texts


def read(flow: Definition, run: Run, passage: Passage, answer: Answer) -> Outcome:
    """What *answer* means for the request that was let through as *passage*."""
    row = row_for(flow, run, passage, answer)
    if not passage.submission:
        return row.safe
    if row.once is not None and flow.states[passage.state].once:
        return row.once
    return row.submission


def read_by(flow: Definition, run: Run, passage: Passage, answer: Answer) -> str:
    """By what *answer* is read, in words: a row of the table, or what goes before it (see `settle`)."""
    if passage.kind is Kind.PEEK:
        return "HEAD and OPTIONS change nothing"
    if answer.overrule is not None:
        return f"the application said `{answer.overrule.value}`"
    if passage.kind is Kind.LOOK:
        return "a look changes nothing"
    if passage.kind is Kind.COMPANION:
        return "a companion changes nothing but what it undoes, unless it failed"
    return row_for(flow, run, passage, answer).says


# --- what it does ----------------------------------------------------------------------------------------------------


def settle(flow: Definition, run: Run, passage: Passage, answer: Answer, now: int) -> Settled:
    """What *answer* does to *run*, from which *passage* was granted. Pure (CONTRACT 4).

    run: the run that was judged; one with an empty trail (but with an id) where there was none.
    now: milliseconds since the epoch.
    """
    outcome, after = _come_of(flow, run, passage, answer, now)
    for other in passage.others:
        after = _in_doubt(flow, run, after, other, answer, now)
    return Settled(run if after is run else _counted(flow, run, after, passage, now), outcome)


def _come_of(flow: Definition, run: Run, passage: Passage, answer: Answer, now: int) -> tuple[Outcome, Run]:
    if passage.kind is Kind.PEEK or (passage.kind is Kind.COMPANION and not run.trail):
        return Outcome.NOTHING, run
    if answer.overrule is not None:
        return _overruled(flow, run, passage, answer.overrule, now)
    if passage.kind is Kind.LOOK:
        return Outcome.NOTHING, run
    if passage.kind is Kind.COMPANION:
        return _undone(flow, run, passage, answer, now)
    outcome = read(flow, run, passage, answer)
    return outcome, _apply(flow, run, passage, outcome, answer, now)


def _in_doubt(flow: Definition, run: Run, after: Run, other: Passage, answer: Answer, now: int) -> Run:
    """Nobody knows whether the application heeds the header that names another method: what *other* would have spent
    or undone counts, too."""
    if not after.trail:
        return after
    if other.kind is Kind.COMPANION:
        return after if answer.overrule is not None else _undone(flow, after, other, answer, now)[1]
    spent = _come_of(flow, run, other, answer, now)[1].spent - run.spent
    return after if spent <= after.spent else after._replace(spent=after.spent | spent)


def _apply(flow: Definition, run: Run, passage: Passage, outcome: Outcome, answer: Answer, now: int) -> Run:
    state = flow.states[passage.state]
    if outcome is Outcome.BACK:
        assert answer.to is not None
        assert answer.to.state is not None
        return run.going_back(answer.to.state, now)
    if outcome is Outcome.FAILED:
        return run.freeing(state.name)
    if outcome is Outcome.UNKNOWN:
        return run.spending(state.name) if state.once else run
    if outcome is Outcome.NOTHING:
        return run
    counted = outcome is Outcome.SUCCESS or outcome is Outcome.ENTERED_DONE
    after = _arrive(run, passage, counted, now)
    if counted:
        after = after.doing(state.name)
    if not passage.submission or not state.once:
        return after
    return after.spending(state.name) if outcome is Outcome.SUCCESS else after.freeing(state.name)


def _undone(flow: Definition, run: Run, passage: Passage, answer: Answer, now: int) -> tuple[Outcome, Run]:
    """A submission of a companion that did not fail takes the run back to before the first of the states that it
    undoes; where its outcome is not known, too. A finished run is left alone."""
    companion = flow.companions[passage.state]
    first = next((name for name in run.trail if name in companion.undoes), None)
    if first is None or not passage.submission or finished(flow, run) or _failed(flow, companion, answer):
        return Outcome.NOTHING, run
    return Outcome.BACK, run.going_back_before(first, now)


def _failed(flow: Definition, companion: Companion, answer: Answer) -> bool:
    if _rejects(flow, companion, answer, True):
        return True
    return 400 <= answer.status < 500 and not _matches(companion.accept, answer, True)


def _arrive(run: Run, passage: Passage, counted: bool, now: int) -> Run:
    """S is entered if it was not yet; a submission of an earlier state that succeeds goes back to it."""
    if passage.kind is Kind.BEGIN:
        return run.begun(passage.state, passage.values, now)
    if passage.kind is Kind.ENTER:
        run = run.entering(passage.state, now)
    elif passage.kind is Kind.STRAY:
        run = run.straying(passage.state, now)
    elif passage.kind is not Kind.STAY and counted:
        run = run.going_back(passage.state, now)
    return run.pinning(passage.values)


def _overruled(
    flow: Definition, run: Run, passage: Passage, overrule: Overrule, now: int
) -> tuple[Outcome, Run]:
    """What the application says counts. On a companion path it speaks of the current state."""
    if overrule is Overrule.RESET:
        return Outcome.RESET, run.emptied() if run.trail else run
    if overrule is Overrule.FAILED:
        return Outcome.FAILED, _taken_back(run, passage)
    after = _succeeded(flow, run, passage, now)
    if overrule is Overrule.FINISH and after.trail:
        return Outcome.FINISH, after if after.closed else after._replace(closed=True)
    return Outcome.SUCCESS, after


def _taken_back(run: Run, passage: Passage) -> Run:
    """`failed`: of a submission, S is free; of a safe request, C is free and not done (a payment was cancelled)."""
    if passage.submission and passage.kind is not Kind.COMPANION:
        return run.freeing(passage.state)
    current = run.current
    if current is None or current not in run.done | run.spent:
        return run
    return run._replace(done=run.done - {current}, spent=run.spent - {current})


def _succeeded(flow: Definition, run: Run, passage: Passage, now: int) -> Run:
    """`success` and `finish`: S is entered and done; on a companion path, the current state is done."""
    name = passage.state
    if passage.kind is Kind.COMPANION:
        name = run.trail[-1]
    else:
        run = _arrive(run, passage, True, now)
    run = run.doing(name)
    return run.spending(name) if flow.states[name].once else run


def _counted(flow: Definition, before: Run, after: Run, passage: Passage, now: int) -> Run:
    """Where the exhausted state is a start, a new run begins in it at once: done and spent only as far as this
    request made it so. Every change counts, and takes along the latest values of `vary`, and whose run it is."""
    if after.trail and flow.states[after.trail[-1]].start and not after.closed and exhausted(flow, after):
        name = after.trail[-1]
        mine = frozenset({name}) if name == passage.state else NOTHING
        again = after.begun(name, passage.values, now)
        after = again._replace(done=after.done & mine, spent=(after.spent - before.spent) & mine)
    if after.trail and flow.vary:
        after = after.varying(passage.values, flow.vary)
    if after.trail and passage.user:
        after = after._replace(user=passage.user)
    return after.counted(now)
