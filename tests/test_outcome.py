"""Did it count? CONTRACT 4, row by row, and what each outcome does to a run."""

from __future__ import annotations

import pytest
from test_passage import flow, run, state

from flowguard.core.flow import EDIT, VIEW, Answers, Companion, Definition, Glob
from flowguard.core.outcome import (
    NO_ANSWER,
    ROWS,
    Answer,
    Destination,
    Outcome,
    Overrule,
    read,
    read_by,
    row_for,
    settle,
    undecided,
)
from flowguard.core.passage import Attempt, Kind, Passage, decide
from flowguard.core.run import Run, exhausted, finished, with_numbers

NOW = 5000
HTML, JSON = Answer(200, html=True), Answer(200)


def globs(*texts: str, statuses=()) -> Answers:
    return Answers(frozenset(statuses), tuple(map(Glob.of, texts)))


SHOP = flow(
    state("/cart", "/shipping", start=True, back=EDIT),
    state("/shipping", "/payment", submit=True, back=EDIT),
    state("/payment", "/done /refund", submit=True, once=True, back=VIEW),
    state("/done"),
    state("/refund"),
    state("/gift", "/shipping", start=True),
    companions=[Companion("/help", frozenset({"/payment"}))],
    reject=globs("*/login*"),
)


def to(path: str, status: int = 302, machine: Definition = SHOP) -> Answer:
    return Answer(status, to=Destination(path if path in machine.states else None, path, path))


def away(url: str) -> Answer:
    return Answer(302, to=Destination(None, url))


def request(machine: Definition, where: Run, name: str, submission: bool, **fields) -> Passage:
    verdict = decide(machine, where, Attempt(name, submission, 0, **fields))
    assert isinstance(verdict, Passage)
    return verdict


def after(where: Run, name: str, answer: Answer, submission: bool = False, machine: Definition = SHOP):
    """(trail, done, spent, outcome) of the run after *answer*; None where nothing changed."""
    settled = settle(machine, where, request(machine, where, name, submission), answer, NOW)
    if settled.run is where:
        return settled.outcome
    left = settled.run
    return " ".join(left.trail), " ".join(sorted(left.done)), " ".join(sorted(left.spent)), settled.outcome


def submitted(where: Run, name: str, answer: Answer, machine: Definition = SHOP):
    return after(where, name, answer, True, machine)


AT_SHIPPING = run("/cart /shipping")
AT_PAYMENT = run("/cart /shipping /payment", "/shipping")
PAID = run("/cart /shipping /payment", "/shipping /payment", "/payment")


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_last_row_takes_anything():
    assert len(ROWS) == 12
    assert row_for(SHOP, AT_PAYMENT, request(SHOP, AT_PAYMENT, "/payment", False), Answer(599)) is ROWS[-1]


REJECTING = flow(
    state("/a", "/b", start=True), state("/b", "/c", submit=True, accept=globs("/b?ok*", "/why?*", "/paid",
    "https://pay.example/*", statuses=(200, 404)), reject=globs("*error*", statuses=(422,))), state("/c"),
    reject=globs("*/login*"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "safe", "submission"),
    [
        (to("/c?error", machine=REJECTING), Outcome.NOTHING, Outcome.FAILED),
        (to("/login?next=/b"), Outcome.NOTHING, Outcome.FAILED),
        (away("https://sso.example/login"), Outcome.NOTHING, Outcome.FAILED),
        (away("https://sso.example/login/again"), Outcome.NOTHING, Outcome.FAILED),
        (away("https://sso.example/out?to=https://sso.example/login"), Outcome.NOTHING, Outcome.FAILED),
        (away("https://sso.example/out?to=https://login.example"), Outcome.NOTHING, Outcome.FAILED),
        (away("https://login.example/"), Outcome.NOTHING, Outcome.UNKNOWN),
        (away("https://login.example"), Outcome.NOTHING, Outcome.UNKNOWN),
        (Answer(422), Outcome.NOTHING, Outcome.FAILED),
        (away("https://pay.example/42"), Outcome.ENTERED, Outcome.SUCCESS),
        (Answer(302, to=Destination("/b", "/b?ok=1", "/b", "ok=1")), Outcome.ENTERED, Outcome.SUCCESS),
        (Answer(302, to=Destination("/b", "/b?no=1", "/b", "no=1")), Outcome.NOTHING, Outcome.FAILED),
        (Answer(302, to=Destination(None, "/paid?n=1", "/paid", "n=1")), Outcome.ENTERED, Outcome.SUCCESS),
        (Answer(302, to=Destination(None, "/why?", "/why")), Outcome.NOTHING, Outcome.UNKNOWN),
        (Answer(404, html=True), Outcome.NOTHING, Outcome.SUCCESS),
        (HTML, Outcome.ENTERED, Outcome.SUCCESS),
    ],
    ids=[
        "`reject` wins over a successor", "the flow's own `reject`", "a login on another host",
        "a path below a login there", "a login in its query", "a host of that name in its query", "a host of that name",
        "a host of that name alone", "a rejected status",
        "another host that is accepted", "a query that is accepted", "another query",
        "a path with a query of which the glob says nothing", "a path without the query that the glob asks for",
        "a status accepted of a POST", "a page accepted of a POST",
    ],
)  # fmt: skip
def test_what_the_deployer_says_comes_first(answer, safe, submission):
    where = run("/a")
    assert read(REJECTING, where, request(REJECTING, where, "/b", False), answer) is safe
    assert read(REJECTING, where, request(REJECTING, where, "/b", True), answer) is submission


