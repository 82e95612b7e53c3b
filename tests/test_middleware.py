"""The whole guard, from one end to the other: what a visitor, a thief and an application see of CONTRACT 3 to 7."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import Any, Callable, Iterable, Optional

import pytest
import webtest
from visitor import (
    DONE,
    FAULT,
    HOST,
    INVALID,
    NOON,
    NOT_MODIFIED,
    OLD_BROWSER,
    PAGE,
    SCRIPT,
    SECRET,
    SHOWN,
    Application,
    Boom,
    Clock,
    Environ,
    Response,
    Visitor,
    guarded,
    led,
)

from flowguard import ConfigError, Event, Flow, FlowGuard, LedgerUnavailable, Refused, records
from flowguard.keeping import MAX_WAITING
from flowguard.ledgers.memory import MemoryLedger
from flowguard.refusals import VARY

NAME = "flowguard-flow"
SHOP: dict[str, Any] = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/pay"], "submit": True},
    "/pay": {"to": ["/done"], "once": True},
    "/done": {},
    "/voucher": {"within": ["/shipping", "/pay"]},
}
ANSWERS = {"POST /shipping": led("/pay"), "POST /pay": led("/done")}
WALK = ("GET /cart", "GET /shipping", "POST /shipping", "GET /pay", "POST /pay", "GET /done")


def shop(*steps: str, paths: Optional[dict[str, Any]] = None, **options: Any) -> tuple[Visitor, Application]:
    """A visitor who has walked *steps* of the shop."""
    visitor, app = guarded(SHOP if paths is None else {**SHOP, **paths}, **{"ledger_wait": 0, **options})
    app.answers.update(ANSWERS)
    for step in steps:
        go(visitor, step)
    app.seen.clear()
    return visitor, app


def go(visitor: Visitor, step: str, **more: Any) -> Response:
    method, path = step.split(" ", 1)
    response = visitor.send(visitor.environ(method, path, **{**PAGE, **more}))
    assert response.reason is None, (step, response)
    return response


def ask(visitor: Visitor, step: str, **more: Any) -> Response:
    method, path = step.split(" ", 1)
    return visitor.send(visitor.environ(method, path, **{**PAGE, **more}))


def problem(response: Response) -> dict[str, Any]:
    assert response.header("Content-Type") == "application/problem+json"
    found: dict[str, Any] = json.loads(response.body)
    return found


def run_of(visitor: Visitor) -> str:
    """The visitor's run, as logs and operators call it."""
    return records.digest(visitor.jar[NAME].split(".")[1])


def at(visitor: Visitor) -> Any:
    """The current state, by a refusal that changes nothing."""
    return problem(visitor.call("PUT", "/CART"))["current"]


# --- the honest visitor ----------------------------------------------------------------------------------------------


def test_an_honest_visitor_never_meets_the_guard():
    visitor, app = shop()
    assert [go(visitor, step).status for step in WALK] == [200, 200, 303, 200, 303, 200]
    assert tuple(app.calls) == WALK
    assert at(visitor) == "/done"


def test_an_honest_visitor_may_reload_every_page():
    visitor, _ = shop()
    for step in WALK:
        go(visitor, step)
        if step.startswith("GET"):
            assert [go(visitor, step).cookies, go(visitor, step).cookies] == [[], []]


def test_an_honest_visitor_walks_with_a_real_client():
    """WebTest lints both sides, keeps cookies as a browser does and follows redirects."""
    app = Application()
    app.answers.update(ANSWERS)
    client = webtest.TestApp(FlowGuard(app, SHOP, secret_key=SECRET))
    client.get("/cart", status=200)
    client.get("/shipping", status=200)
    assert client.post("/shipping", {"street": "Main"}, status=303).follow().status_int == 200
    assert client.post("/pay", {"card": "1"}, status=303).follow().request.path == "/done"
    again = client.post("/pay", {"card": "1"}, headers={"Accept": "text/html"}, status=303)
    assert again.follow().request.path == "/done"
    assert [one.body for one in app.seen if one.method == "POST"] == [b"street=Main", b"card=1"]


def test_two_orders_one_after_the_other_are_two_orders():
    visitor, app = shop(*WALK)
    for step in WALK:
        go(visitor, step)
    assert app.calls.count("POST /pay") == 1
    app.seen.clear()
    for step in WALK:
        go(visitor, step)
    assert app.calls.count("POST /pay") == 1


# --- every reason, in every form -------------------------------------------------------------------------------------


class Down:
    """A ledger that can be switched off, and remembers like the one in memory while it is on."""

    def __init__(self) -> None:
        self.kept = MemoryLedger()
        self.off: set[str] = set()

    def _ask(self, verb: str, *args: Any, **named: Any) -> Any:
        if verb in self.off:
            raise LedgerUnavailable("test://", "switched off")
        return getattr(self.kept, verb)(*args, **named)

    def read(self, *args: Any, **named: Any) -> Any:
        return self._ask("read", *args, **named)

    def claim(self, *args: Any, **named: Any) -> Any:
        return self._ask("claim", *args, **named)

    def write(self, *args: Any, **named: Any) -> Any:
        return self._ask("write", *args, **named)

    def release(self, *args: Any, **named: Any) -> Any:
        return self._ask("release", *args, **named)

    def switch_off(self, *verbs: str) -> None:
        self.off = set(verbs or ("read", "claim", "write", "release"))


def silent(*steps: str) -> tuple[Visitor, Application]:
    ledger = Down()
    visitor, app = shop(*steps, ledger=ledger)
    ledger.switch_off()
    return visitor, app


def later(seconds: float, *steps: str, **options: Any) -> tuple[Visitor, Application]:
    clock = Clock()
    visitor, app = shop(*steps, clock=clock, **options)
    clock.now += seconds
    return visitor, app


def never(context: Any) -> bool:
    return False


def spoiled() -> tuple[Visitor, Application]:
    visitor, app = shop("GET /cart")
    visitor.jar[NAME] += "x"
    return visitor, app


CART_ONLY = {"/cart": {"to": {"/shipping": never}}}
HURRIED = {"/cart": {"to": ["/shipping"], "min_seconds": 2}}
LIMITED = {"/shipping": {"to": ["/pay"], "submit": True, "max_seconds": 60}}

# reason: who comes along, what they ask for safely, what they submit, and where they should be
REASONS: dict[str, tuple[Callable[[], tuple[Visitor, Application]], Optional[str], str, str]] = {
    "not_started": (lambda: shop(), "/pay", "/pay", "/cart"),
    "illegal": (lambda: shop("GET /cart"), "/done", "/done", "/cart"),
    "duplicate": (lambda: shop("GET /cart", "GET /shipping", "POST /shipping"), "/shipping2", "/shipping", "/pay"),
    "skipped": (lambda: shop("GET /cart", "GET /shipping"), "/pay", "/pay", "/shipping"),
    "condition": (lambda: shop("GET /cart", paths=CART_ONLY), "/shipping", "/shipping", "/cart"),
    "too_fast": (lambda: shop("GET /cart", paths=HURRIED), "/shipping", "/shipping", "/cart"),
    "expired": (lambda: later(20_000, "GET /cart"), "/shipping", "/shipping", "/cart"),
    "finished": (lambda: shop(*WALK), "/pay", "/shipping", "/done"),
    "bad_cookie": (spoiled, "/shipping", "/shipping", "/cart"),
    "path": (lambda: shop("GET /cart"), None, "/CART", "/cart"),
}


@pytest.mark.parametrize("reason", [reason for reason, row in REASONS.items() if row[1] and reason != "duplicate"])
@pytest.mark.parametrize("client", [PAGE, OLD_BROWSER], ids=["a browser", "an old browser"])
def test_a_refused_visit_is_one_hop_from_where_the_visitor_should_be(reason: str, client: Any):
    come, path, _, target = REASONS[reason]
    visitor, app = come()
    response = visitor.send(visitor.environ("GET", path or "", **client))
    assert (response.status, response.reason, response.location) == (303, reason, target)
    assert app.calls == []
    assert visitor.send(visitor.environ("GET", target, **client)).status == 200
    assert app.calls == [f"GET {target}"]


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_form_is_told_that_it_was_not_taken_or_led_on(reason: str):
    come, _, path, target = REASONS[reason]
    visitor, app = come()
    response = visitor.post(path, b"street=Main")
    if reason in ("duplicate", "finished"):
        assert (response.status, response.reason, response.location) == (303, reason, target)
    else:
        assert (response.status, response.reason, response.location) == (409, reason, None)
        assert f'href="{target}"'.encode() in response.body
    assert app.calls == []
    assert visitor.get(target).status == 200


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_script_gets_a_problem(reason: str):
    come, _, path, target = REASONS[reason]
    visitor, app = come()
    response = visitor.call("POST", path, b"{}")
    assert (response.status, response.reason, response.location, app.calls) == (409, reason, None, [])
    found = problem(response)
    state = "/cart" if reason == "path" else path
    assert (found["reason"], found["state"], found["target"], found["flow"]) == (reason, state, target, "flow")


@pytest.mark.parametrize("reason", REASONS)
def test_every_refusal_says_why_and_is_never_cached(reason: str):
    come, _, path, _ = REASONS[reason]
    for client in (PAGE, SCRIPT):
        visitor, _ = come()
        response = visitor.send(visitor.environ("POST", path, **client))
        assert response.all("Flowguard-Reason") == [reason]
        assert response.all("Cache-Control") == ["no-store"]
        assert response.all("Vary") == [VARY]
        assert response.header("Retry-After") == ("2" if reason == "too_fast" else None)


def test_another_spelling_of_a_page_is_led_to_the_declared_one():
    visitor, app = shop("GET /cart")
    response = visitor.get("/CART?a=1&b=%20x")
    assert (response.status, response.location, response.cookies != []) == (308, "/cart?a=1&b=%20x", True)
    assert app.calls == []


def test_a_value_that_is_too_long_is_refused():
    visitor, app = guarded({"/order/<id>": {"to": ["/done"]}, "/done": {}})
    assert visitor.get("/order/" + "x" * 129).verdict == (409, "path")
    assert visitor.get("/order/" + "x" * 128).status == 200
    assert app.calls == ["GET /order/" + "x" * 128]


def test_a_path_over_8192_characters_gets_a_414():
    visitor, app = shop()
    assert [visitor.get("/" + "x" * size).status for size in (8191, 8192)] == [200, 414]
    assert len(app.calls) == 1


def test_a_problem_says_what_is_missing_and_what_is_open():
    visitor, _ = shop("GET /cart", "GET /shipping")
    found = problem(visitor.call("GET", "/pay"))
    assert found == {
        "type": "urn:flowguard:skipped", "title": found["title"], "status": 409, "detail": found["detail"],
        "flow": "flow", "reason": "skipped", "state": "/pay", "current": "/shipping", "missing": ["/shipping"],
        "allowed": [], "target": "/shipping",
    }  # fmt: skip


def test_a_target_that_takes_only_a_post_is_never_redirected_to():
    flow = {"POST /a": {"state": "A", "to": ["/b"]}, "/b": {}, "/x": {}}
    visitor, _ = guarded(flow)
    response = visitor.get("/b")
    assert response.verdict == (409, "not_started")
    found = problem(visitor.call("GET", "/b"))
    assert (found["target"], found["target_method"]) == ("/a", "POST")


def test_a_target_whose_variable_is_unknown_is_never_redirected_to():
    visitor, _ = guarded({"/order/<id>": {"to": ["/done"]}, "/done": {}})
    assert visitor.get("/done").verdict == (409, "not_started")
    assert problem(visitor.call("GET", "/done"))["target"] is None


def test_a_target_carries_the_values_of_the_run():
    visitor, _ = guarded({"/o/<id>/a": {"to": ["/o/<id>/b"]}, "/o/<id>/b": {"to": ["/o/<id>/c"]}, "/o/<id>/c": {}})
    visitor.send(visitor.environ("GET", "", PATH_INFO="/o/caf\xc3\xa9 7/a"))
    assert visitor.get("/o/x/c").location == "/o/caf%C3%A9%207/a"


