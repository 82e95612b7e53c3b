"""May it pass? CONTRACT 3, a section a line."""

from __future__ import annotations

from typing import Optional

import pytest

from flowguard.core.flow import EDIT, VIEW, Companion, Definition, State
from flowguard.core.guidance import allowed, can_go, guidance, hoped, target
from flowguard.core.passage import (
    LINES,
    Attempt,
    Kind,
    Passage,
    Reason,
    Refusal,
    decide,
    methods_of,
    missing,
    says,
    stuck,
    usable,
)
from flowguard.core.run import Run

SECOND = 1000


def flow(*states: State, companions=(), **options) -> Definition:
    return Definition(
        "flow", {state.name: state for state in states}, {one.name: one for one in companions}, **options
    )


def state(name: str, to: str = "", requires: str = "", **fields) -> State:
    groups = tuple(tuple(group.split("|")) for group in requires.split())
    return State(name, to=dict.fromkeys(to.split()), requires=groups, **fields)


def run(trail: str, done: str = "", spent: str = "", history: Optional[str] = None, **fields) -> Run:
    names = tuple(trail.split())
    steps = tuple(zip(names, names[1:]))
    if history is not None:
        steps = tuple(tuple(step.split(">")) for step in history.split())
    return Run("id", 9, 1, names, steps, frozenset(done.split()), frozenset(spent.split()), **fields)


def get(name: str, now: int = 0, **fields) -> Attempt:
    return Attempt(name, False, now, **fields)


def post(name: str, now: int = 0, **fields) -> Attempt:
    return Attempt(name, True, now, **fields)


def passes(kind: Kind, name: str, line: int, submission: bool = False, claim: bool = False) -> Passage:
    return Passage(kind, name, submission, line, (), claim)


def refused(reason: Reason, name: str, line: int, ends: bool = False) -> Refusal:
    return Refusal(reason, name, line, ends)


SHOP = flow(
    state("cart", "shipping", start=True, repeat=True, back=EDIT),
    state("shipping", "payment", submit=True, back=EDIT),
    state("payment", "done", submit=True, once=True, back=VIEW),
    state("done"),
)
ABC = flow(state("a", "b", start=True), state("b", "c"), state("c"))


def no(_condition) -> bool:
    return False


def test_the_seventh_line_takes_what_the_six_before_it_leave():
    assert len(LINES) == 6


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (0, "A companion path passes only if the current state is in its list, or if it has none; else `illegal`"),
        (1, "No run: it begins, if S is a start"),
        (2, "S is C"),
        (5, "S is in the trail and its `back` is not `refuse`"),
        (7, "Otherwise refuse"),
    ],
)
def test_a_line_is_told_by_its_first_sentence(line, words):
    assert says(line) == words


# --- 1. no run


@pytest.mark.parametrize("nothing", [None, Run("id", 4)], ids=["without a run", "with an empty run"])
def test_a_start_begins_a_run(nothing):
    assert decide(SHOP, nothing, get("cart")) == passes(Kind.BEGIN, "cart", 1)


def test_a_submission_of_a_start_begins_a_run():
    assert decide(ABC, None, post("a")) == passes(Kind.BEGIN, "a", 1, True, True)


def test_any_other_state_is_not_started():
    assert decide(SHOP, None, get("payment")) == refused(Reason.NOT_STARTED, "payment", 1)


@pytest.mark.parametrize("lost", [Reason.BAD_COOKIE, Reason.EXPIRED, Reason.WRONG_USER])
def test_what_became_of_an_unusable_run_is_the_reason(lost):
    assert decide(SHOP, None, get("payment", lost=lost)) == refused(lost, "payment", 1)


def test_an_unusable_run_does_not_keep_anybody_from_the_start():
    assert decide(SHOP, None, get("cart", lost=Reason.BAD_COOKIE)) == passes(Kind.BEGIN, "cart", 1)


def test_a_start_whose_condition_disagrees_begins_nothing():
    guarded = flow(state("a", "b", start=True, when=no), state("b"))
    assert decide(guarded, None, get("a", agrees=no)) == refused(Reason.CONDITION, "a", 1)


