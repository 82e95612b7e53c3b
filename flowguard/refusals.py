"""A refused request -> the answer (CONTRACT 5).

| how        | a page visit        | a form sent from a page                                       | anything else |
|------------|---------------------|---------------------------------------------------------------|---------------|
| `auto`     | 303 to the target   | `duplicate`, `finished`: 303 to where the first submission    | 409 problem   |
|            |                     | led, else to the target; other reasons: 409 page              |               |
| `redirect` | 303                 | 303                                                           | 409 problem   |
| `conflict` | 409 page            | 409 page                                                      | 409 problem   |

Where nothing can be redirected to, a 409; where the guard goes in circles or a visited run is stuck, the 409 page.
`unavailable` is a 503, and never a redirect. Nothing here knows of cookies, ledgers or runs: what is to be said comes
in a `Refused`, and what is to be done about it goes out as a `Response`.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Iterable, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import quote

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from flowguard.core.passage import Reason
from flowguard.pages import POLICY, Link, Page, render, render_redirect
from flowguard.texts import NO_TEXTS, Phrase, Texts, Words, words

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Environ = Mapping[str, Any]
Headers = List[Tuple[str, str]]

AUTO, REDIRECT, CONFLICT = "auto", "redirect", "conflict"

# What the answers to one and the same address depend on.
VARY = "Accept, Accept-Language, Cookie, Sec-Fetch-Mode, X-Requested-With, HX-Request, X-Inertia"

# After these, something that was sent before stands.
AGAIN = frozenset((Reason.DUPLICATE, Reason.FINISHED))
# Where the guard names no time. Busy: `ledger_wait` has passed already, and five seconds are enough to read the page.
WAIT = {Reason.BUSY: 5, Reason.TOO_FAST: 1, Reason.UNAVAILABLE: 5}  # seconds

BODY_LIMIT = 1024 * 1024  # bytes of a refused request's body that are read
BODY_CHUNK = 64 * 1024  # bytes

_HTML = "text/html; charset=utf-8"
_LEGAL = "!$%&'()*+,-./:;=?@_~"  # stays as it is in a quoted path with its query; RFC 3986, 3.3 and 3.4
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LOCAL = re.compile(r"/(?!/)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Form(Enum):
    """What sort of request it is: it chooses the form of the answer, never the verdict."""

    PAGE = "page"  # a page visit
    FORM = "form"  # a form sent from a page
    OTHER = "other"  # fetch, XHR, an API's client


class Refused(NamedTuple):
    """All that an answer says of a refusal. What an `on_refusal` callable gets.

    flow, state: names. reason: a word of CONTRACT 5. current: the current state, None without a run.
    missing: what must come before, of a group of which any would do a tuple. allowed: what a GET would enter.
    target: where the visitor should be, a percent-quoted path with the mount point; None where a variable is unknown.
    redirects: a GET of the target would pass. target_method: the method that reaches it, where that is not GET.
    led: where the first submission led, if a duplicate may go there. start: the first step, for a stuck run.
    stuck: nothing leads on in this run. uncertain: the outcome of the last submission is not known.
    looping: the visitor was redirected again and again. retry_after: seconds.
    """

    flow: str
    reason: str
    state: str
    current: Optional[str]
    missing: Tuple[object, ...] = ()
    allowed: Tuple[str, ...] = ()
    target: Optional[str] = None
    redirects: bool = False
    target_method: Optional[str] = None
    led: Optional[str] = None
    start: Optional[str] = None
    stuck: bool = False
    uncertain: bool = False
    looping: bool = False
    retry_after: Optional[int] = None
    submission: bool = False
    form: Form = Form.OTHER


class Response(NamedTuple):
    """An answer. `redirected`: it sends the visitor elsewhere, which the loop breaker counts."""

    status: str
    headers: Headers
    body: bytes
    redirected: bool = False


# --- the request ----------------------------------------------------------------------------------------------------


def form_of(environ: Environ, submission: bool) -> Form:
    """By `Sec-Fetch-Mode: navigate`, or, where no Sec-Fetch header came, by an Accept that names text/html and no
    X-Requested-With (nor htmx's or Inertia's header: old htmx sends no other sign, new htmx accepts text/html)."""
    if not _navigates(environ):
        return Form.OTHER
    return Form.FORM if submission else Form.PAGE


def _navigates(environ: Environ) -> bool:
    if any(key.startswith("HTTP_SEC_FETCH_") for key in environ):
        return _header(environ, "HTTP_SEC_FETCH_MODE").strip().lower() == "navigate"
    if any(_header(environ, key) for key in ("HTTP_X_REQUESTED_WITH", "HTTP_HX_REQUEST", "HTTP_X_INERTIA")):
        return False
    accepted = parse_accept_header(_header(environ, "HTTP_ACCEPT"), MIMEAccept)
    return any(kind.partition(";")[0].strip().lower() == "text/html" and quality > 0 for kind, quality in accepted)


def _header(environ: Environ, key: str) -> str:
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
    text = str(environ.get("CONTENT_LENGTH") or "").strip()
    if text.isascii() and text.isdigit():
        return limit if len(text) > 18 else min(int(text), limit)
    return limit if not text and environ.get("wsgi.input_terminated") else 0


# --- the answers to a refusal ---------------------------------------------------------------------------------------


def answer(refused: Refused, environ: Environ, how: str = AUTO, texts: Texts = NO_TEXTS) -> Response:
    """The answer to a refused request: the table above."""
    said = words(_header(environ, "HTTP_ACCEPT_LANGUAGE"), texts)
    onward = _onward(refused)
    if onward is not None and _redirects(refused, how):
        return _see_other(refused, said, onward)
    if refused.form is Form.OTHER:
        return _problem(refused, said, _hand_over(refused, environ, onward))
    return _page(refused, said, onward)


def unavailable(refused: Refused, environ: Environ, texts: Texts = NO_TEXTS) -> Response:
    """503: the ledger, which must be asked, does not answer. As a page or as a problem, with Retry-After."""
    return answer(refused._replace(reason=Reason.UNAVAILABLE.value), environ, CONFLICT, texts)


def _redirects(refused: Refused, how: str) -> bool:
    if how == CONFLICT or refused.looping or refused.form is Form.OTHER or refused.reason == Reason.UNAVAILABLE:
        return False
    if refused.form is Form.PAGE:
        return not refused.stuck
    return how == REDIRECT or refused.reason in AGAIN


def _onward(refused: Refused) -> Optional[str]:
    """The URL of the way on, if there is one that a GET can take."""
    led = _led(refused)
    if led is not None:
        return led
    return local(refused.target) if refused.redirects else None


def _led(refused: Refused) -> Optional[str]:
    return foreign(refused.led) if refused.submission and refused.reason in AGAIN else None


def _see_other(refused: Refused, said: Words, onward: str) -> Response:
    page = Page(said.lang, said.title(_situation(refused)), (), links=_links(refused, said, onward)[:1])
    headers = [("Location", onward), *_page_headers(said)]
    return _refusal("303 See Other", refused, headers, render_redirect(page))._replace(redirected=True)


def _problem(refused: Refused, said: Words, headers: Headers) -> Response:
    """RFC 9457. The texts follow Accept-Language, as it allows."""
    status, situation = _status(refused), _situation(refused)
    problem = {
        "type": f"urn:flowguard:{Reason(refused.reason).value}",
        "title": said.title(situation).text,
        "status": int(status[:3]),
        "detail": " ".join(phrase.text for phrase in (said.text(situation), *_note(refused, said))),
        "flow": refused.flow,
        "reason": Reason(refused.reason).value,
        "state": refused.state,
        "current": refused.current,
        "missing": refused.missing,
        "allowed": refused.allowed,
        "target": local(refused.target),
    }
    if refused.target_method not in (None, "GET"):
        problem["target_method"] = refused.target_method
    kind = [("Content-Type", "application/problem+json"), ("Content-Language", said.lang)]
    return _refusal(status, refused, [*kind, *headers], json.dumps(problem).encode("ascii"))


def _hand_over(refused: Refused, environ: Environ, onward: Optional[str]) -> Headers:
    """For scripts that would put the answer to a redirect into the page: where the whole page should go.
    https://htmx.org/headers/hx-redirect/ and https://inertiajs.com/the-protocol (a 409 is Inertia's own way)."""
    if onward is None or refused.looping or refused.reason == Reason.UNAVAILABLE:
        return []
    names = (("HTTP_HX_REQUEST", "HX-Redirect"), ("HTTP_X_INERTIA", "X-Inertia-Location"))
    return [(name, onward) for key, name in names if _header(environ, key).strip().lower() == "true"]


