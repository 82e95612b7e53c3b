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
from typing import Callable, Iterable, Iterator, NamedTuple, Optional
from urllib.parse import unquote_to_bytes

# How an application may read a path by doing one thing to it is always looked at; what comes of several together is
# looked at for paths of up to LONG characters, and for MIXED characters in all: the rest is padding, and no request may
# cost much more than a millisecond.
LONG = 256
MIXED = 16 * LONG
# NFKC sorts runs of combining marks by insertion, in quadratic time: longer segments are compared as they are.
NFKC_MAX = 128  # characters of one segment
# How often what Unicode's normal form, or the loss of invisible characters, makes of a text is decoded again.
ROUNDS = 3

NOTHING = b"%"  # what no literal folds to
MANY = 1 << 20  # segments: no limit

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
# Controls, U+FFFD (what werkzeug's server makes of bytes that are not UTF-8), separators but for the space itself, and
# what Unicode calls Default_Ignorable_Code_Point or Cf (format).
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_PLAIN = re.compile(r"[A-Za-z0-9_.~!$&'()*+,:=@-]*")
_SPELLED = re.compile(r"/|(?:/[A-Za-z0-9_~!$&'()*+,:=@-][A-Za-z0-9_.~!$&'()*+,:=@-]*)+/?")
_HEX = {f"{byte:{form}}".encode(): bytes([byte]) for byte in range(256) for form in ("02x", "02X")}
_HEX.update({f"{a}{b}".encode(): bytes([int(a + b, 16)]) for a in "abcdefABCDEF" for b in "abcdefABCDEF"})
_CHAIN = re.compile(rb"%(?:25)+(?=[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%[0-9A-Fa-f]{2}")
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
# Short segments, a few at a time, or a long one. Two ligatures are whole sentences, of up to 18 characters: they stay
# as they are, for a rule's literal has no spaces.
_RUNS = re.compile(f"[\ufdfa\ufdfb]+|(?:[^/\ufdfa\ufdfb]{{0,{NFKC_MAX}}}/){{1,16}}|[^/\ufdfa\ufdfb]+")
_SPACE = re.compile(r"\s")
_TAIL = re.compile("[#?].*", re.DOTALL)
_PARAMETERS = re.compile(";[^/]*")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")
# ASCII that is written in more bytes than it needs; strict decoders refuse it, lax ones don't.
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]")
# What NFKC turns into a slash or a backslash: they part segments, so they come before the segments are normalised.
_SLASHLIKE = re.compile("[\u2100\u2101\u2105\u2106\uff0f\ufe68\uff3c]")
_SLASHES = {ord(char): unicodedata.normalize("NFKC", char) for char in "\u2100\u2101\u2105\u2106\uff0f\ufe68\uff3c"}


def fold(text: str) -> bytes:
    """The form in which the literals of rules and paths are compared: no case, and one punctuation mark."""
    if not text.isascii():
        text = _nfkc(text.translate(_TURKIC).casefold())
    return text.encode("utf-8", "surrogatepass").translate(_FOLD)


def literal(segment: str) -> bytes:
    """`fold` of a segment that may still be odd: compared with a rule's literal, it is cleaned on its own."""
    if _PLAIN.fullmatch(segment):
        return fold(segment)
    if len(segment) > 4 * LONG:  # padded: the thorough reading has it without
        return NOTHING
    return fold(_PARAMETERS.sub("", _TAIL.sub("", thorough(segment))).strip())


def spell(path: str) -> str:
    """The one spelling of *path* that matching tells from every other, but for case and marks."""
    if _SPELLED.fullmatch(path):
        return path
    text = _TAIL.sub("", thorough(path))
    return "/" + "/".join(_trimmed(text) or ()) + "/" * (text.endswith("/") and text.strip("/") != "")


# --- texts ----------------------------------------------------------------------------------------------------------


def thorough(text: str) -> str:
    """*text* without anything that some application undoes or drops, but for dots, parameters and edge spaces."""
    text = _visible(text)
    for _ in range(ROUNDS):
        if not _ESCAPE.search(text):
            break
        text = _visible(unquote(text.encode("utf-8", "surrogatepass")).decode("utf-8", "ignore"))
    return text


def _visible(text: str) -> str:
    return _nfkc(_INVISIBLE.sub("", text)).replace("\\", "/")


def _nfkc(text: str) -> str:
    """NFKC, in linear time."""
    if text.isascii():
        return text
    if _SLASHLIKE.search(text):
        text = text.translate(_SLASHES).replace("\\", "/")
    return "".join(run if _stays(run) else unicodedata.normalize("NFKC", run) for run in _RUNS.findall(text))


def _stays(run: str) -> bool:
    return run[0] in "\ufdfa\ufdfb" or (len(run) > NFKC_MAX and "/" not in run)


def unquote(data: bytes) -> bytes:
    """Percent-decoded until nothing is left to decode, however deep, in one pass from the right."""
    if not _ESCAPED.search(data):
        return data
    first, *pieces = _CHAIN.sub(b"%", data).split(b"%")
    tail: list[bytes] = []  # what is decoded, the last piece first
    for piece in reversed(pieces):
        char = _HEX.get(piece[:2])
        if char is None and (len(piece) > 1 or not tail or tail[-1][:1] == b"%"):
            tail.append(b"%" + piece)
        elif char is None or char == b"%":
            tail += _reduced(piece, tail)
        else:
            tail += piece[2:], char
    tail.append(first)
    return b"".join(reversed(tail))


