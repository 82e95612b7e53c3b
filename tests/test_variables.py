"""Variables that a run does not hold: those that may change within it (`vary`), and the one by which runs are told
apart (`instance`). CONTRACT 2 and 6."""

from __future__ import annotations

from typing import Any

import pytest
from test_middleware import Down
from visitor import DONE, NOON, PAGE, SCRIPT, SECRET, SHOWN, Application, Clock, Visitor, guarded, led

from flowguard import ConfigError, Flow, FlowGuard, Run
from flowguard.codec import INSTANCE
from flowguard.core.run import Values
from flowguard.instances import MOST

LANGUAGES: dict[str, Any] = {
    "/<lang>/cart": {"state": "cart", "to": ["address"]},
    "/<lang>/orders/<id>/address": {"state": "address", "to": ["pay"], "submit": True},
    "/orders/<id>/pay": {"state": "pay", "to": ["done"], "once": True},
    "/<lang>/done": {"state": "done"},
    "/<lang>/help": {"state": "help", "within": ["address", "pay"]},
}


def abroad(*steps: str, **options: Any) -> tuple[Visitor, Application]:
    """A visitor of the shop with languages, who has taken *steps*."""
    visitor, app = guarded(LANGUAGES, vary=["lang"], **options)
    for step in steps:
        method, _, path = step.rpartition(" ")
        if method:
            app.answers[step] = DONE
        assert visitor.send(visitor.environ(method or "GET", path, **PAGE)).reason is None
    return visitor, app


# --- vary ------------------------------------------------------------------------------------------------------------


def test_a_visitor_may_change_the_language_at_any_step():
    visitor, app = abroad("/en/cart", "/de/orders/7/address", "POST /fr/orders/7/address", "/orders/7/pay")
    app.answers["POST /orders/7/pay"] = led("/it/done")
    assert visitor.post("/orders/7/pay").status == 303
    assert visitor.get("/it/done").status == 200


def test_without_vary_a_language_holds_for_the_whole_run():
    visitor, _ = guarded(LANGUAGES)
    visitor.get("/en/cart")
    assert visitor.get("/de/orders/7/address").verdict == (303, "illegal")


def test_a_variable_that_is_not_named_still_holds_for_the_run():
    visitor, _ = abroad("/en/cart", "/de/orders/7/address", "POST /de/orders/7/address")
    assert visitor.get("/orders/8/pay").verdict == (303, "illegal")


def test_a_reload_in_another_language_is_a_reload_and_writes_nothing():
    visitor, _ = abroad("/en/cart")
    assert visitor.get("/de/cart").cookies == []


@pytest.mark.parametrize(("steps", "asked", "target"), [
    pytest.param((), "/de/done", "/de/cart", id="the request's, where there is no run"),
    pytest.param(("/en/cart",), "/de/done", "/de/cart", id="the request's rather than the run's"),
    pytest.param(("/en/cart", "/de/orders/7/address"), "/orders/7/pay", "/de/orders/7/address",
                 id="the latest of the run, where the request has none"),
    pytest.param(("/en/cart", "/de/orders/7/address", "/fr/orders/7/address", "/fr/help"), "/orders/7/pay",
                 "/de/orders/7/address", id="not one of a reload or a companion, which change nothing"),
    pytest.param(("/en/cart", "/de/orders/7/address"), "/fr/done", "/fr/orders/7/address",
                 id="the request's beside what the run holds"),
])  # fmt: skip
def test_a_target_is_built_with(steps: Any, asked: str, target: str):
    visitor, _ = abroad(*steps)
    assert visitor.get(asked).location == target


def test_a_companion_may_be_asked_for_in_another_language():
    visitor, _ = abroad("/en/cart", "/en/orders/7/address")
    assert visitor.get("/de/help").status == 200


def test_a_redirect_to_the_next_step_in_another_language_is_a_success():
    visitor, app = abroad("/en/cart")
    app.answers["GET /en/cart"] = led("/de/orders/7/address")
    visitor.get("/en/cart")
    assert visitor.get("/de/orders/7/address").status == 200


def test_a_duplicate_goes_to_the_result_in_the_language_that_it_was_given_in():
    visitor, app = abroad("/en/cart", "/de/orders/7/address", "POST /de/orders/7/address", "/orders/7/pay")
    app.answers["POST /orders/7/pay"] = led("/it/done")
    visitor.post("/orders/7/pay")
    assert visitor.post("/orders/7/pay").location == "/it/done"


def test_a_reset_leads_to_the_start_in_the_language_of_the_run():
    visitor, _ = abroad("/en/cart", "/de/orders/7/address", reset="/again")
    assert visitor.get("/again").location == "/de/cart"
    visitor.jar.clear()
    assert visitor.get("/again").location == "/"