def test_a_once_state_needs_a_run_before_it_is_submitted():
    single = flow(state("pay", start=True, submit=True, once=True))
    assert decide(single, None, post("pay")) == refused(Reason.NOT_STARTED, "pay", 1)
    assert decide(single, None, get("pay")) == passes(Kind.BEGIN, "pay", 1)


def test_a_start_with_a_minimal_stay_cannot_be_submitted_at_once():
    slow = flow(state("form", start=True, min_time=SECOND))
    assert decide(slow, None, post("form")) == refused(Reason.TOO_FAST, "form", 1)


def test_a_condition_agrees_where_the_asker_says_nothing_of_it():
    guarded = flow(state("a", "b", start=True, when=no), state("b"))
    assert decide(guarded, None, Attempt("a", False, 0)) == passes(Kind.BEGIN, "a", 1)


def test_a_beginning_asks_for_the_start_s_own_condition():
    wanted = object()
    guarded = flow(State("a", start=True, to={"b": object()}, when=wanted), State("b"))  # type: ignore[dict-item,arg-type]
    assert decide(guarded, None, get("a", agrees=[wanted].__contains__)) == passes(Kind.BEGIN, "a", 1)


# --- 2. S is C


def test_a_reload_passes():
    assert decide(SHOP, run("cart shipping"), get("shipping")) == passes(Kind.STAY, "shipping", 2)


def test_a_reload_of_the_last_page_passes():
    assert decide(SHOP, run("cart shipping payment done", "shipping payment"), get("done")).kind is Kind.STAY


def test_a_reload_of_a_finished_start_begins_a_new_run():
    single = flow(state("form", start=True, submit=True))
    assert decide(single, run("form", "form"), get("form")) == passes(Kind.BEGIN, "form", 2)


def test_a_submission_of_the_current_state_passes_alone():
    assert decide(SHOP, run("cart shipping"), post("shipping")) == passes(Kind.STAY, "shipping", 2, True, True)


def test_a_repeat_state_is_submitted_any_number_of_times():
    assert decide(SHOP, run("cart", "cart"), post("cart")) == passes(Kind.STAY, "cart", 2, True)


@pytest.mark.parametrize(
    "where",
    [run("cart shipping", "shipping"), run("cart shipping payment", "shipping", "payment")],
    ids=["done", "spent"],
)
def test_a_second_submission_is_a_duplicate(where):
    assert decide(SHOP, where, post(where.trail[-1])) == refused(Reason.DUPLICATE, where.trail[-1], 2)


def test_a_submission_of_a_finished_run_s_last_page_is_a_duplicate():
    assert decide(ABC, run("a b c"), post("c")) == refused(Reason.DUPLICATE, "c", 2)


def test_a_submission_that_comes_too_fast_or_too_late_is_refused():
    timed = flow(state("a", "b", start=True, min_time=5 * SECOND, max_time=60 * SECOND), state("b"))
    here = run("a", entered=0)
    assert decide(timed, here, post("a", 4999)) == refused(Reason.TOO_FAST, "a", 2)
    assert decide(timed, here, post("a", 5000)).kind is Kind.STAY
    assert decide(timed, here, post("a", 120_000)).kind is Kind.STAY
    assert decide(timed, here, post("a", 120_001)) == refused(Reason.EXPIRED, "a", 2, ends=True)


def test_a_maximal_stay_begins_with_the_entry():
    timed = flow(state("a", "b", start=True, max_time=60 * SECOND), state("b"))
    here = run("a", entered=500_000)
    assert decide(timed, here, post("a", 620_000)).kind is Kind.STAY
    assert decide(timed, here, post("a", 620_001)) == refused(Reason.EXPIRED, "a", 2, ends=True)


def test_a_finished_start_that_takes_no_get_is_not_submitted_twice():
    machine = flow(state("a", start=True, submit=True, get=False))
    assert decide(machine, run("a", "a"), post("a")) == refused(Reason.DUPLICATE, "a", 2)


def test_a_clock_that_runs_ahead_does_not_shorten_a_minimal_stay():
    timed = flow(state("a", "b", start=True, min_time=5 * SECOND), state("b"))
    assert decide(timed, run("a", entered=50_000), post("a", 51_000)).reason is Reason.TOO_FAST


# --- 3. the run is finished


