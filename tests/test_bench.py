"""The benchmark compares like with like: every way of building the checkout decides alike."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import _bootstrap
import bench
import checkouts
import pytest

BENCH = Path(__file__).with_name("bench.py")

# What a visitor does, and what comes of it: 200 a page, 303 the next step or the way back to the current one.
VISIT = [
    ("GET /shipping", 303, "nobody begins in the middle"),
    ("GET /cart", 200, "a run begins"),
    ("GET /payment", 303, "a step is skipped"),
    ("POST /cart", 303, "the cart is submitted"),
    ("POST /cart", 303, "the cart is submitted again"),
    ("GET /shipping", 200, "the next step"),
    ("GET /shipping", 200, "a reload"),
    ("GET /payment", 303, "a step that is not yet submitted"),
    ("POST /shipping", 303, "a submission"),
    ("POST /shipping", 303, "a double click"),
    ("GET /payment", 200, "the next step"),
    ("GET /logo.png", 200, "none of ours"),
]
WANTED = [(step, status) for step, status, _ in VISIT]
PEERS = [peer for peer in checkouts.PEERS if peer is not checkouts.formtools_wizard]  # it judges otherwise


def visit(application: checkouts.Application) -> list[tuple[str, int]]:
    """Of each request the step and the status."""
    cookie, seen = "", []
    for step, _, _ in VISIT:
        status, cookie = bench.ask(application, *step.split(), cookie)
        seen.append((step, status))
    return seen


@pytest.mark.slow  # what it compares with is not there on the other Pythons
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.__name__)
def test_every_way_takes_the_same_decisions(peer):
    assert visit(peer().application) == WANTED


@pytest.mark.parametrize("application", [checkouts.guarded(), checkouts.floor()], ids=["flowguard", "by hand"])
def test_flowguard_and_what_is_written_by_hand_take_them_too(application):
    assert visit(application) == WANTED


def test_every_row_asks_what_its_name_says():
    rows = bench.rows_of(checkouts.Site("flowguard", checkouts.shop, checkouts.guarded()), visitors=2)
    seen = {row.name: bench.ask(row.application, *row.step.split(), row.cookies[0])[0] for row in rows}
    assert seen == {"unguarded path": 200, "reload": 200, "submission": 303, "transition by GET": 200,
                    "refusal": 303, "forged cookie": 303}  # fmt: skip


@pytest.mark.timed
@pytest.mark.slow
def test_a_table_has_a_figure_for_every_row_and_way(capsys):
    built = [checkouts.Site("flowguard", checkouts.shop, checkouts.guarded()),
             checkouts.Site("by hand", checkouts.shop, checkouts.floor())]  # fmt: skip
    rows = [row for site in built for row in bench.rows_of(site, visitors=20)]
    table = bench.table_of(rows, rounds=3)
    bench.print_requests(table, "requests")
    assert all(set(figures) == {"flowguard", "by hand"} for figures in table.values())
    assert table["reload"]["flowguard"].units > table["reload"]["by hand"].units / 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in table)


def test_all_that_it_starts_or_compares_with_is_brought_along():
    brought = {re.split("[>=;]", line)[0] for line in _bootstrap.requirements(["bench"])}
    assert {"flask", "django", "django-formtools", "beaker", "gunicorn"} <= brought


@pytest.mark.timed
@pytest.mark.slow
def test_it_runs_by_one_command_and_writes_json(tmp_path):
    file = tmp_path / "figures.json"
    command = [sys.executable, BENCH, "start", "sockets", "worst", "--rounds", "1", "--json", str(file)]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ, "FLOWGUARD_BOOTSTRAP": "0"})
    assert b"import flowguard, ms" in told.stdout
    found = json.loads(file.read_text("utf-8"))
    assert found["start"]["one start with 9,999 ends, s"] > 0
    assert found["start"]["memory of a visitor who looks, bytes"] < 100
    assert found["sockets"]["reload, added"] < found["sockets"]["reload, bare"]
    assert found["worst"]["8 kB of an odd path, ms"] > 0
