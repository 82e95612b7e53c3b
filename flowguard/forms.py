"""The fields of a query and of a form, read as strictly as they are written by those who mean well.

Applications read forms by many parsers, which agree on what browsers send and on little else: which of two names a part
has, whether `;` parts fields, where a boundary ends, what a charset does to a name. So nothing is interpreted here that
two of them could take for different fields: it is `Doubtful`. All of it is linear in what is read.
"""

from __future__ import annotations

import re
from mmap import mmap
from typing import Callable, Iterable, Iterator, NamedTuple, Optional, Union
from urllib.parse import unquote_to_bytes

Data = Union[bytes, mmap]


class Doubtful(Exception):
    """Two applications could see different fields here."""


class Field(NamedTuple):
    """A name as decoded bytes, and its value; None where it depends on the reader whether it has one."""

    name: bytes
    value: Optional[bytes]


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# In these, a byte below 128 is the ASCII character: a name or value in ASCII has one spelling.
_CHARSET = re.compile(rb"utf-?8|(?:us-)?ascii|latin-?1|iso-8859-\d+|(?:windows|cp)-?125\d|koi8-[ru]", re.IGNORECASE)
CHARSET_FIELD = b"_charset_"  # browsers tell the form's charset in a hidden field of this name (HTML, 4.10.22.4)

MAX_KIND = 1_000  # characters of a Content-Type, several times what a boundary and a charset need
_KIND = re.compile(r"\s*(application/x-www-form-urlencoded|multipart/form-data)\s*((?:;.*)?)", re.IGNORECASE)
# No comma: where two Content-Types were joined by one, it stands in the middle of a value.
_ATTRIBUTE = re.compile(r""";\s*(charset|boundary)=(?:"([^"\\,]*)"|([^\s;,"'\\]+))\s*""", re.IGNORECASE)
# RFC 2046, 5.1.1, without its comma and space, and in the length that Python's and Django's parsers take.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_./:=?-]{1,200}")

# Lines of headers in a form, all parts together; werkzeug and Django read a thousand parts by default. One that is not
# `_USUAL` takes three times as long to read, up to three microseconds, and counts as so many.
MAX_LINES, UNUSUAL = 1_000, 3
# What browsers write of a field that is no file: there is nothing in it to be looked at more closely.
_USUAL = re.compile(rb'Content-Disposition: form-data; name="([ !#-\[\]-~]*)"')

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# What browsers write (HTML, 4.10.22.7), and clients that leave out quotes or name a file in RFC 5987's way as well. A
# backslash escapes for some readers and is one for others; at the end of a file's name it could hide the quote.
_DISPOSITION = re.compile(
    rb"""form-data;[ \t]*name=(?:"([^"\\]*)"|([^\s;,"'\\]+))[ \t]*"""
    rb"""(?:;[ \t]*(filename)=(?:"[^"]*(?<!\\)"|[^\s;,"'\\]+)[ \t]*)?(?:;[ \t]*(filename\*)=[^\s;,"]+[ \t]*)?""",
    re.IGNORECASE,
)
_PART_CHARSET = re.compile(rb"charset=\"?([^\s;\"]*)", re.IGNORECASE)
_IDENTITY = (b"7bit", b"8bit", b"binary")


def urlencoded(data: bytes) -> Iterator[Field]:
    """The fields of a query or of a form. Where `;` stands for itself, old libraries part fields by it. Raises Doubtful
    for bytes that are not UTF-8: where they should have been encoded, werkzeug sees no fields at all."""
    if not is_utf8(data):
        raise Doubtful
    for piece in set(data.replace(b"+", b" ").split(b"&")):  # the same twice is the same once
        if b";" in piece:
            yield from (Field(_pair(part).name, None) for part in set(piece.split(b";")))
        yield _pair(piece)


def _pair(piece: bytes) -> Field:
    name, _, value = piece.partition(b"=")
    return _checked(_unquoted(name), _unquoted(value))


def decoded(text: bytes) -> bytes:
    """A name or a value, as it stands in a query, without its encoding."""
    return _unquoted(text.replace(b"+", b" "))


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text) if b"%" in text else text