def test_a_start_begins_a_new_run_when_the_old_one_is_finished():
    assert decide(ABC, run("a b c"), get("a")) == passes(Kind.BEGIN, "a", 3)


def test_everything_else_is_refused_as_finished():
    assert decide(ABC, run("a b c"), get("b")) == refused(Reason.FINISHED, "b", 3)


def test_a_finished_run_keeps_the_conditions_of_its_starts():
    guarded = flow(state("a", "b", start=True, when=no), state("b"))
    assert decide(guarded, run("a b"), get("a", agrees=no)) == refused(Reason.CONDITION, "a", 3)


def test_a_once_start_is_not_submitted_into_a_new_run():
    machine = flow(state("a", "b", start=True, submit=True, once=True), state("b"))
    assert decide(machine, run("a b", "a", "a"), post("a")) == refused(Reason.FINISHED, "a", 3)


# --- 4. C -> S is declared


def test_a_declared_step_passes():
    assert decide(ABC, run("a"), get("b")) == passes(Kind.ENTER, "b", 4)


def test_a_state_may_be_entered_by_a_submission():
    assert decide(ABC, run("a"), post("b")) == passes(Kind.ENTER, "b", 4, True, True)


def test_a_state_that_must_be_submitted_is_not_skipped():
    assert decide(SHOP, run("cart shipping"), get("payment")) == refused(Reason.SKIPPED, "payment", 4)
    assert decide(SHOP, run("cart shipping", "shipping"), get("payment")).kind is Kind.ENTER


def test_requirements_are_all_groups_and_any_of_each():
    machine = flow(
        state("a", "b c d", start=True), state("b", "d"), state("c", "d", submit=True),
        state("d", "e", requires="a b|c"), state("e"),
    )  # fmt: skip
    assert decide(machine, run("a"), get("d")) == refused(Reason.SKIPPED, "d", 4)
    assert decide(machine, run("a b"), get("d")).kind is Kind.ENTER
    assert decide(machine, run("a c"), get("d")) == refused(Reason.SKIPPED, "d", 4)
    assert decide(machine, run("a c", "c"), get("d")).kind is Kind.ENTER


def test_a_spent_state_is_not_submitted_when_it_is_entered_again():
    machine = flow(state("a", "pay", start=True), state("pay", "z", submit=True, once=True), state("z"))
    again = run("a", spent="pay")
    assert decide(machine, again, post("pay")) == refused(Reason.DUPLICATE, "pay", 4)
    assert decide(machine, again, get("pay")).kind is Kind.ENTER


def test_the_stay_before_a_step_has_bounds():
    timed = flow(state("a", "b", start=True, min_time=5 * SECOND, max_time=60 * SECOND), state("b"))
    assert decide(timed, run("a"), get("b", 4999)) == refused(Reason.TOO_FAST, "b", 4)
    assert decide(timed, run("a"), get("b", 5000)).kind is Kind.ENTER
    assert decide(timed, run("a"), get("b", 120_001)) == refused(Reason.EXPIRED, "b", 4, ends=True)


def test_a_look_ahead_by_head_ends_no_run():
    timed = flow(state("a", "b", start=True, max_time=SECOND), state("b"))
    assert decide(timed, run("a"), get("b", 100_000, peek=True)) == refused(Reason.EXPIRED, "b", 4)


def test_a_state_with_a_minimal_stay_is_not_submitted_on_entering():
    timed = flow(state("a", "b", start=True), state("b", min_time=SECOND))
    assert decide(timed, run("a"), post("b")) == refused(Reason.TOO_FAST, "b", 4)
    assert decide(timed, run("a"), get("b")).kind is Kind.ENTER


def test_the_condition_of_the_step_and_of_the_state_must_agree():
    wanted, granted = object(), object()
    machine = flow(State("a", start=True, to={"b": wanted}), State("b", when=granted))  # type: ignore[dict-item]
    for said in ([wanted], [granted], []):
        assert decide(machine, run("a"), get("b", agrees=said.__contains__)).reason is Reason.CONDITION
    assert decide(machine, run("a"), get("b", agrees=[wanted, granted].__contains__)).kind is Kind.ENTER


def test_a_condition_that_raises_is_the_asker_s_to_handle():
    def broken(_condition):
        raise ZeroDivisionError

    machine = flow(State("a", start=True, to={"b": no}), State("b"))
    with pytest.raises(ZeroDivisionError):
        decide(machine, run("a"), get("b", agrees=broken))


def test_a_step_that_was_taken_is_not_taken_again():
    machine = flow(state("a", "b c", start=True), state("b", "a c"), state("c"))
    assert decide(machine, run("b a", history="a>b b>a"), get("b")) == refused(Reason.DUPLICATE, "b", 7)


def test_a_step_to_a_repeat_state_is_taken_again():
    machine = flow(state("a", "b", start=True), state("b", "a c", repeat=True), state("c"))
    assert decide(machine, run("b a", history="a>b b>a"), get("b")) == passes(Kind.ENTER, "b", 4)


def test_a_look_is_allowed_where_a_step_is_not():
    machine = flow(state("a", "b", start=True, back=VIEW), state("b", "a c", submit=True), state("c"))
    assert decide(machine, run("a b"), get("a")) == passes(Kind.LOOK, "a", 5)


# --- 5. S is in the trail


def test_an_earlier_page_may_be_looked_at():
    assert decide(SHOP, run("cart shipping", "shipping"), get("cart")) == passes(Kind.LOOK, "cart", 5)


def test_an_earlier_form_may_be_sent_again_where_it_may_be_edited():
    here = run("cart shipping payment", "shipping")
    assert decide(SHOP, here, post("shipping")) == passes(Kind.EDIT, "shipping", 5, True, True)


def test_nothing_is_edited_behind_a_payment():
    here = run("cart shipping payment extra", "shipping payment", "payment")
    machine = flow(*SHOP.states.values(), state("extra", "payment"), state("more"))
    assert decide(machine, here, post("shipping")) == refused(Reason.DUPLICATE, "shipping", 7)
    assert decide(machine, here, get("shipping")).kind is Kind.LOOK


def test_what_may_only_be_viewed_is_not_submitted():
    machine = flow(state("a", "b", start=True, back=VIEW), state("b", "c"), state("c"))
    assert decide(machine, run("a b"), post("a")) == refused(Reason.DUPLICATE, "a", 7)


def test_by_default_there_is_no_way_back():
    assert decide(ABC, run("a b"), get("a")) == refused(Reason.ILLEGAL, "a", 7)


# --- 6. restart, and a stuck run


def test_a_flow_with_restart_begins_anew_from_anywhere():
    machine = flow(*ABC.states.values(), restart=True)
    assert decide(machine, run("a b"), get("a")) == passes(Kind.BEGIN, "a", 6)


def test_a_restart_is_judged_like_a_beginning():
    machine = flow(state("a", "b", start=True, submit=True, once=True), state("b", "c"), state("c"), restart=True)
    assert decide(machine, run("a b", "a", "a"), post("a")) == refused(Reason.ILLEGAL, "a", 6)


PAID_IN_DOUBT = run("cart shipping payment", "shipping", "payment")


def test_a_run_whose_payment_is_in_doubt_is_stuck():
    assert stuck(SHOP, PAID_IN_DOUBT)


def test_a_stuck_visitor_may_begin_anew():
    machine = flow(*(one for one in SHOP.states.values()))
    strict = flow(state("cart", "pay", start=True), state("pay", "done", submit=True, once=True), state("done"))
    assert decide(strict, run("cart pay", spent="pay"), get("cart")) == passes(Kind.BEGIN, "cart", 6)
    assert decide(machine, PAID_IN_DOUBT, get("cart")).kind is Kind.LOOK  # line 5 comes first


def test_the_reload_of_a_start_leaves_a_run_that_is_stuck_in_it():
    machine = flow(state("pay", "done", start=True, once=True, submit=True), state("done"))
    in_doubt = run("pay", spent="pay")
    assert decide(machine, in_doubt, get("pay")) == passes(Kind.BEGIN, "pay", 6)
    assert decide(machine, in_doubt, post("pay")) == refused(Reason.DUPLICATE, "pay", 2)


def test_a_start_that_takes_no_get_is_left_by_a_submission():
    machine = flow(state("a", "b", start=True, submit=True, get=False), state("b", when=no))
    assert decide(machine, run("a", "a"), post("a")._replace(agrees=no)) == passes(Kind.BEGIN, "a", 6, True, True)


