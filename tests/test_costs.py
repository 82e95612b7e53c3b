"""What a ledger costs, as ratios within one run, so that they hold on every machine. The README has the figures."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis_server import Server
from test_ledgers import Wire
from visitor import FAULT, INVALID, Answer, guarded, led

TRIES = 4  # a noisy moment raises a figure, and none lowers it
PATHS = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}

pytestmark = pytest.mark.timed


def figures() -> dict[str, dict[str, float]]:
    """Of a process of its own that nobody traces."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    script = Path(__file__).with_name("costs.py")
    told = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, check=True, env=environment).stdout
    found: dict[str, dict[str, float]] = json.loads(told)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ledger", "compared", "most"),
    # In memory: as the cryptography of one or two requests that change a run, whatever the guard's own work costs.
    [("memory", "U", 1.6), ("sqlite", "bare statement", 3.0)],
    ids=["in memory: little more than one and a half U", "in SQLite: three bare statements"],
)
def test_a_claim_and_its_settlement_cost_at_most(ledger: str, compared: str, most: float):
    ratios = []
    for _ in range(TRIES):
        found = figures()[ledger]
        ratios.append(found["claim and settlement"] / found[compared])
        if ratios[-1] <= most:
            return
    pytest.fail(f"{min(ratios):.2f} at best, of {most:.2f}")


@pytest.mark.redis
@pytest.mark.parametrize(
    ("step", "answer", "asked"),
    [
        ("GET /shipping", None, (1, 1)),
        ("POST /shipping", led("/payment"), (1, 1)),
        ("POST /shipping", INVALID, (1, 1)),
        ("POST /shipping", FAULT, (1, 1)),
        ("POST /payment", None, (1, 0)),
    ],
    ids=["a page", "a submission", "one that fails", "one in doubt", "one that is refused"],
)
def test_redis_is_asked_once_before_the_application_and_once_after_it(
    step: str, answer: Any, asked: tuple[int, int], redis_server: Server
):
    replies: list[bytes] = []
    reached: list[int] = []  # how many had come when the application was called

    def pass_on(data: bytes, client: socket.socket) -> None:
        replies.append(data)
        client.sendall(data)

    def answering(environ: Any, start_response: Any) -> list[bytes]:
        reached.append(len(replies))
        said = answer or Answer()
        start_response(said.status, list(said.headers))
        return [said.body]

    with Wire(redis_server.port, pass_on) as url:
        visitor, app = guarded(PATHS, ledger=url)
        app.answers[step] = answering
        for _ in range(2):  # the first time, a connection is opened and the server is handed the scripts
            visitor.jar.clear()
            visitor.get("/cart")
            before = len(replies)
            visitor.get("/shipping")
            if step != "GET /shipping":
                before = len(replies)
                visitor.send(visitor.environ(*step.split(), HTTP_SEC_FETCH_MODE="navigate"))
            reached.append(len(replies))
    called = reached[-2] if len(reached) == 4 else reached[-1]
    assert (called - before, reached[-1] - called) == asked
