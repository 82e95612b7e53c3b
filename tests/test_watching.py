"""Report mode: an application that is watched answers as if it were not, and what would have been refused is logged.

And the two ways to be left alone: `mode="off"`, and `exempt`.
"""

from __future__ import annotations

import io
import json
import logging
import random
from pathlib import Path
from typing import Any, Iterable

import pytest
from visitor import (
    DONE,
    FAULT,
    INVALID,
    NOT_MODIFIED,
    SECRET,
    SHOWN,
    Answer,
    Application,
    Boom,
    Clock,
    Environ,
    Response,
    Visitor,
    guarded,
    led,
)

from flowguard import Flow, FlowGuard
from flowguard.errors import LedgerUnavailable
from flowguard.ledgers.memory import MemoryLedger
from flowguard.modes import ModeFile
from flowguard.records import digest

SHOP: dict[str, Any] = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
    "/help": {"within": ["/payment"]},
}
PAID = ["/cart", "/shipping", "POST /shipping", "/payment", "POST /payment"]
LEADS = {"POST /shipping": led("/payment"), "POST /payment": led("/done")}
OURS = "flowguard-flow"


class Watched:
    """A visitor of an application that is watched, and what the log says of them."""

    def __init__(self, caplog: Any, flow: Any = SHOP, **options: Any) -> None:
        caplog.set_level(logging.INFO, "flowguard")
        self._caplog = caplog
        self.app = options.pop("app", None) or Application()
        self.app.answers.update(LEADS)
        self.visitor, _ = guarded(flow, app=self.app, **{"mode": "report", **options})

    def go(self, *requests: str) -> list[str]:
        """Ask for each "/path" or "POST /path"; returns what would have been refused: "reason state"."""
        before = len(self.lines)
        for request in requests:
            method, _, path = request.rpartition(" ")
            self.answer = self.visitor.post(path, b"x=1") if method else self.visitor.get(path)
        return [f"{line['reason']} {line['state']}" for line in self.lines[before:]]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(record.getMessage()[len("would refuse ") :]) for record in self._caplog.records
            if record.getMessage().startswith("would refuse ")
        ]  # fmt: skip

    @property
    def others(self) -> list[str]:
        """The first lines of what else was logged."""
        messages = [record.getMessage().splitlines()[0] for record in self._caplog.records]
        return [message for message in messages if not message.startswith("would refuse ")]

    @property
    def run(self) -> Any:
        """The run as the application saw it at the last request."""
        return self.app.seen[-1].run


@pytest.fixture
def watched(caplog: Any) -> Watched:
    return Watched(caplog)


# --- what is logged --------------------------------------------------------------------------------------------------


def test_a_request_that_might_be_another_step_is_followed_as_what_it_is(caplog: Any):
    flow = {"/p": {"state": "one", "to": ["two"], "repeat": True}, "POST /p?a": "one", "POST /p?b": {"state": "two"},
            "POST /p?a&b": "one"}  # fmt: skip
    watched = Watched(caplog, flow=flow)
    assert watched.go("/p", "POST /p?b") == []
    watched.visitor.jar.clear()
    assert watched.visitor.post("/p?a", b"b=1").status == 200
    assert watched.lines[-1]["state"] == "two"
    assert watched.run.state == "one"


def test_an_honest_visitor_leaves_no_line(watched: Watched):
    order = ("/cart", "/shipping", "POST /shipping", "/payment", "POST /payment", "/done")
    assert watched.go(*order, "/done", *order) == []
    assert watched.others == []


