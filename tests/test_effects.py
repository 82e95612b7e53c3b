"""Applications whose GET has side effects: the key `effects`. CONTRACT 2, 3, 4."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

import pytest
from test_middleware import Down
from visitor import DONE, FAULT, INVALID, OLD_BROWSER, PAGE, SCRIPT, SHOWN, Application, Boom, Visitor, guarded, led

from flowguard import Answer, Attempt, Flow, Kind, Passage, Reason, Refusal, Run, decide, settle

# A registration whose mail holds a link that creates the account.
MAIL: dict[str, Any] = {
    "/register": {"to": ["/confirm"], "submit": True},
    "/confirm": {"to": ["/welcome"], "effects": True, "once": True},
    "/welcome": {},
}
# Pages that are answered 200 both when they work and when they do not.
LIST: dict[str, Any] = {
    "/list": {"to": ["/archive"]},
    "/archive": {"to": ["/list"], "effects": True},
}


def registered(flow: Any = MAIL, **options: Any) -> tuple[Visitor, Application]:
    """A visitor who has sent the form and got the mail."""
    visitor, app = guarded(flow, **options)
    app.answers["POST /register"] = DONE
    visitor.get("/register")
    visitor.post("/register")
    return visitor, app


# --- a GET is a submission -------------------------------------------------------------------------------------------


def test_a_link_in_a_mail_confirms_once_and_its_reload_leads_to_where_it_led():
    visitor, app = registered()
    app.answers["GET /confirm"] = led("/welcome")
    assert visitor.get("/confirm").status == 303
    again = visitor.get("/confirm")
    assert again.verdict == (303, "duplicate")
    assert again.location == "/welcome"
    assert visitor.get("/welcome").status == 200
    assert visitor.get("/confirm").verdict == (303, "finished")
    assert app.calls.count("GET /confirm") == 1


def test_a_link_that_is_followed_before_its_time_never_reaches_the_application():
    visitor, app = guarded(MAIL)
    assert visitor.get("/confirm").verdict == (409, "not_started")
    visitor.get("/register")
    assert visitor.get("/confirm").verdict == (409, "skipped")
    assert app.calls == ["GET /register"]


@pytest.mark.parametrize("html", ["text/html", "application/json"])
def test_a_page_is_its_success(html: str):
    visitor, app = registered()
    app.answers["GET /confirm"] = SHOWN._replace(headers=(("Content-Type", html),))
    assert visitor.get("/confirm").status == 200
    assert visitor.get("/confirm").reason == "duplicate"
    assert visitor.get("/welcome").status == 200
    assert app.calls.count("GET /confirm") == 1


@pytest.mark.parametrize("answer", [FAULT, led("/elsewhere"), Boom], ids=["a fault", "an odd redirect", "an exception"])
def test_a_link_whose_outcome_is_not_known_is_not_followed_again(answer: Any):
    visitor, app = registered()
    app.answers["GET /confirm"] = answer
    with pytest.raises(Boom) if answer is Boom else nullcontext():
        visitor.get("/confirm")
    assert visitor.get("/confirm").reason == "duplicate"
    assert app.calls.count("GET /confirm") == 1


@pytest.mark.parametrize("answer", [INVALID, led("/confirm"), led("/register"), led("/login?next=/confirm")])
def test_a_link_that_failed_may_be_followed_again(answer: Any):
    visitor, app = registered()
    app.answers["GET /confirm"] = answer
    visitor.get("/confirm")
    app.answers["GET /confirm"] = led("/welcome")
    assert visitor.get("/confirm").status == 303
    assert visitor.get("/welcome").status == 200


def test_a_form_that_is_sent_to_the_same_path_is_still_read_as_a_form():
    visitor, app = registered()
    assert visitor.post("/confirm").status == 200  # the form again
    assert visitor.post("/confirm").status == 200
    assert visitor.get("/confirm").status == 200  # the link: done
    assert visitor.post("/confirm").reason == "duplicate"
    assert app.calls.count("POST /confirm") == 2


def test_without_once_it_counts_once_all_the_same():
    visitor, app = guarded(LIST)
    visitor.get("/list")
    visitor.get("/archive")
    assert visitor.get("/archive").reason == "duplicate"
    visitor.get("/list")
    assert app.calls == ["GET /list", "GET /archive", "GET /list"]


def test_with_repeat_it_may_be_done_any_number_of_times():
    visitor, _ = guarded({**LIST, "/archive": {**LIST["/archive"], "repeat": True}})
    visitor.get("/list")
    assert [visitor.get("/archive").status for _ in range(3)] == [200] * 3


def test_a_run_may_begin_by_a_get_with_effects():
    visitor, app = guarded({"/subscribe": {"effects": True, "to": ["/thanks"]}, "/thanks": {}})
    app.answers["GET /subscribe"] = led("/thanks")
    visitor.get("/subscribe")
    assert visitor.get("/subscribe").verdict == (303, "duplicate")
    assert visitor.get("/thanks").status == 200


def test_two_clicks_on_a_link_at_the_same_moment_do_it_once():
    visitor, app = registered()
    begun, go_on = threading.Event(), threading.Event()

    def slowly(environ: Any, start_response: Any) -> Any:
        begun.set()
        go_on.wait(10)
        start_response("303 See Other", [("Location", "/welcome"), ("Content-Type", "text/html")])
        return [b""]

    app.answers["GET /confirm"] = slowly
    answers: list[Any] = []
    tabs = visitor.twin(), visitor.twin()
    first, second = (threading.Thread(target=lambda tab: answers.append(tab.get("/confirm")), args=(tab,))
                     for tab in tabs)  # fmt: skip
    first.start()
    assert begun.wait(10)
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert sorted((one.status, one.reason or "", one.location) for one in answers) == [
        (303, "", "/welcome"), (303, "duplicate", "/welcome"),
    ]  # fmt: skip
    assert app.calls.count("GET /confirm") == 1


def test_where_the_ledger_is_silent_a_get_with_effects_is_refused_as_a_form_is():
    visitor, app = guarded(MAIL, ledger=(ledger := Down()))
    visitor.get("/register")
    ledger.switch_off()
    assert visitor.get("/confirm").verdict == (503, "unavailable")
    assert app.calls == ["GET /register"]


# --- HEAD, OPTIONS and those who look in advance ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
@pytest.mark.parametrize("more", [
    {}, {"HTTP_ORIGIN": "https://x.example", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"},
], ids=["plain", "a preflight"])  # fmt: skip
def test_a_scanner_of_mails_does_not_burn_the_link(method: str, more: Any):
    visitor, app = registered(preflight=True)
    answer = visitor.send(visitor.environ(method, "/confirm", **more))
    assert (answer.status, answer.header("Allow"), answer.cookies) == (405, "GET, POST", [])
    assert visitor.get("/confirm").status == 200
    assert app.calls == ["GET /register", "POST /register", "GET /confirm"]


@pytest.mark.parametrize(("flow", "allow"), [
    ({"GET /a": {"effects": True}}, "GET"),
    ({"GET,DELETE /a": {"effects": True}}, "DELETE, GET"),
    ({"GET /a": {"effects": True}, "PUT /a": {"start": True}}, "GET, PUT"),
])  # fmt: skip
def test_a_405_names_what_the_path_takes(flow: Any, allow: str):
    visitor, app = guarded(flow)
    assert visitor.call("OPTIONS", "/a").header("Allow") == allow
    assert app.calls == []


@pytest.mark.parametrize("override", ["HEAD", "OPTIONS", "POST, options"])
def test_a_header_that_makes_it_a_head_is_shut_out_as_well(override: str):
    visitor, app = registered()
    assert visitor.get("/confirm", HTTP_X_HTTP_METHOD_OVERRIDE=override).status == 405
    assert "GET /confirm" not in app.calls


def test_head_of_a_page_without_effects_goes_on():
    visitor, _ = registered()
    assert visitor.call("HEAD", "/register").status == 200
    both, app = guarded({"GET /a": {"to": ["POST /a"]}, "POST /a": {}, "/b": {"effects": True}})
    both.call("HEAD", "/a")
    assert app.calls == ["HEAD /a"]


def test_a_prefetch_never_reaches_the_application():
    visitor, app = registered()
    assert visitor.get("/confirm", HTTP_SEC_PURPOSE="prefetch").status == 503
    assert "GET /confirm" not in app.calls


@pytest.mark.parametrize("steps", [[], ["POST /confirm"]], ids=["that would enter it", "of the current state"])
def test_a_get_with_effects_needs_its_answer_and_no_304(steps: Any):
    visitor, app = registered()
    for _ in steps:
        visitor.post("/confirm")
    visitor.get("/confirm", HTTP_IF_NONE_MATCH='"x"', HTTP_IF_MODIFIED_SINCE="x", HTTP_IF_RANGE="x")
    assert app.seen[-1].method == "GET"
    assert not [key for key in app.seen[-1].environ if key.startswith("HTTP_IF_")]


def test_the_condition_of_a_put_is_the_applications():
    visitor, app = guarded({"GET,PUT /a": {"effects": True, "repeat": True, "to": ["/b"]}, "/b": {}})
    visitor.get("/a")
    visitor.call("PUT", "/a", HTTP_IF_NONE_MATCH="*")
    assert app.seen[-1].environ["HTTP_IF_NONE_MATCH"] == "*"


# --- where the visitor is sent ---------------------------------------------------------------------------------------


def test_nobody_is_ever_redirected_to_a_get_with_effects():
    visitor, _ = registered()
    assert visitor.get("/welcome").location == "/register"
    visitor.post("/confirm")  # the form is shown: now it is the current state
    refused = visitor.get("/welcome")
    assert refused.verdict == (409, "skipped")
    assert b"/confirm" not in refused.body
    problem = visitor.send(visitor.environ("GET", "/welcome", **SCRIPT)).body
    assert b'"target": "/confirm"' in problem
    assert b'"allowed": []' in problem


def test_a_submission_that_led_to_a_get_with_effects_leads_no_second_one_there():
    visitor, app = guarded({"/a": {"to": ["/b"]}, "/b": {"effects": True, "to": ["/c"]}, "/c": {}})
    app.answers["POST /a"] = led("/b")
    visitor.get("/a")
    visitor.post("/a")
    assert visitor.post("/a").verdict == (303, "duplicate")
    assert visitor.post("/a").location == "/a"


def test_a_reset_leads_to_the_root_where_the_first_start_has_effects():
    visitor, _ = guarded({"/a": {"effects": True}}, reset="/again")
    assert visitor.get("/again").location == "/"


def test_a_refused_link_is_answered_as_a_form_and_nothing_was_typed():
    visitor, _ = guarded(MAIL)
    page = visitor.get("/confirm", **{**dict.fromkeys(PAGE), **OLD_BROWSER})
    assert page.verdict == (409, "not_started")
    assert b"typed" not in page.body
    assert b"typed" in visitor.post("/confirm").body


# --- back, and the pure rules ----------------------------------------------------------------------------------------


def test_going_back_to_it_is_an_edit_and_no_look():
    edited, _ = guarded({"/a": {"effects": True, "to": ["/b"], "back": "edit"}, "/b": {"to": ["/c"]}, "/c": {}})
    edited.get("/a")
    edited.get("/b")
    assert edited.get("/a").status == 200
    assert edited.get("/c").reason == "illegal"  # the run went back to /a
    viewed, _ = guarded({"/a": {"effects": True, "to": ["/b"], "back": "view"}, "/b": {"to": ["/c"]}, "/c": {}})
    viewed.get("/a")
    viewed.get("/b")
    assert viewed.get("/a").verdict == (303, "duplicate")


def test_the_rules_read_a_page_as_the_success_of_a_get():
    flow = Flow(MAIL, name="mail").definition
    state = flow.states["/confirm"]
    assert (state.effects, state.get, state.unsafe) == (True, False, True)
    at = Run("id", 1, 0, ("/register",), done=frozenset({"/register"}))
    by_get = decide(flow, at, Attempt("/confirm", True, None, by_get=True))
    assert by_get == Passage(Kind.ENTER, "/confirm", True, 4, claim=True, by_get=True)
    assert settle(flow, at, by_get, Answer(200, html=True), 0).run.spent == {"/confirm"}
    by_form = decide(flow, at, Attempt("/confirm", True, None))
    assert isinstance(by_form, Passage)
    assert settle(flow, at, by_form, Answer(200, html=True), 0).run.spent == frozenset()
    nowhere = decide(flow, None, Attempt("/confirm", True, None, by_get=True))
    assert nowhere == Refusal(Reason.NOT_STARTED, "/confirm", 1)


def test_a_script_asks_as_much_as_a_browser():
    visitor, app = registered()
    assert visitor.call("GET", "/confirm").status == 200
    assert visitor.call("GET", "/confirm").verdict == (409, "duplicate")
    assert app.calls.count("GET /confirm") == 1
