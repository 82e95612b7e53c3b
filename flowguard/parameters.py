"""Which page is it, where a path's keys name parameters (CONTRACT 2)?

The named parameters are looked for in the query and, where there is one, in the form, unless the flow says where its
application looks. What an application could see as another page than we do is *doubtful* and never reaches it: a named
parameter with two values, another spelling of its name or value, a body that is no form. To leave a parameter out, to
hide it, or to add one where the application does not look, must open no step.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Iterable, Mapping, NamedTuple, Optional, Sequence

from werkzeug.exceptions import RequestEntityTooLarge

from flowguard import wire
from flowguard.body import Body, Environ, buffer_body, declared_length, has_end
from flowguard.config import FORM, QUERY, Key
from flowguard.config.keys import implied
from flowguard.forms import Doubtful, Field, form, is_utf8, urlencoded
from flowguard.glance import Glance, count, is_large
from flowguard.spelling import FILTER, LONG, ODD, Entangled, fold, thorough

Values = Mapping[bytes, bytes]

NOWHERE_ELSE: Mapping[str, str] = {}

# Several times what servers take by default. To look at so much takes a millisecond.
MAX_QUERY = 65_536  # bytes
# That are read one by one, where names that are not ASCII keep a glance from telling: two microseconds each. Django and
# PHP read as many.
MAX_FIELDS = 1_000

_MARKS = bytes.maketrans(b"/\\", b"||")  # slashes are marks like others: here, they part texts
_PREFIX = re.compile(r"[\d_]*")


class Match(NamedTuple):
    """keys: those that match a request, with most parameters first. others: the same for applications that look in the
    query alone, or in the form alone, where both have a part in it."""

    keys: Sequence[Key]
    others: Sequence[Sequence[Key]] = ()


class Fork:
    """A path whose keys tell its pages apart by their parameters. places: of parameters that the application looks for
    in the `QUERY` alone, or in the `FORM`."""

    def __init__(self, keys: Sequence[Key], places: Mapping[str, str] = NOWHERE_ELSE) -> None:
        self._keys = sorted(keys, key=lambda key: -len(key.parameters))
        declared: dict[str, set[str]] = {}
        for key in keys:
            for name, value in key.parameters:
                declared.setdefault(name, set()).update(() if value is None else (value,))
        self._named = {_bytes(name): Named(map(_bytes, values)) for name, values in declared.items()}
        self._forms = _folded(_readings(self._named)) - {b""}
        self._elsewhere = {
            place: frozenset(_bytes(name) for name, other in places.items() if other != place)
            for place in (QUERY, FORM)
        }  # fmt: skip
        self._told = frozenset(map(_bytes, places))
        # Neither what old libraries part nor what more than case and marks may make of a letter.
        plain = all(name.isascii() and b";" not in name for name in (*self._named, *self._forms))
        self._glance = Glance(self._named, self._forms) if plain else None

    def of_request(self, environ: Environ, max_body: int) -> Optional[Match]:
        """What matches a request; None if that is doubtful.

        max_body: bytes of the body that are read at most. The application gets it whole.
        """
        try:
            asked = self._asked(environ.get("QUERY_STRING", ""))
            sent = self._sent(environ, max_body)
        except (Doubtful, Entangled):
            return None
        if any(sent[name] != asked[name] for name in sent.keys() & asked.keys()):
            return None
        every = {**asked, **sent}
        return Match(self._match(every), [self._match(part) for part in self._parts(asked, sent)])

    def of_query(self, query: str) -> Optional[Match]:
        """The same for a GET of this query."""
        try:
            return Match(self._match(self._asked(query)))
        except (Doubtful, Entangled):
            return None

    def _parts(self, asked: Values, sent: Values) -> Sequence[Values]:
        """What an application sees that looks in the query alone, and one that looks in the form alone; nothing if one
        of the two is empty or both are alike, but for what the flow tells the place of."""
        untold_asked, untold_sent = (part.keys() - self._told for part in (asked, sent))
        if not untold_asked or not untold_sent or untold_asked == untold_sent:
            return ()
        every = {**asked, **sent}
        return [{name: every[name] for name in every if name in part or name in self._told} for part in (asked, sent)]

    def _match(self, values: Values) -> Sequence[Key]:
        given = {_text(name): _text(value) for name, value in values.items()}
        return [key for key in self._keys if implied(key.parameters, given)]

    def _asked(self, query: str) -> Values:
        """The named parameters in a query. Raises Doubtful."""
        # Browsers send no `#`: who makes a URL of it again sees less.
        if "#" in query or len(query) > MAX_QUERY:
            raise Doubtful
        return self._read(self._urlencoded(wire.raw(query)), QUERY)

    def _sent(self, environ: Environ, max_body: int) -> Values:
        """The named parameters in a form. Raises Doubtful."""
        body, kind = _body(environ, max_body), environ.get("CONTENT_TYPE") or ""
        return self._read(form(body.data(), kind, self._urlencoded), FORM) if body.length else {}

    def _urlencoded(self, data: bytes) -> Iterable[Field]:
        """Those fields of a query or a form that count; all of them, where they are few. Raises Doubtful."""
        if self._glance is not None and is_large(data):
            return self._glance.fields(data)
        if count(data) >= MAX_FIELDS:
            raise Doubtful
        return urlencoded(data)

    def _read(self, fields: Iterable[Field], place: str) -> Values:
        values = self._values(fields)
        if not self._elsewhere[place].isdisjoint(values):
            raise Doubtful
        return values

    def _values(self, fields: Iterable[Field]) -> Values:
        """The values of the named parameters. Raises Doubtful."""
        values: dict[bytes, bytes] = {}
        others: set[bytes] = set()
        for name, value in fields:
            if name not in self._named:
                others.add(name)
            elif value is None or values.setdefault(name, value) != value:
                raise Doubtful
        if others and self._hidden(others):
            raise Doubtful
        if any(self._named[name].hides_in(value) for name, value in values.items()):
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
