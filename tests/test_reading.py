"""A request's body that a condition could not have whole is the application's all the same."""

from __future__ import annotations

import io
from typing import Any

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from flowguard.reading import buffer_body


class Stream(io.BytesIO):
    """Gives three bytes at a time, and may break off."""

    def __init__(self, data: bytes, breaks: bool = False) -> None:
        super().__init__(data)
        self.breaks = breaks

    def read(self, size: Any = -1) -> bytes:
        data = super().read(3 if size < 0 else min(size, 3))
        if not data and self.breaks:
            raise OSError("gone")
        return data


BODY = b"one\ntwo\nthree"


def half_read() -> Any:
    """The stream of a body without a length that was larger than it might be."""
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO(BODY), "wsgi.input_terminated": True}
    with pytest.raises(RequestEntityTooLarge):
        buffer_body(environ, 5)
    return environ["wsgi.input"]


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.read(),
        lambda stream: stream.read(1000),
        lambda stream: b"".join(stream.read(size) for size in (2, 0, 3, 1, 100, 5)),
        lambda stream: b"".join(iter(lambda: stream.read(4), b"")),
        lambda stream: b"".join(stream),
        lambda stream: b"".join(stream.readlines()),
        lambda stream: b"".join(iter(lambda: stream.readline(2), b"")),
        lambda stream: stream.readline() + stream.readline() + stream.readline(),
    ],
    ids=["at once", "with a size", "in sizes", "in pieces", "line by line", "as a list of lines", "in pieces of lines",
         "three lines"],
)  # fmt: skip
def test_what_was_read_of_a_body_that_is_too_large_comes_first_again(read: Any):
    assert read(half_read()) == BODY


def test_lines_are_lines():
    assert list(half_read()) == [b"one\n", b"two\n", b"three"]


def test_a_body_that_breaks_off_breaks_off_for_the_application_where_it_did():
    environ: dict[str, Any] = {"wsgi.input": Stream(b"abcd", breaks=True), "CONTENT_LENGTH": "100"}
    with pytest.raises(OSError, match="gone"):
        buffer_body(environ, 1000)
    assert (environ["wsgi.input"].read(2), environ["wsgi.input"].read(2)) == (b"ab", b"cd")
    with pytest.raises(OSError, match="gone"):
        environ["wsgi.input"].read(1)
