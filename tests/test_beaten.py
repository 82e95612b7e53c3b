"""The beaten track leads where the gate would have led: two guards of a flow, of which one has lanes, answer alike."""

from __future__ import annotations

import os
import random
import re
import sys
from typing import Any, Callable, Iterable, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_in_front import Silent
from visitor import (
    DONE,
    FAULT,
    INVALID,
    NOON,
    NOT_MODIFIED,
    SECRET,
    SHOWN,
    Application,
    Boom,
    Clock,
    Visitor,
    guarded,
    led,
)

from flowguard import Flow, FlowGuard, cookie, refusing, steps
from flowguard.body import BODY
from flowguard.codec import HEAD, WIDTH, Codec, apart, write_later
from flowguard.cookie import Attributes, Cookie, Seal, is_odd, name_and_value
from flowguard.core.outcome import Answer as Answered
from flowguard.core.outcome import Destination, Overrule, settle
from flowguard.core.passage import Attempt, Passage, decide
from flowguard.core.precedents import NOW, Precedent, goes_on, is_steady, moved, pattern_of
from flowguard.core.run import Run, numbers_in, with_numbers
from flowguard.exchange import CALLS
from flowguard.ledgers.base import Claim
from flowguard.ledgers.memory import MemoryLedger

DEEP = bool(os.environ.get("FLOWGUARD_DEEP"))
SHOP = {
    "/cart": {"start": True, "to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment", "/cart"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
    "/help": {"within": ["/shipping", "/payment"]},
    "/basket": {"undoes": ["/payment"]},
}
FORM = {
    "/a": {"start": True, "to": ["/b", "/c"], "submit": True, "accept": ["https://pay.*"]},
    "/b": {"to": ["/c"], "back": "edit", "requires": ["/a"]},
    "/c": {"to": ["/a", "/d"], "accept": [200]},
    "/d": {"to": ["/a"], "effects": True},
}


def saying_so(refusal: Any) -> Any:
    def answering(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [f"{refusal.reason} {refusal.target}".encode()]

    return answering


FLOWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a shop": (SHOP, {}),
    "a shop that one may go back in": (SHOP, {"back": "edit", "restart": True}),
    "a shop whose ledger is silent at times": (SHOP, {"ledger": "silent"}),
    "a shop whose runs are their users'": ({**SHOP, "/away": {"undoes": ["/cart"]}}, {"bind": "REMOTE_USER"}),
    "a shop whose runs are their users', who may go back": (
        SHOP, {"bind": "REMOTE_USER", "back": "edit", "restart": True, "secret_key": ["0123456789abcdef", SECRET]}),
    "a form": (FORM, {}),
    "a form that is its user's": (FORM, {"bind": "REMOTE_USER", "ledger": "silent"}),
    "a form that one may look back in": (FORM, {"back": "view", "ordered": True, "on_refusal": "redirect"}),
    "a form that is refused in words of its own": (FORM, {"on_refusal": lambda refusal, environ: saying_so(refusal)}),
    "a form without a ledger": ({key: {**value} for key, value in FORM.items()}, {"ledger": None}),
}


def saying(word: str) -> Callable[..., Iterable[bytes]]:
    """An application that overrules the table on the handle, before it answers."""

    def answering(environ: Any, start_response: Any) -> Iterable[bytes]:
        getattr(environ["flowguard.run"], word)()
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"page"]

    return answering


def late(environ: Any, start_response: Any) -> Iterable[bytes]:
    """One that does so when it has started its answer."""
    start_response("200 OK", [("Content-Type", "text/html")])
    environ["flowguard.run"].success()
    return [b"page"]


