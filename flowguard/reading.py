"""What the guard reads of a request: its methods, whether it is a speculation, and the context of a condition. It
decides nothing."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, NamedTuple, Optional

from werkzeug.wrappers import Request

from flowguard.body import Environ as Environ
from flowguard.body import buffer_body
from flowguard.core.flow import SAFE
from flowguard.wire import bare_host

StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_OVERRIDES = ("HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE")
# Of the methods that are written on a request beside the wire's: several times what any client writes. All that IANA
# knows are 300 characters, and to judge thousands of methods would take milliseconds.
MAX_OVERRIDES = 256  # characters
_PURPOSES = ("HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_MOZ")
_CONDITIONAL = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE")


_NO_METHOD = ""  # an unsafe one that no key names


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
    if wire in _PLAIN and environ.keys().isdisjoint(_OVERRIDES):
        return _PLAIN[wire]
    if has_countless_methods(environ):
        return Methods((wire, _NO_METHOD), True, False)
    others = [method.strip().upper() for value in _overrides(environ) for method in value.split(",")]
    every = tuple(dict.fromkeys([wire, *filter(None, others)]))
    submission = any(method not in SAFE for method in every)
    return Methods(every, submission, not submission and wire != "GET")


def has_countless_methods(environ: Mapping[str, Any]) -> bool:
    """Are more methods written on the request than can be judged? Then it must not pass: any of them might be meant."""
    return sum(map(len, _overrides(environ))) > MAX_OVERRIDES


def _overrides(environ: Mapping[str, Any]) -> list[str]:
    return [] if environ.keys().isdisjoint(_OVERRIDES) else [environ[key] for key in _OVERRIDES if key in environ]


def is_speculation(environ: Mapping[str, Any]) -> bool:
    """A prefetch or a prerender: the visitor is not there yet, and may never be."""
    if environ.keys().isdisjoint(_PURPOSES):
        return False
    for key in _PURPOSES:
        if key in environ and ("prefetch" in environ[key].lower() or "prerender" in environ[key].lower()):
            return True
    return False


def is_preflight(environ: Mapping[str, Any]) -> bool:
    """A CORS preflight: it carries no cookie, whatever the visitor's browser holds. One that a header would make a
    submission is none."""
    methods = methods_of(environ)
    return (
        methods.wire == "OPTIONS"
        and not methods.submission
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
    return origin is not None and bare_host(str(origin).partition("//")[2]) != bare_host(environ.get("HTTP_HOST", ""))


def ask_for_the_page(environ: Environ) -> None:
    """A request that would enter a state needs the page: a 304 would say nothing of what the visitor saw."""
    for key in _CONDITIONAL:
        environ.pop(key, None)


def ask_in_plain(environ: Environ) -> None:
    """The answer's text will be looked at: it must not be compressed, nor be a part of the page."""
    for key in ("HTTP_ACCEPT_ENCODING", "HTTP_RANGE"):
        environ.pop(key, None)


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
            copy = {**self.environ, "wsgi.input": body.stream(), "CONTENT_LENGTH": str(body.length)}
            self._request = Request(copy, populate_request=False)
            # The body is bounded already: werkzeug's own limits, lower ones for fields, would make it a 413 as well.
            self._request.max_form_memory_size = None
            self._request.max_form_parts = self._max_body
        return self._request