SPEAKING = flow(
    state("/a", "/b", start=True),
    state("/b", "/c", submit=True, accept=globs("/paid", statuses=(201,))._replace(texts=frozenset({"Thank you"})),
          reject=globs("/no")._replace(texts=frozenset({"Sorry", "Thank you, but"}))),
    state("/c"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "safe", "submission"),
    [
        ((), Outcome.ENTERED, Outcome.SHOWN),
        (("Thank you",), Outcome.ENTERED, Outcome.SUCCESS),
        (("Sorry",), Outcome.NOTHING, Outcome.FAILED),
        (("Thank you", "Thank you, but"), Outcome.NOTHING, Outcome.FAILED),
    ],
    ids=["no text", "an accepted text", "a rejected text", "`reject` wins"],
)
def test_a_text_in_the_answer_decides_for_both_kinds_of_request(texts, safe, submission):
    where, answer = run("/a"), HTML._replace(texts=frozenset(texts))
    assert read(SPEAKING, where, request(SPEAKING, where, "/b", False), answer) is safe
    assert read(SPEAKING, where, request(SPEAKING, where, "/b", True), answer) is submission


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (HTML, ["Sorry", "Thank you", "Thank you, but"]),
        (HTML._replace(texts=frozenset({"Thank you"})), ["Sorry", "Thank you, but"]),
        (HTML._replace(texts=frozenset({"Sorry"})), []),
        (Answer(201), ["Sorry", "Thank you, but"]),
        (to("/no"), []),
        (HTML._replace(overrule=Overrule.FAILED), []),
    ],
    ids=["a page", "an accepted text was found", "a rejected text was found", "an accepted status",
         "a rejected redirect", "the application has said it"],
)  # fmt: skip
def test_only_texts_that_could_still_decide_are_looked_for(answer, left):
    where = run("/a")
    assert sorted(undecided(SPEAKING, where, request(SPEAKING, where, "/b", True), answer)) == left


@pytest.mark.parametrize(
    ("submission", "left"), [(True, []), (False, ["Sorry"])], ids=["a submission", "a visit"]
)
def test_a_status_rejects_a_submission_and_of_a_visit_the_text_still_decides(submission, left):
    machine = flow(state("/a", start=True, reject=globs(statuses=(200,))._replace(texts=frozenset({"Sorry"}))))
    assert sorted(undecided(machine, run("/a"), Passage(Kind.STAY, "/a", submission, 2), HTML)) == left


@pytest.mark.parametrize(
    ("submission", "left"), [(True, ["Sorry"]), (False, [])], ids=["a submission", "a visit"]
)
def test_in_the_answer_to_a_visit_of_a_companion_nothing_is_looked_for(submission, left):
    drop = Companion("/drop", None, undoes=frozenset({"/a"}), reject=Answers(texts=frozenset({"Sorry"})))
    machine = flow(state("/a", start=True), companions=[drop])
    assert sorted(undecided(machine, run("/a"), request(machine, run("/a"), "/drop", submission), HTML)) == left


def test_in_the_answer_to_a_look_nothing_is_looked_for():
    passage = request(SPEAKING, run("/a"), "/b", False, peek=True)
    assert undecided(SPEAKING, run("/a"), passage, HTML) == frozenset()


