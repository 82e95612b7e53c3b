"""Looking for texts at the beginning of an answer: what ``"body:TEXT"`` means (CONTRACT 2).

The answer is read as its reader would: uncompressed, and in its charset. Nothing that an application sends can make it
cost much: what is looked at is bounded, of what came and of what that unpacks to, and what can't be read holds no text.
"""

from __future__ import annotations

import codecs
import zlib
from typing import Iterable, Optional, Protocol

from werkzeug.http import parse_options_header

WITHIN = 65_536  # bytes of an answer in which a text must stand

_GZIP = 16 + zlib.MAX_WBITS  # what zlib calls a format


class Unpacker(Protocol):
    """Undoes an answer's Content-Encoding."""

    def feed(self, data: bytes, limit: int) -> bytes:
        """Of the answer's next bytes, at most *limit* of those that they stand for."""


class Search:
    """Looks for *texts* in an answer with these headers, as it comes. `found` are those that stood in it so far.

    encoding: its Content-Encoding; content_type: its Content-Type, for the charset. Raises ValueError for an encoding
    that can't be read here.
    """

    def __init__(self, texts: Iterable[str], encoding: str = "", content_type: str = "") -> None:
        self.found: frozenset[str] = frozenset()
        self._wanted = frozenset(texts)
        self._overlap = max(map(len, self._wanted), default=1) - 1  # characters that a text may have in an earlier part
        self._unpacker = _unpacker(encoding)
        self._decode = codecs.getincrementaldecoder(_charset(content_type))("replace").decode
        self._came = self._read = 0  # bytes
        self._last = ""

    @property
    def over(self) -> bool:
        """Nothing that comes now counts any more."""
        return self._came >= WITHIN or self._read >= WITHIN

    def feed(self, data: bytes) -> None:
        """The next bytes of the answer."""
        if self.over:
            return
        data = data[: WITHIN - self._came]
        self._came += len(data)
        data = self._unpacker.feed(data, WITHIN - self._read)
        self._read += len(data)
        try:
            text = self._last + self._decode(data)
        except UnicodeError:  # some of Python's codecs raise whatever they are told, such as UTF-16's without a mark
            self._came = WITHIN
            return
        self.found |= {wanted for wanted in self._wanted if wanted in text}
        self._last = text[-self._overlap :] if self._overlap else ""


class _Plain:
    def feed(self, data: bytes, limit: int) -> bytes:
        return data[:limit]


class _Packed:
    """One stream after the other, of one of zlib's formats. What is broken ends there."""

    def __init__(self, format_: int) -> None:
        self._format = format_
        self._stream = zlib.decompressobj(format_)
        self._broken = False

    def feed(self, data: bytes, limit: int) -> bytes:
        unpacked = b""
        while data and not self._broken and len(unpacked) < limit:
            try:
                unpacked += self._stream.decompress(data, limit - len(unpacked))
            except zlib.error:
                self._broken = True
            data = self._stream.unused_data
            if self._stream.eof:
                self._stream = zlib.decompressobj(self._format)
        return unpacked


class _Deflated:
    """What "deflate" stands for: with zlib's header or, as some send it, without (RFC 9110, 8.4.1.2)."""

    def __init__(self) -> None:
        self._first = b""
        self._packed: Optional[_Packed] = None

    def feed(self, data: bytes, limit: int) -> bytes:
        if self._packed is None:
            data = self._first + data
            if len(data) < 2:
                self._first = data
                return b""
            has_header = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
            self._packed = _Packed(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        return self._packed.feed(data, limit)


def _unpacker(encoding: str) -> Unpacker:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Plain()
    if name in ("gzip", "x-gzip"):
        return _Packed(_GZIP)
    if name == "deflate":
        return _Deflated()
    raise ValueError(f"an answer that is encoded as {name!r} can't be searched")


def _charset(content_type: str) -> str:
    """The answer's charset; UTF-8 where it names none that is known."""
    charset = parse_options_header(content_type)[1].get("charset") or "utf-8"  # older werkzeugs have a None there
    try:
        b"a".decode(charset, "replace")  # where it is no charset (Python has "zlib"), this says so
    except (LookupError, ValueError):
        return "utf-8"
    return charset
