"""Forks and replays on random flows: the application sees nothing that the newest run would not allow (CONTRACT 7).

Several clients share one visitor's cookies, old and new, before one guard; some submit in two threads at once. The
model (model.py) holds one run: the newest that the ledger has of an id or, as long as it has none, the one that the
cookie tells; it belongs to whoever either of the two names.
"""

from __future__ import annotations

import copy
import os
import random
import sys
import threading
from itertools import permutations
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model import Model, Run
from test_differential import COOKIE, HOST, Case, Got, Maker, Step, Visitor, with_conditions

from flowguard import ConfigError
from flowguard.ledgers.memory import MemoryLedger
from flowguard.ledgers.sqlite import SqliteLedger
from flowguard.records import read as read_record

EXAMPLES = 1_500 if os.environ.get("FLOWGUARD_DEEP") else 60
ORDERS = "123456"
COUNTS = ("success", "unknown")  # what spends a `once` state

pytestmark = pytest.mark.slow


class Browser(Visitor):
    """Several may stand before one guard, and ask at the same time: the application answers whoever asks."""

    other: Optional[threading.Event] = None  # the application answers when this one has come up against us, or is gone

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        asking = environ["test.browser"]
        if asking.other is not None:
            assert asking.other.wait(10)
        return super(Browser, asking).app(environ, start_response)

    def environ(self, method: str, path: str, style: str) -> dict[str, Any]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        return {**super().environ(method, path, style), "HTTP_COOKIE": cookies, "test.browser": self}

    def twin(self, cookie: str, user: Optional[str], other: Optional[threading.Event]) -> Browser:
        twin = copy.copy(self)
        twin.jar, twin.user, twin.other = {COOKIE: cookie}, user, other
        return twin


class Watched:
    """A ledger that tells when a submission finds another one under way."""

    def __init__(self, kept: Any) -> None:
        self.read, self.write, self.release, self._claim = kept.read, kept.write, kept.release, kept.claim
        self.met = threading.Event()

    def claim(self, key: str, claim: Any, **named: Any) -> Any:
        record = self._claim(key, claim, **named)
        if record.claim is not None and record.claim.token != claim.token:
            self.met.set()
        return record


