"""Plays requests and answers by hand, before a guard that is the real one: what `flowguard explain` prints.

What was decided is read from the guard's own debug lines (`tracing`), and the run from its cookie and ledger; so there
is no rule here that could differ from those that it explains.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Optional
from urllib.parse import unquote_to_bytes

from flowguard.core.flow import SAFE
from flowguard.core.run import Run
from flowguard.gate import Gate
from flowguard.middleware import FlowGuard
from flowguard.tracing import logger


class Request(NamedTuple):
    """path: as in the address bar, with its query. form: of a submission, as a browser would encode it."""

    method: str
    path: str
    form: str = ""


class Reply(NamedTuple):
    """An answer of the application. A status of 0: it raises instead."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


class Told(NamedTuple):
    """What came of a request.

    said: the fields of the guard's debug line (see `tracing`); none if it was no request of a flow. refusal: those of
    its line of a refusal. status, location: of the answer that the visitor got. reached: whether the application was
    asked; reply: how it answered then. error: what a condition raised.
    """

    said: Mapping[str, Any]
    refusal: Mapping[str, Any]
    status: int
    location: Optional[str]
    reached: bool
    reply: Reply
    error: Optional[Exception] = None


class Raised(Exception):
    """The exception of an application that was told to raise one."""


class Stage:
    """The application behind the guard: it answers as it is told, and else in a way that counts."""

    def __init__(self) -> None:
        self.next: Optional[Reply] = None
        self.reached = False
        self.given = Reply(0)

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        self.reached = True
        self.given = self.next or _usual(environ["REQUEST_METHOD"])
        if not self.given.status:
            raise Raised
        start_response(f"{self.given.status} {'OK' if self.given.status < 300 else 'Other'}", list(self.given.headers))
        return [self.given.body.encode()]


def _usual(method: str) -> Reply:
    """A page, or that a submission was taken."""
    return Reply(200, (("Content-Type", "text/html"),)) if method.upper() in SAFE else Reply(204)


class Clock:
    """Seconds since the epoch; they pass when somebody says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Visitor:
    """A browser that follows no redirect. more: what else stands in every environ, such as REMOTE_USER."""

    def __init__(self, guard: FlowGuard, stage: Stage, more: Mapping[str, str]) -> None:
        self._guard, self._stage, self._more = guard, stage, more
        self._jar: dict[str, str] = {}

    def bring(self, text: str) -> None:
        """Take the cookies in *text*: a Cookie header, or the value of a flow's cookie alone. What is read on https
        only is taken here, too."""
        for part in text.split(";"):
            name, named, value = part.strip().partition("=")
            if named:
                self._jar.update({name: value, name.removeprefix("__Host-"): value})
            else:
                self._jar.update(dict.fromkeys(self._names_of(name), name))

    def _names_of(self, value: str) -> list[str]:
        """The cookies that a value without a name may be: those of which it is one, or all."""
        cookies = [gate.jar(self._environ(Request("GET", "/"))).cookie for gate in self._guard.gates]
        own = [cookie.name for cookie in cookies if cookie.every(f"{cookie.name}={value}")]
        return own or [cookie.name for cookie in cookies]

    def runs(self, gate: Gate) -> list[Run]:
        """The visitor's runs of a flow: one, or one for each `instance`."""
        return [run for run in gate.runs(self._environ(Request("GET", "/"))) if run.trail]

    def ask(self, request: Request, reply: Optional[Reply]) -> Told:
        """Send *request*; where it reaches the application, that answers by *reply*."""
        self._stage.next, self._stage.reached, self._stage.given = reply, False, Reply(0)
        error: Optional[Exception] = None
        with _heard() as heard:
            try:
                status, headers = self._send(request)
            except Exception as raised:  # the application's, as it was told; or a condition's
                status, headers, error = 0, [], None if isinstance(raised, Raised) else raised
        for _, value in (pair for pair in headers if pair[0].lower() == "set-cookie"):
            self._keep(value)
        said = [line for line in heard if "line" in line]
        refusals = [line for line in heard if "target" in line]
        location = {name.lower(): value for name, value in headers}.get("location")
        return Told(
            said[-1] if said else {}, refusals[-1] if refusals else {}, status, location, self._stage.reached,
            self._stage.given, error,
        )  # fmt: skip

    def _send(self, request: Request) -> tuple[int, list[tuple[str, str]]]:
        answer: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            answer.append((int(status[:3]), headers))

        chunks = self._guard(self._environ(request), start_response)
        b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        return answer[-1]

    def _environ(self, request: Request) -> dict[str, Any]:
        path, _, query = request.path.partition("?")
        body = request.form.encode()
        made: dict[str, Any] = {
            "REQUEST_METHOD": request.method, "SCRIPT_NAME": "", "QUERY_STRING": query,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "SERVER_NAME": "localhost", "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost", "HTTP_SEC_FETCH_MODE": "navigate",
            "CONTENT_LENGTH": str(len(body)), "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body), "wsgi.errors": BytesIO(), "wsgi.multithread": False,
            "wsgi.multiprocess": False, "wsgi.run_once": False,
        }  # fmt: skip
        if body:
            made["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
        if self._jar:
            made["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in self._jar.items())
        return {**made, **self._more}

    def _keep(self, header: str) -> None:
        """Keep a cookie, but for the note of how often the visitor was redirected: nobody is in a hurry here."""
        name, _, value = header.partition(";")[0].partition("=")
        if "Max-Age=0" in header:
            self._jar.pop(name, None)
        elif not name.endswith("-note"):
            self._jar[name] = value


@contextmanager
def _heard() -> Iterator[list[Mapping[str, Any]]]:
    """The fields of what the guard says of its decisions meanwhile; nobody else hears of it."""
    fields: list[Mapping[str, Any]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fields.append(getattr(record, "flowguard", {}))

    listener, level, propagate = Listener(), logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield fields
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate
