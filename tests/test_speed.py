"""What a request costs, counted in calls of Python functions: the same on every machine, however busy it is.

Nothing here is measured in time; `bench.py` does that. But what makes a guard slow is that it does more, and that is
seen here: a limit stands a fifth above what was counted when it was set.
"""

from __future__ import annotations

import sys
from typing import Any

import bench
import checkouts
import pytest

from flowguard import middleware

LOOKED_UP = bench.LOOKED_UP
VISITORS = 3
SITE = checkouts.Site("flowguard", checkouts.shop, checkouts.guarded())
ROWS = {row.name: row for row in bench.rows_of(SITE, VISITORS)}


def calls(application: Any, environ: dict[str, Any]) -> int:
    """Calls of Python functions in one request."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        application(environ, bench.start_response)
    finally:
        sys.setprofile(before)
    return count


def added(application: Any, bare: Any, step: str, cookie: str, *, before: Any = None) -> int:
    """Beyond those of the application alone, by a request that is not the first of its kind."""
    method, path = step.split()
    counted = []
    for _ in range(2):
        if before is not None:
            before()
        counted.append(calls(application, bench.environ(method, path, cookie)))
    return counted[-1] - (0 if bare is None else calls(bare, bench.environ(method, path)))


@pytest.mark.parametrize(("name", "most"), [
    ("unguarded path", 1), ("reload", 18), ("transition by GET", 29), ("submission", 42), ("refusal", 25),
    ("forged cookie", 25),
])  # fmt: skip
def test_a_request_takes_no_more_calls_than(name: str, most: int):
    row = ROWS[name]
    assert added(row.application, row.bare, row.step, row.cookies[0], before=row.before) <= most


def walked(guard: Any, *steps: str) -> str:
    return bench.walk(guard, *(f"GET {step}" for step in steps))


def after(*steps: str, flow: Any, step: str, keys: Any = checkouts.SECRET) -> int:
    """Calls of a GET of *step*, by a visitor who has made those steps."""
    guard = bench.made(flow, secret_key=keys)
    cookie = walked(bench.made(flow, secret_key=keys[0] if isinstance(keys, list) else keys), *steps) if steps else ""
    return added(guard, bench.shop_everywhere, f"GET {step}", cookie)


KEYS = [f"0123456789abcdef{number}" for number in range(3)]


@pytest.mark.parametrize(("small", "large"), [
    (lambda: after("/start", flow=bench.star(10), step="/start"),
     lambda: after("/start", flow=bench.star(2_000), step="/start")),
    (lambda: after("/start", flow=bench.star(10), step="/end5"),
     lambda: after("/start", flow=bench.star(2_000), step="/end5")),
    (lambda: after("/flow0-0", flow=bench.flows(1, 10), step="/flow0-0"),
     lambda: after("/flow0-0", flow=bench.flows(30, 10), step="/flow0-0")),
    (lambda: after("/step0", flow=bench.chain(102), step="/step1"),
     lambda: after(*(f"/step{number}" for number in range(100)), flow=bench.chain(102), step="/step100")),
    (lambda: after("/step0", flow=bench.chain(5), step="/step0", keys=KEYS[:1]),
     lambda: after("/step0", flow=bench.chain(5), step="/step0", keys=KEYS)),
    (lambda: after(flow=bench.star(5), step=LOOKED_UP), lambda: after(flow=bench.star(1_000), step=LOOKED_UP)),
    (lambda: after(flow=bench.with_variables(5), step=LOOKED_UP),
     lambda: after(flow=bench.with_variables(500), step=LOOKED_UP)),
    (lambda: after(flow=bench.with_variables(5, True), step=f"/shop{LOOKED_UP}"),
     lambda: after(flow=bench.with_variables(500, True), step=f"/shop{LOOKED_UP}")),
], ids=["states, for a reload", "states, for a transition", "flows", "steps in the history", "keys", "rules",
        "rules with variables", "rules with variables under one segment"])  # fmt: skip
def test_more_take_hardly_more_calls(small: Any, large: Any):
    assert large() <= small() + 1  # a long way is found by its end


# --- what is remembered of paths --------------------------------------------------------------------------------------


def test_a_path_of_no_flow_is_looked_up_once():
    guard = bench.made(bench.with_variables(5))
    first = calls(guard, bench.environ("GET", "/logo.png"))
    assert calls(guard, bench.environ("GET", "/logo.png")) < first


def test_what_is_remembered_of_paths_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(middleware, "MAX_STRANGERS", 20)
    guard = bench.made(bench.star(5))
    for number in range(3 * middleware.MAX_STRANGERS):
        bench.ask(guard, "GET", f"/logo{number}.png")
        bench.ask(guard, "GET", f"{LOOKED_UP}{number}")
        assert len(guard._strangers) <= middleware.MAX_STRANGERS
    assert guard._strangers  # and not by remembering nothing
    assert max(map(len, guard._strangers)) <= middleware.USUAL


@pytest.mark.parametrize("path", ["/END5", "/end5;x", "//end5", "/kept/anything", "/end5/%2e"])
def test_a_path_that_is_kept_from_the_application_is_so_each_time(path: str):
    guard = bench.made(bench.star(10), fence=["/kept/"])
    answers = [bench.ask(guard, "GET", path)[0] for _ in range(3)]
    assert 200 not in answers
