"""A visitor before a guarded application: what the tests of the whole stack share.

Every call is checked on both sides of the guard by wsgiref.validate, unless a test needs what it forbids.
"""

from __future__ import annotations

import io
from http.cookies import SimpleCookie
from typing import Any, Callable, Iterable, NamedTuple, Optional, Union
from wsgiref.validate import validator

from flowguard import FlowGuard

SECRET = "a9f1c83e5b7d2046a9f1c83e5b7d2046"
HOST = "shop.example"
NOON = 1_800_000_000.0  # seconds since the epoch

Environ = dict[str, Any]

# How a client presents itself.
PAGE = {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_SEC_FETCH_DEST": "document"}
OLD_BROWSER = {"HTTP_ACCEPT": "text/html,*/*;q=0.8"}
SCRIPT = {"HTTP_SEC_FETCH_MODE": "cors", "HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_SEC_FETCH_DEST": "empty"}


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Answer(NamedTuple):
    """What the application answers."""

    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html"),)
    body: bytes = b"page"

    def saying(self, name: str, value: str) -> Answer:
        return self._replace(headers=(*self.headers, (name, value)))


SHOWN = Answer()  # a page
DONE = Answer("204 No Content", (), b"")
NOT_MODIFIED = Answer("304 Not Modified", (), b"")
FAULT = Answer("500 Internal Server Error")
INVALID = Answer("422 Unprocessable Content")


def led(to: str, status: str = "303 See Other") -> Answer:
    return Answer(status, (("Location", to), ("Content-Type", "text/html")), b"")


class Boom(Exception):
    """The application's own exception, or a condition's."""


class Seen(NamedTuple):
    """A request as the application saw it."""

    method: str
    path: str
    body: bytes
    run: Any
    environ: Environ


class Application:
    """Answers what it is told for "METHOD /path", else a page; and remembers what it saw."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Union[Answer, type[Boom], Callable[..., Iterable[bytes]]]] = {}
        self.seen: list[Seen] = []

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or (1 << 24 if environ.get("wsgi.input_terminated") else 0))
        body = environ["wsgi.input"].read(length) if length else b""
        method, path = environ["REQUEST_METHOD"].upper(), environ.get("PATH_INFO", "")
        self.seen.append(Seen(method, path, body, environ.get("flowguard.run"), dict(environ)))
        answer = self.answers.get(f"{method} {path}", SHOWN)
        if not isinstance(answer, Answer):
            if answer is Boom:
                raise Boom
            return answer(environ, start_response)
        start_response(answer.status, list(answer.headers))
        return [] if method == "HEAD" else [answer.body]

    @property
    def calls(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.seen]


class Response(NamedTuple):
    """What the visitor got. `cookies`: the Set-Cookie headers."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.line[:3])

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> Optional[str]:
        values = self.all(name)
        return values[0] if values else None

    @property
    def reason(self) -> Optional[str]:
        return self.header("Flowguard-Reason")

    @property
    def location(self) -> Optional[str]:
        return self.header("Location")

    @property
    def cookies(self) -> list[str]:
        return self.all("Set-Cookie")

    @property
    def verdict(self) -> tuple[int, Optional[str]]:
        return self.status, self.reason


class Visitor:
    """A browser: a cookie jar, and a way to ask."""

    def __init__(
        self, guard: Callable[..., Iterable[bytes]], *, jar: Optional[dict[str, str]] = None, mount: str = "",
        https: bool = False, check: bool = True,
    ) -> None:  # fmt: skip
        self.app = validator(guard) if check else guard
        self.jar = {} if jar is None else dict(jar)
        self.mount, self.https = mount, https

    def twin(self) -> Visitor:
        """Another tab, or another thief: the same cookies from now on apart."""
        return Visitor(self.app, jar=self.jar, mount=self.mount, https=self.https, check=False)

    def environ(self, method: str, path: str, body: bytes = b"", **more: Any) -> Environ:
        path, _, query = path.partition("?")
        made: Environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": self.mount,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": HOST,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if self.https else "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if body:
            made["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
        if self.jar:
            made["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        made.update(more)
        return {key: value for key, value in made.items() if value is not None}

    def send(self, environ: Environ) -> Response:
        started: list[Any] = []
        written: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started.append((status, list(headers)))
            return written.append

        chunks = self.app(environ, start_response)
        try:
            written.extend(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = started[-1]
        response = Response(status, headers, b"".join(written))
        for header in response.cookies:
            self.keep(header)
        return response

    def keep(self, header: str) -> None:
        for name, morsel in SimpleCookie(header).items():
            if morsel["max-age"] == "0":
                self.jar.pop(name, None)
            else:
                self.jar[name] = morsel.value

    def get(self, path: str, **more: Any) -> Response:
        return self.send(self.environ("GET", path, **{**PAGE, **more}))

    def post(self, path: str, body: bytes = b"", **more: Any) -> Response:
        return self.send(self.environ("POST", path, body, **{**PAGE, **more}))

    def call(self, method: str, path: str, body: bytes = b"", **more: Any) -> Response:
        """As a script or an API's client asks: no redirects."""
        return self.send(self.environ(method, path, body, **{**SCRIPT, **more}))


def guarded(
    flow: Any, *, app: Optional[Application] = None, clock: Callable[[], float] = Clock(), check: bool = True,
    **options: Any,
) -> tuple[Visitor, Application]:  # fmt: skip
    """A visitor without cookies, and the application that the guard stands before."""
    app = Application() if app is None else app
    inner = validator(app) if check else app
    options.setdefault("secret_key", SECRET)
    return Visitor(FlowGuard(inner, flow, clock=clock, **options), check=check), app
