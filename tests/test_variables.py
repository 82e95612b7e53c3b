"""Variables that a run does not hold: those that may change within it (`vary`). CONTRACT 2."""

from __future__ import annotations

from typing import Any

import pytest
from visitor import DONE, PAGE, SCRIPT, SHOWN, Application, Visitor, guarded, led

from flowguard import Run
from flowguard.core.run import Values

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
