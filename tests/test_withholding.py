"""`"body:TEXT"`: an answer waits until its beginning says what it means, and leaves as the application made it."""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
import zlib
from typing import Any, Callable, Iterable, Iterator
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from broken_apps import never_starts, starts_twice, yields_before_it_starts
from test_wsgi import EARLY, LINTS, SHAPES, Closable, Server, cookie_of, fetch, served
from visitor import SECRET, Application, Boom, Environ, Visitor, led

from flowguard import FlowGuard
from flowguard.searching import WITHIN

__all__ = ["served"]  # a fixture

HTML = [("Content-Type", "text/html")]
FLOW: dict[str, Any] = {
    "/pay": {"to": ["/done"], "submit": True, "accept": ["body:Thank you"], "reject": ["body:Sorry"]},
    "/done": {},
    "/unreachable": {"accept": ["body:one two"]},
    "/never": {"within": ["/unreachable"]},
}
ONCE: dict[str, Any] = {**FLOW, "/start": {"start": True, "to": ["/pay"]}, "/pay": {**FLOW["/pay"], "once": True}}


def answering(*chunks: bytes, status: str = "200 OK", **headers: str) -> Callable[..., Iterable[bytes]]:
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response(status, [*HTML, *more] if "Content_Type" not in headers else more)
        return iter(chunks)

    return app


def at_pay(app: Any, lint: Callable[[Any], Any] = validator, flow: Any = ONCE, **options: Any) -> Visitor:
    """A visitor who is about to pay; *app* answers the payment, another application the rest."""
    rest = Application()

    def whole(environ: Environ, start_response: Any) -> Iterable[bytes]:
        mine = environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/pay"
        result: Iterable[bytes] = (app if mine else rest)(environ, start_response)
        return result

    guard = FlowGuard(lint(whole), flow, secret_key=SECRET, ledger_wait=0, **options)
    visitor = Visitor(lint(guard), check=False)
    visitor.get("/start")
    visitor.get("/pay")
    return visitor


def outcome(visitor: Visitor) -> str:
    """What came of the payment, read from what may follow; nothing is submitted for it but one more payment."""
    if "/pay" not in json.loads(visitor.call("GET", "/never").body)["missing"]:
        return "success"
    return "free" if visitor.post("/pay").reason is None else "spent"


# --- what counts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "came_to"),
    [
        ([b"<h1>Thank you!</h1>"], "success"),
        ([b"<h1>Sorry!</h1>"], "free"),
        ([b"<h1>Thank you!</h1>", b"<p>Sorry for the delay.</p>"], "free"),
        ([b"<p>Sorry,", b" no. Thank you.</p>"], "free"),
        ([b"<h1>Tha", b"", b"nk", b" you</h1>"], "success"),
        ([b"<form>"], "free"),
        ([], "free"),
        ([b"x" * (WITHIN - 9), b"Thank you"], "success"),
        ([b"x" * (WITHIN - 8), b"Thank you"], "free"),
        ([b"Thank you", b"x" * (WITHIN - 9), b"Sorry"], "success"),
    ],
    ids=["an accepted text", "a rejected text", "both: `reject` wins", "both in the other order", "in many pieces",
         "none: the form again", "nothing at all", "just within 64 KiB", "just beyond 64 KiB",
         "a rejected text beyond 64 KiB"],
)  # fmt: skip
def test_a_page_says_by_its_text_what_became_of_the_payment(chunks: list[bytes], came_to: str):
    visitor = at_pay(answering(*chunks))
    assert visitor.post("/pay").body == b"".join(chunks)
    assert outcome(visitor) == came_to


@pytest.mark.parametrize(("text", "current"), [(b"Sorry, sold out", "/start"), (b"Your card?", "/pay")])
def test_a_page_that_is_visited_says_by_its_text_whether_it_was_entered(text: bytes, current: str):
    flow = {**ONCE, "/pay": {"to": ["/done"], "reject": ["body:Sorry"]}}
    app = Application()
    app.answers["GET /pay"] = answering(text)
    visitor = Visitor(FlowGuard(app, flow, secret_key=SECRET))
    visitor.get("/start")
    assert visitor.get("/pay").body == text
    assert json.loads(visitor.call("GET", "/never").body)["current"] == current