def _checked(name: bytes, value: Optional[bytes]) -> Field:
    if name == CHARSET_FIELD and not (value is not None and _CHARSET.fullmatch(value)):
        raise Doubtful
    return Field(name, value)


def form(data: Data, content_type: str, fields: Callable[[bytes], Iterable[Field]] = urlencoded) -> Iterable[Field]:
    """The fields of a form. Raises Doubtful where its Content-Type is none of a form, or none that is certain.

    fields: what reads it where it is written as a query is.
    """
    kind = _KIND.fullmatch(content_type) if len(content_type) <= MAX_KIND else None
    if kind is None:
        raise Doubtful
    attributes = _attributes(kind[2])
    charset, boundary = attributes.get("charset"), attributes.get("boundary")
    if charset is not None and not _CHARSET.fullmatch(charset.encode("utf-8", "replace")):
        raise Doubtful
    if kind[1].lower().startswith("application"):
        return fields(data[:])
    if boundary is None or not _BOUNDARY.fullmatch(boundary):
        raise Doubtful
    return _multipart(data, b"--" + boundary.encode("ascii"))


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    text = text.rstrip("; \t")
    while text:
        match = _ATTRIBUTE.match(text)
        if match is None or match[1].lower() in found:
            raise Doubtful
        found[match[1].lower()] = match[3] if match[2] is None else match[2]
        text = text[match.end() :]
    return found


# --- multipart -------------------------------------------------------------------------------------------------------


def _multipart(data: Data, mark: bytes) -> Iterator[Field]:
    """The parts between the boundaries: nothing stands before, after or within, and no line ends but by CR LF.

    mark: the boundary, with its two dashes. Wherever it occurs, some reader takes it for the end of a part.
    """
    start = 2 if data[:2] == b"\r\n" else 0  # werkzeug's and Python's own clients write an empty line first
    if data[start : start + len(mark)] != mark:
        raise Doubtful
    start += len(mark)
    lines = 0
    while data[start : start + 2] == b"\r\n":
        end = data.find(mark, start) - 2
        head = data.find(b"\r\n\r\n", start, max(end, 0))
        if head < 0 or data[end : end + 2] != b"\r\n":
            raise Doubtful
        block = data[start + 2 : head]
        usual = _USUAL.fullmatch(block)
        lines += 1 if usual is not None else UNUSUAL * (block.count(b"\r\n") + 1)
        if lines > MAX_LINES:
            raise Doubtful
        yield _field(block, data, head + 4, end) if usual is None else _checked(usual[1], data[head + 4 : end])
        start = end + 2 + len(mark)
    if data[start : start + 5] not in (b"--", b"--\r\n"):
        raise Doubtful


def _field(block: bytes, data: Data, start: int, end: int) -> Field:
    """The field of a part that is not usual: *block* are its headers, and its value stands at data[start:end]."""
    headers = _headers(block)
    disposition = _DISPOSITION.fullmatch(headers.get(b"content-disposition", b""))
    if disposition is None or not _is_as_it_stands(headers, end - start):
        raise Doubtful
    quoted, bare, *files = disposition.groups()
    name = bare if quoted is None else quoted
    if any(files):
        return _checked(name, None)
    charset = _PART_CHARSET.search(headers.get(b"content-type", b""))
    if charset is not None and not _CHARSET.fullmatch(charset[1]):
        raise Doubtful
    return _checked(name, data[start:end])


def _headers(block: bytes) -> dict[bytes, bytes]:
    if not is_utf8(block):  # werkzeug would see no fields at all
        raise Doubtful
    found: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not _TOKEN.fullmatch(name) or name in found or _CONTROL.search(value):
            raise Doubtful
        found[name] = value.strip(b" \t")
    return found


def _is_as_it_stands(headers: dict[bytes, bytes], length: int) -> bool:
    """Is the part no form of its own, not encoded, and as long as it says, for those readers who mind?"""
    return (
        not headers.get(b"content-type", b"").lower().startswith(b"multipart")
        and headers.get(b"content-transfer-encoding", b"binary").lower() in _IDENTITY
        and headers.get(b"content-length", b"%d" % length) == b"%d" % length
    )
