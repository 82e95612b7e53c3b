"""What real servers make of a request line that was written byte by byte, with the guard behind them (CONTRACT 8).

Whatever target is asked for, a guarded handler ran only if the request had been judged as its state, nothing of what
was sent stands in a header of ours unquoted, and no answer is a server's error. data/request_targets.json has what
`data/paths.json` was recorded with; the rest are mutants.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import pytest
from mutations import mutants, target
from routers import OPEN
from servers import Gunicorn, Server, Waitress
from test_real_routers import PATHS

DEEP = 50 if os.environ.get("FLOWGUARD_DEEP") == "1" else 1
MUTANTS = 120 * DEEP
RECORDED = json.loads((Path(__file__).parent / "data" / "request_targets.json").read_text("utf-8"))
SPLITTING = [
    b"/cart%0d%0aX-Evil:%201", b"//cart%0d%0aX-Evil:%201", b"/%0d%0aX-Evil:1%0d%0a/../cart", b"/cart;%0d%0aX-Evil:1",
    b"//cart?%0d%0aX-Evil:%201", b"//users/%0d%0aX-Evil:1", b"/USERS/%0aX-Evil:1", b"/CART?\x0bX-Evil:1",
    b"//cart?a=\r", b"//users/%E2%80%A8X-Evil:1", b"//cart?\xe5\x98\x8a\xe5\x98\x8dX-Evil:1",
    b"//docs/%0d%0a%0d%0a<script>/edit",
]  # fmt: skip


class Own(Server):
    """One of raw_site's."""

    announcement = r"Serving on http://127\.0\.0\.1:(\d+)"

    def __init__(self, name: str, **environment: Any) -> None:
        super().__init__(str(Path(__file__).with_name("raw_site.py")), name, **environment)


class Uwsgi(Server):
    """It needs a compiler to be installed, so it is tried only where somebody did that."""

    announcement = r"bound to TCP address 127\.0\.0\.1:(\d+) "

    def __init__(self, module: str, **environment: Any) -> None:
        super().__init__(module, **environment)
        self._command = ["uwsgi", "--http-socket", "127.0.0.1:0", "--need-app", "--die-on-term", "--module", module]


SERVERS: dict[str, Any] = {
    "gunicorn": lambda router: Gunicorn("raw_site:application", ROUTER=router),
    "waitress": lambda router: Waitress("raw_site:application", ROUTER=router),
    **{name: lambda router, name=name: Own(name, ROUTER=router) for name in ("wsgiref", "werkzeug", "cheroot")},
}
if shutil.which("uwsgi"):
    SERVERS["uWSGI"] = lambda router: Uwsgi("raw_site:application", ROUTER=router)
REST = b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
LAX = ("Flask", "one that ignores case")
# Each server before one of them; the deep run has each before both.
PAIRS = [(server, router) for number, server in enumerate(SERVERS) for place, router in enumerate(LAX)
         if DEEP > 1 or (number + place) % 2]  # fmt: skip

pytestmark = pytest.mark.slow


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def ours(self) -> bool:
        """The application was never asked."""
        return all(key.lower() != "x-judged" for key, _ in self.headers)


def ask(port: int, request: bytes) -> Answer:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        data = b""
        while chunk := connection.recv(65_536):
            data += chunk
    head = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    match = re.match(r"HTTP/1\.[01] (\d{3}) ", head[0] + " ")
    if match is None:  # a server that answers what is no request at all by a bare page, or not at all
        return Answer(0, [])
    pairs = (line.partition(":") for line in head[1:])
    return Answer(int(match[1]), [(name, value.strip()) for name, _, value in pairs])


def targets(seed: int) -> list[bytes]:
    recorded = [text.encode("utf-8") for text in RECORDED]
    return [*recorded, *SPLITTING, *(target(text) for text in mutants(seed, PATHS, MUTANTS))]


@pytest.fixture(scope="module", params=PAIRS, ids=" before ".join)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    server, router = request.param
    with SERVERS[server](router) as running:
        yield running.port


def test_no_request_line_reaches_a_page_that_it_was_not_judged_as(port: int) -> None:
    ran = 0
    for number, asked in enumerate(targets(3)):
        method = b"POST" if number % 5 == 4 else b"GET"
        answer = ask(port, method + b" " + asked + REST)
        assert answer.status < 500, (asked, answer)
        handler = answer.header("x-ran")
        assert not handler or handler in OPEN or handler == answer.header("x-judged"), (asked, answer)
        ran += bool(handler)
        assert not answer.ours or re.fullmatch(r"(/(?![/\\])[!-~]*)?", answer.header("location")), (asked, answer)
        assert not any("evil" in name.lower() or "<" in name for name, _ in answer.headers), (asked, answer)
    assert ran > 10