def test_a_start_that_would_follow_a_stuck_state_begins_a_new_run():
    machine = flow(state("cart", "pay", start=True), state("pay", "cart", once=True, submit=True))
    in_doubt = run("cart pay", spent="pay")
    assert decide(machine, in_doubt, get("cart")) == passes(Kind.BEGIN, "cart", 6)
    assert decide(machine, in_doubt, post("cart")) == passes(Kind.BEGIN, "cart", 6, True, True)


def test_a_look_at_a_start_leaves_a_stuck_run_only_if_no_submission_of_it_would():
    def machine(**fields):
        return flow(state("cart", "pay", start=True, back=VIEW, **fields), state("pay", "done", once=True, submit=True),
                    state("done"))  # fmt: skip

    in_doubt = run("cart pay", spent="pay")
    assert decide(machine(), in_doubt, get("cart")) == passes(Kind.LOOK, "cart", 5)
    assert decide(machine(), in_doubt, post("cart")) == passes(Kind.BEGIN, "cart", 6, True, True)
    assert decide(machine(unsafe=False), in_doubt, get("cart")) == passes(Kind.BEGIN, "cart", 6)
    assert decide(machine(min_time=1), in_doubt, get("cart", 5)) == passes(Kind.BEGIN, "cart", 6)


def test_a_look_at_a_start_that_may_be_edited_leaves_no_stuck_run():
    machine = flow(
        state("cart", "form", start=True, back=EDIT, min_time=SECOND), State("form", submit=True, to={"done": no}),
        state("done"),
    )  # fmt: skip
    here = run("cart form", "form")
    assert stuck(machine, here, no)
    assert decide(machine, here, get("cart", agrees=no)) == passes(Kind.LOOK, "cart", 5)


def test_a_look_at_a_start_that_may_be_edited_though_the_step_to_it_is_refused_leaves_no_stuck_run():
    machine = flow(
        state("cart", "form", start=True, back=EDIT), State("form", submit=True, to={"cart": no, "done": no}),
        state("done"),
    )  # fmt: skip
    here = run("cart form", "form")
    assert decide(machine, here, get("cart", agrees=no)) == passes(Kind.LOOK, "cart", 5)
    assert decide(machine, here, post("cart", agrees=no)) == passes(Kind.EDIT, "cart", 5, True, True)


def test_a_look_at_a_start_leaves_a_stuck_run_if_its_form_is_refused_as_a_step_and_as_a_beginning():
    machine = flow(
        state("cart", "form", start=True, back=EDIT, min_time=SECOND),
        State("form", submit=True, to={"cart": no, "done": no}), state("done"),
    )  # fmt: skip
    here = run("cart form", "form")
    assert decide(machine, here, post("cart", agrees=no)) == refused(Reason.TOO_FAST, "cart", 4)
    assert decide(machine, here, get("cart", agrees=no)) == passes(Kind.BEGIN, "cart", 6)


def test_a_start_whose_condition_raises_is_no_way_out_of_a_stuck_run():
    machine = flow(state("pay", "done", start=True, once=True, submit=True, when=no), state("done"))

    def raises(_condition):
        raise ValueError

    attempt = get("pay")._replace(agrees=raises)
    assert decide(machine, run("pay", spent="pay"), attempt) == passes(Kind.STAY, "pay", 2)


def test_a_visitor_who_is_not_stuck_may_not():
    strict = flow(state("cart", "pay", start=True), state("pay", "done", submit=True, once=True), state("done"))
    assert decide(strict, run("cart pay"), get("cart")) == refused(Reason.ILLEGAL, "cart", 7)


@pytest.mark.parametrize("fields", [{"get": False}, {"unsafe": False}, {}], ids=["a POST", "a GET", "either"])
def test_a_run_that_can_go_on_by_any_method_is_not_stuck(fields):
    machine = flow(state("a", "b", start=True, submit=True), state("b", "c", **fields), state("c"))
    assert not stuck(machine, run("a", "a"))


def test_a_page_that_takes_no_form_is_no_way_on():
    review, order = state("review", "order", unsafe=False), state("order", "done", submit=True, once=True, get=False)
    machine = flow(state("cart", "review", start=True), review, order, state("done"))
    in_doubt = run("cart review", spent="order")
    assert stuck(machine, in_doubt)
    assert decide(machine, in_doubt, get("cart")) == passes(Kind.BEGIN, "cart", 6)


