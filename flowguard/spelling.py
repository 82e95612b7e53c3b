"""How may an application read this path? Readings for detection only: nothing here is ever passed on.

Servers, routers and hand-written dispatchers disagree about slashes, dots, `;parameters`, bytes that are not UTF-8,
left-over percent-encoding, compatibility forms of Unicode and case. One normal form can't answer for all of them: an
application that keeps `;x` as an order's id reads a path otherwise than one that cuts it. So `readings` lists every
reading that some application may have, the most thorough one first, and `flowguard.paths` matches each of them.

No path costs more than about a millisecond: every step is linear, what a step does to each of ten thousand places is
done by the C of `re`, `bytes` and `str`, and what the readings come to is bounded (`WORK`).
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Callable, Iterator, NamedTuple, Optional, Sequence
from urllib.parse import unquote_to_bytes

# How an application may read a path by doing one thing to it is always looked at; what comes of several together is
# looked at for paths of up to LONG characters: the rest is padding.
LONG = 256
# NFKC sorts runs of combining marks by insertion, in quadratic time: longer segments are compared as they are.
NFKC_MAX = 64  # characters of one segment
# How often what Unicode's normal form, or the loss of invisible characters, makes of a text is decoded again.
ROUNDS = 3
# Escapes that others hide are undone this often by a quick pass over all of them, what is left then one by one: in a
# text of at most SHORT characters, for it takes half a microsecond each.
LEVELS = 2
SHORT = 4 * LONG
# What the readings of a path may come to, all of them together, in units of about ten nanoseconds: of a long path less,
# for to decode it takes a good part of a millisecond. Whatever is odd in two or three ways is far below it; what a path
# comes to that is odd in every way can't be told in a millisecond, and nobody means well who writes it.
WORK, WORK_OF_LONG = 75_000, 60_000
TEXT, CHARACTER = 500, 4  # to make a text; its characters, if there are others than ASCII
SLASH, SEGMENT, PLACE = 2, 4, 8  # to part it; the segments; where it is cut, or gone through
READING, LOOK_UP = 800, 6  # to look a reading up; its characters, of which a rule has few
FOLD = 20  # a character of a reading that has others than ASCII, and so another case and another normal form
# Runs of characters with another normal form that are written out one by one, a quarter of a microsecond each; where
# there are more, every character is looked at, thirty nanoseconds each.
RUNS = 128

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
_TURKIC = "\u0130\u0131"
# Controls, U+FFFD (what werkzeug's server makes of bytes that are not UTF-8), separators but for the space itself, and
# what Unicode calls Default_Ignorable_Code_Point or Cf (format).
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_PLAIN = re.compile(r"[A-Za-z0-9_.~!$&'()*+,:=@-]*")
_SPELLED = re.compile(r"/|(?:/[A-Za-z0-9_~!$&'()*+,:=@-][A-Za-z0-9_.~!$&'()*+,:=@-]*)+/?")
_CONTROLS = bytes([*range(0x20), 0x7F])
_HEX = {f"{byte:{form}}".encode(): bytes([byte]) for byte in range(256) for form in ("02x", "02X")}
_HEX.update({f"{a}{b}".encode(): bytes([int(a + b, 16)]) for a in "abcdefABCDEF" for b in "abcdefABCDEF"})
_CHAIN = re.compile(rb"%(?:25)+(?=[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%(?=[0-9A-Fa-f]{2})")
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
# Short segments, a few at a time, or a long one.
_RUNS = re.compile(f"(?:[^/]{{0,{NFKC_MAX}}}/){{1,16}}|[^/]+")
# Two ligatures are whole sentences, of up to 18 characters, and no literal of a rule, for they have spaces: they are
# not written out, and another character that none has takes their place.
_LIGATURES = "\ufdfa\ufdfb"
_NO_LITERAL = "\ue000"
_TAIL = re.compile("[#?].*", re.DOTALL)
_PARAMETERS = re.compile(";[^/]*")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")
# ASCII that is written in more bytes than it needs; strict decoders refuse it, lax ones don't.
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]")
# Where Unicode has the characters whose normal form holds ASCII: slashes, dots, percent signs and digits among them.
_BLOCKS = (
    (0xA0, 0xBE), (0x132, 0x17F), (0x1C4, 0x1F3), (0x2B0, 0x2E3), (0x37A, 0x385), (0x1D2C, 0x1DBB), (0x1E9A, 0x1E9A),
    (0x1FBD, 0x20A8), (0x2100, 0x2189), (0x2460, 0x24EA), (0x2A74, 0x2A76), (0x2C7C, 0x2C7D), (0x3000, 0x3000),
    (0x309B, 0x309C), (0x3200, 0x325F), (0x32B1, 0x32CF), (0x3358, 0x33FF), (0xA7F1, 0xA7F4), (0xFB00, 0xFB29),
    (0xFC5E, 0xFC63), (0xFDFC, 0xFE7E), (0xFF01, 0xFF5E), (0xFFE3, 0xFFE3), (0x107A5, 0x107A5), (0x1D400, 0x1D6A3),
    (0x1CCD6, 0x1CCF9), (0x1D7CE, 0x1D7FF), (0x1F100, 0x1F190), (0x1FBF0, 0x1FBF9),
)  # fmt: skip


def _compatible() -> dict[int, str]:
    """A `str.translate` table: the normal forms that hold ASCII."""
    chars = [chr(code) for first, last in _BLOCKS for code in range(first, last + 1)]
    normal = {ord(char): unicodedata.normalize("NFKC", char) for char in chars}
    return {code: form for code, form in normal.items() if form != chr(code) and any(map(str.isascii, form))}


_COMPATIBLE = _compatible()
# As `re` finds them quickly: one by one up to U+FFFF, and in blocks above.
_COMPATIBLES = re.compile("[{}{}]+".format(
    "".join(chr(code) for code in _COMPATIBLE if code < 0x10000),
    "".join(f"{chr(first)}-{chr(last)}" for first, last in _BLOCKS if first > 0xFFFF),
))  # fmt: skip


def fold(text: str) -> bytes:
    """The form in which the literals of rules and paths are compared: no case, and one punctuation mark."""
    return marked(text if text.isascii() else _nfkc(caseless(text)))


def caseless(text: str) -> str:
    for char in _TURKIC:
        text = text.replace(char, "i")
    return text.casefold()


def marked(text: str) -> bytes:
    """*text* with one punctuation mark in place of all, and in lower case where it is ASCII."""
    return text.encode("utf-8", "surrogatepass").translate(_FOLD)


def literal(segment: str) -> bytes:
    """`fold` of a segment that may still be odd: compared with a rule's literal, it is cleaned on its own."""
    if _PLAIN.fullmatch(segment):
        return fold(segment)
    if len(segment) > SHORT:  # padded: the thorough reading has it without
        return NOTHING
    try:
        return fold(_PARAMETERS.sub("", _TAIL.sub("", thorough(segment))).strip())
    except Entangled:  # so is the whole path
        return NOTHING