@pytest.mark.parametrize(
    ("glob", "subject", "matches"),
    [
        ("/thanks*", "/thanks/7", True), ("/thanks*", "/no/thanks", False), ("*", "", True), ("/a", "/a", True),
        ("/a", "/ab", False), ("a*a", "a", False), ("a*b*c", "a-b-c", True), ("a*b*c", "a-c-b", False),
        ("a*b*b*c", "abc", False), ("*b", "bc", False), ("*b*", "abc", True), ("*b*", "ac", False),
        ("*b*c", "bd", False), ("*b*c", "bc", True), ("a*b*", "ba", False), ("*a*b*", "a", False), ("*b*b", "b", False),
        ("a*b*c*d", "abcbd", True), ("/[x]?", "/[x]?", True), ("/[x]?", "/x1", False),
    ],
)  # fmt: skip
def test_a_star_is_the_only_wildcard_of_a_glob(glob, subject, matches):
    assert Glob.of(glob).matches(subject) is matches


ROWS_OF_THE_TABLE = [
    ("a redirect to a successor", to("/payment"), Outcome.ENTERED_DONE, Outcome.SUCCESS),
    ("a redirect to S itself", to("/shipping"), Outcome.NOTHING, Outcome.FAILED),
    ("a redirect to the trail", to("/cart"), Outcome.BACK, Outcome.BACK),
    ("a redirect to another state", to("/done"), Outcome.NOTHING, Outcome.UNKNOWN),
    ("a redirect to no state", to("/elsewhere"), Outcome.NOTHING, Outcome.UNKNOWN),
    ("a redirect to another host", away("https://evil.example/payment"), Outcome.NOTHING, Outcome.UNKNOWN),
    ("a page", HTML, Outcome.ENTERED, Outcome.SHOWN),
    ("201 with a page", Answer(201, html=True), Outcome.ENTERED, Outcome.SUCCESS),
    ("202 with a page", Answer(202, html=True), Outcome.ENTERED, Outcome.SUCCESS),
    ("204 that is called HTML", Answer(204, html=True), Outcome.ENTERED, Outcome.SUCCESS),
    ("205 that is called HTML", Answer(205, html=True), Outcome.ENTERED, Outcome.SUCCESS),
    ("200 that is no page", JSON, Outcome.ENTERED, Outcome.SUCCESS),
    ("206 of a page", Answer(206, html=True), Outcome.ENTERED, Outcome.SHOWN),
    ("400", Answer(400, html=True), Outcome.NOTHING, Outcome.FAILED),
    ("499", Answer(499, html=True), Outcome.NOTHING, Outcome.FAILED),
    ("404", Answer(404, html=True), Outcome.NOTHING, Outcome.FAILED),
    ("304", Answer(304), Outcome.NOTHING, Outcome.UNKNOWN),
    ("300 without a place", Answer(300, html=True), Outcome.NOTHING, Outcome.UNKNOWN),
    ("500", Answer(500, html=True), Outcome.NOTHING, Outcome.UNKNOWN),
    ("103", Answer(103), Outcome.NOTHING, Outcome.UNKNOWN),
    ("an exception", NO_ANSWER, Outcome.NOTHING, Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("answer", "safe", "submission"), [row[1:] for row in ROWS_OF_THE_TABLE],
                         ids=[row[0] for row in ROWS_OF_THE_TABLE])  # fmt: skip
def test_what_an_answer_means(answer, safe, submission):
    where = run("/cart")
    assert read(SHOP, where, request(SHOP, where, "/shipping", False), answer) is safe
    assert read(SHOP, where, request(SHOP, where, "/shipping", True), answer) is submission


@pytest.mark.parametrize(
    ("passage", "answer", "words"),
    [
        (Passage(Kind.PEEK, "/cart", False, 2), Answer(200, overrule=Overrule.RESET),
         "HEAD and OPTIONS change nothing"),
        (Passage(Kind.LOOK, "/cart", False, 5), Answer(200, overrule=Overrule.RESET), "the application said `reset`"),
        (Passage(Kind.LOOK, "/cart", False, 5), HTML, "a look changes nothing"),
        (Passage(Kind.COMPANION, "/help", True, 0), HTML,
         "a companion changes nothing but what it undoes, unless it failed"),
        (Passage(Kind.STAY, "/shipping", True, 2), to("/payment"), ROWS[2].says),
        (Passage(Kind.STAY, "/shipping", True, 2), HTML, "2xx HTML"),
    ],
    ids=["HEAD", "the application's word", "a look", "a companion", "a redirect", "a page"],
)  # fmt: skip
def test_by_what_an_answer_is_read_can_be_told(passage, answer, words):
    assert read_by(SHOP, AT_SHIPPING, passage, answer) == words


def test_a_once_state_that_leads_back_failed():
    passage = request(SHOP, AT_PAYMENT, "/payment", True)
    assert read(SHOP, AT_PAYMENT, passage, to("/shipping")) is Outcome.FAILED
    assert submitted(AT_PAYMENT, "/payment", to("/shipping")) is Outcome.FAILED


SINGLE = flow(state("/form", start=True, submit=True), state("/other", "/form", start=True))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (to("/other", machine=SINGLE), Outcome.SUCCESS),
        (to("/thanks"), Outcome.SUCCESS),
        (away("https://elsewhere.example/"), Outcome.SUCCESS),
        (to("/form", machine=SINGLE), Outcome.FAILED),
        (Answer(302, to=Destination("/form", "/form", "/form", values=(("id", "8"),))), Outcome.SUCCESS),
    ],
    ids=["another start", "no state", "another host", "itself", "itself, of another's values"],
)
def test_where_an_end_may_lead(answer, outcome):
    where = run("/form")._replace(values=(("id", "7"),))
    assert read(SINGLE, where, request(SINGLE, where, "/form", True), answer) is outcome