def _page(refused: Refused, said: Words, onward: Optional[str]) -> Response:
    situation = _situation(refused)
    text = (said.text(situation), *_advice(refused, said, onward))
    page = Page(said.lang, said.title(situation), text, _note(refused, said), _links(refused, said, onward))
    headers = [*_page_headers(said), ("Referrer-Policy", "same-origin")]
    if refused.reason == Reason.BUSY and onward is not None:
        headers.append(("Refresh", f"{_wait(refused)}; url={onward}"))
    return _refusal(_status(refused), refused, headers, render(page))


def _refusal(status: str, refused: Refused, headers: Headers, body: bytes) -> Response:
    """What every refusal carries."""
    wait = _wait(refused)
    every = [
        ("Flowguard-Reason", Reason(refused.reason).value),
        ("Cache-Control", "no-store"),
        ("Vary", VARY),
        ("Content-Length", str(len(body))),
    ]
    return Response(status, [*headers, *every, *([("Retry-After", str(wait))] if wait else [])], body)


def _page_headers(said: Words) -> Headers:
    return [
        ("Content-Type", _HTML),
        ("Content-Language", said.lang),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
    ]


def _status(refused: Refused) -> str:
    return "503 Service Unavailable" if refused.reason == Reason.UNAVAILABLE else "409 Conflict"