def test_the_page_of_a_stuck_run_links_the_start_in_the_language_of_the_request():
    visitor, app = abroad("/en/cart", "/de/orders/7/address", "POST /de/orders/7/address", "/orders/7/pay")
    app.answers["POST /orders/7/pay"] = SHOWN._replace(status="500 Internal Server Error")
    visitor.post("/orders/7/pay")
    page = visitor.get("/fr/done")
    assert page.verdict == (409, "skipped")
    assert b'href="/fr/cart"' in page.body
    assert b'href="/orders/7/pay"' in page.body


def test_a_script_is_told_the_target_in_its_language():
    visitor, _ = abroad("/en/cart")
    answer = visitor.send(visitor.environ("GET", "/de/done", **SCRIPT))
    assert b'"target": "/de/cart"' in answer.body


@pytest.mark.parametrize(("held", "given", "agrees"), [
    ((("lang", "en"), ("id", "7")), (("lang", "de"), ("id", "7")), True),
    ((("lang", "en"), ("id", "7")), (("lang", "en"), ("id", "8")), False),
    ((("lang", "en"),), (("id", "8"),), True),
])  # fmt: skip
def test_what_may_vary_is_not_compared(held: Values, given: Values, agrees: bool):
    assert Run("id", values=held).agrees_with(given, frozenset({"lang"})) is agrees


# --- instance --------------------------------------------------------------------------------------------------------

ORDERS: dict[str, Any] = {
    "/orders/<id>/address": {"state": "address", "to": ["pay"], "submit": True},
    "/orders/<id>/pay": {"state": "pay", "to": ["done"], "once": True},
    "/orders/<id>/done": {"state": "done"},
    "/orders/<id>/help": {"state": "help", "within": ["address", "pay"]},
}
STEPS = ("/address", "POST /address", "/pay")


def ordering(**options: Any) -> tuple[Visitor, Application]:
    visitor, app = guarded(ORDERS, instance="id", **options)
    for number in range(20):
        app.answers[f"POST /orders/{number}/address"] = DONE
        app.answers[f"POST /orders/{number}/pay"] = led(f"/orders/{number}/done")
    return visitor, app


def walk(visitor: Visitor, order: object, *steps: str) -> None:
    """Each step of an order must pass."""
    for step in steps:
        method, _, path = step.rpartition(" ")
        assert visitor.send(visitor.environ(method or "GET", f"/orders/{order}{path}", **PAGE)).reason is None, step


def names(visitor: Visitor) -> list[str]:
    """The cookies of runs that the visitor holds."""
    return [name for name in visitor.jar if name.startswith("flowguard-flow-") and not name.endswith("-note")]


def test_two_orders_are_two_runs_at_the_same_time():
    visitor, app = ordering()
    walk(visitor, 7, *STEPS)
    walk(visitor, 8, *STEPS, "POST /pay", "/done")
    walk(visitor, 7, "POST /pay", "/done")
    assert visitor.post("/orders/8/pay").verdict == (303, "finished")
    assert visitor.post("/orders/8/pay").location == "/orders/8/done"
    assert app.calls.count("POST /orders/7/pay") == app.calls.count("POST /orders/8/pay") == 1
    assert len(names(visitor)) == 2


def test_a_step_of_one_order_opens_nothing_of_another():
    visitor, _ = ordering()
    walk(visitor, 7, *STEPS)
    refused = visitor.get("/orders/8/pay")
    assert (refused.verdict, refused.location) == ((303, "not_started"), "/orders/8/address")


def test_a_cookie_that_is_given_another_orders_name_is_a_bad_one():
    visitor, app = ordering()
    walk(visitor, 7, *STEPS)
    (seven,) = names(visitor)
    visitor.get("/orders/8/address")
    (eight,) = set(names(visitor)) - {seven}
    forger = visitor.twin()
    forger.jar[eight] = forger.jar[seven]
    assert forger.get("/orders/8/pay").reason == "bad_cookie"
    assert forger.post("/orders/8/pay").reason == "bad_cookie"
    assert "POST /orders/8/pay" not in app.calls
    walk(forger, 8, "/address")
    assert forger.get("/orders/8/pay").reason == "skipped"
    walk(visitor, 7, "POST /pay", "/done")  # the one that was copied goes on untouched


def test_an_empty_run_that_is_given_another_orders_name_is_worth_nothing_there():
    clock = Clock()
    visitor, _ = ordering(clock=clock)
    walk(visitor, 7, *STEPS)
    (seven,) = names(visitor)
    clock.now = NOON + 20_000
    walk(visitor, 7, "/address")
    visitor.get("/orders/8/address")
    (eight,) = set(names(visitor)) - {seven}
    visitor.jar[eight] = visitor.jar[seven]
    assert visitor.get("/orders/8/pay").reason == "bad_cookie"


