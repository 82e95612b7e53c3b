"""The ledger and the cookie, as a visitor meets them: replays, lost answers, doubt, outages, deploys, keys."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from visitor import FAULT, INVALID, SECRET, Application, Boom, Clock, Visitor, guarded, led

from flowguard import ConfigError, Flow, FlowGuard, LedgerUnavailable
from flowguard.ledgers.memory import MemoryLedger

SHOP = {
    "/cart": {"start": True, "to": ["/shipping"]},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}
LEADS = {"POST /shipping": led("/payment"), "POST /payment": led("/done"), "POST /cart": led("/shipping")}


def shop(flow=SHOP, check: bool = False, **options):
    """A visitor before the shop, and the shop; unchecked, since some tests break off on purpose."""
    visitor, app = guarded(flow, check=check, **options)
    app.answers.update(LEADS)
    return visitor, app


def at_payment(visitor: Visitor) -> Visitor:
    for step in ("/cart", "/shipping"):
        visitor.get(step)
    visitor.post("/shipping")
    visitor.get("/payment")
    return visitor


class Silent(MemoryLedger):
    """A ledger that can be switched off."""

    off = False
    asked = 0  # times, while it was off

    def _answer(self):
        if self.off:
            self.asked += 1
            raise LedgerUnavailable("silent://", "it is switched off")

    def read(self, *args, **more):
        self._answer()
        return super().read(*args, **more)

    def claim(self, *args, **more):
        self._answer()
        return super().claim(*args, **more)

    def write(self, *args, **more):
        self._answer()
        return super().write(*args, **more)

    def release(self, *args, **more):
        self._answer()
        return super().release(*args, **more)


# --- replays and lost answers


def test_a_replayed_cookie_is_judged_by_the_newest_run_and_brought_up_to_it():
    visitor, app = shop()
    old = at_payment(visitor).twin()
    assert visitor.post("/payment").location == "/done"
    assert old.post("/payment").verdict == (303, "duplicate")
    assert old.jar["flowguard-flow"] == visitor.jar["flowguard-flow"]
    assert app.calls.count("POST /payment") == 1


def test_a_lost_answer_is_repaired_and_the_visitor_led_on():
    visitor, app = shop()
    at_payment(visitor)
    visitor.twin().post("/payment")  # the browser never learnt of its answer
    assert visitor.post("/payment").location == "/done"
    assert visitor.get("/done").status == 200
    assert app.calls.count("POST /payment") == 1


def test_where_it_led_is_no_longer_where_to_go_when_the_run_has_moved_on():
    visitor, _ = shop({**SHOP, "/done": {"to": ["/thanks"]}, "/thanks": {"to": ["/end"], "submit": True}, "/end": {}})
    at_payment(visitor).post("/payment")
    visitor.get("/done")
    visitor.get("/thanks")
    assert visitor.post("/payment").verdict == (409, "illegal")


def test_an_old_cookie_whose_run_would_not_pass_claims_the_newest():
    visitor, app = shop()
    visitor.get("/cart")
    visitor.get("/shipping")
    visitor.post("/shipping")
    old = visitor.twin()
    visitor.get("/payment")
    app.answers["POST /payment"] = INVALID
    assert visitor.post("/payment").status == 422
    app.answers["POST /payment"] = led("/done")
    assert old.post("/payment").location == "/done"


# --- two at once


def test_the_second_click_waits_and_goes_where_the_first_led():
    visitor, app = shop()
    at_payment(visitor)
    inside, go = threading.Event(), threading.Event()

    def slow(_environ, start_response):
        inside.set()
        go.wait(10)
        start_response("303 See Other", [("Location", "/done")])
        return [b""]

    app.answers["POST /payment"] = slow
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(visitor.twin().post, "/payment")
        assert inside.wait(10)
        second = pool.submit(visitor.twin().post, "/payment")
        go.set()
        assert first.result().location == "/done"
        assert second.result().location == "/done"
    assert app.calls.count("POST /payment") == 1


def test_the_second_click_is_busy_when_the_first_takes_too_long():
    visitor, app = shop(ledger_wait=0)
    at_payment(visitor)
    answers = []

    def slow(_environ, start_response):
        answers.append(visitor.twin().post("/payment"))
        start_response("303 See Other", [("Location", "/done")])
        return [b""]

    app.answers["POST /payment"] = slow
    assert visitor.post("/payment").location == "/done"
    assert answers[0].verdict == (409, "busy")
    assert answers[0].header("Retry-After") is not None
    assert answers[0].header("Refresh").endswith("url=/done")


def test_the_second_click_is_judged_anew_when_the_first_fails():
    visitor, app = shop(ledger_wait=5)
    at_payment(visitor)
    other = visitor.twin()
    with ThreadPoolExecutor(1) as pool:
        waiting = []

        def failing(_environ, start_response):
            app.answers["POST /payment"] = led("/done")
            waiting.append(pool.submit(other.post, "/payment"))
            start_response("422 Unprocessable Content", [("Content-Type", "text/html")])
            return [b"again"]

        app.answers["POST /payment"] = failing
        assert visitor.post("/payment").status == 422
        assert waiting[0].result().location == "/done"


def test_a_visit_that_overtakes_a_submission_does_not_undo_it():
    flow = {"/a": {"start": True, "to": ["/b", "/c"]}, "/b": {"to": ["/d"], "once": True}, "/c": {}, "/d": {}}
    visitor, app = guarded(flow, check=False)
    visitor.get("/a")

    def slow(_environ, start_response):
        fork = visitor.twin()
        assert fork.get("/c").status == 200  # the same visitor goes another way meanwhile
        start_response("303 See Other", [("Location", "/d")])
        return [b""]

    app.answers["POST /b"] = slow
    visitor.post("/b")
    assert visitor.get("/c").status == 200
    assert visitor.call("POST", "/b").reason == "finished"


def test_a_submission_that_was_overtaken_and_dropped_leads_nobody():
    ledger = MemoryLedger()
    flow = {"/a": {"start": True, "to": ["/b", "/c"]}, "/b": {"to": ["/d"], "submit": True}, "/c": {}, "/d": {}}
    visitor, app = guarded(flow, check=False, ledger=ledger)
    visitor.get("/a")

    def overtaken(_environ, start_response):
        visitor.twin().get("/c")  # ends the run while the form is under way
        start_response("303 See Other", [("Location", "/d")])
        return [b""]

    app.answers["POST /b"] = overtaken
    visitor.post("/b")
    [(_key, record, _expires)] = ledger.scan(0)
    assert "/d" not in record.text


# --- doubt


def test_an_exception_leaves_a_payment_in_doubt_and_the_start_open():
    visitor, app = shop()
    at_payment(visitor)
    app.answers["POST /payment"] = Boom
    with pytest.raises(Boom):
        visitor.post("/payment")
    app.answers["POST /payment"] = led("/done")
    assert visitor.call("POST", "/payment").reason == "duplicate"
    page = visitor.get("/done")
    assert page.verdict == (409, "skipped")
    assert b'href="/cart"' in page.body
    assert visitor.get("/cart").status == 200
    assert app.calls.count("POST /payment") == 1


def test_a_fault_of_an_ordinary_form_leaves_it_free():
    visitor, app = shop()
    visitor.get("/cart")
    visitor.get("/shipping")
    app.answers["POST /shipping"] = FAULT
    assert visitor.post("/shipping").status == 500
    app.answers["POST /shipping"] = led("/payment")
    assert visitor.post("/shipping").location == "/payment"


@pytest.mark.parametrize(("path", "reason"), [("/payment", "duplicate"), ("/shipping", None)], ids=["once", "ordinary"])
def test_a_worker_that_died_leaves_doubt_only_where_it_matters(path, reason):
    clock, ledger = Clock(), MemoryLedger()
    visitor, app = shop(clock=clock, ledger=ledger, ledger_lease=300, ledger_wait=0)
    visitor.get("/cart")
    visitor.get("/shipping")
    if path == "/payment":
        visitor.post("/shipping")
        visitor.get("/payment")
    held = {}

    def dies(environ, _start_response):
        held["key"] = environ["flowguard.run"].current
        raise SystemExit

    app.answers[f"POST {path}"] = dies
    release, write = ledger.release, ledger.write
    ledger.release = ledger.write = lambda *args, **more: True  # a dead worker writes nothing
    with pytest.raises(SystemExit):
        visitor.post(path)
    ledger.release, ledger.write = release, write
    app.answers[f"POST {path}"] = LEADS[f"POST {path}"]
    assert visitor.call("POST", path).reason == "busy"
    clock.now += 301
    assert visitor.call("POST", path).reason == reason


# --- outages


def test_an_outage_refuses_submissions_lets_pages_pass_and_is_said_once(caplog):
    ledger = Silent()
    visitor, app = shop(ledger=ledger)
    at_payment(visitor)
    ledger.off = True
    with caplog.at_level(logging.WARNING, "flowguard.ledger"):
        for _ in range(3):
            answer = visitor.post("/payment")
            assert answer.verdict == (503, "unavailable")
            assert answer.header("Retry-After") is not None
            assert visitor.get("/payment").status == 200
        ledger.off = False
        assert visitor.post("/payment").location == "/done"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert app.calls.count("POST /payment") == 1


def test_a_refusal_in_an_outage_costs_one_question_and_so_one_time_out():
    ledger = Silent()
    visitor, _ = shop(ledger=ledger)
    at_payment(visitor)
    ledger.off = True
    assert visitor.post("/payment").verdict == (503, "unavailable")
    assert ledger.asked == 1


def test_an_outage_in_the_middle_of_a_payment_loses_nothing():
    ledger = Silent()
    visitor, app = shop(ledger=ledger)
    at_payment(visitor)

    def pays(_environ, start_response):
        ledger.off = True
        start_response("303 See Other", [("Location", "/done")])
        return [b""]

    app.answers["POST /payment"] = pays
    assert visitor.post("/payment").location == "/done"
    assert visitor.get("/done").status == 200
    ledger.off = False
    assert visitor.call("POST", "/payment").reason is not None
    assert app.calls.count("POST /payment") == 1


def test_an_empty_ledger_goes_on_by_the_cookie():
    ledger = MemoryLedger()
    visitor, _ = shop(ledger=ledger)
    at_payment(visitor)
    for key, _record, _expires in list(ledger.scan(0)):
        ledger.forget(key)
    assert visitor.post("/payment").location == "/done"


def test_without_a_ledger_an_old_cookie_works():
    flow = {name: {**state, "once": False, "submit": "once" in state or state.get("submit", False)}
            for name, state in SHOP.items()}  # fmt: skip
    visitor, app = shop(flow, ledger=None)
    old = at_payment(visitor).twin()
    visitor.post("/payment")
    old.post("/payment")
    assert app.calls.count("POST /payment") == 2


def test_several_processes_on_one_memory_are_warned_of_once(caplog):
    visitor, _ = shop()
    for _ in range(2):
        visitor.get("/cart", **{"wsgi.multiprocess": True})
    assert [record.name for record in caplog.records if "one process" in record.getMessage()] == ["flowguard.config"]


# --- ends, resets, hooks


def test_a_stay_that_is_too_long_ends_the_run():
    clock = Clock()
    visitor, _ = shop({**SHOP, "/shipping": {**SHOP["/shipping"], "max_seconds": 10}}, clock=clock)
    visitor.get("/cart")
    visitor.get("/shipping")
    clock.now += 71
    assert visitor.post("/shipping").verdict == (409, "expired")
    assert visitor.call("GET", "/shipping").reason == "not_started"


@pytest.mark.parametrize("paid", [False, True], ids=["before", "after"])
def test_a_reset_forgets_the_run_wherever_it_is_kept(paid):
    visitor, _ = shop(reset="/again")
    old = at_payment(visitor).twin()
    if paid:
        visitor.post("/payment")
    assert visitor.get("/again").location == "/cart"
    assert visitor.call("GET", "/payment").reason == "not_started"
    assert old.call("GET", "/payment").reason == "not_started"
    assert visitor.call("DELETE", "/again").status == 405


def test_a_reset_without_a_run_only_leads_to_the_start():
    visitor, _ = shop(reset="/again")
    answer = visitor.get("/again")
    assert (answer.location, answer.cookies) == ("/cart", [])


def test_hooks_are_told_and_one_that_raises_changes_nothing(caplog):
    told = []

    def entered(event):
        told.append((event.kind, event.state, event.current))
        raise Boom

    visitor, _ = shop(entered=entered, refused=lambda e: told.append((e.kind, e.state, e.reason)),
                      finished=lambda e: told.append((e.kind, e.state, e.current)))  # fmt: skip
    at_payment(visitor).post("/payment")
    visitor.get("/done")
    visitor.get("/shipping")
    assert told == [
        ("entered", "/cart", "/cart"), ("entered", "/shipping", "/shipping"), ("entered", "/payment", "/payment"),
        ("entered", "/done", "/done"), ("finished", "/done", "/done"), ("refused", "/shipping", "finished"),
    ]  # fmt: skip
    assert "hook" in caplog.text


# --- cookies, keys, deploys


def redeployed(visitor: Visitor, flow, **options) -> Visitor:
    """The same visitor before a new deployment, with an empty ledger."""
    options.setdefault("secret_key", SECRET)
    app = Application()
    app.answers.update(LEADS)
    guard = FlowGuard(app, flow, clock=Clock(), **options)
    return Visitor(guard, jar=visitor.jar, check=False)


def test_a_removed_state_takes_its_visitors_back_to_the_latest_that_stands():
    visitor, _ = shop()
    at_payment(visitor)
    later = redeployed(visitor, {"/cart": {"to": ["/shipping"]}, "/shipping": {"to": ["/done"]}, "/done": {}})
    assert later.call("GET", "/shipping").status == 200
    assert later.call("GET", "/done").status == 200


def test_added_and_moved_states_disturb_nobody():
    visitor, _ = shop()
    at_payment(visitor)
    later = redeployed(visitor, {"/gift": {"to": ["/cart"]}, **dict(reversed(SHOP.items()))})
    assert later.call("GET", "/payment").status == 200


def test_keys_are_rotated_by_appending_one():
    new = "0e1d2c3b4a5968778695a4b3c2d1e0f0"
    visitor, _ = shop()
    at_payment(visitor)
    later = redeployed(visitor, SHOP, secret_key=[SECRET, new])
    assert later.call("GET", "/payment").status == 200
    assert later.post("/payment").location == "/done"  # the run changed, and is signed by the last key
    assert redeployed(later, SHOP, secret_key=new).call("GET", "/payment").status == 200
    assert redeployed(visitor, SHOP, secret_key=new).call("GET", "/payment").reason == "bad_cookie"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-1],
        lambda token: token + "=",
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: "2" + token[1:],
        lambda token: token.replace(".", "", 1),
        lambda token: token[:30] + "\xff" + token[31:],
        lambda token: "x" * 200_000,
        lambda token: "",
        lambda token: token.swapcase(),
    ],
    ids=["cut", "padded", "another last letter", "another version", "a dot less", "a byte above ASCII", "huge",
         "empty", "another case"],
)  # fmt: skip
def test_a_spoilt_cookie_is_as_if_there_were_none(spoil):
    visitor, app = shop()
    at_payment(visitor)
    cookie = "flowguard-flow=" + spoil(visitor.jar["flowguard-flow"])
    assert visitor.call("POST", "/payment", HTTP_COOKIE=cookie).verdict == (409, "bad_cookie")
    assert "POST /payment" not in app.calls


@pytest.mark.parametrize("joint", ["; ", ";", ",", ", "], ids=repr)
def test_of_several_cookies_the_newest_counts_and_neighbours_are_left_alone(joint):
    visitor, _ = shop()
    visitor.get("/cart")
    old = visitor.jar["flowguard-flow"]
    at_payment(visitor)
    new = visitor.jar["flowguard-flow"]
    cookies = [f"flowguard-flow={old}", 'a={"x":1}', "flowguard-flow=bad", f"flowguard-flow={new}", "b=2"]
    for order in (cookies, cookies[::-1]):
        assert visitor.call("GET", "/payment", HTTP_COOKIE=joint.join(order)).status == 200


def test_on_https_the_cookie_is_the_host_s_and_no_other_is_read():
    visitor, _ = shop()
    visitor.https = True
    cookie = visitor.get("/cart").cookies[0]
    assert cookie.startswith("__Host-flowguard-flow=")
    assert "; Secure" in cookie
    bare = {"HTTP_COOKIE": visitor.environ("GET", "/")["HTTP_COOKIE"].replace("__Host-", "")}
    assert visitor.call("GET", "/shipping", **bare).reason == "not_started"


def test_a_cookie_from_the_future_is_not_believed():
    clock = Clock()
    visitor, _ = shop(clock=clock)
    visitor.get("/cart")
    clock.now -= 61
    assert visitor.call("GET", "/shipping").reason == "bad_cookie"
    clock.now += 1
    assert visitor.call("GET", "/shipping").status == 200


def test_a_run_that_expired_says_so_and_counts_on():
    clock = Clock()
    visitor, _ = shop(clock=clock, ttl=100)
    visitor.get("/cart")
    clock.now += 161
    assert visitor.call("GET", "/shipping").reason == "expired"
    assert visitor.get("/cart").status == 200
    assert visitor.get("/shipping").status == 200


def test_a_flow_whose_cookie_could_grow_too_large_does_not_load():
    names = [f"/step-{number}" for number in range(60)]
    flow = {name: {"to": [other for other in names if other != name]} for name in names}
    with pytest.raises(ConfigError, match=r"could grow to \d+ bytes"):
        FlowGuard(Application(), flow, secret_key=SECRET)


def test_a_run_of_hundreds_of_steps_keeps_to_the_bound():
    names = [f"/step-{number}" for number in range(100)]
    flow = {name: {"to": [after], "back": "edit"} for name, after in zip(names, [*names[1:], "/end"])}
    visitor, _ = guarded({**flow, "/end": {}}, check=False)
    sizes = [len(cookie) for name in names for cookie in visitor.get(name).cookies]
    assert len(sizes) == 100
    assert max(sizes) < 4096


def test_a_run_that_went_in_circles_comes_back_whole():
    names = [f"/{letter}" for letter in "abcd"]
    flow = {name: {"to": [one for one in names if one != name], "repeat": True} for name in names}
    visitor, app = guarded(flow, check=False)
    for name in ("/a", "/b", "/a", "/c", "/b", "/a", "/d"):
        visitor.get(name)
    visitor.get("/d")
    assert app.seen[-1].run.history == (
        ("/a", "/b"), ("/a", "/c"), ("/c", "/b"), ("/b", "/a"), ("/a", "/d"),
    )  # fmt: skip
    assert app.seen[-1].run.status.splitlines()[0] == "/a -> /b"


def test_a_variable_holds_for_the_whole_run_and_targets_are_built_from_it():
    flow = {"/orders/<id>": {"start": True, "to": ["/orders/<id>/pay"]}, "/orders/<id>/pay": {}}
    visitor, _ = guarded(flow, check=False)
    visitor.get("/orders/7")
    assert visitor.call("GET", "/orders/8/pay").reason == "illegal"
    assert visitor.get("/orders/8/pay").location == "/orders/7"
    assert visitor.get("/orders/7/pay").status == 200
    assert visitor.call("POST", f"/orders/{'9' * 129}/pay").reason == "path"


def test_two_flows_do_not_meet():
    flows = [Flow({"/a": {"to": ["/b"]}, "/b": {}}, name="one"), Flow({"/x": {"to": ["/y"]}, "/y": {}}, name="two")]
    visitor, _ = guarded(flows, check=False)
    visitor.get("/a")
    assert visitor.call("GET", "/y").reason == "not_started"
    visitor.get("/x")
    assert visitor.get("/y").status == visitor.get("/b").status == 200


def test_an_odd_word_of_the_application_s_is_logged(caplog):
    visitor, app = shop()
    app.answers["GET /cart"] = led("/shipping").saying("Flowguard", "hooray")
    assert visitor.get("/cart").header("Flowguard") is None
    assert "hooray" in caplog.text


def test_a_path_without_end_is_answered_at_once_guarded_or_not():
    visitor, app = shop()
    assert visitor.call("GET", "/" + "x" * 8192).status == 414
    assert app.calls == []
