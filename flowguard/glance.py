"""A large query or form at a glance: is one of its fields a parameter that a key names, however it is spelled?

To read ten thousand fields one by one takes ten milliseconds, whoever sends them. So what is large is looked at as a
whole, by what C does to all of it at once: it is decoded, and folded as single names are (`parameters`), its fields
parted by slashes. A parameter that a reader of single names would find must not be missed; where this finds more than
that, no more comes of it than that a large form is refused.
"""

from __future__ import annotations

import binascii
import re
from itertools import islice
from typing import Collection, Iterator, Optional

from flowguard.forms import CHARSET_FIELD, Doubtful, Field, decoded, is_utf8
from flowguard.spelling import LONG, Entangled, caseless, marked, thorough

# Bytes, and fields, that are read one by one: it takes them less than a millisecond. Servers take lines of 8 kB.
SMALL, FEW = 8_192, 300
# How often one and the same parameter is looked at; it takes two microseconds each time, and nobody repeats one so.
MOST = 200
# Bytes of a value, encoded: one that is longer is none that a key names, and is not decoded.
LONG_VALUE = 3 * LONG

# What means something here, while the rest is still encoded: U+001F parts fields; slashes, which are to part them when
# all is decoded, are marks like others until then.
_PART = b"\x1f"
_MARKED = bytes.maketrans(b"+&;/\\", b" \x1f\x1f||")
_PARTED = bytes.maketrans(b"\x1f/\\", b"/||")
# How a value begins, so that it is no name; a question mark is none of the marks that are dropped.
_VALUE = b"\x1f?"
_PECULIAR = (b"%%", b"%\n", b"%\r")  # what `binascii` decodes otherwise than everybody else
_ALIKE = b"_ "  # marks, and spaces: which of them stands where makes no difference, nor does it here whether any does


class Glance:
    """names: of the parameters, and forms: what other spellings of them fold to, all in ASCII."""

    def __init__(self, names: Collection[bytes], forms: Collection[bytes]) -> None:
        plain = (name for name in names if not re.search(rb"[%+&=]", name))
        self._plain = [(name, re.compile(b"&" + re.escape(name) + rb"(?:=([^&]*))?(?=&)")) for name in plain]
        self._sought = [b"/" + form.translate(None, _ALIKE) + b"/" for form in (*forms, CHARSET_FIELD)]

    def fields(self, data: bytes) -> list[Field]:
        """The fields that are parameters as they are declared. Raises Doubtful where there may be others."""
        if not is_utf8(data):
            raise Doubtful
        rest, found = b"&" + data + b"&", []
        for name, pattern in self._plain:
            if b"&" + name in rest:
                found += [Field(name, value) for value in _values(pattern, rest)]
                rest = pattern.sub(b"", rest, MOST)
        seen = _seen(rest)
        if seen is None or any(form in seen for form in self._sought):
            raise Doubtful
        return found


def is_large(data: bytes) -> bool:
    return len(data) > SMALL or count(data) > FEW


def count(data: bytes) -> int:
    """How many fields it has, but for one."""
    return data.count(b"&") + data.count(b";")


def _values(pattern: re.Pattern[bytes], data: bytes) -> Iterator[bytes]:
    for value in {match[1] or b"" for match in islice(pattern.finditer(data), MOST)}:
        if b";" in value:
            raise Doubtful
        yield value if len(value) > LONG_VALUE else decoded(value)


def _seen(data: bytes) -> Optional[bytes]:
    """The names in *data*, each between slashes, folded, with whatever else there is; None where that can't be told."""
    text = _unquoted(data.translate(_MARKED).replace(b"=", _VALUE))
    if text is None or text.count(_PART) != count(data) + data.count(b"="):
        return None
    parted = text.translate(_PARTED).decode("utf-8", "ignore")
    try:
        read = [thorough(one) for one in _also_cut(parted, "\0")]  # where a C string ends
    except Entangled:
        return None
    cut = [one for whole in read for one in _also_cut(whole, "[")]  # `step[]` is `step` to some
    return b"".join([marked(caseless(one)).translate(None, _ALIKE) for one in cut])


def _also_cut(text: str, char: str) -> tuple[str, ...]:
    return (text, text.replace(char, "/")) if char in text else (text,)


def _unquoted(data: bytes) -> Optional[bytes]:
    """Percent-decoded once, but for equals signs, by what decodes the `=41` of mails; *data* has none, and ends in no
    percent sign. None where that is something else."""
    if b"%" not in data:
        return data
    if any(text in data for text in _PECULIAR):
        return None
    signs = data.replace(b"%3D", b"|").replace(b"%3d", b"|").replace(b"%", b"=")
    return binascii.a2b_qp(signs).replace(b"=", b"%")
