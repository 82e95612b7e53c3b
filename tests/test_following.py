"""Where a run goes that is watched and not led: every request has a passage, whatever the rules say of it."""

from __future__ import annotations

import random

import pytest
from test_passage import flow, run, state

from flowguard.core.flow import Companion
from flowguard.core.following import as_if_legal
from flowguard.core.outcome import Answer, settle
from flowguard.core.passage import Attempt, Kind
from flowguard.core.run import Run

SHOP = flow(
    state("/cart", "/shipping", start=True),
    state("/shipping", "/payment /cart", submit=True),
    state("/payment", "/done", submit=True, once=True),
    state("/done"),
    companions=[Companion("/help", frozenset({"/payment"}))],
)
SHOWN = Answer(200, html=True)
SEVEN, EIGHT = (("id", "7"),), (("id", "8"),)


@pytest.mark.parametrize(
    ("where", "attempt", "kind"),
    [
        (None, Attempt("/payment", False, 0), Kind.BEGIN),
        (Run("id"), Attempt("/payment", True, 0), Kind.BEGIN),
        (run("/cart"), Attempt("/shipping", False, 0), Kind.ENTER),
        (run("/cart"), Attempt("/cart", True, 0), Kind.STAY),
        (run("/cart"), Attempt("/payment", True, 0), Kind.STRAY),
        (run("/cart"), Attempt("/payment", False, 0, peek=True), Kind.PEEK),
        (run("/cart"), Attempt("/help", True, 0), Kind.COMPANION),
        (None, Attempt("/help", True, 0), Kind.COMPANION),
        (run("/done"), Attempt("/payment", True, 0), Kind.BEGIN),
        (run("/done"), Attempt("/done", True, 0), Kind.STAY),
        (run("/cart")._replace(values=SEVEN), Attempt("/shipping", False, 0, values=EIGHT), Kind.BEGIN),
        (run("/cart")._replace(values=SEVEN), Attempt("/shipping", False, 0, values=SEVEN), Kind.ENTER),
    ],
    ids=["no run", "an empty run", "a declared step", "the current state", "no declared step", "HEAD", "a companion",
         "a companion without a run", "a finished run", "the end, again", "other values", "the same values"],
)  # fmt: skip
def test_a_refused_request_is_taken_as_if_it_had_been_legal(where, attempt, kind):
    passage = as_if_legal(SHOP, where, attempt)
    assert (passage.kind, passage.state, passage.submission, passage.values, passage.claim) == (
        kind, attempt.state, attempt.submission, attempt.values, False,
    )  # fmt: skip


def test_who_asks_and_as_what_is_kept():
    attempt = Attempt("/shipping", True, 0, by_get=True, users=("old", "new"))
    passage = as_if_legal(SHOP, run("/cart"), attempt)
    assert (passage.line, passage.by_get, passage.user) == (0, True, "new")


def test_a_value_that_may_change_is_of_the_same_run():
    machine = flow(*SHOP.states.values(), vary=frozenset({"id"}))
    where = run("/cart")._replace(values=SEVEN)
    assert as_if_legal(machine, where, Attempt("/shipping", False, 0, values=EIGHT)).kind is Kind.ENTER


def follow(where, name, submission=False, answer=SHOWN):
    return settle(SHOP, where, as_if_legal(SHOP, where, Attempt(name, submission, 0)), answer, 5).run


def test_a_step_that_is_not_declared_leaves_no_history():
    left = follow(run("/cart"), "/payment")
    assert (left.trail, left.history, left.entered) == (("/cart", "/payment"), (), 5)


def test_a_way_back_takes_the_run_back():
    left = follow(run("/cart /shipping /payment", "/cart /shipping"), "/cart")
    assert (left.trail, left.history, left.done) == (("/cart",), (), frozenset())


def test_a_submission_that_counts_is_done_where_it_went():
    left = follow(run("/cart"), "/payment", True, Answer(204))
    assert (left.trail, sorted(left.done), sorted(left.spent)) == (("/cart", "/payment"), ["/payment"], ["/payment"])


def test_what_failed_moves_nobody():
    assert follow(run("/cart"), "/payment", True, Answer(422)).trail == ("/cart",)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_visitor_does_the_history_holds_declared_transitions_of_the_trail_only(seed):
    rng, where = random.Random(seed), Run("id")
    answers = [SHOWN, Answer(204), Answer(500), Answer(422)]
    for _ in range(200):
        where = follow(where, rng.choice([*SHOP.states, "/help"]), rng.random() < 0.5, rng.choice(answers))
        assert all(to in SHOP.states[before].to for before, to in where.history)
        assert {name for step in where.history for name in step} <= set(where.trail)
        assert len(set(where.trail)) == len(where.trail)
