"""How may an application read this path? Readings for detection only: nothing here is ever passed on.

Servers, routers and hand-written dispatchers disagree about slashes, dots, `;parameters`, bytes that are not UTF-8,
left-over percent-encoding, compatibility forms of Unicode and case. One normal form can't answer for all of them: an
application that keeps `;x` as an order's id reads a path otherwise than one that cuts it. So `readings` lists every
reading that some application may have, the most thorough one first, and `flowguard.paths` matches each of them.

Every step is linear in the path, and the number of readings is bounded (`LONG`).
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Iterable, Iterator, NamedTuple, Optional
from urllib.parse import unquote_to_bytes

# A path over this many characters gets fewer mixed readings (no *once* decoded one, one decoder for the fully decoded
# one): longer ones are padding, and no request may cost more than about a millisecond.
LONG = 1024
# NFKC sorts runs of combining marks by insertion, in quadratic time: longer segments are compared as they are.
NFKC_MAX = 128  # characters of one segment
# Rounds of percent-decoding, each of which undoes any depth of `%2525...` at once.
ROUNDS = 4

_SPECIAL = "%;\\#?"  # what starts another reading of an ASCII path, besides dots and slashes
# The marks that are not told from each other: CherryPy makes `_` of each, `/place.order` runs `place_order`.
MARKS = "".join(mark for mark in string.punctuation if mark not in _SPECIAL + "/")


def _table(marker: Optional[int]) -> bytes:
    """A `bytes.translate` table: lower case, `MARKS` to `_`, odd bytes to *marker*, if there is one."""
    table = bytearray(range(256))
    for char in string.ascii_uppercase:
        table[ord(char)] = ord(char.lower())
    for mark in MARKS:
        table[ord(mark)] = ord("_")
    if marker is not None:
        for byte in range(256):
            if byte <= 0x20 or byte >= 0x7F or chr(byte) in _SPECIAL:
                table[byte] = marker
    return bytes(table)


ODD = ord("%")
FILTER = _table(ODD)  # for the hot path: anything odd becomes ODD
_FOLD = _table(None)

# What `re.IGNORECASE` and `str.lower` take for an "i" beside what `str.casefold` does (Unicode's Turkic mappings).
_TURKIC = {0x130: "i", 0x131: "i"}
# Controls, U+FFFD (what werkzeug's server makes of bytes that are not UTF-8), the separators of lines and paragraphs,
# and what Unicode calls Default_Ignorable_Code_Point or Cf (format).
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_PLAIN = re.compile(r"[A-Za-z0-9_.~!$&'()*+,:=@-]*")
_SPELLED = re.compile(r"/|(?:/[A-Za-z0-9_~!$&'()*+,:=@-][A-Za-z0-9_.~!$&'()*+,:=@-]*)+/?")
_CHAIN = re.compile(rb"%(?:25)+(?=[0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_SLASHES = re.compile("/{2,}")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")
# ASCII that is written in more bytes than it needs; strict decoders refuse it, lax ones don't.
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]")
# What NFKC turns into a slash or a backslash: they part segments, so they come before the segments are normalised.
_SLASHLIKE = re.compile("[\u2100\u2101\u2105\u2106\uff0f\ufe68\uff3c]")


class Reading(NamedTuple):
    """A path as a list of segments; `slash` says whether it ends in a slash."""

    segments: list[str]
    slash: bool


def fold(text: str) -> bytes:
    """The form in which the literals of rules and paths are compared: no case, and one punctuation mark."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_TURKIC).casefold())
    return text.encode("utf-8", "surrogatepass").translate(_FOLD)


def literal(segment: str) -> bytes:
    """`fold` of a segment that may still be odd: compared with a rule's literal, it is cleaned on its own."""
    if _PLAIN.fullmatch(segment):
        return fold(segment)
    return fold(_trimmed(thorough(segment)))


def spell(path: str) -> str:
    """The one spelling of *path* that matching tells from every other, but for case and marks."""
    if _SPELLED.fullmatch(path):
        return path
    text = thorough(path)
    return "/" + "/".join(_trimmed_view(text)) + "/" * (text.endswith("/") and text.strip("/") != "")


def _trimmed(segment: str) -> str:
    return segment.partition(";")[0].strip()


