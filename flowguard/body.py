"""A request's body, read at most once: what conditions, keys with parameters and the application each read anew.

Large ones are spooled to disk. What was read is remembered in the environ, and the application gets it whole, byte for
byte.
"""

from __future__ import annotations

import mmap
from io import BufferedReader, RawIOBase
from tempfile import SpooledTemporaryFile
from typing import Any, Callable, Iterator, Mapping, Optional, Union

from werkzeug.exceptions import RequestEntityTooLarge

Environ = dict[str, Any]

SPOOL = 512 * 1024  # bytes of a body that stay in memory; about what werkzeug keeps of an upload
_CHUNK = 65_536  # bytes: one read of a body
_DIGITS = 18  # of a length that are read: an exabyte is above every limit, and int() of 5,000 digits raises
BODY = "flowguard.body"  # the key of the Body; None there: it can't be had any more


class Body:
    """The bytes of a body, in memory or on disk. length: in bytes."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - closed with the last who reads it
        self.length = 0

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.length += len(chunk)

    def stream(self) -> BufferedReader:
        """The body from its beginning, whoever else reads it."""
        return BufferedReader(_Stream(self))

    def data(self) -> Union[bytes, mmap.mmap]:
        """All of it, to search in."""
        if self.length > SPOOL:
            self._file.flush()
            return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self.read(0, self.length)

    def read(self, position: int, size: int) -> bytes:
        self._file.seek(position)
        return self._file.read(size)

    def __del__(self) -> None:
        self._file.close()


class _Stream(RawIOBase):
    """A body, at a position of its own."""

    def __init__(self, body: Body) -> None:
        self._body, self._position = body, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._body.read(self._position, len(buffer))
        self._position += len(data)
        buffer[: len(data)] = data
        return len(data)


class _Rejoined:
    """A body of which *part* was read: that comes first, then the *rest*. Reads no further than it is asked."""

    def __init__(self, part: BufferedReader, rest: Any) -> None:
        self._part, self._rest = part, rest

    def read(self, size: int = -1) -> bytes:
        return self._joined(self._part.read(size), self._rest.read, size)

    def readline(self, size: int = -1) -> bytes:
        line = self._part.readline(size)
        return line if line.endswith(b"\n") else self._joined(line, self._rest.readline, size)

    def readlines(self, hint: int = -1) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    @staticmethod
    def _joined(first: bytes, more: Callable[[int], bytes], size: int) -> bytes:
        left = size - len(first) if size >= 0 else -1
        return first + more(left) if left else first


def buffer_body(environ: Environ, limit: int) -> Body:
    """Read the body and put it back, byte for byte, for the application.

    limit: bytes. Raises RequestEntityTooLarge (413) above it, and for a body that is the application's by now; and what
    the server raises where its client is gone.
    """
    length = declared_length(environ)
    ends = has_end(environ)
    if not length and not ends:
        return Body()  # there is none, or nobody can tell where it ends
    if BODY not in environ:
        environ[BODY] = None
        body, stream = Body(), environ["wsgi.input"]
        try:
            _read(stream, None if ends else length, limit, body)
        except BaseException:
            environ["wsgi.input"] = _Rejoined(body.stream(), stream)
            raise
        environ[BODY] = body
        environ["wsgi.input"] = body.stream()
    kept: Optional[Body] = environ[BODY]
    if kept is None:
        raise RequestEntityTooLarge
    return kept


def new_body(environ: Environ) -> None:
    """The request is here to be judged: what another guard before this one read is in its stream."""
    environ.pop(BODY, None)


def hand_over_body(environ: Environ) -> None:
    """From now on the application reads the body; a condition that is asked later can't, unless one was before."""
    environ.setdefault(BODY, None)


def lost_body(environ: Environ) -> bool:
    """Was a condition told that the body is too large, or broken off?"""
    return environ.get(BODY, True) is None


def declared_length(environ: Mapping[str, Any]) -> Optional[int]:
    """The body's length in bytes as the request says it; None where it says nothing that can be understood. One that
    no body has is above every limit."""
    text = str(environ.get("CONTENT_LENGTH") or "").strip()
    return int(text.lstrip("0")[:_DIGITS] or 0) if text.isascii() and text.isdigit() else None


def has_end(environ: Mapping[str, Any]) -> bool:
    """Does the stream itself end where the body does? A length that stands beside an encoding means nothing then."""
    unsaid = declared_length(environ) is None or "HTTP_TRANSFER_ENCODING" in environ
    return bool(environ.get("wsgi.input_terminated")) and unsaid


def _read(stream: Any, length: Optional[int], limit: int, body: Body) -> None:
    if length is not None and length > limit:
        raise RequestEntityTooLarge
    left = limit + 1 if length is None else length
    while left > 0:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk:
            break
        body.write(chunk)
        left -= len(chunk)
    if body.length > limit:
        raise RequestEntityTooLarge