class World:
    """One guard and its ledger; and the model beside it. A client is nothing but the cookie that it sends."""

    def __init__(self, case: Case, ledger: Any) -> None:
        self.ledger = Watched(ledger)
        self.browser = Browser(case._replace(options={**case.options, "ledger": self.ledger, "ledger_wait": 10}))
        paths = with_conditions(case.paths, self.browser.truths)
        self.model = Model(paths, mount=case.mount, host=HOST, **case.options)
        self.told: dict[str, Optional[Run]] = {"": None}  # the run that each cookie tells
        self.kept: dict[str, Optional[Run]] = {}  # the newest run of each id that the ledger has
        self.submissions = 0  # that reached the application

    def newest(self, cookie: str) -> Optional[Run]:
        key, told = key_of(cookie), self.told[cookie]
        record = self.ledger.read(key, now=self.browser.now)
        if record is None:
            self.kept.pop(key, None)  # it has been forgotten
        if key not in self.kept:
            return told
        kept = self.kept[key]
        if kept is None or told is None or kept.user is not None or first_of(record.text) != first_of(cookie[4:]):
            return kept
        newest = copy.copy(kept)
        newest.user = told.user  # it may have become somebody's by a request that the ledger did not hear of
        return newest

    def take(self, cookie: str, step: Step) -> str:
        """One request with *cookie*; the cookie that its client has from then on."""
        self.browser.now += step.wait
        for name in step.flips:
            self.browser.truths[name] = not self.browser.truths[name]
        self.browser.user = step.user
        run = self.newest(cookie)
        expected = self.model.request(run, step.method, step.path, self.browser.now, step.answer, step.user)
        got, after = self.ask(cookie, step)
        assert got.calls == expected.called, f"{step}: the newest run, {run and run.facts()}, says {expected.reason}"
        if expected.called:
            self.count(run, step, expected.run)
        if after != cookie:
            self.told[after] = expected.run
        key = key_of(after)
        changes = key not in self.kept or expected.run is not run  # what changes nothing is not written
        if after and changes and self.ledger.read(key, now=self.browser.now) is not None:
            self.kept[key] = expected.run
        return after

    def ask(self, cookie: str, step: Step) -> tuple[Got, str]:
        """The answer, and the cookie afterwards."""
        self.browser.jar = {COOKIE: cookie} if cookie else {}
        return self.browser.ask(step.method, step.path, step.style, step.answer), self.browser.jar.get(COOKIE, "")

    def take_at_once(self, cookie: str, steps: list[Step], patient: bool) -> None:
        """Submissions with one cookie, each in a thread: they end as if one had come after the other, in some order.
        patient: the application answers the first only when the second is there."""
        self.ledger.met.clear()
        other = self.ledger.met if patient else None
        got = at_once([(self.browser.twin(cookie, step.user, other), step) for step in steps], self.ledger.met.set)
        passed, before, found = [bool(answer.calls) for answer in got], self.kept[key_of(cookie)], self.held(cookie)
        orders = [self.one_by_one(before, steps, order) for order in permutations(range(len(steps)))]
        same = [runs for runs, called in orders if called == passed and told_alike(runs[-1], found)]
        assert same, f"{before and before.facts()}, {steps}: {passed} and {found}, not one of {orders}"
        self.kept[key_of(cookie)] = same[0][-1]
        self.submissions += sum(passed)

    def one_by_one(self, run: Optional[Run], steps: list[Step], order: Iterable[int]) -> tuple[Any, list[bool]]:
        """What the model says of *steps* in this order: the run before each and after the last, and which pass."""
        runs, called = [run], [False] * len(steps)
        for place in order:
            step, now = steps[place], self.browser.now
            reply = self.model.request(runs[-1], step.method, step.path, now, step.answer, step.user)
            runs.append(reply.run)
            called[place] = reply.called
        return runs, called

    def held(self, cookie: str) -> Any:
        """The run that the ledger holds, as the guard reads it."""
        record = self.ledger.read(key_of(cookie), now=self.browser.now)
        return self.browser.guard.gates[0]._kit.keeper._codec.decode(read_record(record.text).run)

    def count(self, run: Optional[Run], step: Step, after: Optional[Run]) -> None:
        """What the application was asked to do, whatever the model says is spent."""
        method, name = step.method.upper(), self.model.resolve(step.method.upper(), step.path)
        if name not in self.model.states or self.model.safe(method, name):
            return
        self.submissions += 1
        if run is None or after is None or not self.model.once(name):
            return
        assert name not in vars(run).get("ran", ()), f"{step}: done before in this run, perhaps: {run.facts()}"
        if self.model.read_answer(run, name, False, step.path, step.answer, by_get=method == "GET")[0] in COUNTS:
            vars(after)["ran"] = {name, *vars(after).get("ran", ())}  # the model copies it with the run


def first_of(text: str) -> int:
    """The number at which a run began, in the guard's own words: after a reset, the same id tells of another run."""
    seq, since = text.split(".")[1:3]
    return int(seq, 16) - int(since, 16)


class Orders(World):
    """The same where each order has a run of its own (`instance`): a client has a cookie of each, at most four."""

    order = "1"  # that is asked for
    jar: dict[str, str]  # of the client whose turn it is: the cookies by their orders

    def newest(self, cookie: str) -> Optional[Run]:
        run = super().newest(cookie)
        return run if run is None or run.values["order"] == self.order else None  # under another's name it is nothing

    def ask(self, cookie: str, step: Step) -> tuple[Got, str]:
        before, names = self.jar, {self.browser.guard.gates[0].jars[0].cookie._name(order): order for order in ORDERS}
        self.browser.jar = {name: before[order] for name, order in names.items() if order in before}
        got = self.browser.ask(step.method, step.path, step.style, step.answer)
        self.jar = {names[name]: value for name, value in self.browser.jar.items() if name in names}
        assert len(self.jar) <= 4
        others = {order: value for order, value in before.items() if order != self.order}
        kept = {order: value for order, value in self.jar.items() if order != self.order}
        assert kept.items() <= others.items()
        for gone in others.keys() - kept.keys():  # "the one unused longest goes"
            assert all(self.changed(others[gone]) <= self.changed(value) for value in kept.values())
        return got, self.jar.get(self.order, "")

    def changed(self, cookie: str) -> float:
        """When the run was changed that a cookie tells."""
        run = self.browser.guard.gates[0].jars[0].cookie._newest([cookie]).run
        return run.changed