@pytest.mark.parametrize(("onward", "kind", "line"), [
    pytest.param("review", Kind.BEGIN, 6, id="is no way on"),
    pytest.param("review invoice", Kind.LOOK, 5, id="is one where another way leads to an end"),
])  # fmt: skip
def test_an_edit_after_which_the_spent_state_comes_again(onward, kind, line):
    machine = flow(
        state("cart", onward, start=True, submit=True, back=EDIT), state("review", "order", unsafe=False),
        state("order", "done", submit=True, once=True, get=False), state("invoice", "done"), state("done"),
    )  # fmt: skip
    in_doubt = run("cart review", "cart", "order")
    assert decide(machine, in_doubt, get("cart")) == passes(kind, "cart", line)
    assert decide(machine, in_doubt, post("cart")) == passes(Kind.EDIT, "cart", 5, True, True)


def test_an_edit_in_a_flow_without_an_end_is_a_way_on():
    machine = flow(state("cart", "review", start=True, submit=True, back=EDIT), state("review", "order", unsafe=False),
                   state("order", "cart", submit=True, once=True, get=False))  # fmt: skip
    in_doubt = run("cart review", "cart", "order")
    assert decide(machine, in_doubt, get("cart")) == passes(Kind.LOOK, "cart", 5)


def test_times_do_not_make_a_run_stuck():
    machine = flow(state("a", "b", start=True, submit=True, min_time=SECOND), state("b", "c"), state("c"))
    assert not stuck(machine, run("a", "a", entered=0))


def test_a_way_on_that_is_spent_and_takes_no_get_is_none():
    machine = flow(state("a", "pay", start=True, submit=True), state("pay", "z", once=True, get=False), state("z"))
    assert stuck(machine, run("a", "a", "pay"))
    assert not stuck(machine, run("a", "a"))


@pytest.mark.parametrize(
    ("fields", "methods"), [({"get": False}, (True,)), ({"unsafe": False}, (False,)), ({}, (False, True))],
    ids=["a POST", "a GET", "either"],
)  # fmt: skip
def test_a_state_is_asked_for_by_the_methods_that_its_paths_take(fields, methods):
    assert methods_of(state("a", **fields)) == methods


def test_a_repeat_state_is_never_stuck():
    machine = flow(state("a", "b", start=True, repeat=True), state("b", requires="c"), state("c"))
    assert not stuck(machine, run("a", "a"))


def test_a_condition_that_says_no_or_raises_leaves_a_run_stuck():
    def broken(_condition):
        raise ZeroDivisionError

    machine = flow(State("a", start=True, submit=True, to={"b": no}), state("b"))
    for agrees in (no, broken):
        assert stuck(machine, run("a", "a"), agrees)


def test_a_run_is_stuck_by_what_its_own_conditions_say():
    onward, over = object(), object()
    machine = flow(
        State("a", start=True, submit=True, to={"b": onward}),  # type: ignore[dict-item]
        State("b", submit=True, to={"c": over}), State("c"),  # type: ignore[dict-item]
    )  # fmt: skip
    here = run("a b", "a b")
    for agreed, verdict in (
        ([over], refused(Reason.ILLEGAL, "a", 7)), ([onward], passes(Kind.BEGIN, "a", 6)),
    ):  # fmt: skip
        assert decide(machine, here, get("a", agrees=agreed.__contains__)) == verdict


def test_a_start_whose_way_on_agrees_is_reloaded():
    onward = object()
    machine = flow(State("a", start=True, submit=True, to={"b": onward}), state("b"))  # type: ignore[dict-item]
    assert decide(machine, run("a", "a"), get("a", agrees=[onward].__contains__)) == passes(Kind.STAY, "a", 2)
    assert decide(machine, run("a", "a"), get("a", agrees=no)) == passes(Kind.BEGIN, "a", 6)


