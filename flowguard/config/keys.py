"""The keys of the dict: a werkzeug rule, after methods and before parameters if need be."""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Optional
from urllib.parse import quote, unquote_to_bytes

from flowguard.config.places import Place

# A token of RFC 9110, 5.6.2: what a method or a cookie's name is made of.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Where an application looks for a parameter, if it does not look everywhere.
QUERY, FORM = "query", "form"

#: Names and values, None for any value, in the order of names. Bytes that are not UTF-8 are surrogate escapes.
Parameters = tuple[tuple[str, Optional[str]], ...]

_KEY = "Write a path that begins with '/', after methods if need be: 'GET,POST /charge'."
_PARAMETER = "Write '?name=value', or '?name' for any value."
# A rule ends at the first question mark that stands in no variable's arguments.
_PARTS = re.compile(r"((?:<[^>]*>|[^?])*)(?:\?(.*))?", re.DOTALL)
# What stands for itself in no query, and what some applications take for a separator.
_UNENCODED = re.compile(r"[\s\x00-\x1f\x7f#;]|%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Written(NamedTuple):
    """What a key says. methods: None for all of them."""

    rule: str
    methods: Optional[frozenset[str]]
    parameters: Parameters


def parse(written: object, place: Place) -> Any:
    """What a key of the dict says: ``"GET,POST /charge"``, ``"POST /preview?action=place_order"``."""
    slash = written.find("/") if isinstance(written, str) else -1
    if not isinstance(written, str) or slash < 0 or (slash and not written[slash - 1].isspace()):
        return place.wrong(f"is no path. {_KEY}")
    parts = _PARTS.fullmatch(written[slash:])
    assert parts is not None  # it matches every text
    rule, query = parts.groups()
    methods = _methods(written[:slash], place) if slash else None
    return Written(rule, methods, () if query is None else _parameters(query, place))


def _methods(text: str, place: Place) -> frozenset[str]:
    """The methods that a key names. HEAD and OPTIONS go with GET (CONTRACT 2)."""
    found = set()
    for method in (part.strip().upper() for part in text.split(",")):
        if not TOKEN.fullmatch(method):
            place.wrong(f"{method!r} is no method. {_KEY}")
        elif method in found:
            place.wrong(f"names {method} twice. Remove one.")
        found.add(method)
    return frozenset(found | {"HEAD", "OPTIONS"} if "GET" in found else found)


# --- parameters ------------------------------------------------------------------------------------------------------


def _parameters(query: str, place: Place) -> Parameters:
    """The parameters that a key names, decoded as those of a query are."""
    if "<" in query:
        place.wrong("has a variable in its parameters; variables stand in paths alone. Write '?name' for any value, or "
                    "'%3C' for a '<'.")  # fmt: skip
        return ()
    unencoded = _UNENCODED.search(query)
    if unencoded:
        char = unencoded[0]
        place.wrong(f"holds {char!r} in its parameters. Write it percent-encoded: {quote(char)!r}.")
        return ()
    found: dict[str, Optional[str]] = {}
    for piece in query.split("&"):
        name, equals, value = (_decoded(part) for part in piece.partition("="))
        if not name.strip():
            place.wrong(f"has a parameter without a name. {_PARAMETER}")
        elif _CONTROL.search(name + value):
            place.wrong(f"has a control character in its parameter {piece!r}. Remove it.")
        elif name in found:
            place.wrong(f"names the parameter {name!r} twice. Remove one.")
        found[name] = value if equals else None
    return tuple(sorted(found.items(), key=lambda parameter: parameter[0]))


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "surrogateescape")


def implied(parameters: Parameters, given: Mapping[str, Optional[str]]) -> bool:
    """Do all *parameters* match a request that has the *given* ones? There, None is a value that nobody knows."""
    return all(name in given and value in (None, given[name]) for name, value in parameters)


def both(first: Parameters, second: Parameters) -> Optional[Mapping[str, Optional[str]]]:
    """The least that a request has which both match; None if there is no such request."""
    found = dict(first)
    for name, value in second:
        known = found.get(name)
        if value is not None and known not in (None, value):
            return None
        found[name] = known if value is None else value
    return found


def query_of(parameters: Parameters) -> str:
    """The parameters as a URL carries them, after its question mark; a value that may be any is left empty."""
    return "&".join(f"{_encoded(name)}={_encoded(value or '')}" for name, value in parameters)


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), "@:/!$'()*,")