class Folded:
    """The segments of a path's readings, folded when they are asked for, and each once: most rules ask for few."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def of(self, segments: Sequence[str]) -> _Keys:
        return _Keys(segments, self._known)


class _Keys:
    __slots__ = ("_known", "_segments")

    def __init__(self, segments: Sequence[str], known: dict[str, bytes]) -> None:
        self._segments, self._known = segments, known

    def __getitem__(self, place: int, /) -> bytes:
        segment = self._segments[place]
        key = self._known.get(segment)
        if key is None:
            key = self._known[segment] = literal(segment)
        return key


def spell(path: str) -> str:
    """The one spelling of *path* that matching tells from every other, but for case and marks."""
    if _SPELLED.fullmatch(path):
        return path
    text = _TAIL.sub("", thorough(path))
    spelled = "/" + "/".join(_trimmed(text) or ()) + "/" * (text.endswith("/") and text.strip("/") != "")
    return _normalised(spelled)


def is_spelled(path: str) -> bool:
    """Is that how *path* is spelled? The same as to compare, but for what the normal form of a long path would cost."""
    return unicodedata.is_normalized("NFKC", path) and spell(path) == path


# --- texts ----------------------------------------------------------------------------------------------------------


class Entangled(ValueError):
    """Nobody can tell in a millisecond how a text may be read."""


def thorough(text: str) -> str:
    """*text* without anything that some application undoes or drops, but for dots, parameters and edge spaces; of
    Unicode's compatibility forms, those that hold ASCII (`fold` sees to the others). Raises Entangled."""
    text = _visible(text)
    for number in range(ROUNDS):
        if not _ESCAPE.search(text):
            break
        if number and len(text) > SHORT:
            raise Entangled
        text = _visible(unquote(text.encode("utf-8", "surrogatepass")).decode("utf-8", "ignore"))
    return text


def _visible(text: str) -> str:
    text = _seen(text)
    if not text.isascii():
        text, runs = _COMPATIBLES.subn(_written_out, text, RUNS)
        if runs == RUNS:
            text = text.translate(_COMPATIBLE)
    return text.replace("\\", "/")


def _written_out(match: re.Match[str]) -> str:
    return match[0].translate(_COMPATIBLE)


def _seen(text: str) -> str:
    """*text* without what nobody sees."""
    if text.isascii():
        return text.encode("ascii").translate(None, _CONTROLS).decode("ascii")
    return _INVISIBLE.sub("", text)


