"""The keys of the dict: a werkzeug rule, after methods if need be."""

from __future__ import annotations

import re
from typing import Any

from flowguard.config.places import Place

# A token of RFC 9110, 5.6.2: what a method or a cookie's name is made of.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_KEY = "Write a path that begins with '/', after methods if need be: 'GET,POST /charge'."


def parse(written: object, place: Place) -> Any:
    """Rule and methods of a key of the dict: ``"GET,POST /charge"``."""
    slash = written.find("/") if isinstance(written, str) else -1
    if not isinstance(written, str) or slash < 0 or (slash and not written[slash - 1].isspace()):
        return place.wrong(f"is no path. {_KEY}")
    rule = written[slash:]
    if "?" in rule:
        return place.wrong("has parameters ('?'), which this version does not have. Write the path alone.")
    return (rule, _methods(written[:slash], place)) if slash else (rule, None)


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