def test_a_text_counts_whatever_the_status():
    visitor = at_pay(answering(b"Thank you", status="500 Oops"))
    visitor.post("/pay")
    assert outcome(visitor) == "success"


@pytest.mark.parametrize("lint", LINTS.values(), ids=LINTS)
@pytest.mark.parametrize(("app", "body"), SHAPES, ids=[app.__name__ for app, _ in SHAPES])
def test_an_answer_is_read_and_leaves_unchanged_in_whatever_shape_it_comes(app: Any, body: bytes, lint: Any):
    visitor = at_pay(app, lint, {**ONCE, "/pay": {**ONCE["/pay"], "accept": ["body:one two"]}})
    response = visitor.post("/pay")
    assert (response.status, response.body) == (200, body)
    assert outcome(visitor) == ("success" if body else "free")


def test_the_run_leaves_with_the_headers_of_the_answer_that_decided_it():
    response = at_pay(answering(b"x", b"Thank you", X_Own="1", Set_Cookie="own=1")).post("/pay")
    assert response.header("X-Own") == "1"
    assert [cookie.partition("=")[0] for cookie in response.cookies] == ["own", "flowguard-flow"]


# --- charsets and compression ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"]
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_compressed_answer_is_read_and_leaves_compressed(encoding: str, pack: Any, size: int):
    packed = pack(b"<h1>Thank you</h1>" + b"x" * 200_000)
    pieces = [packed[place : place + size] for place in range(0, len(packed), size)]
    visitor = at_pay(answering(*pieces, Content_Encoding=encoding))
    response = visitor.post("/pay")
    assert (response.body, response.header("Content-Encoding")) == (packed, encoding)
    assert outcome(visitor) == "success"


def test_a_text_is_compared_in_the_answers_charset():
    flow = {**ONCE, "/pay": {**ONCE["/pay"], "accept": ["body:Danke für"]}}
    page = "Danke für alles".encode("latin-1")
    visitor = at_pay(answering(page, Content_Type="text/html; charset=iso-8859-1"), flow=flow)
    assert visitor.post("/pay").body == page
    assert outcome(visitor) == "success"


def test_an_encoding_that_cannot_be_read_is_logged_and_nothing_waits(caplog: Any):
    visitor = at_pay(answering(b"Thank you", Content_Encoding="br"))
    with caplog.at_level(logging.WARNING, "flowguard.decision"):
        assert visitor.post("/pay").body == b"Thank you"
    assert [record.getMessage() for record in caplog.records] == [
        "state '/pay' of flow 'flow': an answer that is encoded as 'br' can't be searched"
    ]
    assert outcome(visitor) == "free"


@pytest.mark.parametrize(
    ("method", "path", "kept"),
    [("POST", "/pay", False), ("GET", "/pay", False), ("HEAD", "/pay", True), ("GET", "/start", True)],
    ids=["a submission", "a page", "HEAD", "a state without texts"],
)
def test_only_a_request_whose_answer_is_read_loses_what_would_compress_or_cut_it(method: str, path: str, kept: bool):
    app = Application()
    visitor = Visitor(FlowGuard(app, ONCE, secret_key=SECRET))
    if path == "/pay":
        visitor.get("/start")
        visitor.get("/pay")
    visitor.call(method, path, HTTP_ACCEPT_ENCODING="gzip", HTTP_RANGE="bytes=5-")
    got = app.seen[-1].environ
    assert (got["REQUEST_METHOD"], "HTTP_ACCEPT_ENCODING" in got, "HTTP_RANGE" in got) == (method, kept, kept)


# --- how long it waits -----------------------------------------------------------------------------------------------


