"""Runs in a ledger, where it is clearer without the whole stack: who waits, who overtakes, and what is written."""

from __future__ import annotations

import logging
from typing import Any, Optional

import pytest

from flowguard import records
from flowguard.codec import Codec
from flowguard.core.flow import Definition, State
from flowguard.core.outcome import Answer, Outcome, Settled, settle
from flowguard.core.passage import Attempt, Passage, decide
from flowguard.core.run import Run
from flowguard.errors import LedgerUnavailable
from flowguard.keeping import LAST_PAUSE, MAX_AWAITED, MAX_WRITES, Held, Keeper
from flowguard.ledgers.base import Claim, Record
from flowguard.ledgers.memory import MemoryLedger
from flowguard.records import Led

NOW = 1_800_000_000_000  # milliseconds
FLOW = Definition(
    "flow",
    {
        "a": State("a", start=True, to={"b": None}, submit=True),
        "b": State("b", to={"c": None}, once=True, submit=True),
        "c": State("c"),
    },
)
CODEC = Codec(FLOW)
START = Run("x" * 16).begun("a", (), NOW).counted(NOW)
AT_B = START.doing("a").entering("b", NOW).counted(NOW)
KEY = f"flow:{START.id}"
DONE = Answer(204)


def keeper(ledger: Any, *, wait: float = 0, pause: Any = lambda seconds: None) -> Keeper:
    return Keeper(FLOW, CODEC, ledger, wait, 300, pause)


def passage(run: Run, state: str, submission: bool = True) -> tuple[Attempt, Passage]:
    attempt = Attempt(state, submission, NOW)
    verdict = decide(FLOW, run, attempt)
    assert isinstance(verdict, Passage)
    return attempt, verdict


def keep(kept: Keeper, held: Held, state: str, led: Optional[str] = None, answer: Answer = DONE) -> Settled:
    attempt, verdict = passage(held.run, state)
    return kept.keep(held, attempt, verdict, answer, settle(FLOW, held.run, verdict, answer, NOW), led, NOW)


def told(ledger: MemoryLedger) -> tuple[Optional[Run], Optional[Led], Optional[Claim]]:
    """What the ledger holds: the run, where its last submission led, and the claim."""
    record = ledger.read(KEY, now=NOW / 1000)
    assert record is not None
    entry = records.read(record.text)
    run = CODEC.decode(entry.run)
    if run is not None:  # for operators, who have no flow
        assert (entry.current, set(entry.spent)) == (run.current or "", run.spent)
    return run, entry.led, record.claim


class Overtaken(MemoryLedger):
    """Somebody else writes *runs* just before we do, one for each of our tries."""

    def __init__(self, *runs: Optional[Run]) -> None:
        super().__init__()
        self.runs = list(runs)

    def write(self, key: str, text: str, **named: Any) -> bool:
        if self.runs:
            run = self.runs.pop(0)
            record = self.read(key, now=named["now"])
            if run is None:
                self.forget(key)
            else:
                version = record.version if record else 0
                super().write(key, CODEC.encode(run), **{**named, "version": version, "release": None})
        return super().write(key, text, **named)


# --- claims ----------------------------------------------------------------------------------------------------------


def test_the_first_submission_takes_a_place_and_a_claim():
    ledger = MemoryLedger()
    held = keeper(ledger).claimed(START, CODEC.encode(START), "a", NOW)
    run, led, claim = told(ledger)
    assert (held.run, held.version, held.busy, held.led) == (START, 1, False, None)
    assert claim == Claim(held.token or "", "a", NOW / 1000 + 300)
    assert (run, led) == (START, None)


def test_who_waits_looks_again_in_growing_pauses():
    ledger, pauses = MemoryLedger(), []
    first = keeper(ledger).claimed(START, "", "a", NOW)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            ledger.release(KEY, first.token or "", now=NOW / 1000)

    second = keeper(ledger, wait=60, pause=pause).claimed(START, CODEC.encode(START), "a", NOW)
    assert pauses == [0.005, 0.01, 0.02, 0.04, 0.05, 0.05]
    assert (second.busy, second.token is None) == (False, False)


class Waiter:
    """A keeper's pauses, which make the time pass."""

    def __init__(self, ledger: MemoryLedger, wait: float) -> None:
        self.paused = 0.0
        self.keeper = Keeper(FLOW, CODEC, ledger, wait, 300, self.pause, lambda: self.paused)

    def pause(self, seconds: float) -> None:
        self.paused += seconds

    def submit(self) -> tuple[bool, float]:
        """Was it busy, and how long did that take?"""
        begun = self.paused
        return self.keeper.claimed(START, CODEC.encode(START), "a", NOW).busy, self.paused - begun


