"""What a claim and its settlement cost, beside what they are compared with, in one process and at the same time.

Run as a script it prints its figures as JSON: microseconds of this thread's own processor time, so that whatever else
the machine does is not counted, medians of interleaved pairs. A process of its own, because whoever measures the
coverage of a test would measure that.
"""

from __future__ import annotations

import io
import json
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import unit

from flowguard import FlowGuard
from flowguard.ledgers.base import Claim
from flowguard.ledgers.sqlite import SqliteLedger

ROUNDS = 1_500
NOW = 1_800_000_000.0  # seconds since the epoch
SECRET = "a9f1c83e5b7d2046a9f1c83e5b7d2046"
PATHS = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "submit": True},
    "/done": {},
}
# The same pragmas as the ledger's, and a table as plain as can be.
PLAIN = (
    "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL",
    "CREATE TABLE plain (key TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL, expires REAL NOT NULL)",
)  # fmt: skip
BARE = """
    INSERT INTO plain VALUES (:key, :text, :expires)
    ON CONFLICT (key) DO UPDATE SET text = excluded.text, expires = excluded.expires WHERE expires <= :now"""


def shop(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["REQUEST_METHOD"] == "POST":
        start_response("303 See Other", [("Location", "/payment")])
    else:
        start_response("200 OK", [("Content-Type", "text/html")])
    return [b"page"]


def ask(guard: Any, step: str, cookie: str = "") -> tuple[int, str]:
    """One request: nanoseconds, and the cookie afterwards."""
    method, path = step.split()
    environ = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", "HTTP_COOKIE": cookie,
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "HTTP_HOST": "localhost", "HTTP_SEC_FETCH_MODE": "navigate",
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
    }  # fmt: skip
    answers: list[Any] = []
    begun = time.thread_time_ns()
    guard(environ, lambda status, headers, exc_info=None: answers.append((status, headers)))
    spent = time.thread_time_ns() - begun
    status, headers = answers[-1]
    assert status[:3] in ("200", "303"), status
    assert "Flowguard-Reason" not in dict(headers)
    return spent, dict(headers).get("Set-Cookie", cookie).partition(";")[0]


def microseconds(*work: Callable[[int], int]) -> list[float]:
    """Of each, in turn, the median; a first tenth is for warming up."""
    rounds = [[one(number) for one in work] for number in range(ROUNDS + ROUNDS // 10)]
    return [median(column) / 1_000 for column in zip(*rounds[ROUNDS // 10 :])]


def on_memory() -> dict[str, float]:
    """A submission that counts, with a ledger in memory and with none; and the unit of `bench.py`."""
    none, memory = (FlowGuard(shop, PATHS, secret_key=SECRET, ledger=ledger) for ledger in (None, "memory://"))
    cookies = []
    for _ in range(ROUNDS + ROUNDS // 10):
        _, cookie = ask(none, "GET /cart")
        cookies.append(ask(none, "GET /shipping", cookie)[1])
    without, with_it, u = microseconds(
        lambda number: ask(none, "POST /shipping", cookies[number])[0],
        lambda number: ask(memory, "POST /shipping", cookies[number])[0],
        lambda number: unit(number, 1),
    )
    return {"U": u, "claim and settlement": with_it - without}


def on_sqlite(directory: str) -> dict[str, float]:
    """Both verbs, and one bare statement, in one file."""
    ledger = SqliteLedger(f"{directory}/ledger.db")
    ledger.read("", now=NOW)
    with closing(sqlite3.connect(f"{directory}/ledger.db", isolation_level=None)) as database:
        for statement in PLAIN:
            database.execute(statement).fetchall()

        def bare(number: int) -> int:
            values = {"key": f"shop:{number}", "text": "x" * 120, "expires": NOW + 14_400, "now": NOW}
            begun = time.thread_time_ns()
            database.execute(BARE, values)
            return time.thread_time_ns() - begun

        def both(number: int) -> int:
            key, claim = f"shop:{number}", Claim(f"token {number}", "/payment", NOW + 300)
            begun = time.thread_time_ns()
            record = ledger.claim(key, claim, text="x" * 120, expires=NOW + 14_400, now=NOW)
            ledger.write(key, "y" * 120, version=record.version, expires=NOW + 14_400, keep=True, now=NOW,
                         release=claim.token)  # fmt: skip
            return time.thread_time_ns() - begun

        figures = dict(zip(("bare statement", "claim and settlement"), microseconds(bare, both)))
    ledger.close()
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps({"memory": on_memory(), "sqlite": on_sqlite(place)}))
