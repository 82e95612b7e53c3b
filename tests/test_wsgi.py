"""PEP 3333, seen from both sides: whatever a server or an application may do, the guard neither breaks nor delays it.

What an answer did to the run is read where the visitor would see it: at the next request.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import socket
import sys
import threading
import wsgiref.simple_server
from typing import Any, Callable, Iterable, Iterator, Optional
from wsgiref.util import FileWrapper, is_hop_by_hop
from wsgiref.validate import validator

import pytest
import webtest.lint
import werkzeug.serving
from broken_apps import never_starts, starts_twice, yields_before_it_starts
from visitor import (
    DONE,
    HOST,
    INVALID,
    NOT_MODIFIED,
    PAGE,
    SECRET,
    SHOWN,
    Answer,
    Application,
    Boom,
    Environ,
    Visitor,
    guarded,
    led,
)

from flowguard import FlowGuard

HTML = [("Content-Type", "text/html")]
FLOW: dict[str, Any] = {
    "/a": {"to": ["/b"]},
    "/b": {"once": True, "to": ["/c"]},
    "/c": {},
    "/probe": {"within": ["/a", "/b", "/c"]},
    "/unreachable": {},
    "/never": {"within": ["/unreachable"]},
}
COOKIE = "flowguard-flow"

LINTS: dict[str, Callable[[Any], Any]] = {"wsgiref": validator, "webtest": webtest.lint.middleware}


def at_b(app: Any, lint: Callable[[Any], Any] = validator, **options: Any) -> Visitor:
    """A visitor who sees the page /b of *app*, which serves /b only; another application serves the rest."""
    rest = Application()

    def whole(environ: Environ, start_response: Any) -> Iterable[bytes]:
        mine = environ["PATH_INFO"] == "/b" and "HTTP_X_PLAIN" not in environ
        result: Iterable[bytes] = (app if mine else rest)(environ, start_response)
        return result

    options.setdefault("ledger_wait", 0)
    visitor = Visitor(lint(FlowGuard(lint(whole), FLOW, secret_key=SECRET, **options)), check=False)
    visitor.get("/a")
    return visitor


def current(visitor: Visitor) -> Any:
    """The current state, by a refusal that changes nothing."""
    return json.loads(visitor.call("GET", "/never").body)["current"]


# --- every shape of an answer ----------------------------------------------------------------------------------------


def as_list(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    return [b"one ", b"two"]


def as_empty_list(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    return []


def as_tuple(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    return (b"one ", b"two")


def as_generator(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    yield b"one "
    yield b"two"


def as_generator_with_empty_chunks(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    yield b""
    yield b"one "
    yield b""
    yield b"two"


def as_empty_generator(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    yield from ()


def as_iterator_started_before(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    return iter([b"one ", b"two"])


def by_write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", list(HTML))
    write(b"one ")
    write(b"two")
    return []


def by_write_and_list(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", list(HTML))
    write(b"one ")
    return [b"two"]


def by_empty_write_and_generator(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", list(HTML))
    write(b"")
    return iter([b"one ", b"two"])


def mended_before_the_first_byte(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("500 Oops", list(HTML))
    try:
        raise Boom
    except Boom:
        start_response("200 OK", list(HTML), sys.exc_info())
    return [b"one ", b"two"]


SHAPES = [
    (as_list, b"one two"),
    (as_empty_list, b""),
    (as_tuple, b"one two"),
    (as_generator, b"one two"),
    (as_generator_with_empty_chunks, b"one two"),
    (as_empty_generator, b""),
    (as_iterator_started_before, b"one two"),
    (by_write, b"one two"),
    (by_write_and_list, b"one two"),
    (by_empty_write_and_generator, b"one two"),
    (mended_before_the_first_byte, b"one two"),
]


@pytest.mark.parametrize("lint", LINTS.values(), ids=LINTS)
@pytest.mark.parametrize(("app", "body"), SHAPES, ids=[app.__name__ for app, _ in SHAPES])
def test_a_page_enters_its_state_in_whatever_shape_it_comes(app: Any, body: bytes, lint: Any):
    visitor = at_b(app, lint)
    response = visitor.get("/b")
    assert (response.status, response.body, len(response.cookies)) == (200, body, 1)
    assert current(visitor) == "/b"


@pytest.mark.parametrize("lint", LINTS.values(), ids=LINTS)
@pytest.mark.parametrize(("app", "body"), SHAPES, ids=[app.__name__ for app, _ in SHAPES])
def test_a_submission_is_settled_and_frees_the_next_in_whatever_shape_it_is_answered(app: Any, body: bytes, lint: Any):
    visitor = at_b(app, lint)
    visitor.get("/b")
    assert (visitor.post("/b").body, visitor.post("/b").body) == (body, body)  # a page: shown, so not spent


def redirected_late(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("303 See Other", [("Location", "/c"), *HTML])
    yield b"moved"


def redirected_by_write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("303 See Other", [("Location", "/c"), *HTML])(b"moved")
    return []


@pytest.mark.parametrize("app", [redirected_late, redirected_by_write])
def test_a_redirect_to_the_successor_counts_in_whatever_shape_it_comes(app: Any):
    visitor = at_b(app)
    visitor.get("/b", HTTP_X_PLAIN="1")
    assert visitor.post("/b").status == 303
    assert visitor.get("/c").status == 200
    assert current(visitor) == "/c"


# --- when things go wrong --------------------------------------------------------------------------------------------


class Server:
    """A strict server: PEP 3333's start_response with its checks, headers sent at the first byte that is not empty."""

    def __init__(self) -> None:
        self.started: Optional[tuple[str, list[tuple[str, str]]]] = None
        self.sent: Optional[tuple[str, list[tuple[str, str]]]] = None
        self.body = b""

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info and self.sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if self.started and not exc_info:
            raise AssertionError("headers are set already")
        self.started = (status, list(headers))
        return self.write

    def write(self, data: bytes) -> None:
        if not self.started:
            raise AssertionError("write() before start_response()")
        if data and not self.sent:
            self.sent = self.started
        self.body += data

    def serve(self, app: Any, environ: Environ) -> None:
        result = app(environ, self.start_response)
        try:
            for chunk in result:
                self.write(chunk)
            self.sent = self.sent or self.started
        finally:
            if hasattr(result, "close"):
                result.close()

    @property
    def cookies(self) -> list[str]:
        return [value for name, value in (self.sent or ("", []))[1] if name == "Set-Cookie"]