def thorough(text: str) -> str:
    """*text* without anything that some application undoes or drops, but for dots, parameters and edge spaces."""
    for _ in range(ROUNDS):
        text = _INVISIBLE.sub("", _nfkc(text)).replace("\\", "/")
        if "%" not in text:
            break
        decoded = decode(unquote(text.encode("utf-8", "surrogatepass")), "ignore")
        if decoded == text:
            break
        text = decoded
    return re.split("[#?]", text, maxsplit=1)[0]


def _nfkc(text: str) -> str:
    if text.isascii():
        return text
    text = _SLASHLIKE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    parts = text.replace("\\", "/").split("/")
    return "/".join(unicodedata.normalize("NFKC", part) if len(part) <= NFKC_MAX else part for part in parts)


def unquote(data: bytes) -> bytes:
    """Percent-decoded until nothing is left to decode (at most `ROUNDS` rounds)."""
    for _ in range(ROUNDS):
        if not _ESCAPE.search(data):
            break
        data = unquote_to_bytes(_CHAIN.sub(b"%", data))
    return data


def decode(data: bytes, errors: str = "strict") -> str:
    """The text of *data*."""
    return data.decode("utf-8", errors)


def _decoded(data: bytes) -> Iterator[str]:
    """Every text for which an application may take these bytes."""
    try:
        yield decode(data)
    except UnicodeDecodeError:
        yield decode(data, "ignore")  # Bottle
        if _OVERLONG.search(data):
            yield decode(_OVERLONG.sub(_short, data), "ignore")
        yield decode(data, "replace")  # werkzeug
        yield data.decode("latin-1")  # CherryPy


def _short(match: re.Match[bytes]) -> bytes:
    *_, before, last = match[0]
    return bytes([(before & 1) << 6 | last & 0x3F])


def _stages(raw: bytes) -> Iterator[tuple[str, bool]]:
    """The texts of a path, and whether each is fully decoded."""
    if ODD in raw:
        full = unquote(raw)
        yield from ((text, True) for text in _decoded(full))
        if len(raw) <= LONG:
            yield from ((text, False) for text in _decoded(unquote_to_bytes(raw)))
    yield from ((text, False) for text in _decoded(raw))


def _texts(raw: bytes) -> Iterable[str]:
    """The distinct texts of a path, the most thorough first."""
    stages = list(_stages(raw))
    texts: dict[str, None] = {}
    for text, full in stages:
        if full or ODD not in raw:
            texts[thorough(text)] = None
            if "\0" in text:  # where a C string ends
                texts[thorough(text.partition("\0")[0])] = None
    for text, _ in stages:
        texts[text] = None
    return texts


def _origins(text: str) -> Iterator[str]:
    """*text*, and what is left of it without a scheme and without a host in front."""
    yield text
    if text[:1] == "/" and text[1:2] != "/":
        return
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :]
        yield text
    _host, slash, path = text.lstrip("/").partition("/")
    if slash or (scheme and text[:2] == "//"):  # `*` and `//x` have no path
        yield path


def readings(raw: bytes) -> Iterator[Reading]:
    """Every distinct reading of a path's bytes, the most thorough first; a segment is never empty."""
    seen: set[tuple[str, ...]] = set()
    origins = list(dict.fromkeys(origin for text in _texts(raw) for origin in _origins(text)))
    for view in (_trimmed_view, _dotted_view, _merged_view, _kept_view):
        for text in origins:
            segments = view(text)
            if segments is not None and tuple(segments) not in seen:
                seen.add(tuple(segments))
                yield Reading(segments, text.endswith("/"))


def _trimmed_view(text: str) -> list[str]:
    """Parameters cut, edges stripped, invisible and empty segments dropped, dots resolved."""
    return _resolved([_trimmed(part) for part in _INVISIBLE.sub("", text).split("/")])


def _merged_view(text: str) -> Optional[list[str]]:
    """Slashes merged, then dots resolved (`posixpath.normpath`)."""
    return _resolved(text.split("/")) if "." in text else None


def _dotted_view(text: str) -> Optional[list[str]]:
    """Dots resolved, where an empty segment is one to go back over (RFC 3986, 5.2.4)."""
    if "//" not in text or ".." not in text:
        return None
    kept: list[str] = []
    for segment in text[text[:1] == "/" :].split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return [segment for segment in kept if segment]


def _kept_view(text: str) -> list[str]:
    """Slashes merged: what most routers do."""
    return [segment for segment in text.split("/") if segment]


def _resolved(segments: list[str]) -> list[str]:
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment and segment != ".":
            kept.append(segment)
    return kept