def test_who_waited_long_enough_is_busy_and_nobody_waits_for_the_same_again():
    """Or every further click on a slow payment would hold a worker of the server's for as long."""
    ledger = MemoryLedger()
    first = keeper(ledger).claimed(START, "", "a", NOW)
    waiter = Waiter(ledger, wait=2)
    assert waiter.submit() == (True, pytest.approx(2, abs=LAST_PAUSE))
    assert [waiter.submit() for _ in range(3)] == [(True, 0)] * 3
    ledger.release(KEY, first.token or "", now=NOW / 1000)
    assert waiter.submit() == (False, 0)


def test_the_next_submission_is_waited_for_anew():
    ledger = MemoryLedger()
    waiter = Waiter(ledger, wait=2)
    for _ in range(2):
        held = keeper(ledger).claimed(START, "", "a", NOW)
        assert waiter.submit() == (True, pytest.approx(2, abs=LAST_PAUSE))
        ledger.release(KEY, held.token or "", now=NOW / 1000)


def test_nobody_waits_where_there_is_no_time_to_wait():
    ledger = MemoryLedger()
    keeper(ledger).claimed(START, "", "a", NOW)
    assert Waiter(ledger, wait=0).submit() == (True, 0)


def test_the_claims_that_were_waited_for_are_not_remembered_for_ever():
    ledger = MemoryLedger()
    waiter = Waiter(ledger, wait=2)
    for _ in range(MAX_AWAITED + 1):
        held = keeper(ledger).claimed(START, "", "a", NOW)
        waiter.submit()
        ledger.release(KEY, held.token or "", now=NOW / 1000)
    assert len(waiter.keeper._patience._since) == MAX_AWAITED


class Contested(MemoryLedger):
    """Always another's claim whose lease is over, however often it is buried; or none at all, and never ours."""

    def __init__(self, claim: Optional[Claim]) -> None:
        super().__init__()
        self.held, self.asked = claim, 0

    def claim(self, key: str, claim: Claim, **named: Any) -> Record:
        self.asked += 1
        record = super().claim(key, claim, **named)
        return record._replace(claim=self.held)


@pytest.mark.parametrize("claim", [None, Claim("other", "a", NOW / 1000 - 1)], ids=["nobody's", "a dead worker's"])
def test_a_claim_that_can_not_be_won_in_some_tries_is_busy(claim: Optional[Claim]):
    ledger = Contested(claim)
    held = keeper(ledger).claimed(START, CODEC.encode(START), "a", NOW)
    assert (held.busy, held.token, ledger.asked) == (True, None, MAX_WRITES)


@pytest.mark.parametrize(
    ("state", "text", "spent"),
    [
        ("b", CODEC.encode(AT_B), {"b"}),
        ("b", CODEC.encode(AT_B.spending("b")), {"b"}),
        ("a", CODEC.encode(AT_B), set()),
        ("gone", CODEC.encode(AT_B), set()),
        ("b", "from another version", set()),
    ],
    ids=["once", "spent already", "not once", "a state that no longer exists", "a text that we can't read"],
)
def test_what_a_dead_worker_had_begun_is_spent_if_it_may_have_been_done(
    state: str, text: str, spent: set[str], caplog: Any
):
    ledger = MemoryLedger()
    ledger.claim(KEY, Claim("dead", state, NOW / 1000 - 1), text=text, expires=NOW, now=NOW / 1000)
    with caplog.at_level(logging.WARNING, "flowguard.ledger"):
        held = keeper(ledger).claimed(AT_B, CODEC.encode(AT_B), "b", NOW)
    assert (held.busy, held.run.spent) == (False, spent)
    assert [record.getMessage() for record in caplog.records] == [
        f"a submission of {state!r} in flow 'flow' ended without an answer (run {records.digest(START.id)})"
    ]


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_submission_is_kept_with_where_it_led_and_its_claim_ends():
    ledger = MemoryLedger()
    kept = keeper(ledger)
    settled = keep(kept, kept.claimed(AT_B, CODEC.encode(AT_B), "b", NOW), "b", "/c?id=7")
    assert told(ledger) == (settled.run, Led("b", "/c?id=7"), None)
    assert kept.newest(AT_B, "", NOW).led == Led("b", "/c?id=7")


@pytest.mark.parametrize("led", ["/c\nSet-Cookie: x", "/" + "x" * 2000], ids=["two lines", "too long"])
def test_where_it_led_is_left_out_if_it_can_not_be_kept(led: str):
    ledger = MemoryLedger()
    kept = keeper(ledger)
    settled = keep(kept, kept.claimed(AT_B, CODEC.encode(AT_B), "b", NOW), "b", led)
    assert told(ledger) == (settled.run, None, None)


def test_a_change_that_was_overtaken_is_judged_again_against_the_newest():
    newest = AT_B.counted(NOW + 5)
    ledger = Overtaken(newest)
    kept = keeper(ledger)
    settled = keep(kept, kept.claimed(AT_B, CODEC.encode(AT_B), "b", NOW), "b")
    assert settled.run == newest.doing("b").spending("b").counted(NOW)
    assert told(ledger) == (settled.run, None, None)