def test_a_new_run_begins_out_of_a_stuck_one_where_the_start_s_own_condition_agrees():
    wanted = object()
    machine = flow(
        State("a", start=True, once=True, submit=True, when=wanted, to={"b": None}), state("b"),  # type: ignore[arg-type]
    )  # fmt: skip
    in_doubt = run("a", spent="a")
    assert decide(machine, in_doubt, get("a", agrees=[wanted].__contains__)) == passes(Kind.BEGIN, "a", 6)
    assert decide(machine, in_doubt, get("a", agrees=no)) == passes(Kind.STAY, "a", 2)


# --- 7. otherwise


def test_what_was_never_declared_is_illegal():
    assert decide(ABC, run("a"), get("c")) == refused(Reason.ILLEGAL, "c", 7)


# --- variables


def test_another_value_of_a_variable_is_neither_here_nor_there():
    held = run("a b")._replace(values=(("id", "7"),))
    mine, other = (("id", "7"),), (("id", "8"),)
    assert decide(ABC, held, get("b", values=mine)).kind is Kind.STAY
    assert decide(ABC, held, get("b", values=other)) == refused(Reason.ILLEGAL, "b", 7)
    assert decide(ABC, held, post("c", values=other)) == refused(Reason.ILLEGAL, "c", 7)


def test_another_value_may_begin_a_new_run_when_the_old_one_is_finished():
    held = run("a b c")._replace(values=(("id", "7"),))
    assert decide(ABC, held, get("a", values=(("id", "8"),))) == Passage(Kind.BEGIN, "a", False, 3, (("id", "8"),))


# --- companions, HEAD


HELP = flow(*ABC.states.values(), companions=[Companion("help", frozenset({"b"}))])


@pytest.mark.parametrize("where", [None, run("a"), run("a b c")], ids=["no run", "before", "after"])
def test_a_companion_is_refused_elsewhere(where):
    assert decide(HELP, where, get("help")) == refused(Reason.ILLEGAL, "help", 0)


def test_a_companion_passes_beside_its_states():
    assert decide(HELP, run("a b"), post("help")) == Passage(Kind.COMPANION, "help", True, 0)


def test_a_companion_is_let_through_for_who_asks_and_as_what_is_asked():
    attempt = post("help", by_get=True, users=("old", "new"))
    assert decide(HELP, run("a b"), attempt) == Passage(Kind.COMPANION, "help", True, 0, by_get=True, user="new")


@pytest.mark.parametrize(
    ("where", "name"), [(None, "a"), (run("a"), "b"), (run("a b"), "b"), (run("a b"), "help")],
    ids=["beginning", "entering", "staying", "a companion"],
)  # fmt: skip
def test_head_and_options_only_peek(where, name):
    assert decide(HELP, where, get(name, peek=True)).kind is Kind.PEEK


# --- whether a run can be used


def test_a_run_lives_until_its_ttl_and_a_minute_for_clocks_that_differ():
    assert usable(ABC, run("a"), 14_460_000) is None
    assert usable(ABC, run("a"), 14_460_001) is Reason.EXPIRED


def test_a_run_that_nobody_touches_goes_idle():
    machine = flow(*ABC.states.values(), idle=10 * SECOND)
    assert usable(machine, run("a", changed=5000), 75_000) is None
    assert usable(machine, run("a", changed=5000), 75_001) is Reason.EXPIRED


@pytest.mark.parametrize("field", ["started", "changed", "entered"])
def test_a_run_from_the_future_is_not_believed(field):
    assert usable(ABC, run("a", **{field: 61_000}), 1000) is None
    assert usable(ABC, run("a", **{field: 61_001}), 1000) is Reason.BAD_COOKIE


# --- where the visitor should be


@pytest.mark.parametrize(
    ("where", "there"),
    [
        (None, "cart"),
        (run("cart"), "cart"),
        (run("cart shipping"), "shipping"),
        (run("cart shipping", "shipping"), "payment"),
        (PAID_IN_DOUBT, "payment"),
        (run("cart shipping payment done", "shipping payment", "payment"), "done"),
    ],
    ids=["no run", "the current state", "a form", "done: the only successor", "in doubt", "finished"],
)
def test_the_target_is_where_the_visitor_should_be(where, there):
    assert target(SHOP, where, 0) == there
    assert isinstance(decide(SHOP, where, get(there)), Passage)


