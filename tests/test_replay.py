"""Forks and replays on random flows: the application sees nothing that the newest run would not allow (CONTRACT 7).

Several clients share one visitor's cookies, old and new, before one guard. The model (model.py) holds one run: the
newest that the ledger has of an id or, as long as it has none, the one that the cookie tells; it belongs to whoever
either of the two names.
"""

from __future__ import annotations

import copy
import os
import random
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model import Model, Run
from test_differential import COOKIE, HOST, Case, Maker, Step, Visitor, with_conditions

from flowguard import ConfigError
from flowguard.ledgers.memory import MemoryLedger
from flowguard.ledgers.sqlite import SqliteLedger

EXAMPLES = 1_500 if os.environ.get("FLOWGUARD_DEEP") else 60
COUNTS = ("success", "unknown")  # what spends a `once` state

pytestmark = pytest.mark.slow


class World:
    """One guard and its ledger; and the model beside it. A client is nothing but the cookie that it sends."""

    def __init__(self, case: Case, ledger: Any) -> None:
        self.ledger = ledger
        self.browser = Visitor(case._replace(options={**case.options, "ledger": ledger}))
        paths = with_conditions(case.paths, self.browser.truths)
        self.model = Model(paths, mount=case.mount, host=HOST, **case.options)
        self.told: dict[str, Optional[Run]] = {"": None}  # the run that each cookie tells
        self.kept: dict[str, Optional[Run]] = {}  # the newest run of each id that the ledger has
        self.submissions = 0  # that reached the application

    def newest(self, cookie: str) -> Optional[Run]:
        key, told = f"flow:{id_of(cookie)}", self.told[cookie]
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
        self.browser.jar = {COOKIE: cookie} if cookie else {}
        got = self.browser.ask(step.method, step.path, step.style, step.answer)
        assert got.calls == expected.called, f"{step}: the newest run, {run and run.facts()}, says {expected.reason}"
        if expected.called:
            self.count(run, step, expected.run)
        after = self.browser.jar.get(COOKIE, "")
        if after != cookie:
            self.told[after] = expected.run
        key = f"flow:{id_of(after)}"
        changes = key not in self.kept or expected.run is not run  # what changes nothing is not written
        if after and changes and self.ledger.read(key, now=self.browser.now) is not None:
            self.kept[key] = expected.run
        return after

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


def id_of(cookie: str) -> str:
    return cookie.split(".")[1] if cookie else ""


# --- random flows and visitors ---------------------------------------------------------------------------------------


def on_random_flows(ledger: Any, visit: Callable[[World, Maker, Case], None]) -> int:
    """Let *visit* loose on many flows; how many submissions reached the application."""
    reached: list[int] = []

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def explore(seed: int) -> None:
        maker = Maker(random.Random(seed))
        case = maker.case()
        try:
            world = World(case, ledger)
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


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "ledger.db")


def test_two_clients_with_one_cookie_get_no_more_through_than_one(ledger: Any) -> None:
    assert on_random_flows(ledger, fork) > EXAMPLES


def test_every_older_cookie_at_every_path_gets_no_more_through_than_the_newest(ledger: Any) -> None:
    assert on_random_flows(ledger, replay) > EXAMPLES