@pytest.mark.parametrize(
    ("newest", "after"),
    [
        (AT_B.going_back("a", NOW).counted(NOW), AT_B.going_back("a", NOW).counted(NOW).spending("b").counted(NOW)),
        (AT_B.emptied().counted(NOW), AT_B.emptied().counted(NOW)),
        (AT_B.spending("b").counted(NOW), AT_B.spending("b").counted(NOW)),
    ],
    ids=["of the same run: but for what it spent", "of a new run: dropped", "spent already: dropped"],
)
def test_a_change_that_the_newest_run_refuses_is_dropped(newest: Run, after: Run):
    ledger = Overtaken(newest)
    kept = keeper(ledger)
    settled = keep(kept, kept.claimed(AT_B, CODEC.encode(AT_B), "b", NOW), "b")
    assert settled.run == after
    assert told(ledger)[::2] == (after, None)


def test_a_change_whose_record_was_forgotten_meanwhile_is_written_anew():
    ledger = Overtaken(None)
    kept = keeper(ledger)
    settled = keep(kept, kept.claimed(AT_B, CODEC.encode(AT_B), "b", NOW), "b")
    assert told(ledger) == (settled.run, None, None)


class Stubborn(MemoryLedger):
    """Never takes a write; *error*: does not even answer."""

    def __init__(self, error: Optional[LedgerUnavailable] = None) -> None:
        super().__init__()
        self.tries, self.error = 0, error

    def write(self, key: str, text: str, **named: Any) -> bool:
        self.tries += 1
        if self.error:
            raise self.error
        return False


GONE = LedgerUnavailable("test://", "gone")


@pytest.mark.parametrize(("error", "tries"), [(None, MAX_WRITES), (GONE, 1)], ids=["overtaken for ever", "gone"])
def test_a_change_that_can_not_be_written_is_in_the_cookie_all_the_same(error: Optional[LedgerUnavailable], tries: int):
    ledger = Stubborn(error)
    kept = keeper(ledger)
    held = kept.claimed(AT_B, CODEC.encode(AT_B), "b", NOW)
    settled = keep(kept, held, "b")
    assert (settled.outcome, settled.run.spent, ledger.tries) == (Outcome.SUCCESS, {"b"}, tries)


def test_a_change_of_nothing_only_ends_its_claim():
    ledger = Stubborn()
    kept = keeper(ledger)
    settled = keep(kept, kept.claimed(START, CODEC.encode(START), "a", NOW), "a", answer=Answer(422))
    assert (settled, ledger.tries) == (Settled(START, Outcome.FAILED), 0)
    assert told(ledger) == (START, None, None)


def test_without_a_ledger_every_cookie_is_the_newest_and_nothing_is_kept():
    kept = keeper(None)
    held = kept.claimed(AT_B, "", "b", NOW)
    assert (held, kept.newest(AT_B, "", NOW)) == (Held(AT_B), Held(AT_B))
    assert keep(kept, held, "b").run == AT_B.doing("b").spending("b").counted(NOW)


# --- a reset ---------------------------------------------------------------------------------------------------------

EMPTY = AT_B.emptied().counted(NOW)


def remembered(ledger: MemoryLedger, run: Run) -> Held:
    keeper(ledger).claimed(run, CODEC.encode(run), "b", NOW)
    return keeper(ledger).newest(run, "", NOW)


def test_a_reset_is_written_over_whatever_came_in_between():
    ledger = Overtaken()
    held = remembered(ledger, AT_B)
    ledger.runs = [AT_B.counted(NOW + 1), AT_B.counted(NOW + 2)]
    keeper(ledger).replace(held, EMPTY, NOW)
    assert told(ledger)[0] == EMPTY


def test_a_reset_of_what_was_forgotten_meanwhile_takes_no_place():
    ledger = Overtaken()
    held = remembered(ledger, AT_B)
    ledger.runs = [None]
    keeper(ledger).replace(held, EMPTY, NOW)
    assert ledger.read(KEY, now=NOW / 1000) is None


@pytest.mark.parametrize(("error", "tries"), [(None, MAX_WRITES), (GONE, 1)], ids=["overtaken for ever", "gone"])
def test_a_reset_that_can_not_be_written_gives_up(error: Optional[LedgerUnavailable], tries: int):
    ledger = Stubborn(error)
    keeper(ledger).replace(remembered(ledger, AT_B), EMPTY, NOW)
    assert (told(ledger)[0], ledger.tries) == (AT_B, tries)


# --- cookie and ledger together --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookie", "merged"),
    [
        (START, AT_B),
        (AT_B._replace(seq=99), AT_B),
        (AT_B.spending("b"), AT_B.spending("b")),
        (AT_B._replace(first=5).spending("b"), AT_B),
    ],
    ids=["older", "a higher number", "calls something spent", "calls something spent in another run"],
)
def test_where_the_ledger_holds_the_run_its_copy_counts_but_for_what_the_cookie_calls_spent(cookie: Run, merged: Run):
    ledger = MemoryLedger()
    remembered(ledger, AT_B)
    assert keeper(ledger).newest(cookie, "", NOW).run == merged