def test_another_value_s_path_is_no_successor():
    where = run("/cart")._replace(values=(("id", "7"),))
    answer = Answer(302, to=Destination("/payment", "/payment", "/payment", values=(("id", "8"),)))
    assert read(SHOP, where, request(SHOP, where, "/shipping", True), answer) is Outcome.UNKNOWN


def test_a_status_that_the_flow_rejects_is_a_failure_of_a_submission_alone():
    machine = flow(state("/a", start=True), reject=globs(statuses=(200,)))
    assert read(machine, run("/a"), Passage(Kind.STAY, "/a", True, 2), HTML) is Outcome.FAILED
    assert read(machine, run("/a"), Passage(Kind.STAY, "/a", False, 2), HTML) is Outcome.ENTERED


@pytest.mark.parametrize(("value", "outcome"), [("7", Outcome.ENTERED_DONE), ("8", Outcome.NOTHING)])
def test_the_successor_of_a_beginning_has_the_values_that_it_begins_with(value, outcome):
    passage = Passage(Kind.BEGIN, "/cart", False, 1, (("id", "7"),))
    answer = Answer(302, to=Destination("/shipping", "/shipping", "/shipping", values=(("id", value),)))
    assert read(SHOP, Run("id"), passage, answer) is outcome


@pytest.mark.parametrize(
    ("value", "vary", "outcome"),
    [("7", "", Outcome.BACK), ("8", "", Outcome.NOTHING), ("8", "id", Outcome.BACK)],
    ids=["the run's value", "another's", "one that may change"],
)
def test_the_trail_is_of_the_run_s_values(value, vary, outcome):
    machine = flow(*SHOP.states.values(), vary=frozenset(vary.split()))
    where = AT_PAYMENT._replace(values=(("id", "7"),))
    answer = Answer(302, to=Destination("/cart", "/cart", "/cart", values=(("id", value),)))
    assert read(machine, where, Passage(Kind.STAY, "/payment", False, 2), answer) is outcome


# --- what it does -----------------------------------------------------------------------------------------------------


def test_a_page_enters_a_state():
    assert after(run("/cart"), "/shipping", HTML) == ("/cart /shipping", "", "", Outcome.ENTERED)


def test_a_state_that_moves_the_visitor_on_is_entered_and_done():
    assert after(run("/cart"), "/shipping", to("/payment")) == (
        "/cart /shipping", "/shipping", "", Outcome.ENTERED_DONE,
    )  # fmt: skip


def test_a_success_does_a_state_and_enters_it_where_it_was_not():
    assert submitted(AT_SHIPPING, "/shipping", to("/payment"))[1] == "/shipping"
    assert submitted(run("/cart"), "/shipping", JSON) == ("/cart /shipping", "/shipping", "", Outcome.SUCCESS)


def test_a_shown_form_is_entered_but_not_done():
    assert submitted(run("/cart"), "/shipping", HTML) == ("/cart /shipping", "", "", Outcome.SHOWN)
    assert submitted(AT_SHIPPING, "/shipping", HTML) is Outcome.SHOWN


