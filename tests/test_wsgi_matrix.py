"""Every shape of an application that PEP 3333 allows, and some that it forbids, before a strict server: with the guard
in between it comes to the same as without, on every kind of path, as wsgiref and WebTest check it on both sides.

What a shape does to a run is in test_wsgi; here is what it does to the server.
"""

from __future__ import annotations

import io
import sys
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional
from wsgiref.util import FileWrapper

import pytest
from broken_apps import never_starts, starts_twice, yields_before_it_starts
from test_wsgi import (
    EARLY,
    HTML,
    LINTS,
    SHAPES,
    Closable,
    Server,
    answering,
    fails_over_after_the_first_byte,
    fails_over_before_the_first_byte,
    never_starts_and_is_empty,
    raises_after_a_write,
    raises_in_the_middle,
    raises_when_it_is_iterated,
    redirected_by_write,
    redirected_late,
    starts_with_a_byte_first,
)
from visitor import PAGE, SECRET, Application, Boom, Environ, Visitor

from flowguard import FlowGuard

# --- more shapes -----------------------------------------------------------------------------------------------------


def starts_in_the_iterator(environ: Environ, start_response: Any) -> Iterable[bytes]:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            start_response("200 OK", list(HTML))
            return iter([b"one"])

    return Body()


def close_raises(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    return Closable([b"one"], Boom())


def is_a_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/pdf"), ("Content-Length", "5")])
    return FileWrapper(io.BytesIO(b"%PDF-"))


def repeats_headers(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*HTML, ("Set-Cookie", 'a="x;y"'), ("Vary", "Accept"), ("Set-Cookie", "b=2"), ("X", "")])
    return [b"one"]


def says_how_it_is_cached(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*HTML, ("cache-control", "max-age=5"), ("ETag", '"1"')])
    return [b"one"]


def starts_twice_rightly(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [*HTML, ("Set-Cookie", "first=1")])
    try:
        raise Boom
    except Boom:
        start_response("404 Not Found", list(HTML), sys.exc_info())
    return [b"gone"]


def writes_before_it_starts_anew(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))(b"one")
    try:
        raise Boom
    except Boom:
        start_response("500 Oops", list(HTML), sys.exc_info())
    return [b"two"]


def leaves(environ: Environ, start_response: Any) -> Iterable[bytes]:
    raise SystemExit(3)


