"""The application's answer as the rules see it: its status, whether it is a page, and where a redirect leads."""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, NamedTuple, Optional
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from flowguard import wire
from flowguard.core.outcome import NO_ANSWER, Answer, Destination, Overrule
from flowguard.core.run import Values

Headers = list[tuple[str, str]]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
OVERRULE = "flowguard"  # the response header by which an application overrules the table
_WORDS = {known.value: known for known in Overrule}
_PAGES = ("text/html", "application/xhtml+xml")
# A host and its port. Anything else in a Host header is there to be read as a path: "x/done?", before a Location.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_HOSTS = ("HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_ORIGINAL_HOST", "HTTP_X_HOST", "HTTP_X_FORWARDED_SERVER")
MAX_HOSTS = 1_024  # characters of such a header: names of 253 (RFC 1035, 3.1), one for each proxy on the way
_NO_HOST = "host.invalid"  # nobody's (RFC 6761, 6.4)
# Characters of a Location's path, as it is written, without its query: a longer one leads to no page of ours, and to
# read it takes milliseconds, whoever made the application write it.
MAX_WRITTEN = 8_192
_QUERY = re.compile("[?#]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Place(NamedTuple):
    """What stands at a path for this flow: the name of its state or companion, if any, and the path's variables; and
    whether it is shut to everybody, by a fence or by its spelling."""

    name: Optional[str]
    is_state: bool
    values: Values
    shut: bool = False


NOWHERE = Place(None, False, ())
SHUT = Place(None, False, (), True)
Lookup = Callable[[str, str], Place]  # PATH_INFO and query to place


_NUMBER = {f"{number:03}": number for number in range(1000)}


def status_of(status: str) -> int:
    """The number of a WSGI status line; 0 for one that no server takes."""
    return _NUMBER.get(status[:3], 0)


class Told(NamedTuple):
    """What a status line and its headers tell. location: of a redirect, as it leads there from any page of ours. said:
    what an overruling header says, whether it is one of our words or not; None where there is none. cached: it says how
    it may be cached."""

    answer: Answer
    location: Optional[str]
    said: Optional[str]
    cached: bool


NOTHING_TOLD = Told(NO_ANSWER, None, None, False)


# What the guard looks at in an answer's headers: Content-Type and Location, as they stand there; what an overruling
# header says, in lower case; and whether any says how the answer may be cached.
Heard = tuple[Optional[str], Optional[str], Optional[str], bool]


def hear(headers: Headers) -> Heard:
    kind = location = said = None
    cached = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == "content-type":
            kind = value
        elif lowered == "location":
            location = value
        elif lowered == "cache-control":
            cached = True
        elif lowered == OVERRULE:
            said = value.strip().lower()
    return kind, location, said, cached


def read_answer(
    status: str, heard: Heard, base: Mapping[str, Any], lookup: Lookup, texts: frozenset[str] = frozenset()
) -> Told:
    """base: the environ as the request came, to read the Location against. texts: what was found in the answer."""
    kind, location, said, cached = heard
    number, html = status_of(status), kind is not None and kind.lower().lstrip().startswith(_PAGES)
    overrule = None if said is None else _WORDS.get(said)
    if number not in REDIRECTS or location is None:
        return Told(Answer(number, html, None, overrule, texts), None, said, cached)
    answer = Answer(number, html, destination(location, base, lookup), overrule, texts)
    return Told(answer, rooted(location, base), said, cached)


def header_of(headers: Headers, name: str) -> str:
    """The value of a header of the answer; empty where there is none."""
    return next((value for key, value in headers if key.lower() == name), "")


def destination(location: str, base: Mapping[str, Any], lookup: Lookup) -> Destination:
    """Where *location* leads, read as a path below the mount point on the same host (HTTP_HOST, port ignored)."""
    if _is_endless(location):
        return Destination(None, location)
    if _names_host(location) and _is_host_odd(base):
        return Destination(None, f"http://{_NO_HOST}/")
    url = location if is_local(location) else _absolute(location, base)
    parts = _split(url)
    if parts is None or ((parts.scheme or parts.netloc) and not _same_host(parts.netloc, base)):
        return Destination(None, url)
    path = unquote_to_bytes(wire.raw(parts.path) or b"/").decode("latin-1")
    mount = (base.get("SCRIPT_NAME") or "").rstrip("/")
    if mount and path != mount and not path.startswith(f"{mount}/"):
        return Destination(None, url if parts.netloc else _absolute(location, base))
    below = path[len(mount) :] or "/"
    place = lookup(below, parts.query)
    readable = below.encode("latin-1").decode("utf-8", "replace")
    state, companion = (place.name, None) if place.is_state else (None, place.name)
    return Destination(state, url, readable, parts.query, place.values, companion, place.shut)


def rooted(location: str, base: Mapping[str, Any]) -> str:
    """*location* as it leads to the same place from every path, and without a host where it names none."""
    if location[:1] == "/" or _SCHEME.match(location.strip()) or _is_endless(location):
        return location
    nowhere = f"http://{_NO_HOST}/"
    found = urljoin(nowhere + _here(base).lstrip("/"), location.strip())
    return f"/{found[len(nowhere):].lstrip('/')}" if found.startswith(nowhere) else location


def _is_endless(location: str) -> bool:
    return len(location) > MAX_WRITTEN and len(_QUERY.split(location, maxsplit=1)[0]) > MAX_WRITTEN


def is_local(location: str) -> bool:
    """Is it a path on the same host?"""
    return location[:1] == "/" and location[1:2] not in ("/", "\t", "\r", "\n")  # urlsplit drops these three


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError:  # "http://[": the application's own mistake, and no path of ours
        return None


def _absolute(location: str, base: Mapping[str, Any]) -> str:
    """Where there is a scheme or a host, nothing of ours is filled in: of ``http:///x`` browsers make the host x."""
    scheme = base.get("wsgi.url_scheme", "http")
    if _SCHEME.match(location.strip()):
        return location
    if location[:2] == "//":
        return f"{scheme}:{location}"
    try:
        return urljoin(f"{scheme}://{_host(base)}{_here(base)}", location)
    except ValueError:
        return location


def _here(base: Mapping[str, Any]) -> str:
    """The path and the query that were asked for; a Location without both keeps the query (RFC 3986, 5.2.2)."""
    path = (base.get("SCRIPT_NAME") or "") + (base.get("PATH_INFO") or "")
    query = base.get("QUERY_STRING")
    return quote(wire.raw(path)) + (f"?{query}" if query else "")


def _host(base: Mapping[str, Any]) -> str:
    host = str(base.get("HTTP_HOST") or base.get("SERVER_NAME") or "")
    return host if _HOST.fullmatch(host) else _NO_HOST


def _names_host(location: str) -> bool:
    return not is_local(location) and ("//" in location or _SCHEME.match(location.strip()) is not None)


def _is_host_odd(base: Mapping[str, Any]) -> bool:
    """Is a header that tells a host none that a browser sends? An application may have copied it into its Location,
    and its path with it: of ``x/login?`` comes ``http://x/login?/done``."""
    told = [str(base[key]) for key in _HOSTS if base.get(key)]
    if any(len(text) > MAX_HOSTS for text in told):
        return True
    return not all(_HOST.fullmatch(host.strip()) for text in told for host in text.split(","))


def _same_host(netloc: str, base: Mapping[str, Any]) -> bool:
    return wire.bare_host(netloc) == wire.bare_host(_host(base))
