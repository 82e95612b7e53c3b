"""Which page is it, where a path's keys name parameters (CONTRACT 2)?

The named parameters are looked for in the query and, where there is one, in the form. What an application could see as
another page than we do is *doubtful* and never reaches it: a named parameter with two values, another spelling of its
name or value, a body that is no form. To leave a parameter out, or to hide it, must open no step.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Iterable, Iterator, Mapping, Optional, Sequence

from werkzeug.exceptions import RequestEntityTooLarge

from flowguard import wire
from flowguard.body import Body, Environ, buffer_body, declared_length, has_end
from flowguard.config import Key
from flowguard.config.keys import implied
from flowguard.forms import Doubtful, Field, form, is_utf8, urlencoded
from flowguard.spelling import FILTER, LONG, ODD, fold, thorough

Values = Mapping[bytes, bytes]

_MARKS = bytes.maketrans(b"/\\", b"||")  # slashes are marks like others: here, they part texts
_PREFIX = re.compile(r"[\d_]*")


class Fork:
    """A path whose keys tell its pages apart by their parameters."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = sorted(keys, key=lambda key: -len(key.parameters))
        declared: dict[str, set[str]] = {}
        for key in keys:
            for name, value in key.parameters:
                declared.setdefault(name, set()).update(() if value is None else (value,))
        self._named = {_bytes(name): Named(map(_bytes, values)) for name, values in declared.items()}
        self._forms = _folded(_readings(self._named)) - {b""}

    def of_request(self, environ: Environ, max_body: int) -> Optional[Sequence[Key]]:
        """The keys that match a request, those with most parameters first; None if that is doubtful.

        max_body: bytes of the body that are read at most. The application gets it whole.
        """
        return self._match(_fields(environ, max_body))

    def of_query(self, query: str) -> Optional[Sequence[Key]]:
        """The same for a GET of this query."""
        return self._match(_of_query(query))

    def _match(self, fields: Iterable[Field]) -> Optional[Sequence[Key]]:
        try:
            values = self._values(fields)
        except Doubtful:
            return None
        given = {_text(name): _text(value) for name, value in values.items()}
        return [key for key in self._keys if implied(key.parameters, given)]

    def _values(self, fields: Iterable[Field]) -> Values:
        """The values of the named parameters. Raises Doubtful."""
        values: dict[bytes, bytes] = {}
        others: set[bytes] = set()
        for name, value in fields:
            if name not in self._named:
                others.add(name)
            elif value is None or values.setdefault(name, value) != value:
                raise Doubtful
        if self._hidden(others) or any(self._named[name].hides_in(value) for name, value in values.items()):
            raise Doubtful
        return values

    def _hidden(self, names: Iterable[bytes]) -> bool:
        """Is one of *names* another spelling of a named parameter?"""
        odd = []
        for name in names:
            key = name.translate(FILTER)
            if key in self._forms:
                return True
            if ODD in key or b"[" in name:
                odd.append(name)
        readings = _readings(odd)
        items = [reading.partition("[")[0] for reading in readings if "[" in reading]  # `step[]` is `step` to some
        return not self._forms.isdisjoint(_folded([*readings, *items]))


class Named:
    """What the keys say of one parameter: its fixed values, if any."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._values = frozenset(values)
        self._forms = _folded(_readings(self._values))
        self._numbers = frozenset(int(value) for value in self._values if value.isdigit())

    def hides_in(self, value: bytes) -> bool:
        """Could an application take *value* for one of the fixed ones, though it is none of them?"""
        if not self._values or value in self._values:
            return False
        if len(value) > LONG or not is_utf8(value):
            return True
        readings = _readings([value])
        if not self._forms.isdisjoint(_folded(readings)):
            return True
        return any(not self._numbers.isdisjoint(_numbers(reading.strip())) for reading in readings)


# --- what is read ----------------------------------------------------------------------------------------------------


def _fields(environ: Environ, max_body: int) -> Iterator[Field]:
    """The fields of query and form. Raises Doubtful where they can't be told."""
    yield from _of_query(environ.get("QUERY_STRING", ""))
    body = _body(environ, max_body)
    if body.length:
        yield from form(body.data(), environ.get("CONTENT_TYPE") or "")


def _of_query(query: str) -> Iterator[Field]:
    if "#" in query:  # browsers send none; who makes a URL of it again sees less
        raise Doubtful
    yield from urlencoded(wire.raw(query))


def _body(environ: Environ, max_body: int) -> Body:
    """The body, if there is one sort of reader only."""
    declared = declared_length(environ)
    if (
        (declared is None and environ.get("CONTENT_LENGTH"))
        or ("HTTP_TRANSFER_ENCODING" in environ and not has_end(environ))
        or environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity"
    ):
        raise Doubtful
    try:
        body = buffer_body(environ, max_body)
    except RequestEntityTooLarge:
        raise Doubtful from None
    except Exception:  # whatever a server raises when the visitor is gone, or sent no body that it can read
        raise Doubtful from None
    if declared is not None and declared != body.length:
        raise Doubtful
    return body


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# --- spellings -------------------------------------------------------------------------------------------------------


def _readings(texts: Iterable[bytes]) -> list[str]:
    """*texts* without further encoding and what is invisible; and what is before a NUL, where a C string ends."""
    every = [part for text in texts for part in ((text, text.partition(b"\0")[0]) if b"\0" in text else (text,))]
    return thorough("/".join(text.translate(_MARKS).decode("utf-8", "ignore") for text in every)).split("/")


def _folded(readings: Iterable[str]) -> set[bytes]:
    """What they come to where case, marks and spaces make no difference."""
    return set(fold("/".join(text.strip().replace(" ", "_") for text in readings)).split(b"/"))


def _numbers(text: str) -> set[int]:
    """The numbers that applications may read in *text*: strictly, to the first character that is no digit (what has
    none is 0), as a fraction, and in another base."""
    found = {int(_prefix(text) or "0")}
    with suppress(ValueError, OverflowError):
        found.add(int(float(text)))
    with suppress(ValueError):
        found.add(int(text, 0))
    return found


def _prefix(text: str) -> str:
    match = _PREFIX.match(text[text[:1] == "+" :])
    return "" if match is None else match[0].replace("_", "")