def events_of(*chunks: bytes, **headers: str) -> list[str]:
    """What happens, in order, when the payment is answered by *chunks*."""
    events: list[str] = []

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [*HTML, *headers.items()])
        for chunk in chunks:
            events.append(f"made {len(chunk)}")
            yield chunk
        events.append("ended")

    def start_response(*args: Any) -> Any:
        events.append("started")
        return lambda data: None

    visitor = at_pay(app, lint=lambda app: app)
    answer = visitor.app(visitor.environ("POST", "/pay"), start_response)
    events.extend(f"sent {len(chunk)}" for chunk in answer)
    return events


def test_an_answer_leaves_as_soon_as_a_rejected_text_was_read():
    assert events_of(b"x", b"Sorry", b"more") == [
        "made 1", "made 5", "started", "sent 1", "sent 5", "made 4", "sent 4", "ended",
    ]  # fmt: skip


def test_after_an_accepted_text_it_waits_for_what_could_still_be_rejected():
    assert events_of(b"Thank you", b"x") == ["made 9", "made 1", "ended", "started", "sent 9", "sent 1"]


def test_no_more_than_64_kib_are_held_back():
    assert events_of(b"x" * 60_000, b"y" * 60_000, b"z") == [
        "made 60000", "made 60000", "started", "sent 60000", "sent 60000", "made 1", "sent 1", "ended",
    ]  # fmt: skip


def test_where_the_headers_decide_nothing_waits():
    assert events_of(b"Sorry", Flowguard="success") == ["started", "made 5", "sent 5", "ended"]


def test_what_is_written_waits_too_and_leaves_in_order():
    events: list[str] = []

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", list(HTML))
        for data in (b"one", b"Sorry", b"", b"two"):
            write(data)
            events.append(f"wrote {data.decode()}")
        return [b"three"]

    def start_response(*args: Any) -> Any:
        events.append("started")
        return lambda data: events.append(f"sent {data.decode()}")

    visitor = at_pay(app, lint=lambda app: app)
    assert list(visitor.app(visitor.environ("POST", "/pay"), start_response)) == [b"three"]
    assert events == ["wrote one", "started", "sent one", "sent Sorry", "wrote Sorry", "sent ", "wrote ", "sent two",
                      "wrote two"]  # fmt: skip


def test_the_rest_of_an_answer_is_never_read_ahead():
    body = Closable([b"one", b"Sorry", b"three", b"four"])

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(HTML))
        return body

    visitor = at_pay(app, lint=lambda app: app)
    chunks = iter(visitor.app(visitor.environ("POST", "/pay"), lambda *args: lambda data: None))
    assert body.read == []
    assert (next(chunks), body.read) == (b"one", [b"one", b"Sorry"])
    assert (next(chunks), body.read) == (b"Sorry", [b"one", b"Sorry"])
    assert (next(chunks), body.read) == (b"three", [b"one", b"Sorry", b"three"])
    chunks.close()
    assert body.closed == 1


def test_a_file_is_read_sent_and_closed():
    stream = io.BytesIO(b"Thank you" + b"x" * 1_000_000)

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(HTML))
        return FileWrapper(stream)

    visitor = at_pay(app, lint=lambda app: app)
    assert len(visitor.post("/pay").body) == 1_000_009
    assert (outcome(visitor), stream.closed) == ("success", True)


# --- when things go wrong --------------------------------------------------------------------------------------------


def pay(app: Any, error: Any = None) -> tuple[Server, Visitor]:
    """Pay at a strict server, without a linter between; *error* is what must come through."""
    visitor, server = at_pay(app, lint=lambda app: app), Server()
    environ = visitor.environ("POST", "/pay", HTTP_X_BOOM="1")
    if error is None:
        server.serve(visitor.app, environ)
    else:
        with pytest.raises(error):
            server.serve(visitor.app, environ)
    for cookie in server.cookies:
        visitor.keep(cookie)
    return server, visitor


def raises_after_a_piece(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", list(HTML))
    yield b"<h1>Thank you"
    raise Boom


def raises_after_writing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))(b"<h1>Thank you")
    raise Boom