@pytest.mark.parametrize("answer", [Answer(404), Answer(500), NO_ANSWER], ids=["failed", "unknown", "raised"])
def test_what_did_not_count_leaves_an_ordinary_run_as_it_was(answer):
    settled = settle(SHOP, AT_SHIPPING, request(SHOP, AT_SHIPPING, "/shipping", True), answer, NOW)
    assert settled.run is AT_SHIPPING


def test_a_once_state_is_spent_by_success_and_by_doubt():
    assert submitted(AT_PAYMENT, "/payment", to("/done")) == (
        "/cart /shipping /payment", "/payment /shipping", "/payment", Outcome.SUCCESS,
    )  # fmt: skip
    assert submitted(AT_PAYMENT, "/payment", NO_ANSWER) == (
        "/cart /shipping /payment", "/shipping", "/payment", Outcome.UNKNOWN,
    )  # fmt: skip


@pytest.mark.parametrize("answer", [Answer(422), HTML], ids=["failed", "shown"])
def test_a_once_state_that_failed_or_was_shown_is_free(answer):
    left = settle(SHOP, AT_PAYMENT, request(SHOP, AT_PAYMENT, "/payment", True), answer, NOW).run
    assert not left.spent
    assert decide(SHOP, left, Attempt("/payment", True, 0)).kind is Kind.STAY


@pytest.mark.parametrize("answer", [Answer(422), HTML], ids=["failed", "shown"])
def test_what_another_left_in_doubt_is_set_free_by_a_failure(answer):
    passage = Passage(Kind.STAY, "/payment", True, 2)
    assert settle(SHOP, AT_PAYMENT.spending("/payment"), passage, answer, NOW).run.spent == set()


def test_doubt_spends_a_state_that_was_not_even_entered():
    here = run("/cart /shipping", "/shipping")
    assert submitted(here, "/payment", Answer(500)) == ("/cart /shipping", "/shipping", "/payment", Outcome.UNKNOWN)


def test_entering_anew_makes_a_state_the_latest_and_not_done():
    machine = flow(state("a", "b", start=True), state("b", "a c", repeat=True), state("c"))
    here = run("b a", "b", history="a>b b>a", entered=1)
    left = settle(machine, here, request(machine, here, "b", False), HTML, NOW).run
    assert left.trail == ("a", "b")
    assert not left.done
    assert left.entered == NOW
    assert left.history == (("b", "a"), ("a", "b"))


def test_a_reload_that_leads_on_makes_the_state_done():
    assert after(AT_SHIPPING, "/shipping", to("/payment"))[1] == "/shipping"
    assert after(AT_SHIPPING, "/shipping", HTML) is Outcome.ENTERED


def test_what_is_done_already_is_no_change():
    done = run("/cart /shipping", "/shipping")
    answer = Answer(200, overrule=Overrule.SUCCESS)
    assert settle(SHOP, done, request(SHOP, done, "/shipping", False), answer, NOW).run is done
    assert settle(SHOP, PAID, request(SHOP, PAID, "/payment", False), answer, NOW).run is PAID


def test_a_reload_that_leads_back_goes_back():
    assert after(AT_PAYMENT, "/payment", to("/cart")) == ("/cart", "", "", Outcome.BACK)


def test_a_look_changes_nothing_whatever_is_answered():
    for answer in (HTML, to("/payment"), to("/cart"), NO_ANSWER):
        assert after(AT_PAYMENT, "/shipping", answer) is Outcome.NOTHING


def test_an_edit_that_succeeds_goes_back_and_is_done_there():
    assert submitted(AT_PAYMENT, "/cart", to("/shipping")) == ("/cart", "/cart", "", Outcome.SUCCESS)


def test_an_edit_that_is_shown_again_or_fails_changes_nothing():
    assert submitted(AT_PAYMENT, "/shipping", HTML) is Outcome.SHOWN
    assert submitted(AT_PAYMENT, "/shipping", Answer(422)) is Outcome.FAILED


def test_going_back_forgets_what_came_later_but_what_is_spent():
    here = run("a b c d", "a b c", "b c", entered=1)
    left = here.going_back("b", NOW)
    assert (left.trail, left.history) == (("a", "b"), (("a", "b"),))
    assert left.done == {"a", "b"}
    assert left.spent == {"b", "c"}
    assert left.entered == NOW
    assert here.going_back("a", NOW).done == frozenset()