def _nfkc(text: str) -> str:
    """NFKC, in linear time."""
    if text.isascii():
        return text
    for ligature in _LIGATURES:
        text = text.replace(ligature, _NO_LITERAL)
    runs = _RUNS.findall(text)
    return "".join([run if len(run) > NFKC_MAX and "/" not in run else _normalised(run) for run in runs])


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def unquote(data: bytes) -> bytes:
    """Percent-decoded until nothing is left to decode, however deep. Raises Entangled for a long text whose escapes
    hide more than a few of each other; plain chains such as `%2525252541` are none of these."""
    for _ in range(LEVELS):
        if b"%25" in data:
            data = _CHAIN.sub(b"%", data)
        # What Python calls `unicode_escape` is a decoder of `\\xHH` and of nothing else that is left.
        escaped, count = _ESCAPED.subn(rb"\\x", data.replace(b"\\", rb"\\"))
        if not count:
            return data
        data = escaped.decode("unicode_escape").encode("latin-1")
    if not _ESCAPED.search(data):
        return data
    if len(data) > SHORT:
        raise Entangled
    return _unquoted_singly(data)


def _unquoted_singly(data: bytes) -> bytes:
    """The same, in one pass from the right, whatever depends on what."""
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
    """Every distinct reading of a path's bytes that has at most about *most* segments, the most thorough first.
    Raises Entangled."""
    seen: set[str] = set()
    left = WORK if len(raw) <= LONG else WORK_OF_LONG
    for text, views in _sources(raw):
        left -= TEXT + (0 if text.isascii() else CHARACTER * len(text))
        for origin in _origins(text):
            for view in views:
                segments = view(origin, most)
                if segments is None:
                    continue
                left -= len(origin) + SLASH * origin.count("/") + SEGMENT * len(segments) + PLACE * _places(origin)
                joined = "/".join(segments)
                if joined not in seen:
                    left -= READING + (LOOK_UP if joined.isascii() else FOLD) * min(len(joined), LONG)
                    if left < 0:
                        raise Entangled
                    seen.add(joined)
                    yield Reading(segments, origin.endswith("/"))


def _places(text: str) -> int:
    """Where a text was cut, or gone through, one by one."""
    return (text.count("/") if "/." in text else 0) + text.count(";")


def _sources(raw: bytes) -> Iterator[tuple[str, tuple[View, ...]]]:
    """The texts of a path, and how each is read: first as one application alone would, then the mixtures."""
    full = unquote(raw)
    text = next(_texts(full))
    whole = _TAIL.sub("", thorough(text))
    yield whole, (_trimmed, _merged) if _may_be_trimmed(whole) else (_merged,)
    if "\0" in text:  # where a C string ends
        yield _TAIL.sub("", thorough(text.partition("\0")[0])), (_trimmed,)
    first, *others = _texts(raw)
    yield first, (_merged, _kept) if "." in first else (_kept,)
    yield from ((other, (_kept,)) for other in others)
    for text in _mixtures(raw, full) if len(raw) <= LONG else ():
        yield text, (_trimmed, _merged, _dotted, _kept)


def _mixtures(raw: bytes, full: bytes) -> Iterator[str]:
    """What comes of several things together, each once."""
    seen: set[str] = set()
    for text in _starts(raw, full):
        for begun in (text, _TAIL.sub("", text)):
            for cut in (begun, _PARAMETERS.sub("", begun)):
                if cut not in seen:
                    seen.add(cut)
                    yield cut


def _starts(raw: bytes, full: bytes) -> Iterator[str]:
    for text in _texts(full):
        yield thorough(text)
        if "\0" in text:
            yield thorough(text.partition("\0")[0])
    for data in (full, unquote_to_bytes(raw), raw):
        for text in _texts(data):
            for turned in (text, text.replace("\\", "/")):
                yield turned
                if not turned.isascii():
                    yield _normal(turned)
                    yield _normal(_PARAMETERS.sub("", turned))


def _normal(text: str) -> str:
    return _nfkc("/" * text.startswith("/") + "/".join(_resolved(text.split("/")) or ()))


def _may_be_trimmed(text: str) -> bool:
    return ";" in text or " " in text


def _trimmed(text: str, most: int = MANY) -> Optional[list[str]]:
    """Parameters cut, edges stripped, invisible and empty segments dropped, dots resolved."""
    text = _seen(text)
    text = _PARAMETERS.sub("", text) if ";" in text else text
    return _resolved(list(map(str.strip, text.split("/"))), most) if " " in text else _merged(text, most)


def _merged(text: str, most: int) -> Optional[list[str]]:
    """Slashes merged, then dots resolved (`posixpath.normpath`)."""
    # As many segments are left at least: one for each slash, but for a double one, and two for each that a dot follows.
    if text.count("/") - 2 * (text.count("//") + text.count("/.")) > most + 2:
        return None
    return _resolved(text.split("/"), most)


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
    return list(filter(None, text.split("/")))


def _resolved(segments: list[str], most: int = MANY) -> Optional[list[str]]:
    if "." not in segments and ".." not in segments:
        return list(filter(None, segments))
    kept: list[str] = []
    back = 0  # from the right: how many of the segments before are gone back over
    for segment in reversed(segments):
        if segment == "..":
            back += 1
        elif segment and segment != ".":
            if back:
                back -= 1
            elif len(kept) > most:
                return None
            else:
                kept.append(segment)
    kept.reverse()
    return kept