def test_a_refusal_that_would_be_is_one_line_that_a_program_can_read(watched: Watched, caplog: Any):
    watched.go("/cart", "/payment?token=secret")
    (line,) = watched.lines
    (record,) = [one for one in caplog.records if one.name == "flowguard.decision"]
    run = line.pop("run")
    assert line == {
        "flow": "flow", "reason": "illegal", "state": "/payment", "current": "/cart", "target": "/cart",
    }  # fmt: skip
    assert (record.levelname, record.flowguard) == ("WARNING", {**line, "run": run})
    assert "\n" not in record.getMessage()
    text = watched.visitor.jar[OURS].split(".")[1]
    assert run == digest(text)
    assert not any(hidden in record.getMessage() for hidden in ("secret", text, "token"))


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["/payment"], ["not_started /payment"]),
        (["POST /payment"], ["not_started /payment"]),
        (["/cart", "/shipping", "/payment"], ["skipped /payment"]),
        (["/cart", "/done"], ["illegal /done"]),
        ([*PAID, "POST /payment"], ["duplicate /payment"]),
        (["/cart", "/help"], ["illegal /help"]),
        (["/help"], ["illegal /help"]),
        (["//cart", "/CART", "POST /cart;x"], ["path /cart"] * 3),
    ],
    ids=["without a run", "a submission without a run", "a form left out", "a step left out", "a second click",
         "a companion", "a companion without a run", "other spellings"],
)  # fmt: skip
def test_every_reason_is_told(requests: list[str], expected: list[str], watched: Watched):
    assert watched.go(*requests) == expected
    assert [call.partition("?")[0] for call in watched.app.calls] == [
        request if " " in request else f"GET {request}" for request in requests
    ]


def test_times_are_told(caplog: Any):
    clock = Clock()
    watched = Watched(caplog, {"/a": {"to": ["/b"], "min_seconds": 5, "max_seconds": 60}, "/b": {}}, clock=clock)
    assert watched.go("/a", "/b") == ["too_fast /b"]
    watched.go("/b", "/a")
    clock.now += 200
    assert watched.go("/b") == ["expired /b"]
    clock.now += 20_000
    assert watched.go("/b") == ["expired /b"]


def test_a_fence_is_told_and_passed(caplog: Any):
    watched = Watched(caplog, fence=["/"])
    assert watched.go("/cart", "/elsewhere", "/help/more") == ["path /*", "path /*"]
    assert watched.app.calls == ["GET /cart", "GET /elsewhere", "GET /help/more"]


def test_a_value_that_is_too_long_is_told_and_passed(caplog: Any):
    watched = Watched(caplog, {"/o/<id>": {}})
    assert watched.go("/o/" + "x" * 200) == ["path /o/<id>"]
    assert len(watched.app.calls) == 1


# --- how the run follows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["/payment", "POST /payment", "/done"], ["not_started /payment"]),
        (["/cart", "/payment", "POST /payment", "/done"], ["illegal /payment"]),
        (["/cart", "/shipping", "/payment", "POST /payment", "/done"], ["skipped /payment"]),
        ([*PAID[:4], *PAID[1:], "/done"], ["illegal /shipping"]),
        ([*PAID, "/done", *PAID[1:], "/done"], ["finished /shipping"]),
    ],
    ids=["a late beginning", "a step left out", "a form left out", "a way back", "a way back after the end"],
)  # fmt: skip
def test_one_slip_is_one_line(requests: list[str], expected: list[str], watched: Watched):
    assert watched.go(*requests) == expected
    assert watched.run.current == ("/payment" if requests[-2] == "POST /payment" else None)


def test_the_history_takes_declared_transitions_only(watched: Watched):
    watched.go("/cart", "/done", "/payment", "/shipping", "/x", "/shipping")
    assert (watched.run.current, watched.run.history) == ("/shipping", ())
    watched.go("POST /shipping", "/payment", "/payment")
    assert watched.run.history == (("/shipping", "/payment"),)


def test_a_declared_step_that_is_taken_again_is_followed_as_declared(caplog: Any):
    flow = {"/s": {"to": ["/a"]}, "/a": {"to": ["/b", "/end"]}, "/b": {"to": ["/a", "/end"]}, "/end": {}}
    watched = Watched(caplog, flow)
    assert watched.go("/s", "/a", "/b", "/a", "/b", "/a", "/end") == ["duplicate /b", "duplicate /a"]
    assert watched.run.history == (("/s", "/a"), ("/a", "/b"), ("/b", "/a"))


