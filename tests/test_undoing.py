"""A path beside the steps that makes what came later worthless: the key `undoes`. CONTRACT 2, 4, 7."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any, Optional

import pytest
from test_middleware import Down
from visitor import DONE, FAULT, INVALID, NOON, PAGE, SHOWN, Application, Boom, Clock, Visitor, guarded, led

from flowguard import Run

# A shop whose basket can be changed at any time, by a form and by a link.
SHOP: dict[str, Any] = {
    "/cart": {"to": ["/review"], "submit": True},
    "/review": {"to": ["/pay"], "submit": True},
    "/pay": {"to": ["/done"], "once": True},
    "/done": {},
    "/basket": {"undoes": ["/review", "/pay"]},
    "/remove": {"undoes": ["/review"], "effects": True},
    "/empty": {"undoes": ["/cart"]},
}
TO_PAY = ("/cart", "POST /cart", "/review", "POST /review", "/pay")


def shopping(*steps: str, flow: Any = SHOP, **options: Any) -> tuple[Visitor, Application]:
    """A visitor who has taken *steps*; every form counts."""
    visitor, app = guarded(flow, **options)
    app.answers.update({f"POST {path}": DONE for path in ("/cart", "/review", "/pay")})
    walk(visitor, *steps)
    return visitor, app


def walk(visitor: Visitor, *steps: str) -> None:
    """Each step must pass."""
    for step in steps:
        method, _, path = step.rpartition(" ")
        assert visitor.send(visitor.environ(method or "GET", path, **PAGE)).reason is None


def where(visitor: Visitor, app: Application) -> Optional[str]:
    """The current state of the visitor, asked in a way that changes nothing."""
    visitor.call("OPTIONS", "/basket")
    run = app.seen[-1].run
    return run.current if run is not None else None


# --- what it takes back ----------------------------------------------------------------------------------------------


def test_a_basket_that_is_changed_after_the_review_must_be_reviewed_again():
    visitor, app = shopping(*TO_PAY)
    app.answers["POST /basket"] = led("/cart")
    assert visitor.post("/basket").status == 303
    assert where(visitor, app) == "/cart"
    assert visitor.get("/pay").verdict == (303, "illegal")
    assert visitor.post("/pay").reason == "illegal"
    assert "POST /pay" not in app.calls
    walk(visitor, "/review", "POST /review", "/pay", "POST /pay")


def test_the_state_before_stays_done():
    visitor, _ = shopping(*TO_PAY)
    visitor.post("/basket")
    assert visitor.get("/review").status == 200  # /cart need not be submitted again
    assert visitor.post("/cart").reason == "illegal"


def test_it_goes_back_to_before_the_first_of_its_states():
    visitor, app = shopping("/cart", "POST /cart", "/review")
    visitor.post("/basket")
    assert where(visitor, app) == "/cart"


def test_where_nothing_came_before_the_run_is_empty():
    visitor, app = shopping(*TO_PAY)
    assert visitor.post("/empty").status == 200
    assert where(visitor, app) is None
    assert visitor.get("/review").verdict == (303, "not_started")
    assert visitor.get("/cart").status == 200


def test_where_none_of_its_states_was_entered_nothing_changes():
    visitor, app = shopping("/cart", "POST /cart")
    assert visitor.post("/basket").cookies == []
    assert where(visitor, app) == "/cart"


def test_what_is_spent_stays_spent():
    visitor, app = shopping(*TO_PAY)
    app.answers["POST /pay"] = FAULT
    visitor.post("/pay")
    visitor.post("/basket")
    assert where(visitor, app) == "/cart"
    walk(visitor, "/review", "POST /review", "/pay")
    assert visitor.post("/pay").reason == "duplicate"
    assert app.calls.count("POST /pay") == 1


def test_the_time_in_a_state_begins_anew():
    before = Run("id", 4, 1, ("a", "b", "c"), (("a", "b"), ("b", "c")), frozenset("ab"), frozenset("c"), entered=7)
    assert before.going_back_before("b", 9) == Run("id", 4, 1, ("a",), (), frozenset("a"), frozenset("c"), entered=9)
    assert before.going_back_before("c", 9) == Run(
        "id", 4, 1, ("a", "b"), (("a", "b"),), frozenset("ab"), frozenset("c"), entered=9
    )
    assert before.going_back_before("a", 9) == Run("id", 4, 5)


# --- did it fail? ----------------------------------------------------------------------------------------------------

ANSWERS = [
    pytest.param(SHOWN, True, id="a page"),
    pytest.param(DONE, True, id="no page"),
    pytest.param(led("/elsewhere"), True, id="a redirect to anywhere"),
    pytest.param(FAULT, True, id="a fault, after which the basket may have changed"),
    pytest.param(Boom, True, id="an exception, likewise"),
    pytest.param(INVALID, False, id="a 4xx"),
    pytest.param(led("/login?next=/basket"), False, id="what the flow rejects"),
    pytest.param(led("/sold-out"), False, id="what it rejects itself"),
    pytest.param(SHOWN._replace(status="202 Accepted"), False, id="a status that it rejects"),
    pytest.param(SHOWN._replace(status="418 I'm a teapot"), True, id="a 4xx that it accepts"),
    pytest.param(SHOWN._replace(body=b"<p>Nothing was changed</p>"), False, id="a text that it rejects"),
]


@pytest.mark.parametrize(("answer", "taken_back"), ANSWERS)
def test_the_run_is_taken_back_unless_it_failed(answer: Any, taken_back: bool):
    basket = {**SHOP["/basket"], "accept": [418], "reject": ["/sold-out*", 202, "body:Nothing was changed"]}
    visitor, app = shopping(*TO_PAY, flow={**SHOP, "/basket": basket})
    app.answers["POST /basket"] = answer
    with pytest.raises(Boom) if answer is Boom else nullcontext():
        visitor.post("/basket")
    app.answers.pop("POST /basket")
    if answer is Boom:  # the cookie could not be sent: the ledger tells it
        assert visitor.post("/pay").reason == "illegal"
    assert where(visitor, app) == ("/cart" if taken_back else "/pay")


@pytest.mark.parametrize(("word", "current", "again"), [
    ("failed", "/pay", None), ("success", "/pay", "duplicate"), ("reset", None, "not_started"),
])  # fmt: skip
def test_a_word_of_the_application_speaks_of_the_current_state_instead(word: str, current: Any, again: Any):
    visitor, app = shopping(*TO_PAY)
    app.answers["POST /basket"] = SHOWN.saying("Flowguard", word)
    visitor.post("/basket")
    assert where(visitor, app) == current
    assert visitor.post("/pay").reason == again


# --- when it is allowed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["", "success", "failed", "finish", "reset"])
def test_without_a_run_it_passes_and_changes_nothing(word: str):
    visitor, app = shopping()
    app.answers["POST /basket"] = SHOWN.saying("Flowguard", word) if word else SHOWN
    assert visitor.post("/basket").cookies == []
    assert visitor.get("/basket").cookies == []
    assert app.calls == ["POST /basket", "GET /basket"]


def test_with_a_run_that_cant_be_used_it_passes_all_the_same():
    clock = Clock()
    visitor, app = shopping(*TO_PAY, clock=clock)
    clock.now = NOON + 20_000
    assert visitor.post("/basket").status == 200
    visitor.jar["flowguard-flow"] = "x"
    assert visitor.post("/basket").status == 200
    assert app.calls.count("POST /basket") == 2


def test_a_finished_run_is_left_alone():
    visitor, app = shopping(*TO_PAY, "POST /pay", "/done")
    visitor.post("/basket")
    assert where(visitor, app) == "/done"
    assert visitor.post("/pay").reason == "finished"


def test_within_it_may_be_asked_for_only_there():
    visitor, app = shopping("/cart", flow={**SHOP, "/basket": {"undoes": ["/review"], "within": ["/pay"]}})
    assert visitor.post("/basket").reason == "illegal"
    walk(visitor, *TO_PAY[1:])
    assert visitor.post("/basket").status == 200
    assert visitor.get("/pay").reason == "illegal"
    assert app.calls.count("POST /basket") == 1


ORDERS: dict[str, Any] = {
    "/orders/<id>/items": {"state": "items", "to": ["review"]},
    "/orders/<id>/review": {"state": "review", "submit": True},
    "/orders/<id>/change": {"state": "change", "undoes": ["review"]},
}


def test_another_orders_basket_is_no_way_around_it():
    visitor, app = shopping("/orders/7/items", "/orders/7/review", flow=ORDERS)
    assert visitor.post("/orders/8/change").verdict == (409, "illegal")
    assert "POST /orders/8/change" not in app.calls


def test_after_one_order_the_basket_of_the_next_may_be_filled():
    visitor, app = shopping("/orders/7/items", "/orders/7/review", flow=ORDERS)
    app.answers["POST /orders/7/review"] = DONE
    visitor.post("/orders/7/review")
    assert visitor.post("/orders/8/change").status == 200
    assert visitor.post("/orders/7/review").reason == "duplicate"


# --- safe requests, and a GET with effects ---------------------------------------------------------------------------


def test_to_look_at_the_basket_changes_nothing():
    visitor, app = shopping(*TO_PAY)
    assert visitor.get("/basket").cookies == []
    visitor.call("HEAD", "/basket")
    assert where(visitor, app) == "/pay"


def test_an_article_that_is_removed_by_a_link_is_removed_by_a_link():
    visitor, app = shopping(*TO_PAY)
    app.answers["GET /remove"] = led("/cart")
    assert visitor.call("HEAD", "/remove").status == 405
    assert visitor.get("/remove").status == 303
    assert where(visitor, app) == "/cart"
    assert app.calls.count("HEAD /remove") == 0


@pytest.mark.parametrize("answer", [SHOWN, INVALID], ids=["it was changed", "it was not"])
def test_a_header_that_the_application_does_not_heed_is_no_way_around_it(answer: Any):
    both = {**SHOP, "POST /items": {"state": "change", "undoes": ["/review"]}, "GET /items": {"within": ["/pay"]}}
    visitor, app = shopping(*TO_PAY, flow=both)
    app.answers["POST /items"] = answer
    visitor.post("/items", HTTP_X_HTTP_METHOD_OVERRIDE="GET")
    assert where(visitor, app) == ("/cart" if answer is SHOWN else "/pay")
    visitor.jar.clear()
    assert visitor.post("/items", HTTP_X_HTTP_METHOD_OVERRIDE="GET").reason == "illegal"


# --- the ledger ------------------------------------------------------------------------------------------------------


def test_a_cookie_from_before_the_change_is_worth_nothing_after_it():
    short = {"/cart": {"to": ["/review"]}, "/review": {"to": ["/pay"]}, "/pay": {}, "/basket": SHOP["/basket"]}
    visitor, app = shopping("/cart", "/review", flow=short)
    thief = visitor.twin()
    visitor.post("/basket")  # the first submission of this run: its place in the ledger
    assert thief.get("/pay").verdict == (303, "illegal")
    assert "GET /pay" not in app.calls


def test_where_the_ledger_is_silent_the_basket_is_not_changed():
    ledger = Down()
    visitor, app = shopping(*TO_PAY, ledger=ledger)
    ledger.switch_off()
    assert visitor.post("/basket").verdict == (503, "unavailable")
    assert visitor.get("/remove").verdict == (503, "unavailable")
    assert visitor.get("/basket").status == 200
    assert app.calls[-1] == "GET /basket"
    stranger = visitor.twin()
    stranger.jar.clear()
    assert stranger.post("/basket").status == 200  # there is nothing to ask for


def test_a_payment_that_the_basket_overtakes_has_been_paid_and_is_not_paid_again():
    visitor, app = shopping(*TO_PAY)
    begun, go_on = threading.Event(), threading.Event()

    def slowly(environ: Any, start_response: Any) -> Any:
        begun.set()
        go_on.wait(10)
        start_response("204 No Content", [])
        return []

    app.answers["POST /pay"] = slowly
    tab = visitor.twin()
    paying = threading.Thread(target=lambda: tab.post("/pay"))
    paying.start()
    assert begun.wait(10)
    visitor.post("/basket")
    go_on.set()
    paying.join(10)
    assert where(visitor, app) == "/cart"
    walk(visitor, "/review", "POST /review", "/pay")
    assert visitor.post("/pay").reason == "duplicate"
    assert app.calls.count("POST /pay") == 1