def _wait(refused: Refused) -> int:
    """Seconds after which it is worth to try again; 0 where waiting does not help."""
    if refused.retry_after is not None:
        return max(1, int(refused.retry_after))
    return WAIT.get(Reason(refused.reason), 0)


# --- what is said ---------------------------------------------------------------------------------------------------


def _situation(refused: Refused) -> str:
    """The key of the title and the text."""
    if refused.reason in (Reason.BUSY, Reason.UNAVAILABLE):
        return Reason(refused.reason).value
    if refused.looping:
        return "looping"
    return "unknown" if refused.stuck or refused.uncertain else Reason(refused.reason).value


def _note(refused: Refused, said: Words) -> Tuple[Phrase, ...]:
    """What was typed is not to be lost unnoticed."""
    if not refused.submission:
        return ()
    again = refused.uncertain or refused.reason in AGAIN or refused.reason == Reason.BUSY
    return (said.phrase("not_taken_again" if again else "not_taken"),)


def _advice(refused: Refused, said: Words, onward: Optional[str]) -> Tuple[Phrase, ...]:
    """What comes next, where a link alone does not say it."""
    if onward is None:
        post = refused.target is not None and refused.target_method not in (None, "GET")
        return (said.phrase("by_form" if post else "no_way"),)
    if refused.reason == Reason.BUSY:
        return (said.phrase("refreshes"),)
    if refused.reason == Reason.TOO_FAST and refused.retry_after is not None:
        phrase = said.phrase("wait")
        seconds = max(2, _wait(refused))  # one is said as two, for the plural's sake
        return (phrase._replace(text=phrase.text.replace("{seconds}", str(seconds))),)
    return ()


def _links(refused: Refused, said: Words, onward: Optional[str]) -> Tuple[Link, ...]:
    links = {}
    if onward is not None:
        links[onward] = said.phrase(_onward_text(refused))
    start = local(refused.start) if refused.stuck else None
    if start is not None:
        links.setdefault(start, said.phrase("begin"))
    return tuple(Link(href, text) for href, text in links.items())


def _onward_text(refused: Refused) -> str:
    if _led(refused) is not None:
        return "result"
    return "begin" if refused.current is None else "go_on"


# --- where to -------------------------------------------------------------------------------------------------------


def local(url: Optional[str]) -> Optional[str]:
    """A path that we built, as it may stand in a Location: percent-quoted, and certain to stay on this host; None
    where it is none, such as ``//evil`` or ``/\\evil``, which browsers take for a host."""
    if url is None or not _LOCAL.match(url) or url.startswith("/\\"):
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


# --- other answers --------------------------------------------------------------------------------------------------


def speculation() -> Response:
    """To a prefetch or prerender of a guarded page: not now, so that the browser asks again when the visitor really
    goes there. Chromium 156 does so after a 503, and takes a redirect or an empty answer for the page."""
    headers = [("Cache-Control", "no-store"), ("Vary", "Sec-Purpose, Purpose, X-Moz")]
    return _plain("503 Service Unavailable", "Not in advance.\n", headers)


def respelt(path: str, query: str = "") -> Response:
    """308 to the declared spelling of a path, with the request's query."""
    location = local(path)
    if location is None:
        raise ValueError(f"{path!r} is no path of this host")
    if query:
        location += "?" + quote(_bytes(query), _LEGAL)
    headers = [("Location", location), ("Cache-Control", "no-store")]
    return _plain("308 Permanent Redirect", f"This page is at {location}\n", headers)._replace(redirected=True)


def too_long() -> Response:
    """414: a path that is longer than any that can be meant."""
    return _plain("414 URI Too Long", "The address is too long.\n", [("Cache-Control", "no-store")])


def too_large(environ: Environ, texts: Texts = NO_TEXTS) -> Response:
    """413: a form that must be read whole, and is larger than `max_body`. People see this one, so it is a page."""
    said = words(_header(environ, "HTTP_ACCEPT_LANGUAGE"), texts)
    text = (said.text("too_large"), said.phrase("by_form"))
    body = render(Page(said.lang, said.title("too_large"), text, (said.phrase("not_taken"),)))
    headers = [("Cache-Control", "no-store"), ("Vary", "Accept-Language"), ("Content-Length", str(len(body)))]
    return Response("413 Content Too Large", [*_page_headers(said), *headers], body)


def method_not_allowed(allow: Iterable[str]) -> Response:
    """405: HEAD and OPTIONS of a page whose GET has effects."""
    headers = [("Allow", ", ".join(allow)), ("Cache-Control", "no-store")]
    return _plain("405 Method Not Allowed", "This page does not take such a request.\n", headers)


def _plain(status: str, text: str, headers: Headers) -> Response:
    body = text.encode("ascii")
    kind = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    return Response(status, [*kind, *headers, ("Content-Length", str(len(body)))], body)


def send(response: Response, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Hand the answer to the server. HEAD gets the headers of a GET, and no body."""
    start_response(response.status, list(response.headers))
    return [] if _header(environ, "REQUEST_METHOD").upper() == "HEAD" else [response.body]