def test_a_submission_counts_by_the_table(watched: Watched):
    watched.app.answers["POST /shipping"] = INVALID
    assert watched.go("/cart", "POST /shipping", "/payment") == ["illegal /payment"]  # what failed entered nothing
    watched.app.answers["POST /payment"] = FAULT
    assert watched.go("POST /payment", "POST /payment") == ["duplicate /payment"]  # its outcome is unknown


def test_other_values_begin_a_run_of_their_own(caplog: Any):
    watched = Watched(caplog, {"/o/<id>/a": {"to": ["/o/<id>/b"]}, "/o/<id>/b": {"to": ["/o/<id>/c"]}, "/o/<id>/c": {}})
    watched.app.answers["POST /o/8/b"] = led("/o/8/c")
    assert watched.go("/o/7/a", "/o/8/b", "POST /o/8/b", "/o/8/c") == ["illegal /o/<id>/b"]


def test_head_and_options_are_judged_and_change_nothing(watched: Watched):
    watched.visitor.get("/cart")
    for method in ("HEAD", "OPTIONS"):
        assert watched.visitor.call(method, "/payment").status == 200
    watched.go("/cart")
    assert ([line["reason"] for line in watched.lines], watched.run.current) == (["illegal"] * 2, "/cart")


def test_a_forged_cookie_is_as_if_there_were_none(watched: Watched):
    watched.visitor.jar[OURS] = "forged"
    assert watched.go("/payment", "POST /payment", "/done") == ["bad_cookie /payment"]


def test_the_application_may_say_what_it_came_to_and_its_word_is_taken_out(watched: Watched):
    watched.app.answers["POST /shipping"] = SHOWN.saying("Flowguard", "success")
    assert watched.go("/cart", "/shipping", "POST /shipping") == []
    assert watched.answer.header("Flowguard") is None
    assert watched.go("/payment") == []


def test_another_user_is_told_and_begins_a_run_of_their_own(caplog: Any):
    watched = Watched(caplog, bind="REMOTE_USER")
    watched.visitor.get("/cart", REMOTE_USER="ann")
    assert watched.visitor.get("/shipping", REMOTE_USER="bob").status == 200
    assert [line["reason"] for line in watched.lines] == ["wrong_user"]
    watched.visitor.post("/shipping", REMOTE_USER="bob")
    watched.visitor.get("/payment", REMOTE_USER="bob")
    assert len(watched.lines) == 1


def test_who_cannot_say_whose_run_it_is_stops_nobody(caplog: Any):
    watched = Watched(caplog, bind=raising)
    watched.go("/cart", "//cart")
    assert watched.app.calls == ["GET /cart", "GET //cart"]
    assert [line.startswith("report mode: ") for line in watched.others] == [True, True]


def test_texts_are_looked_for_and_the_request_keeps_its_headers(caplog: Any):
    flow = {**SHOP, "/shipping": {"to": ["/payment"], "submit": True, "accept": ["body:Thank you"]}}
    watched = Watched(caplog, flow)
    watched.app.answers["POST /shipping"] = Answer(body=b"Thank you")
    watched.go("/cart", "/shipping")
    watched.visitor.post("/shipping", HTTP_ACCEPT_ENCODING="gzip")
    assert watched.app.seen[-1].environ["HTTP_ACCEPT_ENCODING"] == "gzip"
    assert watched.go("/payment") == []


def test_an_old_cookie_is_brought_up_to_the_newest_run(watched: Watched):
    watched.go("/cart", "/shipping", "POST /shipping", "/payment")
    thief = dict(watched.visitor.jar)
    watched.go("POST /payment", "/done")
    watched.visitor.jar = thief
    assert watched.go("POST /payment") == ["finished /payment"]