@pytest.mark.parametrize("app", [*EARLY, raises_after_a_piece, raises_after_writing])
def test_an_exception_while_the_answer_waits_comes_through_before_the_first_byte_and_the_payment_is_spent(app: Any):
    server, visitor = pay(app, Boom)
    assert server.sent is None
    assert outcome(visitor) == "spent"


def test_an_exception_after_it_was_let_go_changes_nothing():
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(HTML))
        yield b"Sorry"
        if "HTTP_X_BOOM" in environ:
            raise Boom

    server, visitor = pay(app, Boom)
    assert (server.body, outcome(visitor)) == (b"Sorry", "free")


def test_an_answer_that_is_given_up_while_it_waits_is_unknown_and_closed():
    body = Closable([b"Thank you"])

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(HTML))
        return body

    visitor = at_pay(app, lint=lambda app: app)
    visitor.app(visitor.environ("POST", "/pay"), lambda *args: lambda data: None).close()
    assert (body.closed, outcome(visitor)) == (1, "spent")


def fails_over(first: bytes, second: bytes) -> Callable[..., Iterator[bytes]]:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [*HTML, ("X-First", "1")])
        yield first
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", list(HTML), sys.exc_info())
        yield second

    return app


def test_an_application_may_change_its_mind_while_the_answer_waits():
    server, visitor = pay(fails_over(b"Thank you", b"oops"))
    assert server.sent is not None
    assert (server.sent[0], "X-First" in dict(server.sent[1]), server.body) == ("500 Oops", False, b"oops")
    assert outcome(visitor) == "spent"


def test_the_answer_that_takes_the_others_place_is_read_for_itself():
    server, visitor = pay(fails_over(b"Thank", b" you"))
    assert (server.body, outcome(visitor)) == (b" you", "spent")
    server, visitor = pay(fails_over(b"no", b"Thank you"))
    assert (server.body, outcome(visitor)) == (b"Thank you", "success")


def test_after_it_was_let_go_another_answer_is_the_servers_to_refuse():
    server, visitor = pay(fails_over(b"Sorry", b"oops"), Boom)
    assert server.sent is not None
    assert (server.sent[0], server.body, outcome(visitor)) == ("200 OK", b"Sorry", "free")


@pytest.mark.parametrize("app", [starts_twice, never_starts, yields_before_it_starts])
def test_an_application_that_does_not_keep_to_pep_3333_is_told_so(app: Any):
    _, visitor = pay(app, AssertionError)
    assert outcome(visitor) == "spent"


def test_an_application_that_neither_starts_nor_answers_leaves_the_server_without_an_answer():
    server, visitor = pay(lambda environ, start_response: iter([]))
    assert (server.sent, outcome(visitor)) == (None, "spent")


@pytest.mark.parametrize("method", [None, "success", "failed"])
def test_the_application_may_still_say_what_it_came_to_while_its_answer_waits(method: Any):
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(HTML))
        yield b"Thank you"
        if method is not None:
            getattr(environ["flowguard.run"], method)()

    visitor = at_pay(app)
    visitor.post("/pay")
    assert outcome(visitor) == ("free" if method == "failed" else "success")


# --- real servers ----------------------------------------------------------------------------------------------------


def test_a_real_server_delivers_a_huge_answer_whole_in_pieces(served: Any):
    pieces = [b"<h1>Thank ", b"you</h1>", *[bytes([65 + place]) * 100_000 for place in range(20)]]
    app = Application()
    app.answers.update({"POST /pay": answering(*pieces), "POST /start": led("/pay")})
    port = served(FlowGuard(app, ONCE, secret_key=SECRET))
    cookie = cookie_of(fetch(port, "GET", "/start")[1])
    cookie = cookie_of(fetch(port, "GET", "/pay", cookie)[1])
    status, headers, body = fetch(port, "POST", "/pay", cookie, b"card=1")
    assert (status, body == b"".join(pieces)) == (200, True)
    assert fetch(port, "GET", "/done", cookie_of(headers))[0] == 200