@pytest.mark.parametrize(
    ("here", "come", "there"),
    [
        (run("a", closed=True), lambda here: here.entering("b", NOW), run("a b", entered=NOW)),
        (run("a b", closed=True), lambda here: here.going_back("a", NOW), run("a", entered=NOW)),
        (run("a b", closed=True), lambda here: here.straying("a", NOW), run("a", entered=NOW)),
        (run("a", closed=True), lambda here: here.straying("b", NOW), run("a b", history="", entered=NOW)),
        (run("a b c", "a b c"), lambda here: here.going_back_before("c", NOW), run("a b", "a b", entered=NOW)),
        (run("a b c", "a c"), lambda here: here.going_back_before("c", NOW), run("a b", "a", entered=NOW)),
    ],
    ids=["it is entered", "it is gone back to", "a way back that is not declared", "a way on that is not declared",
         "the state before stays done", "the state before was not done"],
)  # fmt: skip
def test_a_state_that_is_come_to_opens_the_run_and_its_time_begins(here, come, there):
    assert come(here) == there


@pytest.mark.parametrize("answer", [to("/cart"), Answer(200, overrule=Overrule.SUCCESS)], ids=["led", "said"])
def test_the_time_in_a_state_begins_when_it_is_come_to(answer):
    passage = request(SHOP, AT_PAYMENT, "/cart" if answer.overrule else "/payment", False)
    left = settle(SHOP, AT_PAYMENT, passage, answer, NOW).run
    assert (left.trail, left.entered, left.changed) == (("/cart",), NOW, NOW)


def test_every_change_counts_and_nothing_else():
    left = settle(SHOP, AT_SHIPPING, request(SHOP, AT_SHIPPING, "/shipping", True), to("/payment"), NOW).run
    assert (left.seq, left.changed, left.entered) == (AT_SHIPPING.seq + 1, NOW, AT_SHIPPING.entered)


def test_a_new_run_counts_on_under_the_same_id():
    finished_run = run("/cart /shipping /payment /done", "/shipping /payment", "/payment", started=1)
    left = settle(SHOP, finished_run, request(SHOP, finished_run, "/cart", False), HTML, NOW).run
    assert left == Run("id", 10, 10, ("/cart",), started=NOW, changed=NOW, entered=NOW)


def test_the_first_value_of_a_variable_holds():
    where = run("/cart")._replace(values=(("id", "7"),))
    passage = request(SHOP, where, "/shipping", False, values=(("id", "7"), ("lang", "de")))
    assert settle(SHOP, where, passage, HTML, NOW).run.values == (("id", "7"), ("lang", "de"))
    assert settle(SHOP, where, passage, Answer(404), NOW).run is where


# --- finished, exhausted ----------------------------------------------------------------------------------------------

MACHINE = flow(
    state("a", "b", start=True), state("b", "c d"), state("c", "e f"), state("d", "b"), state("e", "d"), state("f", "a")
)


def walk(steps: str, machine: Definition = MACHINE) -> Run:
    here = Run("id")
    for name in steps.split():
        here = settle(machine, here, request(machine, here if here.trail else None, name, False), HTML, NOW).run
    return here


def test_the_machine_of_the_proof_of_concept_starts_anew_when_it_is_exhausted():
    here = walk("a b c f a")
    assert (here.trail, here.history) == (("a",), ())
    assert (here.seq, here.first) == (5, 5)


def test_the_machine_of_the_proof_of_concept_takes_each_step_once():
    here = walk("a b d b c e d")
    assert here.history == (("a", "b"), ("b", "d"), ("d", "b"), ("b", "c"), ("c", "e"), ("e", "d"))
    assert exhausted(MACHINE, here)
    assert finished(MACHINE, here)
    assert decide(MACHINE, here, Attempt("a", False, 0)).kind is Kind.BEGIN


def test_a_state_that_leads_to_a_repeat_state_is_never_exhausted():
    machine = flow(state("a", "b", start=True), state("b", "a", repeat=True))
    here = run("b a", history="a>b b>a")
    assert not exhausted(machine, here)


def test_an_end_that_is_submitted_is_finished_when_it_is_done():
    assert not finished(SINGLE, run("/form"))
    assert finished(SINGLE, run("/form", "/form"))


def test_an_exhausted_start_keeps_only_what_this_request_made_of_it():
    machine = flow(state("a", "b", start=True, submit=True, once=True), state("b", "a", submit=True))
    here = run("b a", "b", "b", history="a>b b>a")
    left = settle(machine, here, request(machine, here, "a", True), JSON, NOW).run
    assert (left.trail, left.done, left.spent, left.history) == (("a",), {"a"}, {"a"}, ())
    assert left.first == left.seq == here.seq + 1


