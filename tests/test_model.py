"""The reference model itself, on examples that were worked out by hand from the contract."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from model import Answer, Model, Reply, Run

PAGE, JSON = Answer(), Answer(200, "application/json")
LOST, BAD, NOT_FOUND = Answer(raises=True), Answer(422), Answer(404)

# (a,b), (b,c), (b,d), (d,b), (c,e), (c,f), (e,d), (f,a); a run starts in a.
LETTERS = {
    "/a": {"start": True, "to": ["/b"]},
    "/b": {"to": ["/c", "/d"]},
    "/c": {"to": ["/e", "/f"]},
    "/d": {"to": ["/b"]},
    "/e": {"to": ["/d"]},
    "/f": {"to": ["/a"]},
}
SHOP = {
    "/cart": {"start": True, "to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}


def to(location: str) -> Answer:
    return Answer(303, "text/html", location)


class Visitor:
    """Keeps the run and the time between requests, and asserts that each one is what the test says."""

    def __init__(self, paths: Any, **options: Any) -> None:
        self.model = Model(paths, **options)
        self.run: Optional[Run] = None
        self.now = 1_000.0

    def ask(self, request: str, answer: Answer = PAGE) -> Reply:
        method, path = request.split()
        reply = self.model.request(self.run, method, path, self.now, answer)
        self.run = reply.run
        return reply

    def passes(self, *requests: str, answer: Answer = PAGE) -> None:
        for request in requests:
            reply = self.ask(request, answer)
            assert reply.called, f"{request}: {reply.reason}"

    def refused(self, request: str) -> list[Any]:
        reply = self.ask(request)
        assert not reply.called
        return [reply.reason, reply.target]


def walk(visitor: Visitor, letters: str) -> None:
    visitor.passes(*(f"GET /{letter}" for letter in letters))


def test_every_transition_of_the_letters_is_taken_once_and_no_more() -> None:
    visitor = Visitor(LETTERS)
    assert visitor.refused("GET /b") == ["not_started", "/a"]
    walk(visitor, "abc")
    assert visitor.refused("GET /a") == ["illegal", "/c"]
    walk(visitor, "edbd")
    assert visitor.run is not None
    assert visitor.run.history == [("/a", "/b"), ("/b", "/c"), ("/c", "/e"), ("/e", "/d"), ("/d", "/b"), ("/b", "/d")]
    assert visitor.run.trail == ["/a", "/c", "/e", "/b", "/d"]
    assert visitor.model.finished(visitor.run)  # (d,b) was d's only way on, and is taken
    assert visitor.refused("GET /b") == ["finished", "/d"]
    walk(visitor, "da")
    assert visitor.run.trail == ["/a"]


def test_a_taken_transition_is_a_duplicate_until_the_state_has_no_other() -> None:
    visitor = Visitor(LETTERS)
    walk(visitor, "abdb")
    assert visitor.refused("GET /d") == ["duplicate", "/b"]
    walk(visitor, "c")


def test_coming_back_to_the_exhausted_start_begins_a_new_run_at_once() -> None:
    visitor = Visitor(LETTERS)
    walk(visitor, "abcfa")
    assert visitor.run is not None
    assert (visitor.run.trail, visitor.run.history) == (["/a"], [])
    walk(visitor, "b")


def test_a_double_click_on_pay_pays_once() -> None:
    visitor = Visitor(SHOP)
    visitor.passes("GET /cart", "GET /shipping")
    visitor.passes("POST /shipping", answer=to("/payment"))
    visitor.passes("GET /payment")
    visitor.passes("POST /payment", answer=to("/done"))
    assert visitor.refused("POST /payment") == ["duplicate", "/done"]
    visitor.passes("GET /done")
    assert visitor.refused("POST /payment") == ["finished", "/done"]


def test_a_payment_of_unknown_outcome_is_stuck_and_the_start_is_the_way_out() -> None:
    visitor = Visitor(SHOP)
    visitor.passes("GET /cart", "GET /shipping")
    visitor.passes("POST /shipping", answer=JSON)
    visitor.passes("GET /payment")
    visitor.passes("POST /payment", answer=LOST)
    assert visitor.refused("POST /payment") == ["duplicate", "/payment"]
    assert visitor.refused("GET /done") == ["skipped", "/payment"]
    visitor.passes("GET /cart")
    assert visitor.run is not None
    assert not visitor.run.spent


@pytest.mark.parametrize("answer", [BAD, PAGE, to("/payment")], ids=["a 4xx", "a page", "a redirect to itself"])
def test_a_payment_that_failed_may_be_tried_again_after(answer: Answer) -> None:
    visitor = Visitor(SHOP)
    visitor.passes("GET /cart", "GET /shipping")
    visitor.passes("POST /shipping", answer=JSON)
    visitor.passes("GET /payment")
    visitor.passes("POST /payment", "POST /payment", answer=answer)


def test_edit_looks_back_and_a_submission_that_counts_goes_back() -> None:
    visitor = Visitor(SHOP, back="edit")
    visitor.passes("GET /cart", "GET /shipping")
    visitor.passes("POST /shipping", answer=to("/payment"))
    visitor.passes("GET /payment", "GET /shipping")
    assert visitor.run is not None
    assert visitor.run.current == "/payment"
    visitor.passes("POST /shipping", answer=BAD)
    assert visitor.run.current == "/payment"
    visitor.passes("POST /shipping", answer=to("/payment"))
    assert (visitor.run.trail, visitor.run.done) == (["/cart", "/shipping"], {"/shipping"})
    visitor.passes("GET /payment")


def test_times_are_counted_from_the_entry() -> None:
    visitor = Visitor({"/form": {"to": ["/end"], "submit": True, "min_seconds": 5, "max_seconds": 100}, "/end": {}})
    assert visitor.refused("POST /form") == ["too_fast", "/form"]
    visitor.passes("GET /form")
    visitor.now += 4
    assert visitor.refused("POST /form") == ["too_fast", "/form"]
    visitor.now += 156
    visitor.passes("POST /form", answer=BAD)
    visitor.now += 1
    assert visitor.refused("POST /form") == ["expired", "/form"]
    assert visitor.run is None


def test_a_run_that_is_too_old_is_no_run_and_says_expired() -> None:
    visitor = Visitor(SHOP, ttl=100)
    visitor.passes("GET /cart", "GET /shipping")
    visitor.now += 160
    visitor.passes("GET /shipping")
    visitor.now += 1
    assert visitor.refused("GET /shipping") == ["expired", "/cart"]
    visitor.passes("GET /cart")