@pytest.mark.parametrize(
    ("where", "name", "after"),
    [
        (run("cart shipping", entered=5), "shipping", run("cart shipping", "shipping", entered=5)),
        (run("cart", entered=5), "shipping", run("cart shipping", "shipping", entered=5)),
        (Run("id", 8, values=(("id", "7"),), entered=5), "cart",
         Run("id", 8, 9, ("cart",), done=frozenset({"cart"}), values=(("id", "7"),), started=5, entered=5)),
        (run("cart", entered=5), "basket", run("cart", "basket", entered=5)),
    ],
    ids=["the current state's", "a successor's", "a beginning", "a companion's"],
)  # fmt: skip
def test_while_a_submission_is_under_way_it_is_hoped_that_it_counts(where, name, after):
    assert hoped(SHOP, where, name) == after


def test_two_ways_on_leave_the_choice_to_the_visitor():
    machine = flow(state("a", "b c", start=True, submit=True), state("b"), state("c"))
    assert target(machine, run("a", "a"), 0) == "a"
    assert allowed(machine, run("a", "a"), 0) == ("b", "c")


def test_a_successor_that_can_not_be_entered_now_is_no_target():
    machine = flow(state("a", "b", start=True, submit=True, min_time=SECOND), state("b"))
    assert target(machine, run("a", "a", entered=5), SECOND) == "a"
    assert target(machine, run("a", "a", entered=5), SECOND + 5) == "b"


def test_of_two_successors_the_one_whose_condition_agrees_is_the_target():
    wanted, other = object(), object()
    machine = flow(
        State("a", start=True, submit=True, to={"b": wanted, "c": other}), State("b"), State("c"),  # type: ignore[dict-item]
    )  # fmt: skip
    assert target(machine, run("a", "a"), 0, [wanted].__contains__) == "b"
    assert target(machine, run("a", "a"), 0, [other].__contains__) == "c"


def test_a_spent_successor_is_a_target_that_can_be_looked_at():
    machine = flow(state("a", "b", start=True, submit=True), state("b", "c", submit=True, once=True), state("c"))
    assert target(machine, run("a", "a", "b"), 0) == "b"


def test_a_successor_that_takes_no_get_is_no_target():
    machine = flow(state("a", "b", start=True, submit=True), state("b", get=False))
    assert target(machine, run("a", "a"), 0) == "a"
    assert allowed(machine, run("a", "a"), 0) == ()
    assert can_go(machine, run("a", "a"), "b", 0, no)


def test_a_start_that_takes_no_get_cannot_be_gone_to():
    machine = flow(state("a", "b", start=True, get=False), state("b"))
    assert guidance(machine, None, get("b")).passes is False


def test_guidance_says_all_that_is_missing_the_current_state_first():
    machine = flow(
        state("a", "b", start=True), state("b", "c", submit=True), state("c", requires="b x y|z"),
        state("x"), state("y"), state("z"),
    )  # fmt: skip
    guide = guidance(machine, run("a b"), get("c"))
    assert guide.target == "b"
    assert guide.passes
    assert guide.allowed == ()
    assert guide.missing == ("b", "x", ("y", "z"))
    assert missing(machine, run("a b", "b"), machine.states["c"]) == ("x", ("y", "z"))


def test_guidance_asks_for_the_conditions_and_the_times_of_the_request():
    first, onward = object(), object()
    machine = flow(
        State("a", start=True, submit=True, when=first, to={"b": onward}, min_time=SECOND),  # type: ignore[arg-type,dict-item]
        state("b", "c"), state("c"),
    )  # fmt: skip

    def told(where, now, *agreed):
        return guidance(machine, where, get("c", now, agrees=agreed.__contains__))[:3]

    done = run("a", "a")
    assert told(None, 0) == ("a", False, ())
    assert told(None, 0, first) == ("a", True, ("a",))
    assert told(done, SECOND, onward) == ("b", True, ("b",))
    assert told(done, SECOND - 1, onward) == ("a", True, ())
    assert told(done, SECOND) == ("a", True, ())


def test_allowed_is_what_a_get_would_enter():
    assert allowed(SHOP, None, 0) == ("cart",)
    assert allowed(SHOP, run("cart"), 0) == ("shipping",)
    assert allowed(ABC, run("a b c"), 0) == ("a",)
    assert allowed(flow(state("pay", start=True, submit=True, once=True)), None, 0) == ("pay",)