def key_of(cookie: str) -> str:
    """Of the ledger's."""
    return f"flow:{cookie.split('.')[1]}" if cookie else ""


def at_once(asked: list[tuple[Browser, Step]], gone: Callable[[], object]) -> list[Got]:
    """The answers to requests that are sent at the same time. gone: is called when one has been answered."""
    barrier, answers = threading.Barrier(len(asked)), {}

    def ask(browser: Browser, step: Step) -> None:
        barrier.wait(10)
        try:
            answers[browser] = browser.ask(step.method, step.path, step.style, step.answer)
        finally:
            gone()

    threads = [threading.Thread(target=ask, args=one) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return [answers[browser] for browser, _ in asked]


def told_alike(run: Optional[Run], found: Any) -> bool:
    """Do the model's run and the guard's say the same?"""
    if run is None:
        return not found.trail
    told = list(found.trail), list(found.history), set(found.done), set(found.spent), dict(found.values), found.user
    return told[:5] == run.facts()[:5] and bool(found.user) == (run.user is not None)


# --- random flows and visitors ---------------------------------------------------------------------------------------


class SomeMaker(Maker):
    """Every third flow is steady: most requests for it go over the beaten track."""

    def case(self) -> Case:
        case = super().case()
        return on_the_beaten_track(case) if self.chance(1 / 3) else case


def on_the_beaten_track(case: Case) -> Case:
    """The same without what keeps it off: conditions, times, variables, and whose run it is."""
    paths = {
        key.replace("/<lang>", ""): value if isinstance(value, str) else {
            word: list(item) if word == "to" else item
            for word, item in value.items() if word not in ("when", "min_seconds", "max_seconds")
        }
        for key, value in case.paths.items()
    }  # fmt: skip
    options = {key: value for key, value in case.options.items() if key not in ("bind", "vary")}
    return case._replace(paths=paths, options=options)


class OrdersMaker(Maker):
    """Flows whose paths all begin with an order."""

    order = "1"

    def case(self) -> Case:
        case = super().case()
        paths = {
            key.replace("/", "/<order>/", 1): value if isinstance(value, str) else {"state": key, **value}
            for key, value in case.paths.items()
        }
        options = {**case.options, "instance": "order"}
        options.pop("reset", None)  # it forgets all of them
        return case._replace(paths=paths, options=options)

    def in_a_language(self, path: str) -> str:
        order = self.order if self.chance(0.95) else self.rng.choice(ORDERS)
        return super().in_a_language(path).replace("<order>", order)


def on_random_flows(
    ledger: Any, visit: Callable[[Any, Any, Case], None], worlds: type[World] = World, makers: type[Maker] = SomeMaker
) -> int:
    """Let *visit* loose on many flows; how many submissions reached the application."""
    reached: list[int] = []

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def explore(seed: int) -> None:
        maker = makers(random.Random(seed))
        case = maker.case()
        try:
            world = worlds(case, ledger)
        except ConfigError:
            return  # nobody could load such a flow
        visit(world, maker, case)
        reached.append(world.submissions)

    explore()
    return sum(reached)


def next_step(world: World, maker: Maker, case: Case, cookie: str) -> Step:
    """A step that is near to what *cookie* is worth."""
    run, now = world.newest(cookie), world.browser.now
    user = maker.rng.choice([None, "ann", "ann", "bob"]) if "bind" in case.options and maker.chance(0.3) else None
    gone = run is not None and (world.model.is_over(run, now) or world.model.foreign(run, user))
    return maker.step(case, world.model, None if gone else run)._replace(user=user)


def fork(world: World, maker: Maker, case: Case) -> None:
    """Two clients with one cookie, who take different ways."""
    cookie = ""
    for _ in range(maker.rng.randint(1, 10)):
        cookie = world.take(cookie, next_step(world, maker, case, cookie))
    clients = [cookie, cookie]
    for _ in range(24):
        mine = maker.rng.randrange(2)
        clients[mine] = world.take(clients[mine], next_step(world, maker, case, clients[mine]))


def replay(world: World, maker: Maker, case: Case) -> None:
    """A visitor who sends every cookie of the run to every path, as a page visit and as a form."""
    cookie, cookies = "", []
    for _ in range(maker.rng.randint(4, 14)):
        cookie = world.take(cookie, next_step(world, maker, case, cookie))
        cookies.append(cookie)
    for old in dict.fromkeys(cookies):
        for path in dict.fromkeys(maker.in_a_language(key.path) for key in world.model.keys):
            for method in ("GET", "POST"):
                world.take(old, Step(0, (), method, path, "page", maker.answer(case, world.model, path)))


def click_at_once(world: World, maker: Maker, case: Case) -> None:
    """A visitor who now and then submits in two tabs at the same time: the same twice, or this and that."""
    cookie = ""
    for _ in range(maker.rng.randint(12, 24)):
        cookie = world.take(cookie, next_step(world, maker, case, cookie))
        run, now = world.newest(cookie), world.browser.now
        if run is None or world.model.is_over(run, now) or key_of(cookie) not in world.kept:
            continue
        if now - run.since > world.model.max_seconds(run.current):
            continue  # what is refused as `expired` ends the run without a claim: both may be
        steps = [maker.step(case, world.model, run) for _ in range(2)]
        if maker.chance(0.5):
            steps[1] = steps[1]._replace(path=steps[0].path)
        steps = [step._replace(method="POST", wait=0, flips=(), user=run.user) for step in steps]
        names = [world.model.resolve("POST", step.path) for step in steps]
        if all(name in world.model.states and not world.model.repeat(name) for name in names):
            world.take_at_once(cookie, steps, patient=maker.chance(0.5))


def several_orders(world: Orders, maker: OrdersMaker, case: Case) -> None:
    """Two clients with several orders, who copy each other's cookies, and give one the name of another."""
    jars: list[dict[str, str]] = [{}, {}]
    for _ in range(40):
        mine = maker.rng.randrange(2)
        if maker.chance(0.1):
            jars[mine] = jars[1 - mine]
        world.jar, world.order = swapped(world, maker, jars[mine]), maker.rng.choice("1111222" + ORDERS)
        maker.order = world.order
        step = next_step(world, maker, case, world.jar.get(world.order, ""))
        world.order = step.path.split("/")[1]
        world.take(world.jar.get(world.order, ""), step)
        jars[mine] = world.jar


def swapped(world: Orders, maker: OrdersMaker, jar: dict[str, str]) -> dict[str, str]:
    """Now and then, the cookies of two orders, each under the other's name."""
    telling = [order for order, cookie in jar.items() if world.told[cookie] is not None]
    if len(telling) < 2 or not maker.chance(0.05):
        return jar
    one, other = maker.rng.sample(telling, 2)
    return {**jar, one: jar[other], other: jar[one]}


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "ledger.db")


def test_two_clients_with_one_cookie_get_no_more_through_than_one(ledger: Any) -> None:
    assert on_random_flows(ledger, fork) > EXAMPLES


def test_every_older_cookie_at_every_path_gets_no_more_through_than_the_newest(ledger: Any) -> None:
    assert on_random_flows(ledger, replay) > EXAMPLES


def test_no_order_gets_more_through_by_another_ones_cookie(ledger: Any) -> None:
    assert on_random_flows(ledger, several_orders, Orders, OrdersMaker) > EXAMPLES


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """They take turns all the time, and so anywhere."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("impatient_threads")
def test_two_submissions_at_once_end_like_one_after_the_other(ledger: Any) -> None:
    assert on_random_flows(ledger, click_at_once) > EXAMPLES