def test_without_a_run_a_target_carries_the_values_of_the_request():
    visitor, _ = guarded({"/o/<id>/a": {"to": ["/o/<id>/b"]}, "/o/<id>/b": {}})
    refused = visitor.get("/o/7/b")
    assert (refused.verdict, refused.location) == ((303, "not_started"), "/o/7/a")
    assert visitor.get("/o/7/a").status == 200


@pytest.mark.parametrize("app", [None, SHOP])
def test_what_cannot_be_called_is_no_application(app: Any):
    with pytest.raises(TypeError, match="it comes first"):
        FlowGuard(app, SHOP, secret_key=SECRET)


def test_a_flow_may_not_be_named_like_anothers_note():
    flows = [Flow({"/a": {}}, name="a"), Flow({"/b": {}}, name="a-note")]
    with pytest.raises(ConfigError, match="'flowguard-a-note' is, or makes, a cookie of the flow 'a'"):
        FlowGuard(Application(), flows, secret_key=SECRET)


def test_a_target_is_the_first_of_its_paths_whose_variables_are_known():
    visitor, _ = guarded({"/o/<int:id>/cart": {"state": "cart", "to": ["/pay"]}, "/cart": "cart", "/pay": {}})
    assert (visitor.get("/pay").verdict, visitor.get("/pay").location) == ((303, "not_started"), "/cart")


def test_a_script_of_htmx_is_told_where_the_page_should_go():
    visitor, _ = shop("GET /cart")
    response = visitor.call("POST", "/pay", HTTP_HX_REQUEST="true")
    assert (response.status, response.header("HX-Redirect")) == (409, "/cart")


def test_a_target_whose_condition_says_no_is_never_redirected_to():
    visitor, _ = guarded({"/a": {"to": ["/b"], "when": never}, "/b": {}})
    assert visitor.get("/b").verdict == (409, "not_started")
    assert visitor.get("/a").verdict == (409, "condition")


# --- speculations, methods, preflights -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        {"HTTP_SEC_PURPOSE": "prefetch"},
        {"HTTP_SEC_PURPOSE": "prefetch;prerender"},
        {"HTTP_SEC_PURPOSE": "Prerender"},
        {"HTTP_PURPOSE": "prefetch"},
        {"HTTP_X_MOZ": "prefetch"},
    ],
    ids=lambda header: "{}: {}".format(*next(iter(header.items()))),
)
@pytest.mark.parametrize("path", ["/cart", "/pay", "/CART", "/voucher", "/forget"])
def test_a_guarded_page_is_not_to_be_had_in_advance(path: str, header: dict[str, str]):
    visitor, app = shop(reset="/forget")
    response = visitor.get(path, **header)
    assert (response.status, response.header("Cache-Control"), response.location) == (503, "no-store", None)
    assert (response.cookies, app.calls) == ([], [])


def test_another_purpose_is_no_speculation_and_other_pages_may_be_prefetched():
    visitor, _ = shop()
    assert visitor.get("/other", HTTP_SEC_PURPOSE="prefetch").status == 200
    assert visitor.get("/cart", HTTP_SEC_PURPOSE="x", HTTP_PURPOSE="", HTTP_X_MOZ="livebookmarks").status == 200


OVERRIDES = ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE"]


@pytest.mark.parametrize("header", OVERRIDES)
@pytest.mark.parametrize(
    ("method", "override", "reason"),
    [
        ("GET", "POST", "duplicate"),
        ("GET", "delete", "duplicate"),
        ("POST", "GET", "duplicate"),
        ("GET", "get", None),
        ("GET", "", None),
        ("GET", "GET, POST", "duplicate"),
        ("HEAD", " put ", "duplicate"),
        ("OPTIONS", "HEAD", None),
    ],
)
def test_a_submission_is_one_wherever_its_method_stands(header: str, method: str, override: str, reason: Optional[str]):
    visitor, _ = shop("GET /cart", "GET /shipping", "POST /shipping")
    assert visitor.call(method, "/shipping", **{header: override}).reason == reason


def test_two_override_headers_are_both_heard():
    visitor, _ = shop("GET /cart", "GET /shipping", "POST /shipping")
    headers = {OVERRIDES[0]: "GET", OVERRIDES[2]: "PATCH"}
    assert visitor.call("GET", "/shipping", **headers).reason == "duplicate"


PAID_BY_POST: dict[str, Any] = {
    "GET /pay": {"state": "form", "to": ["charge"]},
    "POST /pay": {"state": "charge", "to": ["/done"], "once": True},
    "/done": {},
}


@pytest.mark.parametrize(("answer", "calls"), [
    (led("/done"), 1), (FAULT, 1), (SHOWN.saying("Flowguard", "reset"), 1), (INVALID, 3), (SHOWN, 3),
], ids=["that was paid", "in doubt", "that was reset", "that failed", "whose form was shown again"])  # fmt: skip
def test_a_header_that_the_application_does_not_heed_is_no_way_to_submit_twice_a_payment(answer: Any, calls: int):
    visitor, app = guarded(PAID_BY_POST)
    app.answers["POST /pay"] = answer
    visitor.get("/pay")
    for _ in range(3):
        visitor.post("/pay", HTTP_X_HTTP_METHOD_OVERRIDE="GET")
    assert app.calls.count("POST /pay") == calls


def test_a_header_that_names_a_companion_is_no_way_to_pay_twice_either():
    visitor, app = guarded({
        "/cart": {"to": ["charge"]}, "POST /pay": {"state": "charge", "to": ["/done"], "once": True}, "/done": {},
        "GET /pay": {"within": ["/cart"]},
    })  # fmt: skip
    app.answers["POST /pay"] = led("/done")
    visitor.get("/cart")
    for _ in range(3):
        visitor.post("/pay", HTTP_X_HTTP_METHOD_OVERRIDE="GET")
    assert app.calls.count("POST /pay") == 1


def test_two_clicks_with_a_header_that_names_another_state_are_one_at_a_time():
    visitor, app = guarded(PAID_BY_POST, ledger_wait=0)
    visitor.get("/pay")
    tab = visitor.twin()
    verdicts: list[Any] = []

    def twice(environ: Any, start_response: Any) -> Iterable[bytes]:
        if len(app.calls) == 2:
            verdicts.append(tab.post("/pay", HTTP_X_HTTP_METHOD_OVERRIDE="GET").verdict)
        start_response("303 See Other", [("Location", "/done"), ("Content-Type", "text/html")])
        return [b""]

    app.answers["POST /pay"] = twice
    visitor.post("/pay", HTTP_X_HTTP_METHOD_OVERRIDE="GET")
    assert verdicts == [(409, "busy")]
    assert app.calls.count("POST /pay") == 1


def test_where_methods_select_different_states_all_must_pass():
    flow = {"/a": {"to": ["look"]}, "GET /b": {"state": "look", "to": ["order"]},
            "POST /b": {"state": "order", "once": True}}  # fmt: skip
    visitor, app = guarded(flow)
    visitor.get("/a")
    assert visitor.get("/b", HTTP_X_HTTP_METHOD="POST").reason == "illegal"
    visitor.get("/b")
    assert visitor.get("/b", HTTP_X_HTTP_METHOD="POST").status == 200
    assert app.seen[-1].run.state == "order"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("get", None), ("Head", None), ("options", None), ("post", "duplicate"), ("BREW", "duplicate"),
        ("gEtS", "duplicate"),
    ],
)  # fmt: skip
def test_methods_are_compared_in_upper_case_and_an_unknown_one_is_a_submission(method: str, reason: Optional[str]):
    visitor, app = guarded(SHOP, check=False)
    app.answers["PUT /shipping"] = DONE
    for step in ("GET /cart", "GET /shipping", "PUT /shipping"):
        go(visitor, step)
    assert visitor.call(method, "/shipping").reason == reason


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_head_and_options_are_judged_like_get_and_change_nothing(method: str):
    visitor, app = shop("GET /cart")
    assert visitor.call(method, "/pay").reason == "illegal"
    app.answers[f"{method} /shipping"] = SHOWN.saying("Flowguard", "success")
    response = visitor.call(method, "/shipping")
    assert (response.status, response.cookies, response.header("Flowguard"), at(visitor)) == (200, [], None, "/cart")


PREFLIGHT = {"HTTP_ORIGIN": "https://app.example", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}


@pytest.mark.parametrize(
    ("method", "headers", "option", "status"),
    [
        ("OPTIONS", PREFLIGHT, False, 409),
        ("OPTIONS", PREFLIGHT, True, 200),
        ("options", PREFLIGHT, True, 200),
        ("OPTIONS", {"HTTP_ORIGIN": "https://app.example"}, True, 409),
        ("OPTIONS", {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}, True, 409),
        ("GET", PREFLIGHT, True, 409),
        ("POST", PREFLIGHT, True, 409),
    ],
)
def test_a_preflight_passes_only_where_it_is_allowed(method: str, headers: Any, option: bool, status: int):
    """It carries no cookie, whatever the visitor's browser holds."""
    visitor, app = guarded(SHOP, preflight=option, check=False)
    response = visitor.call(method, "/pay", **headers)
    assert (response.status, len(app.calls), response.cookies) == (status, status == 200, [])


# --- paths, keys, flows ----------------------------------------------------------------------------------------------


def test_several_paths_may_belong_to_one_state():
    visitor, app = guarded({"/a": {"state": "A", "to": ["B"]}, "/a/edit": "A", "/b": {"state": "B"}, "/b2": "B"})
    assert [go(visitor, step).status for step in ("GET /a/edit", "POST /a", "GET /b2", "GET /b")] == [200] * 4
    assert [one.run.state for one in app.seen] == ["A", "A", "B", "B"]


def test_one_path_may_be_several_states_by_its_methods():
    flow = {"/cart": {"to": ["form", "charge"]}, "GET /charge": {"state": "form", "to": ["charge"]},
            "POST,PUT /charge": {"state": "charge", "once": True, "to": ["/done"]}, "/done": {}}  # fmt: skip
    visitor, app = guarded(flow)
    app.answers["POST /charge"] = led("/done")
    for step in ("GET /cart", "GET /charge", "OPTIONS /charge", "POST /charge"):
        go(visitor, step)
    assert [one.run.state for one in app.seen] == ["/cart", "form", "form", "charge"]
    assert visitor.call("DELETE", "/charge").verdict == (409, "duplicate")  # the first key that takes an unsafe one
    assert visitor.call("PUT", "/charge").verdict == (409, "duplicate")
    go(visitor, "GET /done")


def test_the_twin_with_or_without_the_last_slash_is_the_same_state():
    visitor, app = guarded({"/a": {"to": ["/b/"]}, "/b/": {}})
    assert [go(visitor, step).status for step in ("GET /a/", "GET /b")] == [200, 200]
    assert [one.run.state for one in app.seen] == ["/a", "/b/"]


def test_several_flows_keep_to_themselves():
    flows = [Flow({"/a": {"to": ["/b"]}, "/b": {}}, name="one"), Flow({"/x": {"to": ["/y"]}, "/y": {}}, name="two")]
    visitor, app = guarded(flows)
    for step in ("GET /a", "GET /x", "GET /b", "GET /y"):
        go(visitor, step)
    seen = [(one.run.flow, one.run.current) for one in app.seen]
    assert seen == [("one", None), ("two", None), ("one", "/a"), ("two", "/x")]
    assert set(visitor.jar) == {"flowguard-one", "flowguard-two"}


def test_a_redirect_into_another_flow_is_no_state_of_this_one():
    flows = [Flow({"/a": {"once": True}}, name="one"), Flow({"/x": {}}, name="two", reset="/forget")]
    visitor, app = guarded(flows)
    visitor.get("/a")
    for to in ("/x", "/forget"):  # of an end, to anything that is no state of this flow: success
        app.answers["POST /a"] = led(to)
        assert visitor.twin().post("/a").status == 303
        assert visitor.twin().post("/a").location == to
        visitor.get("/a")