def is_interrupted(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    yield b"one"
    raise KeyboardInterrupt


def reads_the_body(environ: Environ, start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", list(HTML))
    return [b"got ", body]


ANSWERS = [answering([b"x"], status, list(HTML)) for status in (
    "200 OK", "201 Created", "202 Accepted", "400 Bad Request", "404 Not Found", "410 Gone", "429 Too Many Requests",
    "500 Oops", "503 Busy",
)]  # fmt: skip
EMPTY = [answering([], status, []) for status in ("204 No Content", "304 Not Modified")]
REDIRECTS = [answering([b""], status, [("Location", to), *HTML]) for status, to in (
    ("301 Moved", "/c"), ("302 Found", "/b"), ("303 See Other", "/a"), ("307 Again", "/elsewhere"),
    ("308 For ever", "//x"), ("303 See Other", "http://["), ("303 See Other", "?x"),
)]  # fmt: skip
ODD = [answering([b"x"], status, list(HTML)) for status in ("200", "2", "", "OK", "200OK", "999 X", "099 X", "1e2 X")]
ILL = [
    answering([b"x"], "200 OK", (("Content-Type", "text/html"),)),  # type: ignore[arg-type]
    answering(["x"]), answering([b"x"], "200 OK", [("Content-Type", "text/html\r\nX: y")]),
    answering([b"x"], "200 OK", [("Status", "200"), *HTML]), answering([b"x"], "200 OK", []),
]  # fmt: skip


SHAPED = [
    *(app for app, _ in SHAPES), *EARLY, *ANSWERS, *EMPTY, *REDIRECTS, *ODD, *ILL,
    raises_in_the_middle, raises_after_a_write, fails_over_before_the_first_byte, fails_over_after_the_first_byte,
    never_starts, never_starts_and_is_empty, yields_before_it_starts, starts_twice,
    starts_with_a_byte_first, redirected_late, redirected_by_write, starts_in_the_iterator, close_raises, is_a_file,
    repeats_headers, says_how_it_is_cached, starts_twice_rightly, writes_before_it_starts_anew, leaves, is_interrupted,
    reads_the_body,
]  # fmt: skip

# --- kinds of paths --------------------------------------------------------------------------------------------------

FLOW: dict[str, Any] = {
    "/a": {"to": ["/b"], "back": "edit"},
    "/b": {"once": True, "to": ["/c"]},
    "/c": {"repeat": True, "to": ["/a"]},
    "/probe": {"within": ["/a", "/b"]},
    "/basket": {"undoes": ["/b"]},
}


class Kind(NamedTuple):
    """A request, after those of a walk, before a guard with these options."""

    walk: tuple[str, ...]
    ask: str
    options: dict[str, Any] = {}


KINDS = {
    "no path of a flow": Kind(("/a",), "GET /elsewhere"),
    "a form of none": Kind(("/a",), "POST /elsewhere"),
    "the first page": Kind((), "GET /a"),
    "the first form": Kind((), "POST /a"),
    "a page that is entered": Kind(("/a",), "GET /b"),
    "a reload": Kind(("/a", "/b"), "GET /b"),
    "a look": Kind(("/a", "/b"), "GET /a"),
    "HEAD": Kind(("/a",), "HEAD /b"),
    "a payment": Kind(("/a", "/b"), "POST /b"),
    "a step that is entered by a form": Kind(("/a",), "POST /b"),
    "an edit": Kind(("/a", "/b"), "POST /a"),
    "a companion": Kind(("/a",), "GET /probe"),
    "a companion that undoes": Kind(("/a", "/b"), "POST /basket"),
    "a step out of order, watched": Kind(("/a",), "POST /c", {"mode": "report"}),
    "a step out of order, not guarded": Kind(("/a",), "POST /c", {"mode": "off"}),
    "a step out of order, exempt": Kind((), "POST /c", {"exempt": lambda environ: True}),
}  # fmt: skip
UNTOUCHED = ("no path of a flow", "a form of none", "a step out of order, not guarded", "a step out of order, exempt")


class Seen(NamedTuple):
    """What a server saw of an answer."""

    status: Any
    headers: list[Any]
    body: bytes
    raised: Optional[str]


def served(app: Any, environ: Environ) -> Seen:
    server, raised = Server(), None
    try:
        server.serve(app, environ)
    except BaseException as error:  # two of the shapes end by what is no Exception
        raised = type(error).__name__
    status, headers = server.sent or server.started or (None, [])
    return Seen(status, headers, server.body, raised)


def switch(shape: Any, usual: Any) -> Any:
    """The shape for the request that is marked, and the usual application for every other."""
    return lambda environ, start_response: (shape if "HTTP_X_SHAPE" in environ else usual)(environ, start_response)


CHECKED = [
    pytest.param(shape, lint, id=f"{number} {shape.__name__}, {name}")
    for number, shape in enumerate(SHAPED) for name, lint in {"unchecked": lambda app: app, **LINTS}.items()
    if shape is not raises_when_it_is_iterated or name == "unchecked"  # over that, both checkers trip themselves
]  # fmt: skip


@pytest.mark.parametrize(("shape", "lint"), CHECKED)
def test_a_server_sees_what_it_would_see_without_a_guard(shape: Any, lint: Callable[[Any], Any]):
    for name, kind in KINDS.items():
        app = switch(lint(shape), Application())
        guard = FlowGuard(app, FLOW, secret_key=SECRET, ledger_wait=0, **kind.options)
        visitor = Visitor(guard, check=False)
        for path in kind.walk:
            assert visitor.get(path).status == 200
        method, path = kind.ask.split()
        request = {"HTTP_X_SHAPE": "1", **PAGE}
        guarded = served(lint(guard), visitor.environ(method, path, b"a=1" * (method == "POST"), **request))
        alone = served(lint(lint(shape)), visitor.environ(method, path, b"a=1" * (method == "POST"), **request))
        ours = guarded.headers[len(alone.headers) :]
        assert guarded._replace(headers=[]) == alone._replace(headers=[]), name
        assert list(guarded.headers[: len(alone.headers)]) == list(alone.headers), name
        assert {header for header, _ in ours} <= {"Vary", "Cache-Control", "Set-Cookie"}, name
        if name in UNTOUCHED:
            assert ours == [], name


@pytest.mark.parametrize("name", UNTOUCHED)
@pytest.mark.parametrize("body", [[], (), iter([b"x"]), (chunk for chunk in [b"x"]), Closable([b"x"]), None],
                         ids=lambda body: type(body).__name__)  # fmt: skip
def test_where_nothing_is_guarded_the_very_objects_go_through(body: Any, name: str):
    got: list[Any] = []

    def app(*request: Any) -> Any:
        got.extend(request)
        return body

    kind = KINDS[name]
    guard = FlowGuard(app, FLOW, secret_key=SECRET, **kind.options)
    method, path = kind.ask.split()
    environ, start_response = Visitor(guard, check=False).environ(method, path), Server().start_response
    before = dict(environ)
    assert guard(environ, start_response) is body
    assert got[0] is environ
    assert got[1] is start_response
    assert environ == before


REFUSED = {
    "without a run": Kind((), "GET /c"), "a form without a run": Kind((), "POST /c"),
    "out of order": Kind(("/a",), "GET /c"),
    "a form out of order": Kind(("/a",), "POST /c"), "another spelling": Kind(("/a",), "GET /B"),
    "a form to another spelling": Kind(("/a",), "POST //b"), "HEAD": Kind(("/a",), "HEAD /c"),
    "OPTIONS": Kind(("/a",), "OPTIONS /c"), "the reset": Kind(("/a",), "POST /again", {"reset": "/again"}),
    "a reset by another method": Kind(("/a",), "PUT /again", {"reset": "/again"}),
    "under a fence": Kind(("/a",), "DELETE /fenced/x", {"fence": ["/fenced/"]}),
    "a path without end": Kind(("/a",), "GET /" + "x" * 9000),
}  # fmt: skip


@pytest.mark.parametrize("lint", LINTS.values(), ids=LINTS)
@pytest.mark.parametrize("kind", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("client", [PAGE, {}], ids=["page", "script"])
def test_what_is_refused_is_answered_by_the_rules_and_no_application_is_called(kind: Kind, client: Any, lint: Any):
    app = switch(leaves, Application())
    guard = FlowGuard(lint(app), FLOW, secret_key=SECRET, **kind.options)
    visitor = Visitor(guard, check=False)
    for path in kind.walk:
        visitor.get(path)
    method, path = kind.ask.split()
    body = b"a=1" * (method in ("POST", "PUT", "DELETE"))
    seen = served(lint(guard), visitor.environ(method, path, body, HTTP_X_SHAPE="1", **client))
    assert seen.raised is None
    assert seen.status[:3] in ("303", "308", "405", "409", "414")
    length = dict(seen.headers)["Content-Length"]
    assert len(seen.body) == (0 if method == "HEAD" else int(length))
