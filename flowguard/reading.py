"""What the guard reads of a request: its methods, whether it is a speculation, its body, and the context of a
condition. It decides nothing."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Optional

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from flowguard.core.flow import SAFE

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_OVERRIDES = ("HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE")
_CONDITIONAL = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE")
_DIGITS = 18  # of a length that are read: an exabyte is above every limit, and int() of 5,000 digits raises
_CHUNK = 65_536  # bytes: one read of a body


class Methods(NamedTuple):
    """What the request does. `all`: the wire's method first, then those that a header would put in its place."""

    all: tuple[str, ...]
    submission: bool
    peek: bool  # HEAD or OPTIONS: never changes a run

    @property
    def wire(self) -> str:
        return self.all[0]


_PLAIN = {
    method: Methods((method,), method not in SAFE, method in SAFE and method != "GET")
    for method in (*SAFE, "POST", "PUT", "PATCH", "DELETE")
}


def methods_of(environ: Mapping[str, Any]) -> Methods:
    """The methods of a request, in upper case. One that is unsafe makes it a submission, wherever it stands."""
    wire = environ["REQUEST_METHOD"].upper()
    named = [environ[key] for key in _OVERRIDES if key in environ]
    if not named and wire in _PLAIN:
        return _PLAIN[wire]
    others = [method.strip().upper() for value in named for method in value.split(",")]
    every = tuple(dict.fromkeys([wire, *filter(None, others)]))
    submission = any(method not in SAFE for method in every)
    return Methods(every, submission, not submission and wire != "GET")


def is_speculation(environ: Mapping[str, Any]) -> bool:
    """A prefetch or a prerender: the visitor is not there yet, and may never be."""
    for key in ("HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_MOZ"):
        if key in environ and ("prefetch" in environ[key].lower() or "prerender" in environ[key].lower()):
            return True
    return False


def is_preflight(environ: Mapping[str, Any]) -> bool:
    """A CORS preflight: it carries no cookie, whatever the visitor's browser holds."""
    return (
        environ["REQUEST_METHOD"].upper() == "OPTIONS"
        and "HTTP_ORIGIN" in environ
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def may_take_cookie(environ: Mapping[str, Any], brought: bool) -> bool:
    """May the answer set our cookie? Never on an answer to HEAD; and where a cross-site request brought none, its
    browser may hold one that it did not send: then only a top-level navigation, which would have brought it."""
    if environ["REQUEST_METHOD"].upper() == "HEAD":
        return False
    if brought or not _is_cross_site(environ):
        return True
    return (
        environ["REQUEST_METHOD"].upper() == "GET"
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
    )


def _is_cross_site(environ: Mapping[str, Any]) -> bool:
    """By Sec-Fetch-Site, which browsers send over https alone; where there is none, by another host in Origin."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return bool(site == "cross-site")
    origin = environ.get("HTTP_ORIGIN")
    return origin is not None and _bare_host(str(origin).partition("//")[2]) != _bare_host(environ.get("HTTP_HOST", ""))


def _bare_host(host: str) -> str:
    """Without the port, in lower case."""
    return re.sub(r":\d*\Z", "", host).lower()


def ask_for_the_page(environ: Environ) -> None:
    """A request that would enter a state needs the page: a 304 would say nothing of what the visitor saw."""
    for key in _CONDITIONAL:
        environ.pop(key, None)


def ask_in_plain(environ: Environ) -> None:
    """The answer's text will be looked at: it must not be compressed, nor be a part of the page."""
    for key in ("HTTP_ACCEPT_ENCODING", "HTTP_RANGE"):
        environ.pop(key, None)


_BODY = "flowguard.body"  # what was read of the body; None: it can't be had any more


def buffer_body(environ: Environ, limit: int) -> bytes:
    """Read the body and put it back, byte for byte, for the application.

    limit: bytes. Raises RequestEntityTooLarge (413) above it, and for a body that is the application's by now.
    """
    length = _declared(environ)
    if not length and not (length is None and environ.get("wsgi.input_terminated")):
        return b""  # there is none, or nobody can tell where it ends
    if _BODY not in environ:
        environ[_BODY] = None
        chunks: list[bytes] = []
        try:
            _read_body(environ["wsgi.input"], length, limit, chunks)
        except BaseException:
            environ["wsgi.input"] = _Rejoined(b"".join(chunks), environ["wsgi.input"])
            raise
        environ[_BODY] = b"".join(chunks)
        environ["wsgi.input"] = BytesIO(environ[_BODY])
    kept: Optional[bytes] = environ[_BODY]
    if kept is None:
        raise RequestEntityTooLarge
    return kept


def new_body(environ: Environ) -> None:
    """The request is here to be judged: what another guard before this one read is in its stream."""
    environ.pop(_BODY, None)


def hand_over_body(environ: Environ) -> None:
    """From now on the application reads the body; a condition that is asked later can't, unless one was before."""
    environ.setdefault(_BODY, None)


def lost_body(environ: Environ) -> bool:
    """Was a condition told that the body is too large, or broken off?"""
    return environ.get(_BODY, b"") is None


def _read_body(stream: Any, length: Optional[int], limit: int, chunks: list[bytes]) -> None:
    if length is not None and length > limit:
        raise RequestEntityTooLarge
    left = limit + 1 if length is None else length
    while left > 0:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    if length is None and left <= 0:
        raise RequestEntityTooLarge


class _Rejoined:
    """A body of which *part* was read: that comes first, then the *rest*. Reads no further than it is asked."""

    def __init__(self, part: bytes, rest: Any) -> None:
        self._part, self._rest = BytesIO(part), rest

    def read(self, size: int = -1) -> bytes:
        return self._joined(self._part.read(size), self._rest.read, size)

    def readline(self, size: int = -1) -> bytes:
        line = self._part.readline(size)
        return line if line.endswith(b"\n") else self._joined(line, self._rest.readline, size)

    def readlines(self, hint: int = -1) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    @staticmethod
    def _joined(first: bytes, more: Callable[[int], bytes], size: int) -> bytes:
        left = size - len(first) if size >= 0 else -1
        return first + more(left) if left else first


def _declared(environ: Mapping[str, Any]) -> Optional[int]:
    """The body's length in bytes; one that no body has is above every limit."""
    text = str(environ.get("CONTENT_LENGTH") or "").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text[:_DIGITS])


class Context:
    """What a condition gets to see.

    environ: the request's. run: as `environ["flowguard.run"]` will be. args: the path's values, converted by the rule.
    request: werkzeug's, made when it is asked for; its form can be read, and the application still gets the body whole
    (above `max_body` the visitor gets a 413).
    """

    def __init__(self, environ: Environ, run: Any, args: Mapping[str, Any], max_body: int) -> None:
        self.environ = environ
        self.run = run
        self.args = args
        self._max_body = max_body
        self._request: Optional[Request] = None

    @property
    def request(self) -> Request:
        if self._request is None:
            body = buffer_body(self.environ, self._max_body)
            copy = {**self.environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            self._request = Request(copy, populate_request=False)
            # The body is bounded already: werkzeug's own limits, lower ones for fields, would make it a 413 as well.
            self._request.max_form_memory_size = None
            self._request.max_form_parts = self._max_body
        return self._request