def test_a_variable_holds_for_the_whole_run():
    flow = {"/o/<int:id>/address": {"to": ["/o/<int:id>/pay"]}, "/o/<int:id>/pay": {}}
    visitor, _ = guarded(flow)
    visitor.get("/o/7/address")
    assert visitor.get("/o/8/pay").verdict == (303, "illegal")
    assert visitor.get("/o/7/pay").status == 200


def test_a_redirect_to_another_spelling_of_a_state_is_a_redirect_to_it():
    visitor, app = shop("GET /cart", "GET /shipping")
    app.answers["POST /shipping"] = led("/Pay")
    go(visitor, "POST /shipping")
    go(visitor, "GET /pay")


def test_a_companion_goes_along_and_never_changes_a_run():
    visitor, app = shop("GET /cart")
    assert visitor.get("/voucher").verdict == (303, "illegal")
    assert problem(visitor.call("POST", "/voucher"))["state"] == "/voucher"
    go(visitor, "GET /shipping")
    for answer in (SHOWN, DONE, led("/cart"), INVALID):
        app.answers["POST /voucher"] = answer
        assert [go(visitor, "POST /voucher").cookies, go(visitor, "GET /voucher").cookies] == [[], []]
    assert (at(visitor), app.seen[-1].run.state) == ("/shipping", "/voucher")


# --- conditions ------------------------------------------------------------------------------------------------------


def has_stock(context: Any) -> bool:
    return context.environ.get("HTTP_X_STOCK") == "1"


@pytest.mark.parametrize("condition", [has_stock, f"{__name__}:has_stock"], ids=["callable", "dotted"])
@pytest.mark.parametrize("where", ["when", "to"])
def test_a_condition_opens_a_state_or_keeps_it_shut(where: str, condition: Any):
    when = {"when": condition} if where == "when" else {}
    to: Any = {"/b": condition} if where == "to" else ["/b"]
    visitor, _ = guarded({"/a": {"to": to}, "/b": when})
    visitor.get("/a")
    assert visitor.get("/b").verdict == (303, "condition")
    assert visitor.get("/b", HTTP_X_STOCK="1").status == 200


def test_a_condition_sees_the_request_the_run_and_the_values_of_the_path():
    seen: list[Any] = []

    def look(context: Any) -> bool:
        request = context.request
        seen.append((context.args, context.run.current, context.run.state, request is context.request))
        seen.append((request.method, request.path, request.args["q"], dict(request.form)))
        return True

    flow = {"/a/<int:id>": {"to": {"/b/<int:id>": look}}, "/b/<int:id>": {"when": look}}
    visitor, app = guarded(flow)
    visitor.get("/a/7")
    visitor.post("/b/7?q=1", b"x=2")
    # asked for the transition and for entering, which is one and the same function here: once
    assert seen == [({"id": 7}, "/a/<int:id>", "/b/<int:id>", True), ("POST", "/b/7", "1", {"x": "2"})]
    assert app.seen[-1].body == b"x=2"


def paid(context: Any) -> bool:
    return context.request.form.get("paid") == "yes"


FORM: dict[str, Any] = {"/a": {"to": {"/b": paid}}, "/b": {"submit": True, "to": ["/c"]}, "/c": {}}
CHUNKED = {"CONTENT_LENGTH": None, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
KIND = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("framing", [{}, CHUNKED], ids=["with a length", "chunked"])
@pytest.mark.parametrize("filler", [0, 200_000], ids=["small", "large"])
def test_a_condition_may_read_the_form_and_the_application_still_gets_it_whole(filler: int, framing: Any):
    visitor, app = guarded(FORM)
    visitor.get("/a")
    assert visitor.post("/b", b"paid=no", **KIND, **framing).reason == "condition"
    body = b"paid=yes&filler=%00%ff\r\n\xc3\xa9" + b"x" * filler
    assert visitor.post("/b", body, **KIND, **framing).status == 200
    assert app.seen[-1].body == body


@pytest.mark.parametrize("framing", [{}, CHUNKED], ids=["with a length", "chunked"])
@pytest.mark.parametrize("client", [PAGE, SCRIPT], ids=["form", "script"])
def test_a_form_that_is_larger_than_max_body_is_a_413_and_frees_its_claim(framing: Any, client: Any):
    visitor, app = guarded(FORM, max_body=100, ledger_wait=0)
    visitor.get("/a")
    big = visitor.environ("POST", "/b", b"paid=yes&x=" + b"x" * 90, **{**client, **KIND, **framing})
    response = visitor.send(big)
    assert (response.status, response.header("Cache-Control"), app.calls) == (413, "no-store", ["GET /a"])
    assert (b"<html" in response.body) is (client is PAGE)
    assert visitor.post("/b", b"paid=yes&x=" + b"x" * 89, **KIND, **framing).status == 200


def test_the_413_is_said_in_the_flows_own_words():
    texts = {"en": {"too_large": {"title": "Stop", "text": "Too much."}}}
    visitor, _ = guarded(FORM, max_body=10, texts=texts)
    visitor.get("/a")
    assert b"Too much." in visitor.post("/b", b"paid=yes&x=1", **KIND).body


@pytest.mark.parametrize("framing", [{}, CHUNKED], ids=["with a length", "chunked"])
@pytest.mark.parametrize("says", [True, False])
def test_a_condition_that_swallows_the_413_hands_no_torn_body_to_the_application(says: bool, framing: Any):
    def careless(context: Any) -> bool:
        try:
            return bool(context.request.form)
        except Exception:
            return says

    visitor, app = guarded({**FORM, "/a": {"to": {"/b": careless}}}, max_body=10)
    visitor.get("/a")
    assert visitor.post("/b", b"paid=yes&x=1", **KIND, **framing).status == 413
    assert app.calls == ["GET /a"]


def test_a_condition_that_is_asked_when_the_application_has_read_the_body_says_no():
    """On many servers another read would wait for ever."""
    reads: list[int] = []

    class Once(io.BytesIO):
        def read(self, size: Optional[int] = -1, /) -> bytes:
            reads.append(size or 0)
            return super().read(size)

    visitor, app = guarded({"/a": {"to": {"/b": paid}}, "/b": {}}, check=False)
    visitor.get("/a")
    body = b"paid=yes"
    visitor.post("/a", body, **KIND, **{"wsgi.input": Once(body)})
    assert (app.seen[-1].run.allowed, app.seen[-1].run.can_transition("/b"), len(reads)) == ((), False, 1)


def test_a_body_without_an_end_is_left_to_the_application():
    """Some servers give neither a length nor a sign that the stream ends: nobody but the application can know."""
    stream = io.BytesIO(b"paid=yes")
    asked: list[Any] = []

    def look(context: Any) -> bool:
        asked.append(dict(context.request.form))
        return True

    visitor, app = guarded({"/a": {"to": {"/b": look}}, "/b": {}}, check=False)
    visitor.get("/a")
    visitor.post("/b", **{"wsgi.input": stream, "CONTENT_LENGTH": None, **KIND})
    assert (asked, app.seen[-1].environ["wsgi.input"]) == ([{}], stream)
    assert stream.tell() == 0


def test_two_guards_may_both_read_the_form():
    app = Application()
    inner = FlowGuard(app, {"/b": {"when": paid}}, name="inner", secret_key=SECRET)
    visitor = Visitor(FlowGuard(inner, {"/b": {"when": paid}}, name="outer", secret_key=SECRET))
    assert visitor.post("/b", b"paid=yes", **KIND).status == 200
    assert app.seen[0].body == b"paid=yes"


def test_a_condition_that_raises_is_a_server_error_and_the_run_stays_as_it_was():
    def broken(context: Any) -> bool:
        raise Boom

    visitor, app = shop("GET /cart", paths={"/cart": {"to": {"/shipping": broken, "/pay": True}}})
    for method in ("GET", "POST"):
        with pytest.raises(Boom):
            ask(visitor, f"{method} /shipping")
    assert (app.calls, at(visitor)) == ([], "/cart")
    go(visitor, "POST /pay")  # its claim was given back


def test_a_condition_that_raises_while_a_target_is_looked_for_counts_as_no():
    def broken(context: Any) -> bool:
        raise Boom

    flow = {"/a": {"submit": True, "to": {"/b": broken, "/c": True}}, "/b": {}, "/c": {}, "/d": {}}
    visitor, app = guarded(flow)
    visitor.get("/a")
    app.answers["POST /a"] = DONE
    visitor.post("/a")
    assert visitor.get("/d").location == "/c"
    assert problem(visitor.call("GET", "/d"))["allowed"] == ["/c"]
    assert app.seen[-1].run.can_transition("/b") is False


# --- did it count? ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "again", "onward"),
    [
        (led("/done"), "duplicate", None),
        (DONE, "duplicate", None),
        (SHOWN._replace(headers=(("Content-Type", "application/json"),)), "duplicate", None),
        (SHOWN, None, "skipped"),
        (SHOWN._replace(headers=(("Content-Type", " Text/HTML; charset=utf-8"),)), None, "skipped"),
        (SHOWN._replace(headers=(("Content-Type", "application/xhtml+xml"),)), None, "skipped"),
        (INVALID, None, "skipped"),
        (led("/pay"), None, "skipped"),
        (led("/shipping"), None, "skipped"),
        (led("/login"), None, "skipped"),
        (led("https://pay.example/3ds"), "duplicate", "skipped"),
        (FAULT, "duplicate", "skipped"),
        (Boom, "duplicate", "skipped"),
    ],
    ids=[
        "to the successor", "204", "JSON", "a page", "a page, oddly said", "an XHTML page", "422", "to itself",
        "back in the trail", "to a login", "to another host", "500", "an exception",
    ],
)  # fmt: skip
def test_the_answer_to_a_payment_says_whether_it_may_be_tried_again(answer: Any, again: Any, onward: Any):
    visitor, app = shop("GET /cart", "GET /shipping", "POST /shipping", "GET /pay")
    app.answers["POST /pay"] = answer
    if answer is Boom:
        with pytest.raises(Boom):
            visitor.post("/pay")
    else:
        visitor.post("/pay")
    app.answers["POST /pay"] = INVALID
    assert (visitor.post("/pay").reason, visitor.get("/done").reason) == (again, onward)


@pytest.mark.parametrize(
    ("rules", "answer", "counted"),
    [
        ({"accept": [200]}, SHOWN, True),
        ({"accept": [422]}, INVALID, True),
        ({"accept": ["/thanks*"]}, led("/thanks/7"), True),
        ({"accept": ["/thanks*"]}, led(f"http://{HOST}:8080/thanks/7?x=1"), True),
        ({"accept": ["/thanks?ok=*"]}, led("/thanks?ok=1"), True),
        ({"accept": ["/thanks?ok=*"]}, led("/thanks?no=1"), False),
        ({"accept": ["https://pay.example/*"]}, led("https://pay.example/x"), True),
        ({"accept": ["/x"]}, led("https://pay.example/x"), False),
        ({"reject": [204]}, DONE, False),
        ({"reject": ["/done?error=*"]}, led("/done?error=1"), False),
        ({"reject": ["/done"], "accept": ["/done"]}, led("/done"), False),
        ({"accept": ["/b*"]}, led("/a"), False),
    ],
)
def test_accept_and_reject_say_what_counts(rules: dict[str, Any], answer: Any, counted: bool):
    visitor, app = shop("GET /cart", "GET /shipping", "POST /shipping", "GET /pay",
                        paths={"/pay": {"to": ["/done"], "once": True, **rules}})  # fmt: skip
    app.answers["POST /pay"] = answer
    visitor.post("/pay")
    assert (visitor.get("/done").reason is None) is counted


def test_a_page_that_leads_on_makes_its_state_done():
    """Old applications pass steps by chains of redirects."""
    visitor, app = shop("GET /cart")
    app.answers["GET /shipping"] = led("/pay", "302 Found")
    go(visitor, "GET /shipping")
    go(visitor, "GET /pay")
    assert app.seen[-1].run.history == (("/cart", "/shipping"),)