def test_a_redirect_to_another_order_is_none_to_the_next_step():
    visitor, app = ordering()
    walk(visitor, 7, "/address")
    app.answers["POST /orders/7/address"] = led("/orders/8/pay")
    visitor.post("/orders/7/address")
    assert visitor.get("/orders/7/pay").reason == "skipped"


def test_at_most_four_runs_are_held_and_the_one_unused_longest_goes():
    clock = Clock()
    visitor, _ = ordering(clock=clock)
    held: dict[int, str] = {}
    for order in range(MOST):
        clock.now += 1
        before = set(names(visitor))
        walk(visitor, order, "/address")
        (held[order],) = set(names(visitor)) - before
    clock.now += 1
    walk(visitor, 0, "POST /address")  # now order 1 is the one unused longest
    answer = visitor.get("/orders/9/address")
    assert [cookie.partition(";")[0] for cookie in answer.cookies if "Max-Age=0" in cookie] == [f"{held[1]}="]
    assert len(names(visitor)) == MOST
    assert held[1] not in visitor.jar
    walk(visitor, 0, "/pay")
    assert visitor.get("/orders/1/pay").reason == "not_started"


def test_what_is_no_cookie_of_ours_goes_before_a_run():
    visitor, _ = ordering()
    for order in range(MOST - 1):
        walk(visitor, order, "/address")
    visitor.jar["flowguard-flow-AAAAAAAA"] = "1aa.forged"
    walk(visitor, 9, "/address")
    assert "flowguard-flow-AAAAAAAA" not in visitor.jar
    assert len(names(visitor)) == MOST


def test_another_applications_cookie_that_is_named_like_an_orders_is_left_alone():
    visitor, _ = ordering()
    visitor.jar["flowguard-flow-settings"] = "dark"
    for order in range(MOST + 1):
        walk(visitor, order, "/address")
    assert visitor.jar["flowguard-flow-settings"] == "dark"
    assert len(names(visitor)) == MOST + 1  # the four runs, and that


@pytest.mark.parametrize("named", [{"name": "flow-checkout"}, {"cookie_name": "flowguard-flow-_a-b_c-d"},
                                   {"cookie_name": "flowguard-flow-abc"}])  # fmt: skip
@pytest.mark.parametrize("first", [True, False], ids=["declared first", "declared second"])
def test_no_flow_may_be_named_as_if_it_were_an_order_of_anothers(named: dict[str, str], first: bool):
    """Its cookie, or its note, would be taken away where there are too many orders."""
    flows = [Flow(ORDERS, name="flow", instance="id"), Flow({"/a": {}}, **{"name": "other", **named})]
    with pytest.raises(ConfigError, match=r"cookie_name\).*is, or makes, a cookie of the flow"):
        FlowGuard(Application(), flows if first else flows[::-1], secret_key=SECRET)


def test_a_flow_may_be_named_like_one_of_orders_if_its_cookies_can_not_be_mistaken():
    flows = [Flow(ORDERS, name="flow", instance="id"), Flow({"/a": {}}, name="flow-checkouts")]
    assert len(FlowGuard(Application(), flows, secret_key=SECRET).gates) == 2


def test_a_flood_of_cookies_is_answered_by_a_few():
    visitor, _ = ordering()
    visitor.jar.update({f"flowguard-flow-{number:08}": "1aa.x" for number in range(500)})
    assert len(visitor.get("/orders/9/address").cookies) <= 20


def test_a_reload_of_one_order_writes_nothing_however_many_there_are():
    visitor, _ = ordering()
    for order in range(MOST):
        walk(visitor, order, "/address")
    assert visitor.get("/orders/0/address").cookies == []


def test_a_cookie_is_taken_away_as_it_was_set():
    visitor, _ = guarded(ORDERS, instance="id")
    visitor = Visitor(visitor.app, https=True, check=False)
    for order in range(MOST):
        walk(visitor, order, "/address")
    for cookie in visitor.get("/orders/9/address").cookies:
        assert cookie.startswith("__Host-flowguard-flow-")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} < set(cookie.split("; "))


def test_a_reset_forgets_all_orders_for_every_copy():
    visitor, _ = ordering(reset="/again")
    walk(visitor, 7, *STEPS)
    walk(visitor, 8, *STEPS)
    thief = visitor.twin()
    answer = visitor.get("/again")
    assert (answer.status, answer.location) == (303, "/")
    assert names(visitor) == []
    for order in (7, 8):
        for one in (visitor, thief):
            assert one.get(f"/orders/{order}/pay").reason == "not_started"