def by_and_by(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("204 No Content", [])
    yield b""


def mended(environ: Any, start_response: Any) -> Iterable[bytes]:
    """One that puts another answer in the place of its first."""
    write = start_response("303 See Other", [("Location", "/payment")])
    try:
        raise Boom
    except Boom as error:
        start_response("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "private")], (Boom, error, None))
    assert write is not None
    return [b"page"]


ANSWERS: list[Any] = [
    SHOWN, SHOWN, DONE, DONE, FAULT, INVALID, NOT_MODIFIED, Boom, late, by_and_by, mended, saying("success"),
    saying("failed"), saying("finish"), saying("reset"), SHOWN.saying("Flowguard", "success"),
    SHOWN.saying("Flowguard", "nonsense"), SHOWN.saying("cache-control", "max-age=60"), led("/payment"), led("/done"),
    led("/c"), led("http://shop.example/shipping"), led("https://pay.example/"), led("/elsewhere"), led("//odd"),
    led("/\t/shop.example/payment"),
]  # fmt: skip
MORE: list[dict[str, Any]] = [
    *[{}] * 12, {"HTTP_ACCEPT_LANGUAGE": "de"}, {"HTTP_X_HTTP_METHOD_OVERRIDE": "PUT"},
    {"HTTP_SEC_PURPOSE": "prefetch"}, {"HTTP_SEC_FETCH_MODE": "cors"}, {"HTTP_HOST": "other.example"},
    {"HTTP_SEC_FETCH_MODE": None, "HTTP_ACCEPT": "text/html"}, {"HTTP_SEC_FETCH_MODE": None, "HTTP_ACCEPT": "*/*"},
    {"HTTP_IF_NONE_MATCH": "*"}, {"HTTP_SEC_FETCH_SITE": "cross-site"},
    {"HTTP_HX_REQUEST": "true", "HTTP_SEC_FETCH_MODE": "cors"}, {"SCRIPT_NAME": "/shop"},
]  # fmt: skip


# What the two may differ in.
UNLIKE = dict.fromkeys((
    "HTTP_PURPOSE", "flowguard.run", CALLS, BODY, "wsgi.input", "wsgi.errors", "HTTP_COOKIE"
))  # fmt: skip


class Pair:
    """Two visitors who do the same, before a guard each; what the second one sends has a header that says nothing, and
    takes it off the beaten track."""

    def __init__(self, paths: dict[str, Any], options: dict[str, Any]) -> None:
        self.clock = Clock()
        self.known: list[dict[str, str]] = [{}]
        self.visitors, self.apps, self.guards = [], [], []
        self.ledgers = [Silent(), Silent()] if options.get("ledger") == "silent" else []
        for number in range(2):
            more = {"ledger": self.ledgers[number]} if self.ledgers else {}
            visitor, app = guarded(paths, clock=self.clock, check=False, **{**options, **more})
            self.visitors.append(visitor)
            self.apps.append(app)
            self.guards.append(visitor.app)

    def ask(self, method: str, path: str, answer: Any, more: dict[str, Any]) -> None:
        told = []
        for visitor, app, off in zip(self.visitors, self.apps, ({}, {"HTTP_PURPOSE": "none"})):
            app.answers = {f"{method} {path}": answer}
            environ = visitor.environ(method, path, **{"HTTP_SEC_FETCH_MODE": "navigate", **off, **more})
            told.append(self._told(visitor, environ))
        assert told[0] == told[1]
        assert self.runs(0) == self.runs(1)
        ours, theirs = ([{**seen.environ, **UNLIKE} for seen in app.seen[-1:]] for app in self.apps)
        assert ours == theirs
        assert self.seen(0) == self.seen(1)
        assert self.held(0) == self.held(1)
        asked = [ledger.asked for ledger in self.ledgers]
        assert asked == asked[::-1]

    def seen(self, which: int) -> Any:
        """What the one application could see of the run."""
        runs = [seen.environ.get("flowguard.run") for seen in self.apps[which].seen[-1:]]
        return [(run.flow, run.state, run.current, run.history, run.allowed, run.notice, run.status, repr(run))
                for run in runs if run is not None]  # fmt: skip

    def held(self, which: int) -> Any:
        """What the one ledger holds, but for the runs' ids and the claims' tokens."""
        ledger = self.guards[which].ledger
        rows = [] if ledger is None else ledger.scan(self.clock.now)
        return [(record.text.partition(".")[2], record.version, record.claim and record.claim[1:], expires)
                for _, record, expires in rows]  # fmt: skip

    @staticmethod
    def _told(visitor: Visitor, environ: Any) -> Any:
        try:
            response = visitor.send(environ)
        except Boom:
            return "raised"
        headers = [(name, name == "Set-Cookie" or value) for name, value in response.headers]
        return response.line, headers, response.body, sorted(visitor.jar)

    def runs(self, which: int) -> Any:
        """The runs of the one visitor, as ledger and cookie tell them, but for their ids, which are random."""
        environ = self.visitors[which].environ("GET", "/")
        return [run._replace(id="") for gate in self.guards[which].gates for run in gate.runs(environ)]


@pytest.mark.parametrize("name", FLOWS)
def test_with_lanes_and_without_them_a_guard_answers_alike(name: str):
    paths, options = FLOWS[name]
    for seed in range(400 if DEEP else 15):
        chance, pair = random.Random(seed), Pair(paths, options)
        old: list[list[dict[str, str]]] = []
        user: Optional[str] = "ann"
        for _ in range(40):
            method = chance.choice(["GET"] * 6 + ["POST"] * 5 + ["HEAD", "PUT"])
            user = user if chance.random() < 0.9 else chance.choice(["ann", "bob", None])
            more = {**chance.choice(MORE), "REMOTE_USER": user}
            pair.ask(method, chance.choice(list(paths)), chance.choice(ANSWERS), more)
            for ledger in pair.ledgers:
                ledger.off = len(old) % 5 == 4
            if chance.random() < 0.03 and "ledger" not in options:  # as after a restart
                for guard in pair.guards:
                    guard.ledger.__init__()
            pair.clock.now += chance.choice([0, 0.5, 20, 20, 20, 7000])
            old.append([dict(visitor.jar) for visitor in pair.visitors])
            if chance.random() < 0.1:  # an older cookie, the same one of both
                jars = chance.choice(old)
                for visitor, jar in zip(pair.visitors, jars):
                    visitor.jar = dict(jar)
            if chance.random() < 0.05:
                for visitor in pair.visitors:
                    visitor.jar = {key: f"{value[:-4]}AAAA" for key, value in visitor.jar.items()}


@pytest.mark.parametrize("location", ["http://shop.example/payment", "//shop.example/payment", "/shop/payment"])
def test_a_location_is_read_against_each_request_whatever_was_read_before(location: str):
    pair = Pair(SHOP, {})
    for more in [{}, {"HTTP_HOST": "other.example"}, {"SCRIPT_NAME": "/shop"}, {}] * 2:
        for visitor in pair.visitors:
            visitor.jar.clear()
        pair.ask("GET", "/cart", SHOWN, {})
        pair.ask("GET", "/shipping", SHOWN, {})
        pair.ask("POST", "/shipping", led(location), more)


@pytest.mark.parametrize(
    "limits", [[(steps, "MAX_STEPS")], [(steps, "MAX_REPLIES"), (refusing, "MAX_USUAL")]], ids=["ways", "answers"]
)
def test_what_is_remembered_is_bounded_and_may_be_forgotten_at_any_time(limits: Any, monkeypatch: pytest.MonkeyPatch):
    for module, limit in limits:
        monkeypatch.setattr(module, limit, 2)
    pair = Pair(SHOP, {})
    for number in range(6):
        for visitor in pair.visitors:
            visitor.jar.clear()
        pair.ask("GET", "/cart", SHOWN, {})
        pair.ask("POST", "/cart", led(f"/elsewhere/{number}"), {})
        pair.ask("GET", "/shipping", SHOWN, {})
        pair.ask("GET", "/payment", SHOWN, {"HTTP_ACCEPT_LANGUAGE": f"de;q=0.{number}"})
        pair.ask("POST", "/shipping", led("/payment"), {})
    (gate,) = pair.guards[0].gates
    track = next(serve.__self__._track for route in pair.guards[0]._routes for serve in route.lanes.values())
    assert track.gate is gate
    if (steps, "MAX_STEPS") in limits:
        assert len(list(track.steps)) <= 2
    else:
        known = [(len(step.replies), len(step.responses)) for step in track.steps]
        assert (max(replies for replies, _ in known), max(answers for _, answers in known)) == (2, 2)


def test_who_has_come_another_long_way_with_the_same_end_is_told_apart():
    chain = [f"/s{number}" for number in range(2 * steps.LONG // WIDTH)]
    flow: dict[str, Any] = {start: {"start": True, "to": chain[:1]} for start in ("/a", "/b")}
    flow.update({path: {"to": [after]} for path, after in zip(chain, [*chain[1:], "/end"])})
    flow["/end"] = {"requires": ["/a"]}
    guard = FlowGuard(Application(), flow, secret_key=SECRET)
    visitors = {start: Visitor(guard) for start in ("/a", "/b")}
    for start, visitor in visitors.items():
        for path in (start, *chain):
            assert visitor.get(path).status == 200
    for _ in range(3):
        assert [visitors[start].twin().get("/end").status for start in ("/a", "/b")] == [200, 303]
        assert [visitors[start].twin().get(chain[-1]).status for start in ("/a", "/b")] == [200, 200]


class Counting(MemoryLedger):
    """A ledger that tells which verbs were asked, and whether a write was done."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def read(self, key: str, **more: Any) -> Any:
        self.asked.append("read")
        return super().read(key, **more)

    def claim(self, key: str, claim: Claim, **more: Any) -> Any:
        self.asked.append("claim")
        return super().claim(key, claim, **more)

    def write(self, key: str, text: str, **more: Any) -> Any:
        done = super().write(key, text, **more)
        self.asked.append("write" if done else "write in vain")
        return done


def test_what_is_new_of_a_run_is_written_at_once_and_nothing_else_is():
    ledger = Counting()
    first, app = guarded(SHOP, ledger=ledger)
    app.answers.update({"POST /shipping": led("/payment"), "POST /payment": led("/done")})
    for visitor in (first, Visitor(first.app, check=False)):  # the first teaches what comes of it
        told = []
        for step in ("GET /cart", "GET /shipping", "GET /shipping", "POST /shipping", "GET /payment", "GET /payment",
                     "POST /payment", "GET /done"):  # fmt: skip
            ledger.asked.clear()
            visitor.send(visitor.environ(*step.split(), HTTP_SEC_FETCH_MODE="navigate"))
            told.append((step, list(ledger.asked)))
    assert told == [
        ("GET /cart", ["read"]), ("GET /shipping", ["read", "read"]), ("GET /shipping", ["read"]),
        ("POST /shipping", ["claim", "write"]), ("GET /payment", ["read", "write"]), ("GET /payment", ["read"]),
        ("POST /payment", ["claim", "write"]), ("GET /done", ["read", "write"]),
    ]  # fmt: skip


def test_of_the_steps_that_a_flow_remembers_each_is_found_and_no_more_than_so_many_are_there(monkeypatch: Any):
    monkeypatch.setattr(steps, "MAX_STEPS", 3)
    flow = Flow(SHOP, name="flow").definition
    guard = FlowGuard(Application(), SHOP, secret_key=SECRET)
    track = next(serve.__self__._track for route in guard._routes for serve in route.lanes.values())
    shelves = steps.Shelves()
    shelf, other = shelves.new(), shelves.new()

    def put(shelf: steps.Shelf, way: str) -> steps.Step:
        attempt = Attempt("/cart", False, None)
        step = steps.Step(track.kit, track.codec, "/cart", way, Precedent(flow, None, attempt))
        shelves.put(shelf, step)
        return step

    first, second = put(shelf, f"a{'.' * steps.LONG}"), put(other, f"b{'.' * steps.LONG}")
    third = put(shelf, f"c{'.' * steps.LONG}")
    assert list(shelves) == [first, third, second]
    for _ in range(2):
        assert [shelf.find(step.way) for step in (first, second, third)] == [first, None, third]
    for way in ("d", "e", "f"):
        assert [step.way for step in shelves][-1:] != [way]
        put(other, way)
    assert [step.way for step in shelves] == ["d", "e", "f"]
    assert shelf.find(first.way) is None
    put(shelf, "g")
    assert [step.way for step in shelves] == ["g"]


def test_a_run_that_fits_no_cookie_any_more_forgets_its_oldest_states(monkeypatch: pytest.MonkeyPatch):
    pair = Pair(SHOP, {})
    for step in ("GET /cart", "GET /shipping", "POST /shipping"):
        pair.ask(*step.split(), led("/payment") if step == "POST /shipping" else SHOWN, {})
    (token,) = pair.visitors[0].jar.values()
    monkeypatch.setattr(cookie, "MAX_COOKIE", len(f"flowguard-flow={token}; HttpOnly; Path=/; SameSite=Lax"))
    pair.ask("GET", "/payment", SHOWN, {})
    gate = pair.guards[0].gates[0]
    found = gate.jars[0].cookie.read(f"flowguard-flow={pair.visitors[0].jar['flowguard-flow']}")
    assert found.run is not None
    assert found.run.trail == ("/shipping", "/payment")


WALK = [
    ("GET /cart", SHOWN), ("GET /shipping", SHOWN), ("POST /shipping", led("/payment")), ("GET /payment", SHOWN),
    ("GET /help", SHOWN), ("POST /payment", SHOWN), ("POST /payment", saying("failed")),
    ("POST /payment", led("/done")), ("POST /payment", led("/done")), ("GET /done", SHOWN), ("GET /done", late),
]  # fmt: skip


def test_what_is_logged_of_a_decision_is_the_same(caplog: pytest.LogCaptureFixture):
    pair = Pair(SHOP, {})
    for _ in range(2):
        for step, answer in WALK:
            caplog.clear()
            with caplog.at_level("DEBUG", "flowguard.decision"):
                pair.ask(*step.split(), answer, {})
            said = [re.sub(r"run \w+", "run", record.getMessage()) for record in caplog.records]
            assert said
            assert said[: len(said) // 2] == said[len(said) // 2 :]
        for visitor in pair.visitors:
            visitor.jar.clear()


TOLD = {("entered", path) for path in ("/cart", "/shipping", "/payment", "/done")} | {("finished", "/done")}


def test_hooks_are_told_the_same():
    told: list[Any] = []
    every: list[Any] = []

    def hook(event: Any) -> None:
        seen = event.environ["PATH_INFO"], event.environ["flowguard.run"].current
        told.append((event.kind, event.state, event.current, *seen))

    pair = Pair(SHOP, {"entered": hook, "finished": hook})
    for _ in range(2):
        for step, answer in WALK:
            told.clear()
            pair.ask(*step.split(), answer, {})
            every += told
            assert told[: len(told) // 2] == told[len(told) // 2 :]
        for visitor in pair.visitors:
            visitor.jar.clear()
    assert {seen[:2] for seen in every} == TOLD


@pytest.mark.parametrize("place", [3, 4, 5])
def test_a_run_whose_times_are_written_otherwise_is_none_of_ours(place: int):
    visitor, _ = guarded(SHOP)
    for _ in range(2):
        visitor.get("/cart")
        visitor.get("/shipping")
    text = visitor.jar["flowguard-flow"][4:].rpartition(".")[0]
    fields = apart(text)
    fields[place] = "soon"
    visitor.jar["flowguard-flow"] = Seal([SECRET], "flow").sign(".".join(fields))
    assert visitor.get("/shipping", HTTP_SEC_FETCH_MODE="navigate").verdict == (303, "bad_cookie")


@pytest.mark.parametrize("text", ["forged", "", "a.b", "a.1.0.1.1.1", "a.1.0.1.1.1.5"])
def test_what_is_signed_and_no_run_is_none_of_ours(text: str):
    visitor, _ = guarded(SHOP)
    for _ in range(2):
        visitor.jar["flowguard-flow"] = Seal([SECRET], "flow").sign(text)
        assert visitor.get("/shipping", HTTP_SEC_FETCH_MODE="navigate").verdict == (303, "bad_cookie")


def test_headers_that_can_be_read_once_reach_the_browser():
    def answering(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("303 See Other", iter([("Location", "/shipping"), ("Content-Type", "text/html")]))
        return [b""]

    visitor, app = guarded(SHOP, check=False)
    visitor.get("/cart")
    app.answers["POST /cart"] = answering
    assert visitor.post("/cart").location == "/shipping"


def test_a_guard_that_answers_for_itself_while_its_ledger_is_silent_is_no_circle():
    ledger, guards = Silent(), []
    visitor, app = guarded(SHOP, ledger=ledger, check=False, on_refusal=lambda refusal, environ: guards[0])
    guards.append(visitor.app)
    visitor.get("/cart")
    visitor.get("/shipping")
    ledger.off = True
    assert visitor.post("/shipping").status == 200
    assert app.calls == ["GET /cart", "GET /shipping", "POST /shipping"]


@pytest.mark.parametrize("options", [{}, {"bind": "REMOTE_USER"}], ids=["anybody", "a user"])
@pytest.mark.parametrize("other", ["POST /shipping", "POST /cart"])
def test_who_looks_while_another_tab_submits_is_judged_again(other: str, options: dict[str, Any]):
    pair, more = Pair(SHOP, options), {"REMOTE_USER": "ann", "HTTP_SEC_FETCH_MODE": "navigate"}

    def meanwhile() -> Callable[..., Iterable[bytes]]:
        left = list(pair.visitors)

        def answering(environ: Any, start_response: Any) -> Iterable[bytes]:
            visitor = left.pop(0)
            tab = Visitor(visitor.app, jar=visitor.jar, check=False)
            tab.send(tab.environ(*other.split(), **more))
            start_response("200 OK", [("Content-Type", "text/html")])
            return [b"page"]

        return answering

    for _ in range(2):
        for step in ("GET /cart", "GET /shipping", "POST /shipping"):
            pair.ask(*step.split(), led("/payment") if "POST" in step else SHOWN, more)
        for guard in pair.guards:
            guard.ledger.__init__()  # it knows nothing of the run
        pair.ask("GET", "/payment", meanwhile(), more)
        pair.ask("GET", "/payment", SHOWN, more)
        for visitor in pair.visitors:
            visitor.jar.clear()


def test_an_application_whose_visitor_was_overtaken_meets_no_exception_of_ours():
    met = []

    def failing(environ: Any, start_response: Any) -> Iterable[bytes]:
        met.append(sys.exc_info())
        raise Boom

    visitor, app = guarded(SHOP, check=False)
    visitor.get("/cart")
    older = visitor.twin()
    app.answers = {"POST /cart": DONE, "POST /shipping": failing}
    visitor.post("/cart")
    with pytest.raises(Boom) as raised:
        older.post("/shipping")
    assert met == [(None, None, None)]
    assert raised.value.__context__ is None


def test_nor_does_who_words_the_refusal_while_the_ledger_is_silent():
    met = []

    def answering(environ: Any, start_response: Any) -> Iterable[bytes]:
        met.append(sys.exc_info())
        start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"later"]

    ledger = Silent()
    visitor, _ = guarded(SHOP, ledger=ledger, check=False, on_refusal=lambda refusal, environ: answering)
    visitor.get("/cart")
    visitor.get("/shipping")
    ledger.off = True
    assert visitor.post("/shipping").verdict == (503, "unavailable")
    assert met == [(None, None, None)]


def test_a_worker_that_meets_its_first_visitor_on_the_beaten_track_warns_of_the_others(caplog: Any):
    first, _ = guarded(SHOP)
    first.get("/cart")
    second, _ = guarded(SHOP)
    second.jar = first.jar
    second.post("/cart", **{"wsgi.multiprocess": True})
    assert [record.name for record in caplog.records if "one process" in record.getMessage()] == ["flowguard.config"]


def test_a_change_that_a_304_makes_is_told_by_the_answer_after_it():
    pair = Pair(SHOP, {"ledger": "memory://"})
    for step in ("GET /cart", "GET /shipping"):
        pair.ask(*step.split(), SHOWN, {})  # type: ignore[arg-type]
    pair.ask("POST", "/shipping", DONE, {})
    pair.ask("GET", "/payment", SHOWN, {})
    before = dict(pair.visitors[0].jar)
    pair.ask("POST", "/payment", NOT_MODIFIED, {})
    assert pair.visitors[0].jar == before
    pair.ask("GET", "/payment", SHOWN, {})
    assert pair.visitors[0].jar != before


def test_an_answer_that_takes_the_place_of_another_is_read_as_if_it_were_the_first():
    def changing_its_mind(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])  # another run
        try:
            raise Boom
        except Boom as error:
            start_response("303 See Other", [("Location", "/payment")], (Boom, error, None))  # the same, gone back
        return [b""]

    pair = Pair(SHOP, {})
    for step, answer in [("GET /cart", SHOWN), ("GET /shipping", SHOWN), ("POST /shipping", led("/payment")),
                         ("GET /payment", SHOWN), ("POST /payment", led("/done")), ("GET /done", SHOWN)]:  # fmt: skip
        pair.ask(*step.split(), answer, {})  # type: ignore[arg-type]
        pair.clock.now += 10
    before = pair.runs(0)
    pair.ask("GET", "/cart", changing_its_mind, {})
    (after,) = pair.runs(0)
    assert (after.trail, after.started) == (("/cart", "/shipping", "/payment"), before[0].started)


@pytest.mark.parametrize("glob", ["accept", "reject"])
def test_what_one_visitor_writes_as_host_says_nothing_of_anothers_answer(glob: str):
    payment = {"to": ["/done"], "once": True, glob: ["http://login.example/*"]}
    pair, mounted = Pair({**SHOP, "/payment": payment}, {}), {"SCRIPT_NAME": "/shop"}
    for host in ("login.example", "shop.example") * 2:
        for visitor in pair.visitors:
            visitor.jar.clear()
        for step, answer in [("GET /cart", SHOWN), ("GET /shipping", SHOWN), ("POST /shipping", led("/shop/payment")),
                             ("GET /payment", SHOWN), ("POST /payment", led("/thanks"))]:  # fmt: skip
            pair.ask(*step.split(), answer, {**mounted, "HTTP_HOST": host})  # type: ignore[arg-type]
        (run,) = pair.runs(0)
        assert ("/payment" in run.done, "/payment" in run.spent) == {
            ("accept", "login.example"): (True, True), ("reject", "login.example"): (False, False),
        }.get((glob, host), (False, True))  # fmt: skip


def test_a_run_from_too_far_ahead_is_none_on_the_beaten_track_either():
    pair = Pair({**SHOP, "/payment": {"to": ["/done"], "submit": True}}, {"ledger": None})
    noon = pair.clock.now
    pair.clock.now += 60
    pair.ask("GET", "/cart", SHOWN, {})

    def stepping(environ: Any, start_response: Any) -> Iterable[bytes]:
        pair.clock.now = noon - 10
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"page"]

    for visitor, app in zip(pair.visitors, pair.apps):
        pair.clock.now = noon
        app.answers = {"GET /shipping": stepping}
        visitor.get("/shipping")
    pair.clock.now = noon - 5
    pair.ask("GET", "/shipping", SHOWN, {})


@pytest.mark.parametrize("host", ["", "__Host-"], ids=["any name", "a protected name"])
@pytest.mark.parametrize("header", [
    "{0}=T", "a=b; {0}=T", "a=b; {0}=T; c=d", "{0}=T; {0}=U", "a=b;{0}=T", "a=b, {0}=T", "x{0}=T", "a=b; x{0}=T",
    "{0}=T, a=b", "{0}=T a=b", "{0}=T\ta=b", "{0}=T,", "{0}=", "{0}", "", "a={0}=T", "; {0}=T", " {0}=T", "a; {0}=T;",
    "{0}-note=x; {0}=T", "{0}-other=T",
])  # fmt: skip
def test_a_token_that_is_read_in_passing_is_the_one_that_is_read_with_care(host: str, header: str):
    definition = Flow(SHOP).definition
    cookie = Cookie("name", Codec(definition), Seal([SECRET], "flow"), Attributes(), bool(host))
    text = header.format(f"{host}name")
    token = cookie.only(text, f"{cookie.name}-note")
    tokens = [found for _, found in name_and_value(re.escape(cookie.name)).findall(text)]
    assert token is None or [token] == tokens or is_odd(token)
    assert token == "T" or header not in ("{0}=T", "a=b; {0}=T", "a=b; {0}=T; c=d")


@pytest.mark.parametrize(("header", "expected"), [
    ("name=T; c=d; e=f", "T"), ("a=b; name=T; c=d; e=f", "T"), ("name=Tname=T; c=d", "Tname=T"),
])  # fmt: skip
def test_a_token_ends_where_the_next_cookie_begins(header: str, expected: str):
    cookie = Cookie("name", Codec(Flow(SHOP).definition), Seal([SECRET], "flow"), Attributes(), False)
    assert cookie.only(header, "name-note") == expected


@pytest.mark.parametrize("behind", [", other=1", ",", " other=1", "\t"])
def test_a_cookie_that_a_server_has_joined_to_another_is_read_as_the_gate_reads_it(behind: str):
    pair = Pair(SHOP, {})
    pair.ask("GET", "/cart", SHOWN, {})
    for visitor in pair.visitors:
        visitor.jar = {name: value + behind for name, value in visitor.jar.items()}
    pair.ask("GET", "/shipping", SHOWN, {})
    assert [app.calls for app in pair.apps] == [["GET /cart", "GET /shipping"]] * 2


@pytest.mark.parametrize("seconds", [-90, -30, -1, 0, 14_399, 14_401, 14_459, 14_461, 20_000])
def test_a_run_is_as_old_on_the_beaten_track_as_beside_it(seconds: int):
    for idle in (None, 14_000):
        pair = Pair(SHOP, {"idle": idle})
        pair.ask("GET", "/cart", SHOWN, {})
        pair.clock.now += seconds
        pair.ask("GET", "/shipping", SHOWN, {})
        pair.clock.now += 30 - seconds
        pair.ask("GET", "/cart", SHOWN, {})


# --- the rules of it -------------------------------------------------------------------------------------------------

TO = [None, "/cart", "/shipping", "/payment", "/done", "nowhere"]


def destination(to: Any) -> Any:
    return None if to is None else Destination(None, "/x", "/x") if to == "nowhere" else Destination(to, to, to)


def test_who_have_come_the_same_way_are_the_same_to_the_rules():
    way = (("/cart", "/shipping"), (("/cart", "/shipping"),), frozenset({"/cart"}), frozenset(), (("id", "7"),))
    mine = Run("mine", 3, 1, *way, 1, 2, 3, True, "ann")
    yours = Run("yours", 5, 4, *way, 6, 7, 8, True, "bob")
    assert pattern_of(mine) == pattern_of(yours) == Run("", 0, 0, *way, -1, -1, -1, True, "")


@settings(deadline=None)
@given(st.lists(st.tuples(
    st.sampled_from(list(SHOP)), st.booleans(), st.sampled_from([200, 204, 303, 404, 500]),
    st.sampled_from(TO), st.sampled_from([None, *Overrule]),
), max_size=12), st.sampled_from(["refuse", "view", "edit"]))  # fmt: skip
def test_what_is_done_to_a_pattern_is_done_to_every_run_that_is_like_it(steps: Any, back: str):
    flow = Flow(SHOP, back=back).definition
    codec = Codec(flow)
    run, now = Flow(SHOP).begin("somebody"), int(NOON * 1000)
    for name, submission, status, to, overrule in steps:
        now += 5_000
        attempt = Attempt(name, submission, now)
        verdict = decide(flow, run, attempt)
        answer = Answered(status, True, destination(to) if status == 303 else None, overrule)
        precedent = Precedent(flow, pattern_of(run) if run.trail else None, attempt._replace(now=None))
        assert precedent.verdict == verdict
        if isinstance(verdict, Passage):
            expected = settle(flow, run, verdict, answer, now)
            if run.trail:
                run_then, outcome = precedent.settled(answer)
                if run_then is not precedent.run and goes_on(run_then):
                    head, began = apart(codec.encode(run)), run.started
                    later = write_later(head, run_then.seq, began, now, run_then.entered == NOW)
                    assert apart(codec.encode(expected.run))[:HEAD] == apart(later)[:HEAD]
                done = run if run_then is precedent.run else with_numbers(
                    run_then, run.id, moved(numbers_in(run), run_then, now))  # fmt: skip
                assert (done, outcome) == expected
            run = expected.run


@pytest.mark.parametrize(("paths", "options"), [
    ({"/a": {"to": ["/b"], "min_seconds": 1}, "/b": {}}, {}),
    ({"/a": {"to": ["/b"]}, "/b": {"when": lambda context: True}}, {}),
    ({"/<x>/a": {"to": ["/<x>/b"]}, "/<x>/b": {}}, {"instance": "x"}),
    ({"/<x>/a": {"to": ["/<x>/b"]}, "/<x>/b": {}}, {"vary": ["x"]}),
], ids=["times", "a condition", "instances", "variables that vary"])  # fmt: skip
def test_a_flow_in_which_times_or_values_count_has_no_lanes(paths: Any, options: Any):
    assert not is_steady(Flow(paths, **options).definition)
    assert is_steady(Flow({"/a": {"to": ["/b"]}, "/b": {}}).definition)