def test_a_page_that_leads_back_takes_the_run_back():
    visitor, app = shop("GET /cart", "GET /shipping", "POST /shipping")
    app.answers["GET /pay"] = led("/cart")
    go(visitor, "GET /pay")
    assert at(visitor) == "/cart"


# --- dwell times -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "reason", "wait"),
    [(0, "too_fast", "2"), (0.5, "too_fast", "2"), (1.001, "too_fast", "1"), (1.999, "too_fast", "1"), (2, None, None)],
)
def test_a_visitor_must_stay_for_min_seconds(seconds: float, reason: Any, wait: Any):
    visitor, _ = later(seconds, "GET /cart", paths=HURRIED)
    response = visitor.get("/shipping")
    assert (response.reason, response.header("Retry-After")) == (reason, wait)


def test_a_form_is_not_sent_before_its_page_was_looked_at():
    clock = Clock()
    visitor, _ = shop("GET /cart", paths={"/shipping": {"to": ["/pay"], "submit": True, "min_seconds": 3}}, clock=clock)
    clock.now += 100
    early = visitor.post("/shipping")  # not entered yet
    assert (early.reason, early.header("Retry-After")) == ("too_fast", "3")
    go(visitor, "GET /shipping")
    assert visitor.post("/shipping").header("Retry-After") == "3"
    clock.now += 3
    go(visitor, "POST /shipping")


def test_a_start_with_min_seconds_is_not_submitted_without_a_run():
    visitor, _ = guarded({"/a": {"min_seconds": 3, "to": ["/b"]}, "/b": {}})
    response = visitor.post("/a")
    assert (response.reason, response.header("Retry-After")) == ("too_fast", "3")


@pytest.mark.parametrize("step", ["POST /shipping", "GET /pay"])
@pytest.mark.parametrize(("seconds", "over"), [(120, False), (120.001, True)])
def test_a_visitor_may_stay_for_max_seconds_and_a_minute(seconds: float, over: bool, step: str):
    steps = ("GET /cart", "GET /shipping") + (("POST /shipping",) if step == "GET /pay" else ())
    visitor, _ = later(seconds, *steps, paths=LIMITED)
    response = ask(visitor, step)
    assert response.reason == ("expired" if over else None)
    assert at(visitor) == (None if over else "/shipping" if step[0] == "P" else "/pay")


def test_where_a_time_has_run_out_the_run_is_over_for_every_copy_of_the_cookie():
    visitor, _ = later(121, "GET /cart", "GET /shipping", "POST /shipping", paths=LIMITED)
    thief = visitor.twin()
    assert visitor.get("/pay").verdict == (303, "expired")
    assert (visitor.get("/pay").reason, thief.get("/pay").reason) == ("not_started", "not_started")


# --- reset, restart, back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_reset_path_forgets_the_run_and_leads_to_the_start(method: str):
    visitor, app = shop("GET /cart", "GET /shipping", reset="/forget")
    thief = visitor.twin()
    response = visitor.send(visitor.environ(method, "/forget", **PAGE))
    assert (response.status, response.location, response.header("Cache-Control")) == (303, "/cart", "no-store")
    assert (len(response.cookies), app.calls) == (1, [])
    assert visitor.get("/pay").reason == "not_started"
    assert thief.get("/pay").reason == "skipped"  # the ledger did not hold this run: nothing was submitted


def test_a_reset_is_kept_in_the_ledger_where_it_holds_the_run():
    visitor, _ = shop("GET /cart", "GET /shipping", "POST /shipping", reset="/forget")
    thief = visitor.twin()
    visitor.get("/forget")
    assert (thief.get("/pay").reason, visitor.get("/pay").reason) == ("not_started", "not_started")


def test_a_reset_without_a_run_only_leads_to_the_start():
    visitor, _ = shop(reset="/forget")
    response = visitor.get("/forget")
    assert (response.status, response.location, response.cookies) == (303, "/cart", [])


@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE", "OPTIONS"])
def test_the_reset_path_takes_no_other_method(method: str):
    visitor, _ = shop("GET /cart", reset="/forget")
    response = visitor.call(method, "/forget")
    assert (response.status, response.header("Allow"), response.cookies) == (405, "GET, POST", [])
    assert visitor.call("GET", "/forget", HTTP_X_HTTP_METHOD="DELETE").status == 405
    assert at(visitor) == "/cart"


def test_another_spelling_of_the_reset_path_resets_nothing():
    visitor, _ = shop("GET /cart", reset="/forget")
    assert visitor.get("/FORGET").location == "/forget"
    assert visitor.post("/FORGET").verdict == (409, "path")
    assert at(visitor) == "/cart"


def test_a_reset_where_the_start_has_a_variable_leads_to_the_root():
    visitor, _ = guarded({"/o/<id>": {"to": ["/b"]}, "/b": {}}, reset="/forget")
    visitor.mount = "/shop"
    assert visitor.get("/forget").location == "/shop/"


def test_a_reset_while_the_ledger_is_silent_still_resets_the_cookie():
    ledger = Down()
    visitor, _ = shop("GET /cart", "GET /shipping", "POST /shipping", reset="/forget", ledger=ledger)
    ledger.switch_off()
    assert visitor.get("/forget").status == 303
    assert visitor.get("/pay").reason == "not_started"


@pytest.mark.parametrize(("restart", "verdict"), [(False, (303, "illegal")), (True, (200, None))])
def test_a_start_may_be_entered_from_anywhere_where_the_flow_says_restart(restart: bool, verdict: Any):
    visitor, _ = shop("GET /cart", "GET /shipping", restart=restart)
    assert visitor.get("/cart").verdict == verdict
    assert at(visitor) == ("/cart" if restart else "/shipping")


def test_a_new_run_has_nothing_spent():
    visitor, app = shop(*WALK[:5], restart=True)
    for step in WALK:
        go(visitor, step)
    assert app.calls.count("POST /pay") == 1


@pytest.mark.parametrize(
    ("back", "look", "edit", "quiet"),
    [("refuse", "illegal", "illegal", "no-store"), ("view", None, "duplicate", "private, no-cache"),
     ("edit", None, None, "private, no-cache")],
)  # fmt: skip
def test_what_a_request_for_an_earlier_state_does(back: str, look: Any, edit: Any, quiet: str):
    visitor, _ = shop("GET /cart", "GET /shipping", "POST /shipping", "GET /pay", back=back)
    seen = visitor.get("/shipping")
    assert (seen.reason, at(visitor)) == (look, "/pay")
    assert seen.header("Cache-Control") == ("no-store" if look else quiet)
    assert visitor.post("/shipping").reason == edit
    assert at(visitor) == ("/shipping" if edit is None else "/pay")


def test_an_edit_of_what_is_spent_is_refused():
    visitor, _ = shop(*WALK[:5], paths={"/done": {"to": ["/more"]}, "/more": {}}, back="edit")
    go(visitor, "GET /done")
    assert visitor.post("/shipping").reason == "duplicate"


# --- hooks -----------------------------------------------------------------------------------------------------------


def plain(event: Event) -> tuple[Any, ...]:
    return event[:5]


def test_hooks_are_told_what_happens():
    told: list[tuple[Any, ...]] = []

    def tell(event: Event) -> None:
        told.append((*event[:5], event.environ["PATH_INFO"]))

    visitor, _ = shop(entered=tell, refused=tell, finished=tell)
    for step in ("GET /cart", "GET /cart", "GET /pay", "GET /shipping", "POST /shipping", *WALK[3:]):
        ask(visitor, step)
    assert told == [
        ("entered", "flow", "/cart", "/cart", None, "/cart"),
        ("refused", "flow", "/pay", "/cart", "illegal", "/pay"),
        ("entered", "flow", "/shipping", "/shipping", None, "/shipping"),
        ("entered", "flow", "/pay", "/pay", None, "/pay"),
        ("entered", "flow", "/done", "/done", None, "/done"),
        ("finished", "flow", "/done", "/done", None, "/done"),
    ]


def warnings_of_pages(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records if "answered by a page" in record.getMessage()]


def test_a_once_state_that_only_ever_answers_by_pages_is_warned_of_once(caplog: Any):
    visitor, app = shop(*WALK[:4])
    app.answers["POST /pay"] = SHOWN
    for clicks in range(5):
        go(visitor, "POST /pay")
        assert len(warnings_of_pages(caplog)) == (clicks >= 2)
    assert "accept=[200]" in warnings_of_pages(caplog)[0]


def test_a_form_that_fails_after_somebody_succeeded_is_not_warned_of(caplog: Any):
    visitor, app = shop(*WALK[:4])
    for step in (*WALK[4:], *WALK[:4]):
        go(visitor, step)
    app.answers["POST /pay"] = SHOWN
    for _ in range(4):
        go(visitor, "POST /pay")
    assert warnings_of_pages(caplog) == []


def test_a_hook_that_raises_is_logged_and_changes_nothing(caplog: Any):
    def broken(event: Event) -> None:
        raise Boom(event.kind)

    visitor, _ = shop(entered=broken, refused=broken, finished=broken)
    assert [ask(visitor, step).status for step in ("GET /pay", *WALK)] == [303, 200, 200, 303, 200, 303, 200]
    records = [record for record in caplog.records if record.name == "flowguard.hooks"]
    assert [record.exc_info[1].args[0] for record in records] == [
        "refused", "entered", "entered", "entered", "entered", "finished"
    ]  # fmt: skip


def test_one_hook_alone_is_called_alone():
    told: list[Event] = []
    visitor, _ = shop(finished=told.append)
    for step in ("GET /pay", *WALK):
        ask(visitor, step)
    assert [plain(event) for event in told] == [("finished", "flow", "/done", "/done", None)]


def test_a_reset_enters_nothing():
    told: list[Event] = []
    visitor, app = shop("GET /cart", entered=told.append, finished=told.append)
    told.clear()
    app.answers["GET /cart"] = SHOWN.saying("Flowguard", "reset")
    go(visitor, "GET /cart")
    assert (told, at(visitor)) == ([], None)


# --- after a redirect ------------------------------------------------------------------------------------------------


def test_the_application_can_tell_the_visitor_once_why():
    visitor, app = shop("GET /cart")
    visitor.get("/pay")
    assert [go(visitor, "GET /cart") and app.seen[-1].run.notice for _ in range(2)] == ["illegal", None]
    assert f"{NAME}-note" not in visitor.jar


def test_a_notice_does_not_outlive_ten_seconds():
    clock = Clock()
    visitor, app = shop("GET /cart", clock=clock)
    visitor.get("/pay")
    clock.now += 11
    go(visitor, "GET /cart")
    assert (app.seen[-1].run.notice, f"{NAME}-note" in visitor.jar) == (None, False)


@pytest.mark.parametrize(
    "note",
    ["1800000000~nonsense", "1800000000", "x~illegal", "~illegal", "1800000000~illegal~x", "\xff", "9" * 5000, ""],
    ids=["no reason of ours", "no reason", "no time", "an empty time", "more", "beyond ASCII", "long", "empty"],
)
def test_a_note_that_is_odd_says_nothing_and_is_cleared(note: str):
    visitor, app = guarded(SHOP, check=False)
    response = visitor.get("/cart", HTTP_COOKIE=f"{NAME}-note={note}")
    assert (response.status, app.seen[-1].run.notice) == (200, None)
    assert any(header.startswith(f"{NAME}-note=;") for header in response.cookies)


def test_who_is_redirected_again_and_again_gets_a_page_and_the_log_says_so(caplog: Any):
    visitor, _ = shop("GET /cart")
    with caplog.at_level(logging.WARNING, "flowguard"):
        responses = [visitor.get("/pay") for _ in range(5)]
    assert [response.status for response in responses] == [303, 303, 303, 409, 303]
    assert [record.getMessage() for record in caplog.records] == [
        "redirected again and again: flow 'flow' and the application may disagree about '/pay'"
    ]