@pytest.mark.parametrize("first", [True, False], ids=["before it", "after it"])
def test_a_reset_forgets_an_order_that_comes_with_a_forged_one_of_its_name(first: bool):
    visitor, _ = ordering(reset="/again")
    walk(visitor, 7, *STEPS)
    ((name, token),) = visitor.jar.items()
    both = [f"{name}={token}", f"{name}=1aa.forged"]
    visitor.get("/again", HTTP_COOKIE="; ".join(both[::-1] if first else both))
    visitor.jar = {name: token}
    assert visitor.get("/orders/7/pay").reason == "not_started"


def test_a_reset_without_runs_only_leads_to_the_root():
    visitor, _ = ordering(reset="/again")
    visitor.jar["flowguard-flow-AAAAAAAA"] = "1aa.forged"
    assert visitor.get("/again").cookies == []


def test_a_reset_is_of_ones_own_orders():
    visitor, _ = ordering(reset="/again", bind="REMOTE_USER")
    visitor.get("/orders/7/address", REMOTE_USER="ann")
    assert visitor.twin().get("/again", REMOTE_USER="bob").cookies == []
    assert len(visitor.get("/again", REMOTE_USER="ann").cookies) == 1


def test_an_expired_order_ends_alone():
    clock = Clock()
    visitor, _ = ordering(clock=clock)
    walk(visitor, 7, "/address")
    clock.now += 10_000
    walk(visitor, 8, "/address")
    clock.now += 6_000
    assert visitor.get("/orders/7/pay").reason == "expired"
    walk(visitor, 7, "/address")
    walk(visitor, 8, "POST /address", "/pay")


def test_a_cookie_from_before_a_payment_is_worth_nothing_after_it():
    visitor, app = ordering()
    walk(visitor, 7, *STEPS)
    thief = visitor.twin()
    walk(visitor, 7, "POST /pay", "/done")
    assert thief.post("/orders/7/pay").verdict == (303, "finished")
    assert app.calls.count("POST /orders/7/pay") == 1


def test_where_the_ledger_is_silent_each_order_is_judged_by_its_cookie():
    ledger = Down()
    visitor, _ = ordering(ledger=ledger)
    walk(visitor, 7, *STEPS)
    walk(visitor, 8, "/address")
    ledger.switch_off()
    walk(visitor, 7, "/pay")
    assert visitor.get("/orders/8/pay").reason == "skipped"
    assert visitor.post("/orders/8/address").reason == "unavailable"


def test_another_spelling_of_an_order_tells_of_none():
    visitor, _ = ordering()
    walk(visitor, 7, *STEPS)
    assert visitor.get("/ORDERS/7/pay").location == "/orders/7/pay"
    assert visitor.post("/ORDERS/7/pay").verdict == (409, "path")


def test_a_cross_site_request_that_brings_other_orders_may_get_a_cookie():
    visitor, _ = ordering()
    cross = {"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_SEC_FETCH_MODE": "cors"}
    assert visitor.get("/orders/7/address", **cross).cookies == []
    walk(visitor, 7, "/address")
    assert len(visitor.get("/orders/8/address", **cross).cookies) == 1
    again, _ = ordering(reset="/again")
    again.jar.update(visitor.jar)
    assert len(again.post("/again", **cross).cookies) == 2


def test_a_visitor_is_told_why_and_not_led_in_circles():
    visitor, app = ordering()
    visitor.get("/orders/7/pay")
    visitor.get("/orders/7/address")
    assert app.seen[-1].run.notice == "not_started"
    for _ in range(3):
        visitor.get("/orders/8/pay")
    assert visitor.get("/orders/9/pay").status == 409


def test_an_instance_and_a_language_go_together():
    flow = {"/<lang>/o/<id>": {"state": "o", "to": ["p"]}, "/<lang>/p/<id>": {"state": "p", "submit": True}}
    visitor, _ = guarded(flow, instance="id", vary=["lang"])
    assert visitor.get("/de/p/7").location == "/de/o/7"
    visitor.get("/de/o/7")
    assert visitor.get("/en/p/7").status == 200
    assert visitor.get("/en/p/8").location == "/en/o/8"


def test_the_longer_name_counts_for_the_size():
    states = [f"/<id>/s{number}" for number in range(50)]
    large = {one: {"to": [other for other in states if other != one]} for one in states}

    def size(**options: Any) -> int:
        with pytest.raises(ConfigError) as caught:
            FlowGuard(Application(), large, secret_key=SECRET, **options)
        return int(caught.value.problems[0].what.split(" bytes")[0].split()[-1])

    assert size(instance="id") == size() + len("-") + INSTANCE