def _reduced(piece: bytes, tail: list[bytes]) -> tuple[bytes, bytes]:
    """What `%` and *piece* decode to, with what they take of the *tail*; the last comes first here too."""
    while True:
        while len(piece) < 2 and tail and tail[-1][:1] != b"%":
            piece += tail.pop()
        char = _HEX.get(piece[:2])
        if char is None:
            return b"", b"%" + piece
        piece = piece[2:]
        if char != b"%":
            return piece, char


def _texts(data: bytes) -> Iterator[str]:
    """Every text for which an application may take these bytes."""
    try:
        yield data.decode()
    except UnicodeDecodeError:
        yield data.decode("utf-8", "ignore")  # Bottle
        if len(data) <= LONG and _OVERLONG.search(data):
            yield _OVERLONG.sub(_short, data).decode("utf-8", "ignore")
        yield data.decode("latin-1")  # CherryPy
        yield data.decode("utf-8", "replace")  # werkzeug


def _short(match: re.Match[bytes]) -> bytes:
    *_, before, last = match[0]
    return bytes([(before & 1) << 6 | last & 0x3F])


def _origins(text: str) -> list[str]:
    """*text*, and what is left of it without a scheme and without a host in front."""
    if text[:1] == "/" and text[1:2] != "/":
        return [text]
    rest = text.lstrip()
    scheme = _SCHEME.match(rest)
    rest = rest[scheme.end() :] if scheme else rest
    _, slash, path = rest.lstrip("/").partition("/")
    # `*` and `//x` have no path; where there is a scheme, a long *text* as a whole is none of ours.
    found = dict.fromkeys([text, rest, path] if slash or (scheme and rest[:2] == "//") else [text, rest])
    return list(found)[1:] if scheme and len(text) > LONG else list(found)


# --- readings -------------------------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """A path as a list of segments, none of them empty; `slash` says whether it ends in a slash."""

    segments: list[str]
    slash: bool


View = Callable[[str, int], Optional[list[str]]]


def readings(raw: bytes, most: int) -> Iterator[Reading]:
    """Every distinct reading of a path's bytes that has at most about *most* segments, the most thorough first."""
    seen: set[str] = set()
    for text, views in _sources(raw):
        for origin in _origins(text):
            for view in views:
                segments = view(origin, most)
                if segments is not None:
                    joined = "/".join(segments)
                    if joined not in seen:
                        seen.add(joined)
                        yield Reading(segments, origin.endswith("/"))


def _sources(raw: bytes) -> Iterator[tuple[str, tuple[View, ...]]]:
    """The texts of a path, and how each is read: first as one application alone would, then the mixtures."""
    full = unquote(raw)
    text = next(_texts(full))
    yield _TAIL.sub("", thorough(text)), (_trimmed, _merged)
    if "\0" in text:  # where a C string ends
        yield _TAIL.sub("", thorough(text.partition("\0")[0])), (_trimmed,)
    first, *others = _texts(raw)
    yield first, (_merged, _kept)
    yield from ((other, (_kept,)) for other in others)
    left = MIXED
    for text in _mixtures(raw, full) if len(raw) <= LONG else ():
        left -= len(text)
        if left < 0:
            break
        yield text, (_trimmed, _merged, _dotted, _kept)


def _mixtures(raw: bytes, full: bytes) -> Iterable[str]:
    plain = [*_texts(full), *_texts(unquote_to_bytes(raw)), *_texts(raw)]
    plain += [text.replace("\\", "/") for text in plain if "\\" in text]
    plain += [_normal(cut) for text in plain if not text.isascii() for cut in (text, _PARAMETERS.sub("", text))]
    whole = [thorough(start) for text in _texts(full) for start in (text, text.partition("\0")[0])]
    texts = dict.fromkeys(cut for text in (*whole, *plain) for cut in (text, _TAIL.sub("", text)))
    return dict.fromkeys([*texts, *(_PARAMETERS.sub("", text) for text in texts)])


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", "/" * text.startswith("/") + "/".join(_resolved(text.split("/"))))


def _trimmed(text: str, most: int = MANY) -> Optional[list[str]]:
    """Parameters cut, edges stripped, invisible and empty segments dropped, dots resolved."""
    text = _PARAMETERS.sub("", _INVISIBLE.sub("", text))
    if _SPACE.search(text):
        return _resolved([segment.strip() for segment in text.split("/")])
    return _merged(text, most)


def _merged(text: str, most: int) -> Optional[list[str]]:
    """Slashes merged, then dots resolved (`posixpath.normpath`)."""
    # As many segments are left at least: one for each slash, but for a double one, and two for each that a dot follows.
    if text.count("/") - 2 * (text.count("//") + text.count("/.")) > most + 2:
        return None
    return _resolved(text.split("/"))


def _dotted(text: str, most: int) -> Optional[list[str]]:
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


def _kept(text: str, most: int) -> Optional[list[str]]:
    """Slashes merged: what most routers do."""
    if text.count("/") - 2 * text.count("//") > most + 1:
        return None
    return [segment for segment in text.split("/") if segment]


def _resolved(segments: list[str]) -> list[str]:
    if "." not in segments and ".." not in segments:
        return [segment for segment in segments if segment]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment and segment != ".":
            kept.append(segment)
    return kept