def test_redirects_with_a_page_in_between_are_no_loop():
    visitor, _ = shop("GET /cart")
    assert {visitor.get(path).status for _ in range(6) for path in ("/pay", "/pay", "/cart")} == {303, 200}


def test_redirects_of_ten_seconds_ago_are_no_loop():
    clock = Clock()
    visitor, _ = shop("GET /cart", clock=clock)
    statuses = []
    for _ in range(8):
        statuses.append(visitor.get("/pay").status)
        clock.now += 4
    assert statuses == [303] * 8


def test_a_loop_of_respellings_comes_to_a_page():
    visitor, _ = shop("GET /cart")
    assert [visitor.get("/PAY").verdict for _ in range(4)] == [(308, None)] * 3 + [(409, "path")]


def test_a_visitor_without_cookies_is_never_sent_in_circles_by_the_guard_alone():
    visitor, _ = shop()
    for step in ("/pay", "/done", "/shipping"):
        visitor.jar.clear()
        assert visitor.get(step).location == "/cart"
        visitor.jar.clear()
        assert visitor.get("/cart").status == 200


# --- who words a refusal ---------------------------------------------------------------------------------------------


def test_a_flow_or_a_state_says_how_it_is_refused():
    visitor, _ = shop("GET /cart", on_refusal="conflict", paths={"/pay": {"to": ["/done"], "on_refusal": "redirect"}})
    assert [visitor.get("/done").status, visitor.get("/pay").status, visitor.post("/pay").status] == [409, 303, 303]


def test_a_companion_says_how_it_is_refused():
    visitor, _ = shop("GET /cart", paths={"/voucher": {"within": ["/pay"], "on_refusal": "conflict"}})
    assert [visitor.get("/voucher").status, visitor.get("/pay").status] == [409, 303]


def test_a_responder_of_the_deployers_words_a_refusal():
    got: list[tuple[Refused, str]] = []

    def respond(refused: Refused, environ: Environ) -> Any:
        got.append((refused, environ["PATH_INFO"]))

        def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
            start_response(
                "418 I'm a teapot",
                [("Content-Type", "text/plain"), ("Set-Cookie", "seen=1"), ("cache-control", "public"),
                 ("Flowguard-Reason", "lie")],
            )  # fmt: skip
            return [b"no"]

        return answer

    visitor, app = shop("GET /cart", on_refusal=respond)
    response = visitor.post("/pay", b"card=1")
    assert (response.status, response.body, response.reason) == (418, b"no", "illegal")
    assert (response.all("Cache-Control"), response.all("Flowguard-Reason")) == (["no-store"], ["illegal"])
    assert (response.cookies, response.header("Vary") is not None) == (["seen=1"], True)
    ((refused, path),) = got
    assert (path, app.calls) == ("/pay", [])
    assert (refused.flow, refused.reason, refused.state, refused.current) == ("flow", "illegal", "/pay", "/cart")
    assert (refused.target, refused.allowed, refused.submission) == ("/cart", ("/shipping",), True)


def test_a_responder_still_hands_out_the_newest_cookie():
    def respond(refused: Refused, environ: Environ) -> Any:
        def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
            write = start_response("409 Conflict", [("Content-Type", "text/plain")])
            write(refused.reason.encode())
            return []

        return answer

    visitor, _ = shop("GET /cart", "GET /shipping", paths={"/pay": {"once": True, "on_refusal": respond}})
    older = visitor.twin()
    go(visitor, "POST /shipping")
    go(visitor, "GET /pay")
    go(visitor, "POST /pay")
    response = older.post("/pay")
    assert (response.status, response.body, len(response.cookies)) == (409, b"duplicate", 1)
    assert older.jar[NAME] == visitor.jar[NAME]


def test_texts_of_the_deployers_are_on_the_pages():
    visitor, _ = shop("GET /cart", texts={"en": {"illegal": {"title": "Stop", "text": "Not yet, friend."}}})
    assert b"Not yet, friend." in visitor.post("/pay").body


# --- headers of what passes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "back", "vary", "cache"),
    [
        ((), "refuse", ["Cookie"], ["no-store"]),
        ((), "view", ["Cookie"], ["private, no-cache"]),
        ((), "edit", ["Cookie"], ["private, no-cache"]),
        ((("Vary", "Accept"),), "refuse", ["Accept", "Cookie"], ["no-store"]),
        ((("CACHE-control", "max-age=5"),), "refuse", ["Cookie"], ["max-age=5"]),
    ],
)
def test_a_guarded_answer_is_for_its_visitor_only(own: Any, back: str, vary: list[str], cache: list[str]):
    visitor, app = guarded(SHOP, back=back)
    app.answers["GET /cart"] = SHOWN._replace(headers=(*SHOWN.headers, *own))
    response = visitor.get("/cart")
    assert (response.all("Vary"), response.all("Cache-Control")) == (vary, cache)


def test_a_companions_answer_is_for_its_visitor_only():
    visitor, _ = shop("GET /cart", "GET /shipping", back="view")
    response = go(visitor, "GET /voucher")
    assert (response.all("Vary"), response.all("Cache-Control")) == (["Cookie"], ["no-store"])


CONDITIONAL = dict.fromkeys(["HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE"], '"x"')


@pytest.mark.parametrize(
    ("steps", "path", "stripped"),
    [((), "/cart", True), (("GET /cart",), "/cart", False), (("GET /cart",), "/shipping", True),
     (("GET /cart", "GET /shipping"), "/voucher", False), ((), "/other", False)],
    ids=["begins", "reloads", "enters", "a companion", "unguarded"],
)  # fmt: skip
def test_a_request_that_would_enter_a_state_needs_the_page(steps: Any, path: str, stripped: bool):
    visitor, app = shop(*steps)
    visitor.get(path, HTTP_IF_MATCH='"y"', HTTP_RANGE="bytes=0-1", **CONDITIONAL)
    seen = app.seen[-1].environ
    assert {key for key in CONDITIONAL if key in seen} == (set() if stripped else set(CONDITIONAL))
    assert (seen["HTTP_IF_MATCH"], seen["HTTP_RANGE"]) == ('"y"', "bytes=0-1")


# --- the log ---------------------------------------------------------------------------------------------------------


def test_a_refusal_is_one_line_without_anything_that_the_visitor_wrote(caplog: Any):
    visitor, _ = shop("GET /cart")
    with caplog.at_level(logging.INFO, "flowguard"):
        visitor.post("/pay?token=hidden", b"card=4111", HTTP_REFERER="http://shop.example/?token=hidden")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("flowguard.decision", "INFO")
    run = run_of(visitor)
    assert record.getMessage() == f"refused illegal: /pay from /cart, to /cart (run {run})"
    assert record.flowguard == {
        "flow": "flow", "reason": "illegal", "state": "/pay", "current": "/cart", "target": "/cart", "run": run,
    }  # fmt: skip


def test_a_run_that_has_expired_is_still_named_in_the_log(caplog: Any):
    visitor, _ = later(90_000, "GET /cart")
    with caplog.at_level(logging.INFO, "flowguard"):
        assert visitor.get("/pay").reason == "expired"
    assert caplog.records[0].flowguard["run"] == run_of(visitor)


def test_a_path_with_a_line_feed_does_not_reach_the_log(caplog: Any):
    visitor, _ = guarded(SHOP, check=False)
    with caplog.at_level(logging.INFO, "flowguard"):
        visitor.post("/PAY%0a[ok]\n")
        visitor.post("/pay\n")
    assert [record.getMessage() for record in caplog.records] == [
        "refused path: /pay from None, to /cart (run None)"
    ]


# --- the ledger: what an old cookie is worth -------------------------------------------------------------------------


def test_a_cookie_from_before_the_payment_is_worth_nothing_after_it():
    visitor, app = shop(*WALK[:4])
    thief = visitor.twin()
    go(visitor, "POST /pay")
    response = thief.post("/pay")
    assert (response.status, response.reason, response.location) == (303, "duplicate", "/done")
    assert thief.jar[NAME] == visitor.jar[NAME]  # brought up to the newest
    assert app.calls == ["POST /pay"]


def test_without_a_ledger_an_old_cookie_works_again():
    """The documented truth about a signature: it says who wrote a cookie, not that it is the newest."""
    flow = {"/a": {"submit": True, "to": ["/b"]}, "/b": {}}
    visitor, app = guarded(flow, ledger=None)
    visitor.get("/a")
    app.answers["POST /a"] = DONE
    thief = visitor.twin()
    assert [visitor.post("/a").reason, thief.post("/a").reason] == [None, None]


def test_a_run_cant_be_forked():
    """Two branches of one cookie: the second is judged by what the first did."""
    flow = {"/a": {"submit": True, "to": ["/b", "/c"]}, "/b": {"submit": True}, "/c": {"submit": True}}
    visitor, app = guarded(flow)
    app.answers.update({"POST /a": DONE, "POST /b": SHOWN})
    visitor.get("/a")
    visitor.post("/a")
    other = visitor.twin()
    visitor.get("/b")
    visitor.post("/b")
    assert other.get("/c").verdict == (303, "illegal")


def test_an_old_cookie_is_judged_by_the_newest_run():
    visitor, _ = shop("GET /cart", "GET /shipping")
    older = visitor.twin()
    go(visitor, "POST /shipping")
    assert older.get("/pay").status == 200  # its own run would say skipped
    assert older.jar[NAME] != visitor.jar[NAME]
    assert go(visitor, "POST /pay").status == 303


def test_a_visitor_whom_the_answer_to_a_payment_never_reached_is_led_on():
    """The connection broke, or the stop button was quicker: the browser has the cookie and the page from before."""
    visitor, app = shop(*WALK[:4])
    before = visitor.twin()
    go(visitor, "POST /pay")
    again, looks = before.twin(), before.twin()
    assert (again.post("/pay").location, looks.get("/pay").status, looks.get("/done").status) == ("/done", 200, 200)
    assert app.calls.count("POST /pay") == 1


def test_a_submission_that_only_the_newest_run_lets_through_is_claimed_as_well():
    inner: list[Any] = []
    visitor, app = shop("GET /cart", "GET /shipping")
    older = visitor.twin()
    go(visitor, "POST /shipping")
    go(visitor, "GET /pay")

    def double_click(environ: Environ, start_response: Any) -> Iterable[bytes]:
        inner.append(visitor.twin().post("/pay").reason)
        start_response("303 See Other", [("Location", "/done"), ("Content-Type", "text/html")])
        return [b""]

    app.answers["POST /pay"] = double_click
    assert older.post("/pay").status == 303
    assert inner == ["busy"]


def test_a_mere_visitor_takes_no_place_in_the_ledger():
    ledger = MemoryLedger()
    visitor, _ = shop("GET /cart", "GET /shipping", "GET /voucher", "GET /cart2", ledger=ledger)
    visitor.get("/done")
    assert [*ledger.scan(NOON)] == []
    go(visitor, "POST /shipping")
    assert len([*ledger.scan(NOON)]) == 1


def test_where_the_led_answer_is_no_use_a_duplicate_goes_to_the_target():
    flow = {"/a": {"to": ["/b"], "when": lambda context: "HTTP_X_SHUT" not in context.environ},
            "/b": {"once": True, "to": ["/c"], "accept": ["/a"]}, "/c": {}}  # fmt: skip
    visitor, app = guarded(flow)
    app.answers["POST /b"] = led("/a")
    for step in ("GET /a", "GET /b", "POST /b"):
        go(visitor, step)
    assert visitor.post("/b").location == "/c"  # a GET of /a would not pass any more


@pytest.mark.parametrize(("within", "location"), [("/pay", "/receipt"), ("/cart", "/done")])
def test_a_duplicate_goes_to_a_companion_only_if_that_is_open(within: str, location: str):
    receipt = {"within": [within]}
    visitor, app = shop(*WALK[:4], paths={"/pay": {"to": ["/done"], "once": True, "accept": ["/receipt"]},
                                          "/receipt": receipt})  # fmt: skip
    app.answers["POST /pay"] = led("/receipt")
    go(visitor, "POST /pay")
    assert visitor.post("/pay").location == location
    go(visitor, f"GET {location}")