def test_a_run_that_began_in_report_mode_goes_on_where_it_is_enforced(tmp_path: Path, caplog: Any):
    (tmp_path / "mode").write_text("report")
    clock = Clock()
    watched = Watched(caplog, mode=ModeFile(tmp_path / "mode", clock=clock))
    watched.go("/cart", "/payment", "/shipping")
    (tmp_path / "mode").write_text("enforce")
    clock.now += 1
    assert watched.visitor.get("/payment").verdict == (303, "skipped")
    assert watched.visitor.post("/shipping").status == 303
    assert watched.visitor.get("/payment").status == 200


def test_no_trail_is_too_long_for_a_cookie(caplog: Any):
    flow = {f"/{number}": {"to": [f"/{number + 1}"] if number % 100 < 99 else [], "start": number % 100 == 0}
            for number in range(1000)}  # fmt: skip
    watched = Watched(caplog, flow)
    watched.go(*(f"/{number}" for number in range(0, 1000, 2)))
    assert len(watched.visitor.jar[OURS]) <= 4096
    assert watched.others == []


# --- what it never does ----------------------------------------------------------------------------------------------


def without_ours(response: Response) -> Any:
    headers = [pair for pair in response.headers if not pair[1].startswith(("flowguard-", "__Host-flowguard-"))]
    return response.line, headers, response.body


@pytest.mark.parametrize("more", [{}, {"HTTP_SEC_PURPOSE": "prefetch"}, {"HTTP_PURPOSE": "prefetch"}],
                         ids=["a visit", "a prefetch", "an old prefetch"])  # fmt: skip
def test_a_speculation_passes_and_moves_nobody(more: Any, watched: Watched):
    watched.visitor.get("/cart")
    assert watched.visitor.get("/payment", **more).status == 200
    assert len(watched.lines) == (not more)


def test_nothing_is_added_but_the_cookie_and_nothing_taken_from_the_request(watched: Watched):
    response = watched.visitor.get("/cart", HTTP_IF_NONE_MATCH='"x"', HTTP_IF_RANGE='"x"')
    assert [name for name, _ in response.headers] == ["Content-Type", "Set-Cookie"]
    assert {"HTTP_IF_NONE_MATCH", "HTTP_IF_RANGE"} <= set(watched.app.seen[-1].environ)
    watched.app.answers["GET /cart"] = NOT_MODIFIED
    assert watched.visitor.get("/cart").headers == []


def test_the_reset_path_is_the_applications(caplog: Any):
    watched = Watched(caplog, reset="/again")
    watched.go("/cart", "/again")
    assert (watched.app.calls, watched.answer.headers) == (["GET /cart", "GET /again"], list(SHOWN.headers))


def test_a_get_with_effects_is_a_submission_and_head_gets_no_405(caplog: Any):
    watched = Watched(caplog, {"/a": {"to": ["/go"]}, "/go": {"effects": True, "once": True}})
    assert watched.go("/a", "/go", "/go") == ["duplicate /go"]
    assert watched.visitor.call("HEAD", "/go").status == 200


def test_preflights_are_let_pass_where_that_is_said(caplog: Any):
    watched = Watched(caplog, preflight=True)
    asks = {"HTTP_ORIGIN": "https://x", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    assert watched.visitor.call("OPTIONS", "/payment", **asks).status == 200
    assert watched.lines == []


@pytest.mark.parametrize(("modes", "status"), [(("report", "off"), 200), (("report", "enforce"), 414)])
def test_a_path_without_end_passes_where_no_flow_refuses_anything(modes: Any, status: int):
    flows = [Flow({f"/{mode}": {}}, name=mode, mode=mode) for mode in modes]
    visitor = Visitor(FlowGuard(Application(), flows, secret_key=SECRET))
    assert visitor.get("/" + "x" * 9000).status == status


def test_no_hook_is_told_of_a_refusal_that_was_none(caplog: Any):
    events: list[Any] = []
    watched = Watched(caplog, refused=events.append, entered=events.append)
    watched.go("/cart", "/payment")
    assert [(event.kind, event.current) for event in events] == [("entered", "/cart"), ("entered", "/payment")]


def raising(_context: Any) -> bool:
    raise Boom


def wants_the_form(context: Any) -> bool:
    return bool(context.request.form)


def test_a_condition_that_raises_is_logged_once_and_counts_as_no(caplog: Any):
    watched = Watched(caplog, {"/a": {"to": {"/b": raising}}, "/b": {}})
    assert watched.go("/a", "/b") == ["condition /b"]
    assert len(watched.others) == 1
    assert watched.others[0].endswith(" raised, and counts as no")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_for_a_condition_reaches_the_application_whole(chunked: bool, caplog: Any):
    watched = Watched(caplog, {"/a": {"to": {"/b": wants_the_form}}, "/b": {"when": wants_the_form}}, max_body=10)
    watched.visitor.get("/a")
    body = b"x=" + b"1" * 100_000
    more = {"CONTENT_LENGTH": None, "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body)} if chunked else {}
    assert watched.visitor.post("/b", body, **more).status == 200
    assert watched.app.seen[-1].body == body
    assert [line["reason"] for line in watched.lines] == ["condition"]
    assert watched.run.allowed == ()  # conditions are asked once more, and the body is the application's by now


class Failing:
    """A ledger that is down, or that is broken altogether."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, *args: Any, **options: Any) -> Any:
        raise self.error

    claim = write = release = read


def test_a_ledger_that_is_down_goes_by_the_cookie(caplog: Any):
    watched = Watched(caplog, ledger=Failing(LedgerUnavailable("x", "y")))
    assert watched.go("/cart", "/shipping", "POST /shipping", "/payment", "POST /payment", "/done") == []


def test_a_ledger_with_a_fault_is_logged_and_the_application_answers_all_the_same(caplog: Any):
    watched = Watched(caplog, ledger=Failing(RuntimeError("a bug")))
    watched.go("/cart", "/shipping", "POST /shipping")
    assert (watched.answer.status, len(watched.app.calls)) == (303, 3)
    assert all("the application answers all the same" in line for line in watched.others)


class Forgetful(MemoryLedger):
    """Can be read, and not written."""

    def write(self, *args: Any, **options: Any) -> bool:
        raise RuntimeError("a bug")


def test_a_fault_when_an_answer_is_settled_leaves_the_answer_alone(caplog: Any):
    watched = Watched(caplog, ledger=Forgetful())
    watched.go("/cart", "/shipping", "POST /shipping")
    assert watched.answer[:1] == ("303 See Other",)
    watched.app.answers["POST /shipping"] = Boom
    with pytest.raises(Boom):
        watched.go("POST /shipping")


def test_nobody_waits_and_nobody_claims(caplog: Any):
    ledger = MemoryLedger()
    watched = Watched(caplog, ledger=ledger, ledger_wait=60)
    second: list[Response] = []

    def clicks_again(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if "HTTP_X_SECOND" not in environ:
            second.append(watched.visitor.twin().post("/payment", b"x=1", HTTP_X_SECOND="1"))
        start_response("303 See Other", [("Location", "/done"), ("Content-Type", "text/html")])
        return [b""]

    watched.go("/cart", "/shipping", "POST /shipping", "/payment")
    watched.app.answers["POST /payment"] = clicks_again
    assert watched.go("POST /payment", "/done") == []
    assert second[0].status == 303
    assert all(record.claim is None for _, record, _ in ledger.scan(0))


def test_an_application_that_calls_the_guard_again_is_watched_once(caplog: Any):
    watched, guard = Watched(caplog), []

    def again(environ: Environ, start_response: Any) -> Iterable[bytes]:
        del watched.app.answers["GET /payment"]
        result: Iterable[bytes] = guard[0](environ, start_response)
        return result

    watched.app.answers["GET /payment"] = again
    guard.append(FlowGuard(watched.app, SHOP, secret_key=SECRET, mode="report"))
    assert Visitor(guard[0]).get("/payment").status == 200
    assert (watched.app.calls, len(watched.lines)) == (["GET /payment"] * 2, 1)


# --- any request, any answer: with the guard as without --------------------------------------------------------------

ODD: dict[str, Any] = {
    "/a": {"to": {"GET /b": True, "/o/<id>": raising}, "start": True, "max_seconds": 30},
    "GET /b": {"to": ["/c"], "submit": True, "accept": ["body:Thank", "/c*", 201], "reject": ["body:Sorry"]},
    "POST /b": "GET /b",
    "/o/<id>": {"to": ["/c", "/a"], "once": True, "when": wants_the_form, "min_seconds": 3},
    "/c": {"to": ["/a"], "repeat": True, "back": "edit", "requires": [["GET /b", "/o/<id>"]]},
    "/go": {"effects": True, "start": True, "to": ["/c"]},
    "/side": {"within": ["/a", "/c"]},
    "/undo": {"undoes": ["/c"]},
}
ANSWERS = [
    SHOWN, DONE, FAULT, INVALID, NOT_MODIFIED, led("/c"), led("/b"), led("/a"), led("/o/8"), led("//evil"), led("http://["),
    led("/login"), Answer(body=b"Thank you"), Answer(body=b"Sorry, Thank you"), Answer(body=b""),
    Answer(body=b"x" * 200_000), Answer(headers=(("Content-Type", "text/html; charset=utf-16"),), body=b"abc"),
    Answer(headers=(("Content-Encoding", "gzip"), ("Content-Type", "text/html")), body=b"no gzip"),
    Answer(headers=(("Content-Encoding", "br"), ("Content-Type", "text/html")), body=b"br"),
    SHOWN.saying("Set-Cookie", "own=1").saying("Cache-Control", "public"), SHOWN.saying("Vary", "*"), led(""),
    Answer("999 Odd"),
]  # fmt: skip
PATHS = ["/a", "/b", "/b/", "/c", "/o/7", "/o/8", "/o/" + "9" * 200, "/go", "/side", "/undo", "/again", "/A", "//b",
         "/b;x", "/%61", "/c/../a", "/other", "/x" * 5000, "", "/f/x", "/f/open"]  # fmt: skip
HEADERS: list[dict[str, Any]] = [
    {}, {}, {"HTTP_SEC_PURPOSE": "prefetch"}, {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"}, {"HTTP_IF_NONE_MATCH": '"x"'},
    {"HTTP_RANGE": "bytes=0-1"}, {"HTTP_ACCEPT_ENCODING": "gzip"}, {"HTTP_COOKIE": f"{OURS}=x; {OURS}=1ab.y.z"},
    {"HTTP_ORIGIN": "x", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}, {"HTTP_SEC_FETCH_SITE": "cross-site"},
    {"HTTP_HOST": None}, {"wsgi.multiprocess": True}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "x"},
]  # fmt: skip


class Mirror(Application):
    """Answers by a number in the query, and remembers what it could see of the request."""

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        known = {key: value for key, value in environ.items() if not key.startswith(("flowguard.", "wsgi."))}
        self.saw = (known, environ["wsgi.input"].read(30))
        number, shape = map(int, environ["QUERY_STRING"].split("-"))
        answer = ANSWERS[number]
        if shape == 3:
            raise Boom
        write = start_response(answer.status, list(answer.headers))
        if shape == 2:
            write(answer.body)
            return []
        return iter([b"", answer.body[:7], answer.body[7:]]) if shape else [answer.body]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_asked_and_answered_it_is_the_applications_own(seed: int, caplog: Any):
    rng, clock = random.Random(seed), Clock()
    bare, inner = Mirror(), Mirror()
    guard = FlowGuard(
        inner, ODD, secret_key=SECRET, mode="report", clock=clock, reset="/again", fence=["/f/"], open=["/f/open"],
        max_body=8, restart=rng.random() < 0.3, idle=50,
    )  # fmt: skip
    mine, theirs = Visitor(guard, check=False), Visitor(bare, check=False)
    for _ in range(400):
        clock.now += rng.choice([0, 1, 5, 40, 200])
        method = rng.choice(["GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "get", "FROB"])
        path = f"{rng.choice(PATHS)}?{rng.randrange(len(ANSWERS))}-{rng.choice([0, 0, 1, 2, 3])}"
        body = rng.choice([b"", b"x=1", b"x=" + b"1" * 20])
        more = rng.choice(HEADERS)
        answers: list[Any] = []
        cookies = "; ".join(f"{name}={value}" for name, value in mine.jar.items()) or None
        for visitor in (mine, theirs):
            environ = visitor.environ(method, path, body, **{"HTTP_COOKIE": cookies, **more})
            try:
                answers.append(without_ours(visitor.send(environ)))
            except Boom:
                answers.append(Boom)
        assert answers[0] == answers[1], (method, path, more)
        assert inner.saw == bare.saw
    assert "the application answers all the same" not in caplog.text  # nothing of ours failed


# --- off, and exempt -------------------------------------------------------------------------------------------------


def staff(environ: Environ) -> bool:
    return "HTTP_X_STAFF" in environ


UNTOUCHED = ["/payment", "//cart", "/again", "/fenced/x", "/cart"]


@pytest.mark.parametrize("path", UNTOUCHED)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_where_the_mode_is_off_everything_passes_untouched(method: str, path: str):
    visitor, app = guarded(SHOP, mode="off", reset="/again", fence=["/fenced/"], exempt=raising)
    assert visitor.call(method, path, HTTP_SEC_PURPOSE="prefetch").headers == list(SHOWN.headers)
    assert (app.seen[-1].run, "flowguard.judged" in app.seen[-1].environ) == (None, False)


@pytest.mark.parametrize("path", UNTOUCHED)
@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_who_is_exempt_passes_untouched(mode: str, path: str, caplog: Any):
    visitor, app = guarded(SHOP, mode=mode, reset="/again", fence=["/fenced/"], exempt=staff)
    response = visitor.post(path, HTTP_X_STAFF="1", HTTP_SEC_PURPOSE="prefetch")
    assert (response.headers, app.seen[-1].run, caplog.records) == (list(SHOWN.headers), None, [])
    if path != "/cart":
        assert visitor.post(path).headers != list(SHOWN.headers) or mode == "report"


def test_a_visitor_who_makes_exempt_raise_is_not_exempt_and_gets_no_error(caplog: Any):
    visitor, app = guarded(SHOP, exempt=raising)
    assert (visitor.get("/payment").verdict, app.calls) == ((303, "not_started"), [])
    assert "raised, and exempts nobody" in caplog.text


def test_nobody_is_asked_to_exempt_what_is_not_guarded():
    visitor, _ = guarded(SHOP, exempt=raising)
    assert visitor.get("/elsewhere").status == 200


def test_a_flows_mode_can_be_changed_while_it_runs(tmp_path: Path):
    (tmp_path / "mode").write_text("off")
    clock = Clock()
    visitor, app = guarded(SHOP, mode=ModeFile(tmp_path / "mode", clock=clock))
    assert visitor.post("/payment").status == 200
    (tmp_path / "mode").write_text("enforce")
    assert visitor.post("/payment").status == 200
    clock.now += 1
    assert visitor.post("/payment").reason == "not_started"
    assert app.calls == ["POST /payment"] * 2