def test_a_start_that_is_an_end_begins_no_run_by_itself():
    left = settle(SINGLE, run("/form"), Passage(Kind.STAY, "/form", True, 2), Answer(204), NOW).run
    assert (left.trail, left.done, left.first) == (("/form",), {"/form"}, 1)


def test_the_run_that_an_exhausted_start_begins_has_the_values_that_were_asked_for():
    machine = flow(state("a", "b", start=True), state("b", "a"))
    here = run("a b", values=(("id", "7"),))
    passage = request(machine, here, "a", False, values=(("id", "7"), ("lang", "de")))
    assert settle(machine, here, passage, HTML, NOW).run.values == (("id", "7"), ("lang", "de"))


def test_an_exhausted_start_that_is_entered_anew_is_neither_done_nor_spent():
    machine = flow(state("a", "b", start=True, once=True), state("b", "a"))
    here = run("a b", "a", "a")
    left = settle(machine, here, request(machine, here, "a", False), HTML, NOW).run
    assert (left.trail, left.done, left.spent, left.first) == (("a",), set(), set(), left.seq)


def test_an_exhausted_start_that_another_state_leads_back_to_is_neither_done_nor_spent():
    machine = flow(state("a", "b", start=True, submit=True, once=True), state("b", "a"), state("c", "b"))
    here = run("b a c", "a", "a", history="a>b b>a")
    left = settle(machine, here, Passage(Kind.STAY, "c", False, 2), to("a", machine=machine), NOW).run
    assert (left.trail, left.done, left.spent, left.first) == (("a",), set(), set(), left.seq)


# --- a header that names another method -------------------------------------------------------------------------------

BASKET = flow(
    state("/a", "/b", start=True, submit=True), state("/b", "/c", submit=True, once=True), state("/c"),
    companions=[Companion("/drop", None, undoes=frozenset({"/b"}))],
)  # fmt: skip
DROPPED = Passage(Kind.COMPANION, "/drop", True, 0)


def beside(other: Passage, answer: Answer, where: Run):
    passage = Passage(Kind.STAY, where.trail[-1], False, 2, others=(other,))
    return settle(BASKET, where, passage, answer, NOW).run


def test_what_the_other_request_would_not_have_spent_is_no_change():
    here = run("/a /b", "/a")
    assert beside(Passage(Kind.STAY, "/b", True, 2), Answer(404), here) is here
    assert beside(Passage(Kind.STAY, "/b", True, 2), Answer(500), here.spending("/b")).spent == {"/b"}
    assert beside(Passage(Kind.STAY, "/b", True, 2), Answer(500), here).spent == {"/b"}


@pytest.mark.parametrize(
    ("answer", "trail"),
    [(Answer(303), "/a"), (Answer(400), "/a /b"), (Answer(499), "/a /b"), (Answer(500), "/a"),
     (Answer(200, overrule=Overrule.FAILED), "/a /b")],
    ids=["a redirect", "400", "499", "500", "the application said so"],
)  # fmt: skip
def test_what_the_other_request_may_have_undone_is_undone(answer, trail):
    assert " ".join(beside(DROPPED, answer, run("/a /b", "/a")).trail) == trail


# --- the application overrules ----------------------------------------------------------------------------------------


def said(word: str, where: Run, name: str, submission: bool = False):
    return after(where, name, Answer(500, overrule=Overrule(word)), submission)


def test_success_of_a_submission_is_a_success_whatever_is_answered():
    assert said("success", AT_PAYMENT, "/payment", True)[1:] == ("/payment /shipping", "/payment", Outcome.SUCCESS)


def test_success_of_a_visit_enters_the_state_and_does_it():
    assert said("success", run("/cart"), "/shipping") == ("/cart /shipping", "/shipping", "", Outcome.SUCCESS)


def test_success_of_a_look_goes_back():
    assert said("success", AT_PAYMENT, "/cart") == ("/cart", "/cart", "", Outcome.SUCCESS)


def test_success_on_a_companion_path_does_the_current_state():
    assert said("success", AT_PAYMENT, "/help")[1:3] == ("/payment /shipping", "/payment")


def test_failed_of_a_submission_leaves_the_run_alone():
    assert said("failed", AT_PAYMENT, "/payment", True) is Outcome.FAILED


