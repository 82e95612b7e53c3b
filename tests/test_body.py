"""A request's body: read once, spooled, and there again for each who reads it."""

from __future__ import annotations

import gc
import io
from typing import Any

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from flowguard.body import SPOOL, buffer_body, hand_over_body, lost_body, new_body

LARGE = bytes(range(256)) * (SPOOL // 128)  # twice what stays in memory


def request(body: bytes, **more: Any) -> dict[str, Any]:
    return {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), **more}


@pytest.mark.parametrize("body", [b"a=1", LARGE], ids=["in memory", "on disk"])
def test_everybody_reads_all_of_it_at_a_pace_of_their_own(body: bytes):
    environ = request(body)
    read = buffer_body(environ, len(body))
    condition, application = read.stream(), environ["wsgi.input"]
    assert application.read(2) == body[:2]
    assert condition.read() == body
    assert application.read() == body[2:]
    assert read.data()[:] == body
    assert buffer_body(environ, len(body)) is read


def test_what_is_spooled_to_disk_is_closed_with_its_last_reader():
    environ = request(LARGE)
    stream = buffer_body(environ, len(LARGE)).stream()
    environ.clear()
    gc.collect()
    assert stream.read() == LARGE
    del stream
    gc.collect()  # a file that nobody closed would be a ResourceWarning, which is an error here


def test_lines_are_read_as_from_any_stream():
    environ = request(b"one\ntwo\nthree")
    buffer_body(environ, 100)
    stream = environ["wsgi.input"]
    assert [stream.readline(), *stream] == [b"one\n", b"two\n", b"three"]


@pytest.mark.parametrize("more", [{}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "x"}], ids=["0", "none", "no number"])
def test_where_nobody_can_tell_its_end_there_is_none(more: dict[str, str]):
    environ = request(b"")
    environ.update(more)
    stream = environ["wsgi.input"]
    assert buffer_body(environ, 100).length == 0
    assert environ["wsgi.input"] is stream


@pytest.mark.parametrize("length", [None, "", "0", "2"])
def test_a_stream_that_ends_itself_is_read_to_its_end_whatever_length_stands_beside_its_encoding(length: Any):
    """Some servers leave the client's Content-Length in the environ of a chunked request."""
    environ = request(b"a=1&b=2", **{"CONTENT_LENGTH": length, "wsgi.input_terminated": True})
    environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    assert buffer_body(environ, 100).data() == b"a=1&b=2"
    assert environ["wsgi.input"].read() == b"a=1&b=2"


def test_a_declared_length_that_is_too_large_is_refused_unread():
    environ = request(b"a=1&b=2")
    with pytest.raises(RequestEntityTooLarge):
        buffer_body(environ, 6)
    assert environ["wsgi.input"].read() == b"a=1&b=2"
    assert lost_body(environ)


def test_of_a_stream_that_turns_out_too_large_the_rest_is_still_there():
    environ = request(b"0123456789" * 20_000, CONTENT_LENGTH=None, **{"wsgi.input_terminated": True})
    with pytest.raises(RequestEntityTooLarge):
        buffer_body(environ, 100)
    assert environ["wsgi.input"].read() == b"0123456789" * 20_000


def test_of_a_stream_that_broke_off_no_more_is_asked_than_the_application_asks():
    """What a server could not give in time may come later; to ask for what will never come would wait for ever."""
    asked: list[int] = []

    class Slow(io.BytesIO):
        def read(self, size: Any = -1) -> bytes:
            asked.append(size)
            if len(asked) == 2:
                raise TimeoutError
            return super().read(min(size, 4))

    environ = {"wsgi.input": Slow(b"a=1&b=22"), "CONTENT_LENGTH": "8"}
    with pytest.raises(TimeoutError):
        buffer_body(environ, 100)
    asked[:] = [0, 0]
    assert environ["wsgi.input"].read(8) == b"a=1&b=22"
    assert asked == [0, 0, 4]


def test_what_the_application_reads_by_now_can_not_be_had():
    environ = request(b"a=1")
    hand_over_body(environ)
    with pytest.raises(RequestEntityTooLarge):
        buffer_body(environ, 100)
    new_body(environ)
    assert buffer_body(environ, 100).length == 3