def serve_b(app: Any, method: str, error: Optional[type[BaseException]] = None) -> tuple[Server, Visitor]:
    """Ask for /b at a strict server, without a linter between; *error* is what must come through."""
    visitor = at_b(app, lint=lambda app: app)
    if method == "POST":
        visitor.get("/b", HTTP_X_PLAIN="1")
    server = Server()
    if error is None:
        server.serve(visitor.app, visitor.environ(method, "/b", **PAGE))
    else:
        with pytest.raises(error):
            server.serve(visitor.app, visitor.environ(method, "/b", **PAGE))
    return server, visitor


def raises_at_once(environ: Environ, start_response: Any) -> Iterable[bytes]:
    raise Boom


def raises_after_the_start(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    raise Boom


def raises_at_the_first_chunk(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    raise Boom
    yield b""


def raises_after_an_empty_chunk(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    yield b""
    raise Boom


class _RaisesOnIter:
    def __iter__(self) -> Iterator[bytes]:
        raise Boom


def raises_when_it_is_iterated(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    return _RaisesOnIter()


EARLY = [
    raises_at_once,
    raises_after_the_start,
    raises_at_the_first_chunk,
    raises_after_an_empty_chunk,
    raises_when_it_is_iterated,
]


@pytest.mark.parametrize("app", EARLY)
def test_an_exception_before_the_first_byte_comes_through_and_enters_nothing(app: Any):
    server, visitor = serve_b(app, "GET", Boom)
    assert server.sent is None
    assert current(visitor) == "/a"


@pytest.mark.parametrize("app", EARLY)
def test_an_exception_before_the_first_byte_of_a_payment_spends_it(app: Any):
    _, visitor = serve_b(app, "POST", Boom)
    assert visitor.post("/b", HTTP_X_PLAIN="1").reason == "duplicate"


def raises_in_the_middle(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    yield b"one"
    raise Boom


def raises_after_a_write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))(b"one")
    raise Boom


@pytest.mark.parametrize("app", [raises_in_the_middle, raises_after_a_write])
def test_an_exception_after_the_first_byte_comes_through_and_changes_nothing(app: Any):
    server, visitor = serve_b(app, "GET", Boom)
    assert (server.body, len(server.cookies)) == (b"one", 1)
    visitor.keep(server.cookies[0])
    assert current(visitor) == "/b"


@pytest.mark.parametrize("app", [raises_in_the_middle, raises_after_a_write])
def test_an_exception_after_the_first_byte_of_a_shown_form_leaves_it_free(app: Any):
    _, visitor = serve_b(app, "POST", Boom)
    assert visitor.post("/b", HTTP_X_PLAIN="1").status == 200


def _fails_over(environ: Environ, start_response: Any, first: bytes) -> Iterator[bytes]:
    start_response("303 See Other", [("Location", "/c"), *HTML])
    yield first
    try:
        raise Boom
    except Boom:
        start_response("500 Oops", list(HTML), sys.exc_info())
    yield b"sorry"


def fails_over_before_the_first_byte(environ: Environ, start_response: Any) -> Iterator[bytes]:
    return _fails_over(environ, start_response, b"")


def fails_over_after_the_first_byte(environ: Environ, start_response: Any) -> Iterator[bytes]:
    return _fails_over(environ, start_response, b"one")


def test_an_answer_that_is_replaced_before_its_first_byte_counts_as_it_left():
    server, visitor = serve_b(fails_over_before_the_first_byte, "GET")
    assert server.sent is not None
    assert (server.sent[0], server.cookies, server.body) == ("500 Oops", [], b"sorry")
    assert current(visitor) == "/a"


def test_an_answer_that_is_replaced_after_its_first_byte_is_the_servers_to_refuse():
    server, visitor = serve_b(fails_over_after_the_first_byte, "POST", Boom)
    assert server.sent is not None
    assert (server.sent[0], server.body) == ("303 See Other", b"one")
    assert visitor.get("/c").status == 200  # the first answer counted


def fails_over_on_a_reload(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))

    def body() -> Iterator[bytes]:
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", [*HTML, ("Flowguard", "failed")], sys.exc_info())
        yield b"sorry"

    return body()


def test_an_error_page_in_place_of_a_reload_has_our_headers_too():
    visitor = at_b(fails_over_on_a_reload, lint=lambda app: app)
    visitor.get("/b", HTTP_X_PLAIN="1")
    server = Server()
    server.serve(visitor.app, visitor.environ("GET", "/b", **PAGE))
    assert server.sent == ("500 Oops", [*HTML, ("Vary", "Cookie"), ("Cache-Control", "no-store")])


def test_a_server_that_takes_a_late_answer_gets_it_as_the_application_gave_it():
    """It is too late for our headers: they would speak of what was not sent."""
    visitor = at_b(fails_over_after_the_first_byte, lint=lambda app: app)
    started: list[Any] = []

    def start_response(*args: Any) -> Any:
        started.append(args[:2])
        return lambda data: None

    assert [*visitor.app(visitor.environ("GET", "/b"), start_response)] == [b"one", b"sorry"]
    assert started[1:] == [("500 Oops", HTML)]


def test_a_payment_whose_answer_is_replaced_by_an_error_is_spent():
    _, visitor = serve_b(fails_over_before_the_first_byte, "POST")
    assert visitor.post("/b", HTTP_X_PLAIN="1").reason == "duplicate"


def never_starts_and_is_empty(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return []


@pytest.mark.parametrize("app", [starts_twice, never_starts, yields_before_it_starts])
def test_what_pep_3333_forbids_is_refused_by_the_server_as_without_a_guard(app: Any):
    server, visitor = serve_b(app, "GET", AssertionError)
    assert (server.sent, server.body) == (None, b"")
    assert current(visitor) == "/a"


@pytest.mark.parametrize("app", [starts_twice, never_starts, never_starts_and_is_empty, yields_before_it_starts])
def test_a_payment_that_ends_without_an_answer_is_spent(app: Any):
    _, visitor = serve_b(app, "POST", None if app is never_starts_and_is_empty else AssertionError)
    assert visitor.post("/b", HTTP_X_PLAIN="1").reason == "duplicate"


def starts_with_a_byte_first(environ: Environ, start_response: Any) -> Iterator[bytes]:
    yield b""
    start_response("200 OK", list(HTML))
    yield b"one"


def test_an_empty_chunk_before_the_start_settles_nothing():
    """The strict server stops it; whatever server does not gets the answer that follows."""
    visitor = at_b(starts_with_a_byte_first, lint=lambda app: app)
    started: list[Any] = []
    chunks = iter(visitor.app(visitor.environ("GET", "/b"), lambda *args: started.append(args)))
    assert [*chunks] == [b"", b"one"]
    visitor.keep(dict(started[0][1])["Set-Cookie"])
    assert current(visitor) == "/b"


# --- close() ---------------------------------------------------------------------------------------------------------


class Closable:
    """A body that counts what the server does with it."""

    def __init__(self, chunks: Iterable[bytes], error: Optional[BaseException] = None) -> None:
        self.chunks, self.error = iter(chunks), error
        self.read: list[bytes] = []
        self.closed = 0

    def __iter__(self) -> Closable:
        return self

    def __next__(self) -> bytes:
        self.read.append(next(self.chunks))
        return self.read[-1]

    def close(self) -> None:
        self.closed += 1
        if self.error:
            raise self.error


def answering(body: Any, status: str = "200 OK", headers: Optional[list[tuple[str, str]]] = None) -> Any:
    def app(environ: Environ, start_response: Any) -> Any:
        start_response(status, list(HTML if headers is None else headers))
        return body

    return app


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_close_is_called_once_after_the_whole_body(method: str):
    body = Closable([b"one", b"two"])
    server, _ = serve_b(answering(body), method)
    assert (server.body, body.closed) == (b"onetwo", 1)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("read", [0, 1])
def test_close_is_called_once_when_the_visitor_goes_away(method: str, read: int):
    body = Closable([b"one", b"two"])
    visitor = at_b(answering(body), lint=lambda app: app)
    if method == "POST":
        visitor.get("/b", HTTP_X_PLAIN="1")
    result: Any = visitor.app(visitor.environ(method, "/b"), lambda *args: lambda data: None)
    for _ in range(read):
        next(iter(result))
    result.close()
    assert (len(body.read), body.closed) == (read, 1)
    assert visitor.post("/b", HTTP_X_PLAIN="1").status == 200  # and its claim has ended


def test_a_visitor_who_goes_away_before_the_first_byte_has_paid_all_the_same():
    visitor = at_b(answering(Closable([b"moved"]), "303 See Other", [("Location", "/c")]), lint=lambda app: app)
    visitor.get("/b", HTTP_X_PLAIN="1")
    visitor.app(visitor.environ("POST", "/b"), lambda *args: lambda data: None).close()
    assert visitor.get("/c").status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_close_raises_comes_through_once_and_changes_nothing(method: str):
    body = Closable([b"one"], Boom())
    server, visitor = serve_b(answering(body), method, Boom)
    assert (server.body, body.closed) == (b"one", 1)
    for cookie in server.cookies:
        visitor.keep(cookie)
    assert current(visitor) == "/b"


@pytest.mark.parametrize("app", [raises_at_the_first_chunk, raises_in_the_middle])
def test_close_is_called_once_after_an_exception(app: Any):
    bodies: list[Closable] = []

    def counted(environ: Environ, start_response: Any) -> Closable:
        bodies.append(Closable(app(environ, start_response)))
        return bodies[-1]

    serve_b(counted, "POST", Boom)
    assert [body.closed for body in bodies] == [1]


def test_a_body_without_close_needs_none():
    body = iter([b"one"])
    server, _ = serve_b(answering(body), "POST")
    assert server.body == b"one"


# --- nothing in between where nothing is to be done -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/other", "/aa", "/a/b", "/b.html", ""])
def test_an_unguarded_path_gets_the_applications_own_iterable_and_start_response(path: str):
    body = Closable([b"one"])
    got: list[Any] = []
    headers = [("Flowguard", "success"), ("X-Own", "1")]

    def app(environ: Environ, start_response: Any) -> Any:
        got.append((environ, start_response))
        start_response("200 OK", headers)
        return body

    started: list[Any] = []

    def start_response(*args: Any) -> Any:
        started.append(args)

    environ = Visitor(app).environ("POST", path, b"x=1", HTTP_COOKIE=f"{COOKIE}=forged")
    before = dict(environ)
    assert FlowGuard(app, FLOW, secret_key=SECRET)(environ, start_response) is body
    assert (started, environ) == ([("200 OK", headers)], before)
    assert got[0][0] is environ
    assert got[0][1] is start_response
    assert started[0][1] is headers


def test_a_file_of_the_servers_own_wrapper_is_handed_on_where_nothing_is_to_be_settled():
    """So that the server may send it by sendfile()."""
    file = FileWrapper(io.BytesIO(b"pdf"))
    visitor = at_b(answering(file, headers=[("Content-Type", "application/pdf")]))
    visitor.get("/b", HTTP_X_PLAIN="1")
    guard = FlowGuard(answering(file), FLOW, secret_key=SECRET)
    assert guard(visitor.environ("GET", "/b"), lambda *args: lambda data: None) is file


def test_a_file_that_enters_a_state_is_sent_and_closed():
    stream = io.BytesIO(b"pdf")
    visitor = at_b(answering(FileWrapper(stream)), lint=lambda app: app)
    assert visitor.get("/b").body == b"pdf"
    assert (current(visitor), stream.closed) == ("/b", True)


def test_a_body_is_never_read_ahead():
    visitor = at_b(answering(body := Closable([b"one", b"two", b"three"])), lint=lambda app: app)
    chunks = iter(visitor.app(visitor.environ("GET", "/b"), lambda *args: lambda data: None))
    assert body.read == []
    assert (next(chunks), body.read) == (b"one", [b"one"])
    assert (next(chunks), body.read) == (b"two", [b"one", b"two"])
    chunks.close()


def test_what_is_written_goes_out_at_once():
    events: list[str] = []

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", list(HTML))
        events.append("started")
        write(b"one")
        events.append("wrote")
        return []

    visitor = at_b(app, lint=lambda app: app)
    visitor.app(visitor.environ("GET", "/b"), lambda *args: lambda data: events.append(data.decode()))
    assert events == ["started", "one", "wrote"]


# --- headers ---------------------------------------------------------------------------------------------------------


def test_a_header_list_that_is_shared_by_all_requests_never_carries_a_cookie_to_another_visitor():
    shared = [("Content-Type", "text/html")]

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", shared)
        return [b"one"]

    guard = FlowGuard(app, FLOW, secret_key=SECRET)
    one, two = Visitor(guard), Visitor(guard)
    assert (len(one.get("/a").cookies), len(two.get("/a").cookies)) == (1, 1)
    assert shared == [("Content-Type", "text/html")]
    assert one.jar != two.jar


@pytest.mark.parametrize("path", ["/a", "/unguarded"])
def test_headers_in_a_tuple_are_tolerated(path: str):
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", (("Content-Type", "text/html"),))
        return [b"one"]

    response = Visitor(FlowGuard(app, FLOW, secret_key=SECRET), check=False).get(path)
    assert (response.status, response.header("Content-Type")) == (200, "text/html")


def test_the_applications_own_cookies_and_repeated_headers_stay_in_order():
    own = [("Set-Cookie", "a=1"), ("Content-Type", "text/html"), ("Vary", "Accept"), ("Set-Cookie", "b=2")]
    response = at_b(answering([b"one"], headers=own)).get("/b")
    assert response.headers[:4] == own
    assert response.cookies[:2] == ["a=1", "b=2"]
    assert len(response.cookies) == 3


NO_BODY = [("204 No Content", 1), ("304 Not Modified", 0)]


@pytest.mark.parametrize("lint", LINTS.values(), ids=LINTS)
@pytest.mark.parametrize(("status", "cookies"), NO_BODY, ids=["204", "304"])
def test_answers_without_a_body_get_no_content_type_and_a_304_no_cookie(status: str, cookies: int, lint: Any):
    response = at_b(answering([], status, []), lint).get("/b")
    assert (response.line, len(response.cookies), response.header("Content-Type")) == (status, cookies, None)


@pytest.mark.parametrize("lint", LINTS.values(), ids=LINTS)
def test_head_changes_nothing_and_has_no_body_and_no_cookie(lint: Any):
    visitor = at_b(answering([]), lint)
    response = visitor.call("HEAD", "/b")
    assert (response.status, response.body, response.cookies) == (200, b"", [])
    assert current(visitor) == "/a"


def test_a_refused_head_has_the_headers_of_a_get_and_no_body():
    visitor, app = guarded(FLOW)
    response = visitor.call("HEAD", "/c")
    assert (response.status, response.body, app.calls) == (409, b"", [])
    assert int(response.header("Content-Length") or 0) > 0


@pytest.mark.parametrize("status", ["200", "2", "", "OK", "200OK"])
def test_an_odd_status_line_is_the_servers_business(status: str):
    server, _ = serve_b(answering([b"one"], status), "GET")
    assert server.sent is not None
    assert (server.sent[0], server.body) == (status, b"one")


def test_no_header_of_ours_is_hop_by_hop():
    visitor, _ = guarded(FLOW, reset="/reset")
    responses = [visitor.get("/a"), visitor.get("/c"), visitor.post("/c"), visitor.call("PUT", "/c"),
                 visitor.get("/A"), visitor.get("/a", HTTP_SEC_PURPOSE="prefetch"), visitor.get("/reset")]  # fmt: skip
    names = {name for response in responses for name, _ in response.headers}
    assert [name for name in names if is_hop_by_hop(name)] == []


# --- the environ -----------------------------------------------------------------------------------------------------


def bare_environ(method: str, **more: Any) -> Environ:
    """Only what a request can't do without."""
    return {"REQUEST_METHOD": method, "wsgi.input": io.BytesIO(b""), **more}


@pytest.mark.parametrize("path", ["/a", "/c", "/A", "/reset", "/other", "/" + "x" * 9000])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "BREW"])
def test_keys_that_a_server_leaves_out_are_not_missed(path: str, method: str):
    app = answering([b""], "303 See Other", [("Location", "b?x=1")])
    guard = FlowGuard(app, FLOW, secret_key=SECRET, reset="/reset")
    server = Server()
    server.serve(guard, bare_environ(method, PATH_INFO=path))
    assert server.sent is not None
    assert server.sent[0][:3] in ("303", "409", "308", "405", "414")


def test_an_empty_path_is_the_root():
    app = Application()
    guard = FlowGuard(app, {"/": {"to": ["/b"]}, "/b": {}}, secret_key=SECRET)
    for environ in (bare_environ("GET"), bare_environ("GET", PATH_INFO="")):
        Server().serve(guard, environ)
    assert [(one.path, one.run.state) for one in app.seen] == [("", "/"), ("", "/")]


def test_the_application_gets_the_servers_own_environ_and_our_keys_have_a_dot_in_them():
    got: list[Environ] = []

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        got.append(environ)
        start_response("200 OK", list(HTML))
        return []

    environ = Visitor(app).environ("GET", "/a")
    before = set(environ)
    Server().serve(FlowGuard(app, FLOW, secret_key=SECRET), environ)
    assert got[0] is environ
    assert {key for key in set(environ) - before if not key.startswith("flowguard.")} == set()


def test_an_application_that_rewrites_its_environ_is_read_by_the_request_as_it_came():
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ.update(PATH_INFO="/elsewhere", SCRIPT_NAME="/deep", HTTP_HOST="evil", REQUEST_METHOD="HEAD")
        environ.update(HTTP_COOKIE="")
        del environ["QUERY_STRING"], environ["wsgi.url_scheme"]
        start_response("303 See Other", [("Location", f"http://{HOST}/shop/c"), *HTML])
        return []

    visitor = at_b(app, lint=lambda app: app)
    visitor.mount = "/shop"
    assert len(visitor.get("/b").cookies) == 1  # entered and done: the redirect led to its successor
    assert (current(visitor), visitor.get("/c", HTTP_X_PLAIN="1").status) == ("/b", 200)


def test_headers_that_a_client_sends_are_not_our_keys():
    visitor, app = guarded(FLOW)
    visitor.get("/a", HTTP_FLOWGUARD="success", HTTP_FLOWGUARD_JUDGED="1", HTTP_FLOWGUARD_RUN="x")
    assert visitor.get("/c", HTTP_FLOWGUARD_JUDGED="1", HTTP_FLOWGUARD="success").reason == "illegal"
    assert app.calls == ["GET /a"]


# --- mounted below a path --------------------------------------------------------------------------------------------

MOUNTS = [
    ("", "/a"),
    ("/shop", "/shop/a"),
    ("/shop/", "/shop/a"),
    ("//evil", "/evil/a"),
    ("//evil.example/..", "/evil.example/../a"),
    ("/\\evil", "/%5Cevil/a"),
    ("/caf\xc3\xa9", "/caf%C3%A9/a"),
    ("/x\r\nSet-Cookie: y=1", "/x%0D%0ASet-Cookie%3A%20y%3D1/a"),
    ("/a b?c#d", "/a%20b%3Fc%23d/a"),
]


@pytest.mark.parametrize(("mount", "location"), MOUNTS, ids=[repr(row[0]) for row in MOUNTS])
def test_a_location_carries_the_mount_point_and_stays_on_this_host(mount: str, location: str):
    visitor, app = guarded(FLOW, check=False, reset="/reset")
    visitor.mount = mount
    assert visitor.get("/c", HTTP_HOST="evil.example").location == location
    assert visitor.get("/A").location == location
    assert visitor.get("/reset").location == location
    assert app.calls == []


@pytest.mark.parametrize("mount", ["", "/shop", "/shop/", "/caf\xc3\xa9"])
@pytest.mark.parametrize(
    "location", ["{}/c", "http://shop.example{}/c", "//SHOP.example:8443{}/c", "c", "./c", "c?x=1#y"]
)
def test_a_redirect_to_a_state_is_understood_below_the_mount_point(mount: str, location: str):
    visitor, app = guarded(FLOW)
    visitor.mount = mount
    visitor.get("/a")
    visitor.get("/b")
    app.answers["POST /b"] = led(location.format(mount.rstrip("/").encode("latin-1").decode("latin-1")))
    visitor.post("/b")
    assert visitor.get("/c").status == 200


@pytest.mark.parametrize("location", ["/c", "http://shop.example/c", "/shopping/c", "http://other.example/shop/c", "http://["])
def test_a_redirect_outside_the_mount_point_leads_out_of_the_flow(location: str):
    visitor, app = guarded(FLOW)
    visitor.mount = "/shop"
    visitor.get("/a")
    visitor.get("/b")
    app.answers["POST /b"] = led(location)
    visitor.post("/b")  # any other redirect: unknown, so it is spent and not done
    assert visitor.get("/c").reason == "skipped"
    assert visitor.post("/b").reason == "duplicate"


def test_a_relative_redirect_is_read_against_the_path_as_it_stands():
    flow = {"/caf\u00e9/<name>/pay": {"once": True, "to": ["/caf\u00e9/<name>/done"]}, "/caf\u00e9/<name>/done": {}}
    visitor, app = guarded(flow)
    path = "/caf\xc3\xa9/a?b#c%41"
    visitor.send(visitor.environ("GET", "", PATH_INFO=f"{path}/pay"))
    app.answers[f"POST {path}/pay"] = led("done")
    visitor.send(visitor.environ("POST", "", PATH_INFO=f"{path}/pay"))
    assert visitor.send(visitor.environ("GET", "", PATH_INFO=f"{path}/done")).status == 200


# --- environ["flowguard.run"] ----------------------------------------------------------------------------------------


def test_the_application_sees_where_its_visitor_is():
    visitor, app = guarded({"/a": {"to": ["/b", "/c"]}, "/b": {"to": {"/a": True, "/c": True}}, "/c": {}}, name="tour")
    visitor.get("/a")
    visitor.get("/b")
    visitor.get("/c")
    first, second, third = (one.run for one in app.seen)
    fields = ("flow", "state", "current", "history", "allowed", "notice", "status")
    assert [tuple(getattr(run, field) for field in fields) for run in (first, second, third)] == [
        ("tour", "/a", None, (), ("/a",), None, ""),
        ("tour", "/b", "/a", (), ("/b", "/c"), None, ""),
        ("tour", "/c", "/b", (("/a", "/b"),), ("/a", "/c"), None, "/a -> /b"),
    ]
    assert [third.can_transition(name) for name in ("/a", "/b", "/c")] == [True, True, True]
    assert repr(third) == "<flowguard run 'tour': at '/b', asked for '/c'>"


def test_a_run_tells_what_may_come_next_and_knows_no_other_states():
    visitor, app = guarded(FLOW)
    visitor.get("/a")
    run = app.seen[0].run
    assert [run.can_transition(name) for name in ("/a", "/b", "/c")] == [True, False, False]
    with pytest.raises(KeyError):
        run.can_transition("/nowhere")


def test_an_unguarded_request_has_no_run():
    visitor, app = guarded(FLOW)
    visitor.get("/other")
    assert app.seen[0].run is None


SAYS = ["success", "failed", "finish", "reset"]
BY = {
    "header": lambda word: SHOWN.saying("Flowguard", word),
    "header in any case": lambda word: SHOWN.saying("FLOWGUARD", f" {word.title()} "),
    "method": lambda word: _by_method(word, late=False),
    "method in the body": lambda word: _by_method(word, late=True),
}


def _by_method(word: str, late: bool) -> Any:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if not late:
            getattr(environ["flowguard.run"], word)()
        return _answered(environ, start_response, word, late)

    return app


def _answered(environ: Environ, start_response: Any, word: str, late: bool) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    if not late:
        return [b"page"]

    def body() -> Iterator[bytes]:
        getattr(environ["flowguard.run"], word)()
        yield b"page"

    return body()


def after_submission(word: str, answer: Any) -> tuple[Any, Any, Any]:
    """Where /b, submitted and answered so, leaves the visitor: the current state, and what /b and /c say then."""
    visitor, app = guarded(FLOW)
    visitor.get("/a")
    visitor.get("/b")
    app.answers["POST /b"] = answer(word)
    assert visitor.post("/b").header("Flowguard") is None
    del app.answers["POST /b"]
    return current(visitor), visitor.twin().post("/b").reason, visitor.twin().get("/c").reason


@pytest.mark.parametrize("answer", BY.values(), ids=BY)
@pytest.mark.parametrize(
    ("word", "came_to"),
    [
        ("success", ("/b", "duplicate", None)),
        ("failed", ("/b", None, None)),
        ("finish", ("/b", "duplicate", "finished")),
        ("reset", (None, "not_started", "not_started")),
    ],
    ids=SAYS,
)
def test_the_application_says_what_a_submission_came_to(word: str, came_to: Any, answer: Any):
    got = after_submission(word, answer)
    # the twins share one ledger: after `failed`, the twin's own submission was shown, and /c is still to come
    assert got[:2] == came_to[:2]
    assert got[2] == ("skipped" if word == "failed" else came_to[2])


EARLIER = {name: BY[name] for name in ("header", "header in any case", "method")}


@pytest.mark.parametrize("answer", EARLIER.values(), ids=EARLIER)
@pytest.mark.parametrize(
    ("word", "came_to"),
    [
        ("success", ("/b", True, None)),
        ("failed", ("/a", False, "illegal")),
        ("finish", ("/b", True, "finished")),
        ("reset", (None, False, "not_started")),
    ],
    ids=SAYS,
)
def test_the_application_says_what_a_page_came_to(word: str, came_to: Any, answer: Any):
    """`success` on a safe request enters the state and makes it done, so that what follows is open."""
    visitor, app = guarded(FLOW)
    visitor.get("/a")
    app.answers["GET /b"] = answer(word)
    assert visitor.get("/b").header("Flowguard") is None
    where = current(visitor)
    done = visitor.twin().post("/b").reason == "duplicate" if where == "/b" else False
    assert (where, done, visitor.twin().get("/c").reason) == came_to


@pytest.mark.parametrize("answer", EARLIER.values(), ids=EARLIER)
def test_a_cancelled_payment_may_be_tried_again(answer: Any):
    """`failed` on a safe request sets the current state free, and not done."""
    visitor, app = guarded(FLOW)
    visitor.get("/a")
    visitor.get("/b")
    app.answers["POST /b"] = led("https://pay.example/1")
    visitor.post("/b")
    assert visitor.post("/b").reason == "duplicate"
    app.answers["GET /probe"] = answer("failed")
    assert visitor.get("/probe").header("Flowguard") is None
    assert visitor.post("/b").status == 303
    assert app.calls.count("POST /b") == 2


@pytest.mark.parametrize("answer", EARLIER.values(), ids=EARLIER)
@pytest.mark.parametrize(
    ("word", "came_to"),
    [("success", ("/b", None)), ("finish", ("/b", "finished")), ("reset", (None, "not_started"))],
    ids=["success", "finish", "reset"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_on_a_companion_path_the_application_speaks_of_the_current_state(
    method: str, word: str, came_to: Any, answer: Any
):
    """A payment provider's notification may come on a path beside the steps."""
    visitor, app = guarded(FLOW)
    visitor.get("/a")
    visitor.get("/b")
    app.answers[f"{method} /probe"] = answer(word)
    assert visitor.send(visitor.environ(method, "/probe")).header("Flowguard") is None
    assert (current(visitor), visitor.get("/c").reason) == came_to


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_word_is_taken_out_logged_and_counts_for_nothing(method: str, caplog: Any):
    visitor, app = guarded(FLOW)
    visitor.get("/a")
    visitor.get("/b")
    app.answers[f"{method} /b"] = SHOWN.saying("Flowguard", "sucess")
    with caplog.at_level(logging.WARNING, "flowguard"):
        response = visitor.send(visitor.environ(method, "/b"))
    assert (response.status, response.header("Flowguard")) == (200, None)
    assert [record.getMessage() for record in caplog.records] == [
        "the application said 'sucess' in its Flowguard header: not one of our words"
    ]
    assert visitor.get("/c").reason == "skipped"


def test_the_header_is_stronger_than_a_call_before_it():
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["flowguard.run"].success()
        start_response("200 OK", [*HTML, ("Flowguard", "failed")])
        return [b"page"]

    visitor = at_b(app)
    visitor.get("/b", HTTP_X_PLAIN="1")
    visitor.post("/b")
    assert visitor.get("/c").reason == "skipped"


def test_a_word_that_comes_after_the_first_byte_does_nothing():
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(HTML))
        yield b"page"
        environ["flowguard.run"].success()

    visitor = at_b(app)
    visitor.get("/b", HTTP_X_PLAIN="1")
    visitor.post("/b")
    assert visitor.get("/c").reason == "skipped"


def test_the_header_stays_where_no_flow_is():
    """On an unguarded path every byte is the application's own."""
    visitor, app = guarded(FLOW)
    app.answers["GET /other"] = SHOWN.saying("Flowguard", "success")
    assert visitor.get("/other").header("Flowguard") == "success"


# --- the body of a refused request -----------------------------------------------------------------------------------


class Stream(io.BytesIO):
    """A request's body that tells how it is read."""

    def __init__(self, body: bytes, error: Optional[Exception] = None) -> None:
        super().__init__(body)
        self.error = error
        self.largest = 0

    def read(self, size: Optional[int] = -1, /) -> bytes:
        if self.error:
            raise self.error
        assert size is not None
        assert size >= 0
        self.largest = max(self.largest, size)
        return super().read(size)


MIB = 1 << 20
BODIES = [
    ("whole", 200_000, {}, 200_000),
    ("up to the limit", 3 * MIB, {}, MIB),
    ("chunked, whole", 200_000, {"CONTENT_LENGTH": None, "wsgi.input_terminated": True}, 200_000),
    ("chunked, up to the limit", 3 * MIB, {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, MIB),
    ("not where no end is known", 10, {"CONTENT_LENGTH": None}, 0),
    ("shorter than it claims", 10, {"CONTENT_LENGTH": "20"}, 10),
]
REFUSED = {
    "a refusal": ("POST", "/c", {}),
    "another spelling": ("POST", "/C", {}),
    "a 308": ("GET", "/C", {}),
    "a prefetch": ("POST", "/a", {"HTTP_SEC_PURPOSE": "prefetch"}),
    "the reset path": ("POST", "/reset", {}),
    "a method that the reset path does not take": ("PUT", "/reset", {}),
    "a path that is too long": ("POST", "/" + "x" * 9000, {}),
}


@pytest.mark.parametrize(("method", "path", "more"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize(("size", "keys", "read"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_an_answer_of_ours_reads_the_body_first(method: str, path: str, more: Any, size: int, keys: Any, read: int):
    """A server that is left with an unread body resets the connection, and the answer is lost."""
    visitor, app = guarded(FLOW, check=False, reset="/reset")
    stream = Stream(b"x" * size)
    at: list[int] = []

    def start_response(*args: Any) -> None:
        at.append(stream.tell())

    environ = visitor.environ(method, path, **{"CONTENT_LENGTH": str(size), **keys, **more, "wsgi.input": stream})
    visitor.app(environ, start_response)
    assert (at, app.calls) == ([read], [])
    assert stream.largest <= 65_536


def test_a_body_that_breaks_off_is_answered_all_the_same():
    visitor, _ = guarded(FLOW, check=False)
    assert visitor.post("/c", b"x", **{"wsgi.input": Stream(b"", OSError("gone"))}).reason == "not_started"


# --- called again ----------------------------------------------------------------------------------------------------


def test_an_application_that_calls_the_guard_again_is_judged_once():
    """Error documents, sub-requests, retries: the request was judged when it came in."""
    depth: list[str] = []

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        depth.append(environ["PATH_INFO"])
        if len(depth) == 1:
            result: Iterable[bytes] = guard({**environ, "PATH_INFO": "/c"}, start_response)
            return result
        start_response("200 OK", list(HTML))
        return [b"inner"]

    guard = FlowGuard(app, FLOW, secret_key=SECRET)
    visitor = Visitor(guard)
    response = visitor.get("/a")
    assert (response.body, depth, len(response.cookies)) == (b"inner", ["/a", "/c"], 1)
    assert current(visitor) == "/a"


def test_two_guards_one_in_the_other_both_judge():
    app = Application()
    inner = FlowGuard(app, {"/pay": {"to": ["/done"]}, "/done": {}}, name="inner", secret_key=SECRET)
    outer = FlowGuard(inner, {"/cart": {"to": ["/done"]}, "/done": {}}, name="outer", secret_key=SECRET)
    visitor = Visitor(outer)
    visitor.get("/cart")
    assert visitor.get("/done").reason == "not_started"  # by the inner one, which has seen no /pay
    visitor.get("/pay")
    visitor.get("/cart")
    assert app.calls == ["GET /cart", "GET /pay", "GET /cart"]
    assert visitor.get("/done").status == 200


# --- real servers ----------------------------------------------------------------------------------------------------


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing: the terminal is the tests'."""


class _QuietWerkzeug(werkzeug.serving.WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        """As above."""


def wsgiref_server(app: Any) -> Any:
    return wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=_Quiet)


def werkzeug_server(app: Any) -> Any:
    return werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=_QuietWerkzeug)


SERVERS = {"wsgiref": wsgiref_server, "werkzeug": werkzeug_server}


@pytest.fixture(params=SERVERS.values(), ids=SERVERS)
def served(request: Any) -> Iterator[Callable[[Any], int]]:
    """Starts a server of an application; returns its port."""
    started: list[tuple[Any, threading.Thread]] = []

    def start(app: Any) -> int:
        server = request.param(app)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return int(server.server_address[1])

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join(10)
        server.server_close()


def fetch(port: int, method: str, path: str, cookie: str = "", body: Optional[bytes] = None) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, {"Cookie": cookie, "Accept": "text/html"})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def cookie_of(headers: Any) -> str:
    return str(headers["Set-Cookie"]).partition(";")[0]


@pytest.mark.parametrize(("app", "body"), SHAPES, ids=[app.__name__ for app, _ in SHAPES])
def test_a_real_server_delivers_every_shape_whole(app: Any, body: bytes, served: Any):
    port = served(FlowGuard(app, FLOW, secret_key=SECRET))
    status, headers, got = fetch(port, "GET", "/a")
    assert (status, got, cookie_of(headers).partition("=")[0]) == (200, body, COOKIE)


@pytest.mark.parametrize("app", [raises_at_once, raises_after_the_start, raises_at_the_first_chunk])
def test_a_real_server_answers_an_exception_as_without_a_guard(app: Any, served: Any, capsys: Any):
    port = served(FlowGuard(app, FLOW, secret_key=SECRET))
    status, headers, _ = fetch(port, "GET", "/a")
    assert (status, headers["Set-Cookie"]) == (500, None)


def test_a_real_server_streams_a_guarded_answer_as_it_is_made(served: Any):
    """The second chunk is made only after the visitor has read the first."""
    seen = threading.Event()

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream"), ("Content-Length", "8")])
        yield b"one."
        assert seen.wait(10)
        yield b"two."

    port = served(FlowGuard(app, FLOW, secret_key=SECRET))
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        got = b""
        while not got.endswith(b"one."):
            got += client.recv(4096)
        seen.set()
        while chunk := client.recv(4096):
            got += chunk
    assert got.endswith(b"one.two.")


def test_a_large_form_that_is_refused_is_answered_and_not_reset(served: Any):
    port = served(FlowGuard(Application(), FLOW, secret_key=SECRET))
    status, headers, _ = fetch(port, "POST", "/c", body=b"x" * 900_000)
    assert (status, headers["Flowguard-Reason"]) == (409, "not_started")


def test_a_real_server_walks_the_flow(served: Any):
    app = Application()
    app.answers["POST /b"] = led("/c")
    port = served(FlowGuard(app, FLOW, secret_key=SECRET))
    _, headers, _ = fetch(port, "GET", "/a")
    _, headers, _ = fetch(port, "GET", "/b", cookie_of(headers))
    status, headers, _ = fetch(port, "POST", "/b", old := cookie_of(headers), b"card=1")
    assert (status, headers["Location"]) == (303, "/c")
    status, again, _ = fetch(port, "POST", "/b", old, b"card=1")
    assert (status, again["Flowguard-Reason"], again["Location"]) == (303, "duplicate", "/c")
    status, _, body = fetch(port, "GET", "/c", cookie_of(again))
    assert (status, body) == (200, b"page")
    assert app.calls == ["GET /a", "GET /b", "POST /b", "GET /c"]
    assert [one.body for one in app.seen] == [b"", b"", b"card=1", b""]


def test_statuses_without_a_body_leave_a_real_server_in_order(served: Any):
    app = Application()
    app.answers.update({"GET /a": DONE, "GET /b": NOT_MODIFIED, "POST /b": INVALID})
    port = served(FlowGuard(app, FLOW, secret_key=SECRET))
    status, headers, body = fetch(port, "GET", "/a")
    assert (status, body) == (204, b"")
    assert fetch(port, "GET", "/b", cookie_of(headers))[::2] == (304, b"")


def test_answers_of_the_tests_are_what_they_seem():
    assert (Answer().status, DONE.body, INVALID.status[:3]) == ("200 OK", b"", "422")