@pytest.mark.parametrize(("size", "kept"), [(2000, True), (2001, False)])
def test_where_a_submission_led_is_kept_up_to_2000_characters(size: int, kept: bool):
    to = "https://pay.example/" + "x" * (size - 20)
    visitor, app = shop(*WALK[:4], paths={"/pay": {"to": ["/done"], "once": True, "accept": ["https://pay.example/*"]}})
    app.answers["POST /pay"] = led(to)
    go(visitor, "POST /pay")
    assert visitor.post("/pay").location == (to if kept else "/done")


def test_where_a_submission_led_is_forgotten_when_the_run_moves_on():
    visitor, _ = shop(*WALK[:4], paths={"/pay": {"to": ["/done", "/other"], "once": True}, "/other": {"to": ["/more"]},
                                          "/more": {}})  # fmt: skip
    go(visitor, "POST /pay")
    go(visitor, "GET /other")
    assert visitor.post("/pay").location is None


# --- the ledger: at the same time ------------------------------------------------------------------------------------


class Watched(MemoryLedger):
    """Tells when a second submission finds a first one under way."""

    def __init__(self) -> None:
        super().__init__()
        self.met = threading.Event()

    def claim(self, key: str, claim: Any, **named: Any) -> Any:
        record = super().claim(key, claim, **named)
        if record.claim is not None and record.claim.token != claim.token:
            self.met.set()
        return record