def test_failed_of_a_submission_frees_what_it_would_have_spent_and_takes_nothing_else_back():
    in_doubt = AT_PAYMENT.spending("/payment")
    left = settle(SHOP, in_doubt, Passage(Kind.STAY, "/payment", True, 2), Answer(200, overrule=Overrule.FAILED), NOW)
    assert (left.run.spent, left.run.done) == (set(), {"/shipping"})
    done = run("/cart /shipping", "/shipping")
    assert after(done, "/cart", Answer(200, overrule=Overrule.FAILED), True) is Outcome.FAILED


def test_failed_of_a_visit_takes_back_what_is_done_and_was_never_spent():
    assert said("failed", run("/cart /shipping", "/shipping"), "/shipping")[1] == ""


@pytest.mark.parametrize("name", ["/help", "/payment", "/shipping"], ids=["a companion", "a reload", "a look"])
def test_failed_of_a_visit_takes_back_what_the_current_state_did(name):
    assert said("failed", PAID, name) == ("/cart /shipping /payment", "/shipping", "", Outcome.FAILED)


def test_failed_of_a_visit_where_nothing_was_done_changes_nothing():
    assert said("failed", run("/cart"), "/shipping") is Outcome.FAILED
    assert settle(SHOP, Run("id"), Passage(Kind.BEGIN, "/cart", False, 1), Answer(200, overrule=Overrule.FAILED), 0)[
        0
    ] == Run("id")


def test_finish_closes_a_run_wherever_it_is():
    left = settle(
        SHOP, AT_PAYMENT, request(SHOP, AT_PAYMENT, "/payment", True), Answer(200, overrule=Overrule.FINISH), NOW
    ).run
    assert left.closed
    assert finished(SHOP, left)
    assert decide(SHOP, left, Attempt("/payment", True, 0)).reason.value == "duplicate"
    assert not left.going_back("/cart", NOW).closed


def test_a_finish_that_is_said_again_is_no_change():
    closed = run("/cart /shipping /payment", "/shipping /payment", "/payment", closed=True)
    passage = request(SHOP, closed, "/payment", False)
    assert settle(SHOP, closed, passage, Answer(200, overrule=Overrule.FINISH), NOW).run is closed


def test_a_run_remembers_what_another_copy_of_it_has_spent_and_whose_that_is():
    nobodys, anns = run("a b", spent="b"), run("a b", spent="b", user="ann")
    assert nobodys.remembering(run("a", user="ann")) == anns
    assert nobodys.remembering(run("a", spent="c")) == run("a b", spent="b c")
    assert anns.remembering(run("a", spent="c", user="eve")) == run("a b", spent="b c", user="ann")


def test_a_run_that_has_nothing_to_remember_is_the_same():
    nobodys, anns = run("a b", spent="b"), run("a b", spent="b", user="ann")
    assert nobodys.remembering(run("a", spent="b")) is nobodys
    assert anns.remembering(run("a", user="eve")) is anns


def test_a_run_with_an_id_and_numbers_of_its_own_is_as_far_as_the_other():
    here = run("/cart /payment", "/payment", "/payment", closed=True, values=(("id", "7"),), user="ann")
    numbers = {"seq": 1, "first": 2, "started": 3, "changed": 4, "entered": 5}
    assert with_numbers(here, "another", tuple(numbers.values())) == here._replace(id="another", **numbers)


def test_a_reset_keeps_neither_values_nor_user():
    machine = flow(state("/a", start=True), vary=frozenset({"lang"}))
    passage = Passage(Kind.STAY, "/a", False, 2, (("lang", "de"),), user="ann")
    left = settle(machine, run("/a"), passage, Answer(200, overrule=Overrule.RESET), NOW).run
    assert left == Run("id", 10, 10, changed=NOW)


def test_reset_leaves_only_the_count():
    assert said("reset", AT_PAYMENT, "/payment") == ("", "", "", Outcome.RESET)
    assert settle(SHOP, Run("id"), Passage(Kind.BEGIN, "/cart", False, 1), Answer(200, overrule=Overrule.RESET), 0)[
        0
    ] == Run("id")


def test_nothing_overrules_a_look_by_head():
    passage = request(SHOP, AT_PAYMENT, "/payment", False, peek=True)
    for overrule in Overrule:
        assert settle(SHOP, AT_PAYMENT, passage, Answer(200, overrule=overrule), NOW).run is AT_PAYMENT
