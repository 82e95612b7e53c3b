"""An answer as a value, how it is sent, and the plain ones of the guard's own that are no refusal.

Locations are made here, and never from `Host`: `local` is for our own paths, `foreign` for the application's URLs.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Optional
from urllib.parse import quote

from flowguard.body import declared_length, has_end

Environ = Mapping[str, Any]
Headers = list[tuple[str, str]]

BODY_LIMIT = 1024 * 1024  # bytes of a refused request's body that are read
# Characters of a query that a redirect carries along, four times what most servers take: to quote one takes 25 ns.
MAX_QUERY = 32_768
BODY_CHUNK = 64 * 1024  # bytes

_LEGAL = "!$%&'()*+,-./:;=?@_~"  # stays as it is in a quoted path with its query (RFC 3986, 3.3 and 3.4)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LOCAL = re.compile(r"/(?![/\\])")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Response(NamedTuple):
    """An answer. `redirected`: it sends the visitor elsewhere, which the loop breaker counts."""

    status: str
    headers: Headers
    body: bytes
    redirected: bool = False


def send(response: Response, environ: Environ, start_response: Callable[[str, Headers], Any]) -> Iterable[bytes]:
    """Hand the answer to the server. HEAD gets the headers of a GET, and no body."""
    start_response(response.status, list(response.headers))
    return [] if header(environ, "REQUEST_METHOD").upper() == "HEAD" else [response.body]


def header(environ: Environ, key: str) -> str:
    """What the environ says; nothing where it says nothing."""
    value = environ.get(key, "")
    return value if isinstance(value, str) else ""


def drain(environ: Environ, limit: int = BODY_LIMIT) -> None:
    """Read the request's body, up to *limit* bytes: a server that is left with an unread body resets the connection,
    and the answer is lost. Reads nothing where neither a length nor the server says where it ends."""
    left = _length(environ, limit)
    try:
        while left > 0:
            chunk = environ["wsgi.input"].read(min(left, BODY_CHUNK))
            if not chunk:
                return
            left -= len(chunk)
    except Exception:  # whatever a server raises when the visitor is gone; there is still an answer to send
        return


def _length(environ: Environ, limit: int) -> int:
    """How much there is to read; all of the limit where the server ends the stream (``wsgi.input_terminated``)."""
    declared = declared_length(environ)
    if declared is None and str(environ.get("CONTENT_LENGTH") or "").strip():
        return 0  # a length that nobody can read
    return limit if has_end(environ) else min(declared or 0, limit)


# --- where to --------------------------------------------------------------------------------------------------------


def local(url: Optional[str]) -> Optional[str]:
    """A path that we built, as it may stand in a Location: percent-quoted, and certain to stay on this host; None
    where it is none, such as ``//evil`` or ``/\\evil``, which browsers take for a host."""
    if url is None or not _LOCAL.match(url):
        return None
    return quote(_bytes(url), _LEGAL)


def foreign(url: Optional[str]) -> Optional[str]:
    """A Location of the application's, as it may be used once more: on any host, but only http and https, and nothing
    that could end the header. (A browser ignores ``Location: javascript:…``; a link or htmx would run it.)"""
    if not url or _CONTROL.search(url) or url != url.strip():
        return None
    scheme = _SCHEME.match(url)
    if scheme and scheme.group().lower() not in ("http:", "https:"):
        return None
    return quote(_bytes(url), _LEGAL + "#[]")


def _bytes(text: str) -> bytes:
    """The bytes behind a native string of WSGI; a text that is none, as UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


# --- plain answers ---------------------------------------------------------------------------------------------------


def speculation() -> Response:
    """To a prefetch or prerender of a guarded page: not now, so that the browser asks again when the visitor really
    goes there. Chromium 156 does so after a 503, and takes a redirect or an empty answer for the page."""
    headers = [("Cache-Control", "no-store"), ("Vary", "Sec-Purpose, Purpose, X-Moz")]
    return plain("503 Service Unavailable", "Not in advance.\n", headers)


def respelt(path: str, query: str = "") -> Response:
    """308 to the declared spelling of a path, with the request's query; 414 where that is too long to be sent back."""
    location = local(path)
    if location is None:  # "//evil": browsers would take it for a host
        return plain("404 Not Found", "There is no such page.\n", [("Cache-Control", "no-store")])
    if len(query) > MAX_QUERY:
        return too_long()
    if query:
        location += "?" + quote(_bytes(query), _LEGAL)
    headers = [("Location", location), ("Cache-Control", "no-store")]
    return plain("308 Permanent Redirect", f"This page is at {location}\n", headers)._replace(redirected=True)


def too_long() -> Response:
    """414: a path that is longer than any that can be meant."""
    return plain("414 URI Too Long", "The address is too long.\n", [("Cache-Control", "no-store")])


def method_not_allowed(allow: Iterable[str]) -> Response:
    """405: HEAD and OPTIONS of a page whose GET has effects."""
    headers = [("Allow", ", ".join(allow)), ("Cache-Control", "no-store")]
    return plain("405 Method Not Allowed", "This page does not take such a request.\n", headers)


def plain(status: str, text: str, headers: Headers) -> Response:
    """A sentence for whoever reads the answers of machines."""
    body = text.encode("ascii")
    kind = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    return Response(status, [*kind, *headers, ("Content-Length", str(len(body)))], body)