def at_once(what: Callable[[Visitor], object], visitor: Visitor, count: int) -> None:
    """So many tabs of one visitor, with the same cookie, at the same time."""
    barrier = threading.Barrier(count)

    def one(tab: Visitor) -> None:
        barrier.wait(10)
        what(tab)

    threads = [threading.Thread(target=one, args=(visitor.twin(),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def click(visitor: Visitor, count: int) -> list[Response]:
    responses: list[Response] = []
    at_once(lambda tab: responses.append(tab.post("/pay", b"card=1")), visitor, count)
    return responses


def when_met(ledger: Watched, answers: list[Any]) -> Any:
    """Answers the first submission when a second one waits for it."""

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        answer = answers.pop(0)
        assert ledger.met.wait(10)
        if answer is Boom:
            raise Boom
        start_response(answer.status, list(answer.headers))
        return [answer.body]

    return app


def at_pay(ledger: Any, **options: Any) -> tuple[Visitor, Application]:
    return shop(*WALK[:4], ledger=ledger, **{"ledger_wait": 10, **options})


def test_a_double_click_on_pay_pays_once_and_both_see_the_receipt():
    visitor, app = at_pay(ledger := Watched())
    app.answers["POST /pay"] = when_met(ledger, [led("/done")])
    first, second = click(visitor, 2)
    assert {first.reason, second.reason} == {None, "duplicate"}
    assert (first.location, second.location) == ("/done", "/done")
    assert (app.calls, app.seen[-1].body) == (["POST /pay"], b"card=1")


def test_twelve_clicks_on_pay_pay_once():
    visitor, app = at_pay(MemoryLedger())
    responses = click(visitor, 12)
    assert app.calls == ["POST /pay"]
    assert sorted(response.reason or "" for response in responses) == ["", *["duplicate"] * 11]


@pytest.mark.parametrize("first", [INVALID, SHOWN, led("/pay")], ids=["422", "a page", "to itself"])
def test_after_a_first_click_that_failed_the_second_is_judged_again(first: Any):
    visitor, app = at_pay(ledger := Watched())
    app.answers["POST /pay"] = when_met(ledger, [first, led("/done")])
    one, two = click(visitor, 2)
    assert (one.reason, two.reason, len(app.calls)) == (None, None, 2)
    assert "/done" in (one.location, two.location)


def test_after_a_first_click_that_broke_the_second_does_not_pay():
    visitor, app = at_pay(ledger := Watched())
    app.answers["POST /pay"] = when_met(ledger, [FAULT])
    responses = click(visitor, 2)
    assert sorted((response.status, response.reason) for response in responses) == [(409, "duplicate"), (500, None)]


def test_who_waits_too_long_is_told_that_it_is_busy():
    visitor, app = shop(*WALK[:4])
    inner: list[Response] = []

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        inner.extend([visitor.twin().post("/pay"), visitor.twin().call("POST", "/pay"), visitor.twin().get("/pay")])
        return led_on(start_response)

    app.answers["POST /pay"] = slow
    assert visitor.post("/pay").status == 303
    assert [response.verdict for response in inner] == [(409, "busy"), (409, "busy"), (200, None)]
    assert [response.header("Retry-After") for response in inner] == ["5", "5", None]


def test_who_waits_for_a_slow_payment_ends_on_the_receipt():
    """The page that says `busy` goes on to what the payment opens, and says the same there until it is paid."""
    visitor, app = shop(*WALK[:4])
    clicks: list[Response] = []

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        clicks.extend([visitor.twin().post("/pay"), visitor.twin().get("/done"), visitor.twin().get("/cart")])
        return led_on(start_response)

    app.answers["POST /pay"] = slow
    go(visitor, "POST /pay")
    assert [click.verdict for click in clicks] == [(409, "busy"), (409, "busy"), (303, "illegal")]
    assert [click.header("Refresh") for click in clicks[:2]] == ["5; url=/done", "5; url=/done"]
    assert visitor.get("/done").verdict == (200, None)


def test_who_waits_for_a_slow_payment_that_fails_ends_on_the_form():
    visitor, app = shop(*WALK[:4])
    clicks: list[Response] = []

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        clicks.append(visitor.twin().get("/done"))
        start_response("422 Unprocessable Content", [("Content-Type", "text/html")])
        return [b"card refused"]

    app.answers["POST /pay"] = slow
    visitor.post("/pay")
    assert clicks[0].reason == "busy"
    assert (visitor.get("/done").verdict, visitor.get("/done").location) == ((303, "skipped"), "/pay")


@pytest.mark.parametrize(("key", "refresh"), [("/cvc", "5; url=/cvc"), ("POST /cvc", "5; url=/pay")])
def test_while_a_step_is_entered_by_a_form_its_companion_is_busy(key: str, refresh: str):
    visitor, app = shop(*WALK[:3], paths={"/shipping": {"to": ["/pay"]}, key: {"within": ["/pay"]}})
    clicks: list[Response] = []

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        clicks.append(visitor.twin().get("/cvc"))
        return led_on(start_response)

    app.answers["POST /pay"] = slow
    go(visitor, "POST /pay")  # from /shipping
    assert [(click.verdict, click.header("Refresh")) for click in clicks] == [((409, "busy"), refresh)]


def test_while_a_step_is_entered_by_a_form_the_next_page_is_busy():
    visitor, app = shop(*WALK[:3], paths={"/shipping": {"to": ["/pay"]}})
    clicks: list[Response] = []

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        clicks.extend([visitor.twin().get("/done"), visitor.twin().post("/pay")])
        return led_on(start_response)

    app.answers["POST /pay"] = slow
    go(visitor, "POST /pay")  # from /shipping
    assert [(click.reason, click.header("Refresh")) for click in clicks] == [("busy", "5; url=/done")] * 2


def led_on(start_response: Any) -> Iterable[bytes]:
    start_response("303 See Other", [("Location", "/done"), ("Content-Type", "text/html")])
    return [b""]


def test_a_few_may_wait_in_one_process_and_the_others_are_busy_at_once():
    """So that one slow payment does not take every thread of a server."""
    release = threading.Event()
    visitor, app = at_pay(MemoryLedger())

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        assert release.wait(10)
        return led_on(start_response)

    app.answers["POST /pay"] = slow
    reasons: list[Optional[str]] = []

    def one(tab: Visitor) -> None:
        reasons.append(tab.post("/pay").reason)
        if reasons.count("busy") == 3:
            release.set()

    at_once(one, visitor, 1 + MAX_WAITING + 3)
    assert (reasons.count(None), reasons.count("busy"), reasons.count("duplicate")) == (1, 3, MAX_WAITING)


def test_submissions_of_a_repeat_state_wait_for_nobody():
    visitor, app = shop("GET /cart")
    inner: list[Any] = []

    def again(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if not inner:
            inner.append(None)
            inner[0] = visitor.twin().post("/cart").status
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b""]

    app.answers["POST /cart"] = again
    assert (visitor.post("/cart").status, inner) == (200, [200])


def test_a_change_that_others_overtook_is_judged_again_against_the_newest_run():
    """A page that was asked for before a payment must not undo it."""
    visitor, app = shop(*WALK[:3])

    def slow_page(environ: Environ, start_response: Any) -> Iterable[bytes]:
        del app.answers["GET /pay"]
        other = visitor.twin()
        go(other, "GET /pay")
        go(other, "POST /pay")
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"page"]

    app.answers["GET /pay"] = slow_page
    assert visitor.get("/pay").status == 200
    assert visitor.post("/pay").reason == "duplicate"
    assert app.calls.count("POST /pay") == 1


def test_what_a_payment_spent_is_kept_even_if_the_run_was_taken_back_meanwhile():
    flow = {"/a": {"to": ["/b"], "back": "edit", "submit": True}, "/b": {"once": True, "to": ["/c"]}, "/c": {}}
    visitor, app = guarded(flow, ledger_wait=0)
    app.answers["POST /a"] = led("/b")
    for step in ("GET /a", "POST /a", "GET /b"):
        go(visitor, step)

    def paying(environ: Environ, start_response: Any) -> Iterable[bytes]:
        go(visitor.twin(), "GET /b")  # a reload changes nothing
        app.answers["GET /b"] = led("/a")  # and this one leads back
        go(visitor.twin(), "GET /b")
        del app.answers["GET /b"]
        start_response("303 See Other", [("Location", "/c"), ("Content-Type", "text/html")])
        return [b""]

    app.answers["POST /b"] = paying
    go(visitor, "POST /b")
    for step in ("POST /a", "GET /b"):
        go(visitor, step)
    assert visitor.post("/b").reason == "duplicate"
    assert app.calls.count("POST /b") == 1


def test_a_page_for_a_stuck_visitor_links_a_start_that_lets_in():
    visitor, app = guarded(
        {"/a": {"start": True, "to": ["/pay"], "when": lambda context: context.run.current is None},
         "/pay": {"once": True, "to": ["/done"]}, "/done": {}, "/b": {"start": True, "to": ["/pay"]}},
    )  # fmt: skip
    for step in ("GET /a", "GET /pay"):
        go(visitor, step)
    app.answers["POST /pay"] = FAULT
    visitor.post("/pay")
    page = visitor.get("/done")
    assert [link in page.body for link in (b'href="/pay"', b'href="/a"', b'href="/b"')] == [True, False, True]
    assert visitor.get("/b").status == 200


def test_a_reset_while_a_payment_is_under_way_stays_a_reset():
    visitor, app = shop(*WALK[:4], reset="/forget")

    def paying(environ: Environ, start_response: Any) -> Iterable[bytes]:
        visitor.twin().get("/forget")
        return led_on(start_response)

    app.answers["POST /pay"] = paying
    go(visitor, "POST /pay")
    assert visitor.get("/done").reason == "not_started"


# --- the ledger: when nobody knows -----------------------------------------------------------------------------------


def test_a_payment_whose_outcome_is_unknown_is_never_done_again_and_there_is_a_way_out():
    visitor, app = shop(*WALK[:4])
    app.answers["POST /pay"] = Boom
    with pytest.raises(Boom):
        visitor.post("/pay")
    app.answers["POST /pay"] = led("/done")
    page = visitor.post("/pay")
    assert (page.verdict, page.location) == ((409, "duplicate"), None)
    assert b"outcome of your last submission is not known" in page.body
    stuck = visitor.get("/done")
    assert (stuck.status, stuck.reason, stuck.location) == (409, "skipped", None)
    assert [link in stuck.body for link in (b'href="/pay"', b'href="/cart"')] == [True, True]
    assert visitor.get("/pay").status == 200
    for step in WALK:  # the start begins anew
        go(visitor, step)


@pytest.mark.parametrize(("options", "way", "onward"), [
    pytest.param({"back": "refuse", "reset": "/forget"}, "/cart", None, id="by the start, which begins one"),
    pytest.param({"back": "edit", "reset": "/forget"}, "/forget", "/cart", id="by the reset, not by a look"),
    pytest.param({"back": "view", "reset": "/forget"}, "/forget", "/cart", id="likewise"),
])  # fmt: skip
def test_the_page_of_a_payment_in_doubt_leads_to_a_new_run(options: Any, way: str, onward: Optional[str]):
    visitor, app = shop(*WALK[:4], **options)
    app.answers["POST /pay"] = FAULT
    visitor.post("/pay")
    app.answers["POST /pay"] = led("/done")
    page = visitor.get("/done")
    assert [f'href="{path}"' in page.body.decode() for path in ("/pay", "/cart", "/forget")] == [
        True, way == "/cart", way == "/forget",
    ]  # fmt: skip
    assert visitor.get(way).location == onward
    for step in WALK:
        go(visitor, step)
    assert app.calls.count("POST /pay") == 2


def test_without_a_reset_the_page_of_a_payment_in_doubt_links_the_start_all_the_same():
    visitor, app = shop(*WALK[:4], back="view")
    app.answers["POST /pay"] = FAULT
    visitor.post("/pay")
    assert b'href="/cart"' in visitor.get("/done").body


def test_of_two_starts_the_page_of_a_payment_in_doubt_links_the_one_that_begins_a_new_run():
    visitor, app = guarded(
        {"/cart": {"start": True, "to": ["/pay"], "back": "view"}, "/gift": {"start": True, "to": ["/pay"]},
         "/pay": {"once": True, "to": ["/done"]}, "/done": {}}, reset="/forget",
    )  # fmt: skip
    for step in ("GET /cart", "GET /pay"):
        go(visitor, step)
    app.answers["POST /pay"] = FAULT
    visitor.post("/pay")
    page = visitor.get("/done").body
    assert [link in page for link in (b'href="/cart"', b'href="/gift"', b'href="/forget"')] == [False, True, False]


def test_the_page_of_a_payment_in_doubt_does_not_forget_the_other_orders():
    paths = {"/<id>/cart": {"state": "cart", "to": ["pay"], "back": "view"},
             "/<id>/pay": {"state": "pay", "to": ["done"], "once": True}, "/<id>/done": {"state": "done"}}  # fmt: skip
    visitor, app = guarded(paths, instance="id", reset="/forget")
    for step in ("GET /7/cart", "GET /7/pay"):
        go(visitor, step)
    app.answers["POST /7/pay"] = FAULT
    visitor.post("/7/pay")
    page = visitor.get("/7/done").body
    assert [link in page for link in (b'href="/7/cart"', b'href="/forget"')] == [True, False]


def test_where_a_payment_in_doubt_was_sent_is_no_place_to_send_the_visitor_again():
    visitor, app = shop(*WALK[:4])
    app.answers["POST /pay"] = led("/elsewhere")
    visitor.post("/pay")
    again = visitor.post("/pay")
    assert (again.verdict, again.location) == ((409, "duplicate"), None)
    assert b"/elsewhere" not in again.body
    assert [link in again.body for link in (b'href="/pay"', b'href="/cart"')] == [True, True]


def test_a_payment_in_doubt_is_redirected_all_the_same_where_the_flow_says_so():
    visitor, app = shop(*WALK[:4], on_refusal="redirect")
    app.answers["POST /pay"] = FAULT
    visitor.post("/pay")
    assert (visitor.post("/pay").verdict, visitor.post("/pay").location) == ((303, "duplicate"), "/pay")


@pytest.mark.parametrize("word", ["success", "failed", "finish", "reset"])
@pytest.mark.parametrize("when", ["before it answers", "after it has answered"])
def test_whatever_an_application_said_of_a_request_an_exception_leaves_it_in_doubt(word: str, when: str):
    visitor, app = shop(*WALK[:4])

    def breaks(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if when == "after it has answered":
            led_on(start_response)
        getattr(environ["flowguard.run"], word)()
        raise Boom

    app.answers["POST /pay"] = breaks
    with pytest.raises(Boom):
        visitor.post("/pay")
    again = visitor.post("/pay")
    assert (again.reason, b"outcome of your last submission is not known" in again.body) == ("duplicate", True)
    assert (at(visitor), visitor.get("/done").reason) == ("/pay", "skipped")


# --- the ledger: silent, slow, dead ----------------------------------------------------------------------------------


def test_where_the_ledger_is_silent_submissions_are_refused_and_pages_go_on(caplog: Any):
    ledger = Down()
    visitor, app = shop(*WALK[:4], ledger=ledger)
    ledger.switch_off()
    with caplog.at_level(logging.WARNING, "flowguard.ledger"):
        for client in (PAGE, SCRIPT):
            response = visitor.send(visitor.environ("POST", "/pay", **client))
            assert (response.status, response.reason) == (503, "unavailable")
            assert response.header("Retry-After") == "5"
        assert [go(visitor, step).status for step in ("GET /pay", "GET /voucher", "POST /voucher")] == [200] * 3
        assert visitor.get("/done").verdict == (303, "skipped")
        assert [record.getMessage() for record in caplog.records] == [
            "the ledger test:// is not available: switched off; submissions are refused, other requests go on by the "
            "cookie alone"
        ]
        caplog.clear()
        ledger.off.clear()
        assert visitor.post("/pay").status == 303
        assert [record.getMessage() for record in caplog.records] == ["the ledger of flow 'flow' answers again"]
    assert app.calls == ["GET /pay", "GET /voucher", "POST /voucher", "POST /pay"]


def test_a_visitor_may_begin_and_walk_on_while_the_ledger_is_silent():
    ledger = Down()
    ledger.switch_off()
    visitor, _ = shop("GET /cart", "GET /shipping", ledger=ledger)
    assert visitor.post("/shipping").reason == "unavailable"
    assert visitor.post("/pay").reason == "unavailable"  # it must be asked before anything is said of a submission


def test_what_happened_while_the_ledger_was_silent_is_told_by_the_cookie():
    """A state is spent if cookie or ledger says so."""
    ledger = Down()
    visitor, app = shop(*WALK[:4], ledger=ledger)

    def silenced(environ: Environ, start_response: Any) -> Iterable[bytes]:
        ledger.switch_off("write", "release")
        return led_on(start_response)

    app.answers["POST /pay"] = silenced
    go(visitor, "POST /pay")
    ledger.off.clear()
    assert (visitor.get("/pay").status, app.calls.count("POST /pay")) == (200, 1)
    assert visitor.post("/pay").reason == "duplicate"


def abandoned(
    state: str, ledger: Optional[Down] = None, **options: Any
) -> tuple[Visitor, Application, Clock]:
    """The worker died in the middle of a submission of *state*: its claim is still there, and nothing was written."""
    clock, ledger = Clock(), Down() if ledger is None else ledger
    steps = WALK[:2] if state == "/shipping" else WALK[:4]
    visitor, app = shop(*steps, ledger=ledger, clock=clock, **options)
    answer = app.answers[f"POST {state}"]

    def dies(environ: Environ, start_response: Any) -> Iterable[bytes]:
        ledger.switch_off()
        raise Boom

    app.answers[f"POST {state}"] = dies
    with pytest.raises(Boom):
        visitor.post(state)
    ledger.off.clear()
    app.answers[f"POST {state}"] = answer
    app.seen.clear()
    return visitor, app, clock


@pytest.mark.parametrize("lease", [300, 20])
def test_the_claim_of_a_dead_worker_stands_until_its_lease_is_over(lease: int):
    visitor, app, clock = abandoned("/shipping", ledger_lease=lease)
    clock.now += lease - 1
    assert visitor.post("/shipping").reason == "busy"
    clock.now += 1
    assert visitor.post("/shipping").status == 303
    assert app.calls == ["POST /shipping"]


def test_a_payment_that_a_dead_worker_had_begun_counts_as_unknown(caplog: Any):
    visitor, app, clock = abandoned("/pay")
    clock.now += 300
    with caplog.at_level(logging.WARNING, "flowguard.ledger"):
        assert visitor.post("/pay").reason == "duplicate"
    assert [record.getMessage() for record in caplog.records if "ended" in record.getMessage()] == [
        f"a submission of '/pay' in flow 'flow' ended without an answer (run {run_of(visitor)})"
    ]
    assert (visitor.post("/pay").reason, app.calls) == ("duplicate", [])
    go(visitor, "GET /cart")  # stuck: a new run may begin


def test_a_page_visit_after_a_dead_worker_sees_that_the_outcome_is_not_known():
    """Reading alone says so: nothing is written until somebody submits."""
    ledger = Down()
    visitor, _, clock = abandoned("/pay", ledger)
    assert visitor.get("/done").verdict == (409, "busy")
    ledger.switch_off("claim", "write", "release")
    clock.now += 300
    page = visitor.get("/done")
    assert (page.verdict, b"outcome of your last submission is not known" in page.body) == ((409, "skipped"), True)
    assert b'href="/cart"' in page.body
    go(visitor, "GET /pay")
    ledger.off.clear()
    go(visitor, "GET /cart")  # stuck: a new run may begin


@pytest.mark.parametrize("way", ["a new run", "a reset", "a reset that was overtaken"])
def test_a_dead_worker_is_not_laid_to_the_account_of_the_run_that_begins_next(way: str):
    ledger = Down()
    visitor, app, clock = abandoned("/pay", ledger, reset="/forget")
    clock.now += 300
    if way == "a reset that was overtaken":
        write, ledger.write = ledger.write, lambda key, text, **named: setattr(ledger, "write", write)
    if way != "a new run":
        visitor.get("/forget")
    for step in WALK:
        go(visitor, step)
    assert app.calls.count("POST /pay") == 1


def test_a_change_that_overtakes_a_dead_worker_does_not_lose_what_it_may_have_done():
    """The page was asked for before the lease was over; and while it was made, somebody else wrote as well."""
    visitor, app, clock = abandoned("/pay")
    clock.now += 299

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        app.answers["GET /pay"] = led("/shipping")  # back, and on to the payment again
        go(visitor.twin(), "GET /pay")
        clock.now += 1
        start_response("303 See Other", [("Location", "/shipping"), ("Content-Type", "text/html")])
        return [b""]

    app.answers["GET /pay"] = slow
    go(visitor, "GET /pay")
    del app.answers["GET /pay"]
    for step in ("POST /shipping", "GET /pay"):
        go(visitor, step)
    assert visitor.post("/pay").reason == "duplicate"


def test_a_page_visit_after_a_dead_worker_of_an_ordinary_state_is_as_before():
    visitor, _, clock = abandoned("/shipping")
    clock.now += 300
    assert visitor.get("/pay").verdict == (303, "skipped")
    go(visitor, "POST /shipping")


def test_a_zombie_that_pays_after_its_lease_is_heard_and_pays_for_nobody_else():
    """Meanwhile the visitor was told that the outcome is not known."""
    clock = Clock()
    visitor, app = shop(*WALK[:4], clock=clock)

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        clock.now += 300
        assert visitor.twin().post("/pay").reason == "duplicate"
        return led_on(start_response)

    app.answers["POST /pay"] = slow
    visitor.post("/pay")
    assert (visitor.post("/pay").reason, app.calls) == ("duplicate", ["POST /pay"])


def test_who_waits_for_a_dead_worker_goes_on_when_the_lease_is_over():
    """The time that one has waited counts for the lease, too."""
    visitor, _, clock = abandoned("/shipping", ledger_wait=5)
    clock.now += 299.995
    assert visitor.post("/shipping").status == 303


def test_a_ledger_that_is_full_of_payments_takes_no_more():
    ledger = MemoryLedger(1)
    first, _ = shop(*WALK[:5], ledger=ledger)
    second, _app = shop(*WALK[:2], ledger=ledger)
    assert second.post("/shipping").verdict == (503, "unavailable")
    assert (second.get("/shipping").status, first.post("/pay").reason) == (200, "duplicate")


def test_a_ledger_that_has_lost_everything_is_as_if_it_had_never_known():
    ledger = Down()
    visitor, _ = shop(*WALK[:4], ledger=ledger)
    ledger.kept = MemoryLedger()
    go(visitor, "POST /pay")
    ledger.kept = MemoryLedger()
    assert visitor.post("/pay").reason == "duplicate"  # the cookie knows
    go(visitor, "GET /done")


def test_a_record_that_another_version_wrote_is_as_if_it_were_not_there():
    ledger = MemoryLedger()
    visitor, _ = shop(*WALK[:3], ledger=ledger)
    ((key, record, expires),) = ledger.scan(NOON)
    assert ledger.write(key, "from the future", version=record.version, expires=expires, keep=True, now=NOON)
    go(visitor, "GET /pay")
    go(visitor, "POST /pay")
    assert visitor.post("/pay").reason == "duplicate"


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ledger", "multiprocess", "warnings"),
    [("memory://", True, 1), (MemoryLedger(), True, 1), ("memory://", False, 0), (None, True, 0), (Down(), True, 0)],
    ids=["memory, several", "an object, several", "memory, one", "none, several", "another, several"],
)
def test_a_ledger_in_memory_warns_once_behind_several_processes(
    ledger: Any, multiprocess: bool, warnings: int, caplog: Any
):
    visitor, _ = guarded({"/a": {"to": ["/b"]}, "/b": {}}, ledger=ledger)
    with caplog.at_level(logging.WARNING, "flowguard"):
        visitor.get("/other", **{"wsgi.multiprocess": multiprocess})
        for path in ("/a", "/b", "/b"):
            visitor.get(path, **{"wsgi.multiprocess": multiprocess})
    assert [record.name for record in caplog.records] == ["flowguard.config"] * warnings
    assert all("sqlite:///path" in record.getMessage() for record in caplog.records)


# --- what is wrong at start-up ---------------------------------------------------------------------------------------


def problems(**options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        FlowGuard(Application(), {"/a": {"tp": []}}, **{"secret_key": SECRET, **options})
    return [problem.where for problem in caught.value.problems]


def test_everything_that_is_wrong_is_said_at_once():
    assert problems(ledger="nonsense", clock=5, ledger_wait=-1, secret_key=None, ttl="x") == [
        "secret_key", "ledger_wait", "clock", "ledger", "flow(ttl)", "flow['/a'].tp"
    ]  # fmt: skip


def test_no_clock_is_the_worlds():
    guard = FlowGuard(Application(), SHOP, secret_key=SECRET, clock=None)
    visitor = Visitor(guard)
    visitor.get("/cart")
    assert visitor.get("/pay").reason == "illegal"


# --- what a critic found ---------------------------------------------------------------------------------------------


def test_a_preflight_that_would_be_a_post_by_an_override_is_judged():
    visitor, app = shop(preflight=True)
    asks = {"HTTP_ORIGIN": "https://other.example", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    assert visitor.call("OPTIONS", "/pay", **asks).status == 200
    refused = visitor.call("OPTIONS", "/pay", HTTP_X_HTTP_METHOD_OVERRIDE="POST", **asks)
    assert (refused.reason, app.calls) == ("not_started", ["OPTIONS /pay"])


def test_an_application_that_sends_its_visitor_back_and_forth_with_the_guard_comes_to_a_page():
    visitor, app = guarded({"/a": {"to": ["/c"]}, "/c": {"to": ["/b"]}, "/b": {}})
    app.answers["GET /a"] = led("/b")
    visits = []
    for _ in range(4):
        visits += [visitor.get("/a").status, visitor.get("/b").status]
    assert visits == [303, 303] * 3 + [303, 409]


def test_why_a_visitor_was_redirected_is_told_on_the_page_that_comes_at_last():
    visitor, app = shop("GET /cart", "GET /shipping")
    assert visitor.get("/pay").verdict == (303, "skipped")
    app.answers["GET /shipping"] = led("/elsewhere")
    assert (visitor.get("/shipping").status, app.seen[-1].run.notice) == (303, "skipped")
    del app.answers["GET /shipping"]
    go(visitor, "GET /shipping")
    assert app.seen[-1].run.notice == "skipped"
    go(visitor, "GET /shipping")
    assert app.seen[-1].run.notice is None


def test_a_condition_that_raises_where_the_first_click_led_is_a_no():
    visitor, _ = shop(*WALK[:5], paths={"/done": {"when": raising}})
    assert visitor.post("/pay").verdict == (303, "duplicate")


def raising(_context: Any) -> bool:
    raise Boom


ORDER = {"/o/<int:id>/start": {"to": ["pay"]}, "/o/<int:id>/pay": {"state": "pay", "submit": True}}


def test_the_first_step_of_a_second_order_may_be_answered_by_a_redirect_too():
    visitor, app = guarded(ORDER)
    for order in ("1", "2"):
        app.answers[f"GET /o/{order}/start"] = led(f"/o/{order}/pay")
        for step in ("GET /o/{}/start", "GET /o/{}/pay"):
            go(visitor, step.format(order))
        app.answers[f"POST /o/{order}/pay"] = DONE
        go(visitor, f"POST /o/{order}/pay")


def test_a_redirect_to_the_next_step_of_another_order_is_no_success():
    visitor, app = guarded({"/cart": {"to": ["ship"]}, "/o/<int:id>/ship": {"state": "ship", "to": ["pay"]},
                            "/o/<int:id>/pay": {"state": "pay"}})  # fmt: skip
    go(visitor, "GET /cart")
    app.answers["POST /o/5/ship"] = led("/o/6/pay")
    go(visitor, "POST /o/5/ship")
    assert visitor.get("/o/5/ship").status == 200
    assert app.seen[-1].run.current == "/cart"  # nothing counted


@pytest.mark.parametrize("how", ["auto", "redirect"])
def test_whoever_is_refused_for_the_path_alone_is_not_led_to_a_step_whose_condition_says_no(how: str):
    paths = {"/a": {"to": ["/b/<x>", "POST /c"], "submit": True}, "/b/<x>": {"when": never}, "POST /c": {}}
    visitor, app = guarded(paths, on_refusal=how)
    app.answers["POST /a"] = DONE
    for step in ("GET /a", "POST /a"):
        go(visitor, step)
    refused = visitor.get("/b/" + "x" * 200)
    assert (refused.verdict, refused.location) == ((303, "path"), "/a")


def test_a_page_that_was_asked_for_while_the_first_form_was_sent_counts():
    clock = Clock()
    visitor, app = guarded(
        {"/cart": {"to": ["/ship"], "repeat": True}, "/ship": {"min_seconds": 2, "submit": True}}, clock=clock
    )
    go(visitor, "GET /cart")

    def slow(environ: Environ, start_response: Any) -> Iterable[bytes]:
        tab = visitor.twin()
        assert tab.post("/cart").reason is None  # takes the run's place in the ledger
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"the form"]

    app.answers["GET /ship"] = slow
    app.answers["POST /cart"] = app.answers["POST /ship"] = DONE
    go(visitor, "GET /ship")
    clock.now += 30
    go(visitor, "POST /ship")


def test_a_condition_reads_large_fields_up_to_max_body():
    def long(context: Any) -> bool:
        return len(context.request.form["text"]) == 600_000

    visitor, app = guarded({"/a": {"to": {"/b": long}}, "/b": {}})
    go(visitor, "GET /a")
    form = b"--x\r\nContent-Disposition: form-data; name=text\r\n\r\n" + b"y" * 600_000 + b"\r\n--x--\r\n"
    assert visitor.post("/b", form, CONTENT_TYPE="multipart/form-data; boundary=x").status == 200
    assert app.seen[-1].body == form


def test_a_length_that_no_body_has_is_too_large():
    visitor, _ = guarded({"/a": {"to": {"/b": lambda context: bool(context.request.form)}}, "/b": {}}, check=False)
    go(visitor, "GET /a")
    assert visitor.post("/b", b"x=1", CONTENT_LENGTH="9" * 5_000).status == 413


@pytest.mark.parametrize("copies", [False, True], ids=["the same environ", "a copy"])
def test_what_a_middleware_outside_asks_again_is_judged_again(copies: bool):
    visitor, app = shop(*WALK[:4])
    environ = visitor.environ("POST", "/pay", **PAGE)
    kept: list[Environ] = []

    def paying(inner: Environ, start_response: Any) -> Iterable[bytes]:
        kept.append(dict(inner) if copies else inner)
        return led_on(start_response)

    app.answers["POST /pay"] = paying
    assert visitor.send(environ).status == 303
    assert visitor.twin().send(kept[0]).reason == "duplicate"
    assert app.calls.count("POST /pay") == 1


def test_the_last_word_of_the_application_counts():
    visitor, app = shop(*WALK[:4])

    def wavering(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["flowguard.run"].success()
        start_response("200 OK", [("Content-Type", "text/html")])
        environ["flowguard.run"].failed()
        return [b"no"]

    app.answers["POST /pay"] = wavering
    go(visitor, "POST /pay")
    assert visitor.get("/done").reason == "skipped"


def test_an_own_responder_says_when_to_come_back():
    def responder(refused: Refused, environ: Environ) -> Any:
        app = Application()
        app.answers["GET /b"] = SHOWN.saying("Retry-After", "9")
        return app

    visitor, _ = guarded({"/a": {"to": ["/b"], "min_seconds": 3}, "/b": {}}, on_refusal=responder)
    go(visitor, "GET /a")
    assert (visitor.get("/b").reason, visitor.get("/b").header("Retry-After")) == ("too_fast", "3")


def test_a_ledger_that_is_full_is_told_of_once(caplog: Any):
    visitor, _ = shop(ledger=MemoryLedger(capacity=1))
    for step in WALK[:5]:
        go(visitor, step)  # spent: it keeps its place
    for _ in range(3):
        other = visitor.twin()
        other.jar.clear()
        for step in WALK[:2]:
            go(other, step)
        assert other.post("/shipping").reason == "unavailable"
        go(other, "GET /shipping")
    assert [record.levelname for record in caplog.records if record.name == "flowguard.ledger"][:1] == ["ERROR"]
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("origin", "cookies"),
    [("https://pay.example", 0), ("null", 0), ("http://shop.example:8080", 1), ("http://SHOP.example", 1)],
)
def test_without_sec_fetch_a_foreign_origin_tells_a_cross_site_request(origin: str, cookies: int):
    visitor, _ = shop()
    posted = visitor.send(visitor.environ("POST", "/cart", HTTP_ORIGIN=origin, HTTP_HOST="shop.example"))
    assert (posted.reason, len(posted.cookies)) == (None, cookies)


def test_a_304_sets_no_cookie():
    visitor, app = shop(*WALK[:4])
    old = visitor.twin()
    go(visitor, "POST /pay")
    app.answers["GET /pay"] = NOT_MODIFIED
    assert (old.get("/pay").status, old.get("/pay").cookies) == (304, [])
    del app.answers["GET /pay"]
    assert len(old.get("/pay").cookies) == 1  # it was brought up to the newest


def test_a_duplicate_is_led_to_where_its_own_state_led_and_no_other():
    viewed = {"/shipping": {"to": ["/pay"], "submit": True, "back": "view"}}
    visitor, app = shop("GET /cart", "GET /shipping", paths=viewed)
    app.answers["POST /shipping"] = led("/pay")
    app.answers["POST /pay"] = led("https://pay.example/receipt")
    for step in ("POST /shipping", "GET /pay", "POST /pay"):
        go(visitor, step)
    assert visitor.post("/shipping").location == "/pay"
