"""A refused request -> the answer (CONTRACT 5).

| how        | a page visit        | a form sent from a page                                       | anything else |
|------------|---------------------|---------------------------------------------------------------|---------------|
| `auto`     | 303 to the target   | `duplicate`, `finished`: 303 to where the first submission    | 409 problem   |
|            |                     | led, else to the target; other reasons, and where the first   |               |
|            |                     | one's outcome is not known: 409 page                          |               |
| `redirect` | 303                 | 303                                                           | 409 problem   |
| `conflict` | 409 page            | 409 page                                                      | 409 problem   |

Where nothing can be redirected to, a 409; where the guard goes in circles, a visited run is stuck, or a visited page is
not open yet (`busy`), the 409 page.
`unavailable` is a 503, and never a redirect. Nothing here knows of cookies, ledgers or runs: what is to be said comes
in a `Refused`, and what is to be done about it goes out as a `Response`.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import NamedTuple, Optional

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from flowguard.core.passage import Reason
from flowguard.pages import POLICY, Link, Page, render, render_redirect
from flowguard.replies import Environ, Headers, Response, foreign, header, local, plain
from flowguard.texts import NO_TEXTS, Phrase, Texts, Words, words

AUTO, REDIRECT, CONFLICT = "auto", "redirect", "conflict"

# What the answers to one and the same address depend on.
VARY = "Accept, Accept-Language, Cookie, Sec-Fetch-Mode, X-Requested-With, HX-Request, X-Inertia"

# After these, something that was sent before stands.
AGAIN = frozenset((Reason.DUPLICATE, Reason.FINISHED))
# Where the guard names no time. Busy: `ledger_wait` has passed already, and five seconds are enough to read the page.
WAIT = {Reason.BUSY: 5, Reason.TOO_FAST: 1, Reason.UNAVAILABLE: 5}  # seconds

# Browsers send 200 characters at most; to parse one costs a third of a microsecond.
MAX_ACCEPT = 1_000

_HTML = "text/html; charset=utf-8"


class Form(Enum):
    """What sort of request it is: it chooses the form of the answer, never the verdict."""

    PAGE = "page"  # a page visit
    FORM = "form"  # a form sent from a page
    OTHER = "other"  # fetch, XHR, an API's client


class Refused(NamedTuple):
    """All that an answer says of a refusal. What an `on_refusal` callable gets.

    flow, state: names. reason: a word of CONTRACT 5. current: the current state, None without a run.
    missing: what must come before, of a group of which any would do a tuple. allowed: what a GET would enter, of many
    states the first thousand.
    target: where the visitor should be, a percent-quoted path with the mount point; None where a variable is unknown.
    redirects: a GET of the target would pass. target_method: the method that reaches it, where that is not GET.
    led: where the first submission led, if a duplicate may go there. start: the first step, or what leads to it anew.
    stuck: nothing leads on in this run. uncertain: the outcome of the last submission is not known.
    by_get: the submission was a GET of a page with effects: a link that was followed.
    then: where a busy page goes by itself: the page that is open when what is under way has counted.
    looping: the visitor was redirected again and again, so a page takes the place of a redirect. retry_after: seconds.
    """

    flow: str
    reason: str
    state: str
    current: Optional[str]
    missing: tuple[object, ...] = ()
    allowed: tuple[str, ...] = ()
    target: Optional[str] = None
    redirects: bool = False
    target_method: Optional[str] = None
    led: Optional[str] = None
    then: Optional[str] = None
    start: Optional[str] = None
    stuck: bool = False
    uncertain: bool = False
    looping: bool = False
    retry_after: Optional[int] = None
    submission: bool = False
    by_get: bool = False
    form: Form = Form.OTHER


# --- the request -----------------------------------------------------------------------------------------------------


def form_of(environ: Environ, submission: bool) -> Form:
    """By `Sec-Fetch-Mode: navigate`, or, where no Sec-Fetch header came, by an Accept that names text/html and no
    X-Requested-With (nor htmx's or Inertia's header: old htmx sends no other sign, new htmx accepts text/html)."""
    if not _navigates(environ):
        return Form.OTHER
    return Form.FORM if submission else Form.PAGE


def _navigates(environ: Environ) -> bool:
    if "HTTP_SEC_FETCH_MODE" in environ or any(key.startswith("HTTP_SEC_FETCH_") for key in environ):
        return header(environ, "HTTP_SEC_FETCH_MODE").strip().lower() == "navigate"
    if any(header(environ, key) for key in ("HTTP_X_REQUESTED_WITH", "HTTP_HX_REQUEST", "HTTP_X_INERTIA")):
        return False
    accepted = parse_accept_header(header(environ, "HTTP_ACCEPT")[:MAX_ACCEPT], MIMEAccept)
    return any(kind.partition(";")[0].strip().lower() == "text/html" and quality > 0 for kind, quality in accepted)


# --- the answers to a refusal ----------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """Whoever will read the answer. lang: of the words. scripts: the headers by which its script sends a whole page."""

    lang: str
    scripts: tuple[str, ...]


def reader_of(environ: Environ, texts: Texts = NO_TEXTS) -> Reader:
    lang = words(header(environ, "HTTP_ACCEPT_LANGUAGE"), texts).lang
    return Reader(lang, tuple([name for key, name in _SCRIPTS if header(environ, key).strip().lower() == "true"]))


# For scripts that would put the answer to a redirect into the page: where the whole page should go.
# https://htmx.org/headers/hx-redirect/ and https://inertiajs.com/the-protocol (a 409 is Inertia's own way).
_SCRIPTS = (("HTTP_HX_REQUEST", "HX-Redirect"), ("HTTP_X_INERTIA", "X-Inertia-Location"))


def answer(refused: Refused, environ: Environ, how: str = AUTO, texts: Texts = NO_TEXTS) -> Response:
    """The answer to a refused request."""
    return answer_to(refused, reader_of(environ, texts), how, texts)


def answer_to(refused: Refused, reader: Reader, how: str = AUTO, texts: Texts = NO_TEXTS) -> Response:
    """The table above. The same for the same arguments."""
    said = Words(reader.lang, texts)
    onward = _open_now(refused)
    if onward is None or not _redirects(refused, how):
        refused = refused._replace(looping=False)
    elif not refused.looping:
        return _see_other(refused, said, onward)
    onward = _result(refused) or onward
    if refused.form is Form.OTHER:
        return _problem(refused, said, _hand_over(refused, reader, onward))
    return _page(refused, said, onward)


def _redirects(refused: Refused, how: str) -> bool:
    if how == CONFLICT or refused.form is Form.OTHER or refused.reason == Reason.UNAVAILABLE:
        return False
    if refused.form is Form.PAGE:
        return not refused.stuck and refused.reason != Reason.BUSY
    return how == REDIRECT or (refused.reason in AGAIN and not refused.uncertain)


def _open_now(refused: Refused) -> Optional[str]:
    """The URL of the way on, if there is one that a GET can take at once: nobody is redirected to a page that opens
    only when another submission has counted."""
    return _led(refused) or (local(refused.target) if refused.redirects else None)


def _result(refused: Refused) -> Optional[str]:
    """Where an earlier submission led, or will lead when it has counted."""
    return local(refused.then) if refused.reason == Reason.BUSY else _led(refused)


def _led(refused: Refused) -> Optional[str]:
    return foreign(refused.led) if refused.submission and refused.reason in AGAIN else None


def _see_other(refused: Refused, said: Words, onward: str) -> Response:
    situation = _situation(refused)
    link = Link(onward, said.phrase(_onward_text(refused, onward)))
    page = Page(said.lang, said.title(situation), said.text(situation), links=(link,))
    headers = [("Location", onward), *_page_headers(said)]
    return _refusal("303 See Other", refused, headers, render_redirect(page))._replace(redirected=True)


def _problem(refused: Refused, said: Words, headers: Headers) -> Response:
    """RFC 9457. The title belongs to the type, the detail to this occurrence; both follow Accept-Language."""
    status = _status(refused)
    problem = {
        "type": f"urn:flowguard:{Reason(refused.reason).value}",
        "title": said.title(Reason(refused.reason).value).text,
        "status": int(status[:3]),
        "detail": " ".join(phrase.text for phrase in (said.text(_situation(refused)), *_note(refused, said))),
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


def _hand_over(refused: Refused, reader: Reader, onward: Optional[str]) -> Headers:
    if onward is None or refused.reason == Reason.UNAVAILABLE:
        return []
    return [(name, onward) for name in reader.scripts]


def _page(refused: Refused, said: Words, onward: Optional[str]) -> Response:
    situation = _situation(refused)
    page = Page(
        said.lang,
        said.title(situation),
        said.text(situation),
        note=_note(refused, said),
        advice=_advice(refused, said, onward),
        links=_links(refused, said, onward),
    )
    headers = [*_page_headers(said), ("Referrer-Policy", "same-origin")]
    if refused.reason == Reason.BUSY and onward is not None:
        headers.append(("Refresh", f"{_wait(refused)}; url={onward}"))
    return _refusal(_status(refused), refused, headers, render(page))


def _refusal(status: str, refused: Refused, headers: Headers, body: bytes) -> Response:
    return Response(status, [*headers, *every(refused), ("Content-Length", str(len(body)))], body)


def every(refused: Refused) -> Headers:
    """The headers that every refusal carries, whoever words it."""
    wait = _wait(refused)
    headers = [("Flowguard-Reason", Reason(refused.reason).value), ("Cache-Control", "no-store"), ("Vary", VARY)]
    return [*headers, ("Retry-After", str(wait))] if wait else headers


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


# --- what is said ----------------------------------------------------------------------------------------------------


def _situation(refused: Refused) -> str:
    """The key of the title and the text."""
    if refused.reason in (Reason.BUSY, Reason.UNAVAILABLE):
        return Reason(refused.reason).value
    if refused.looping:
        return "looping"
    return "unknown" if refused.stuck or refused.uncertain else Reason(refused.reason).value


def _note(refused: Refused, said: Words) -> tuple[Phrase, ...]:
    """What was typed is not to be lost unnoticed."""
    if not refused.submission or refused.by_get:
        return ()
    again = refused.uncertain or refused.reason in AGAIN or refused.reason == Reason.BUSY
    return (said.phrase("not_taken_again" if again else "not_taken"),)


def _advice(refused: Refused, said: Words, onward: Optional[str]) -> tuple[Phrase, ...]:
    """What comes next, where a link alone does not say it."""
    if onward is None:
        return (said.phrase("no_way" if refused.target_method in (None, "GET") else "by_form"),)
    if refused.reason == Reason.BUSY:
        return (said.phrase("refreshes"),)
    if refused.reason == Reason.TOO_FAST and refused.retry_after is not None:
        return (_waiting(said, _wait(refused)),)
    return ()


def _waiting(said: Words, seconds: int) -> Phrase:
    """How long; one second is said as two, for the plural's sake."""
    phrase = said.phrase("wait" if seconds < 120 else "wait_long")
    text = phrase.text.replace("{seconds}", str(max(2, seconds))).replace("{minutes}", str(-(-seconds // 60)))
    return phrase._replace(text=text)


def _links(refused: Refused, said: Words, onward: Optional[str]) -> tuple[Link, ...]:
    links = {}
    if onward is not None:
        links[onward] = said.phrase(_onward_text(refused, onward))
    start = local(refused.start) if refused.stuck or refused.uncertain or refused.looping else None
    if start is not None:
        links.setdefault(start, said.phrase("begin"))
    return tuple(Link(href, text) for href, text in links.items())


def _onward_text(refused: Refused, onward: str) -> str:
    if onward == _result(refused):
        return "result"
    return "begin" if refused.current is None else "go_on"


# --- a body that is too large ----------------------------------------------------------------------------------------


def too_large(environ: Optional[Environ] = None, texts: Texts = NO_TEXTS) -> Response:
    """413: a form that must be read whole, and is larger than `max_body`. Whoever sent it from a page gets a page."""
    if environ is None or form_of(environ, submission=True) is Form.OTHER:
        return plain("413 Content Too Large", "The body is too large.\n", [("Cache-Control", "no-store")])
    said = words(header(environ, "HTTP_ACCEPT_LANGUAGE"), texts)
    page = Page(said.lang, said.title("too_large"), said.text("too_large"), note=(said.phrase("not_taken"),))
    body = render(page)
    every = [("Cache-Control", "no-store"), ("Vary", VARY), ("Content-Length", str(len(body)))]
    return Response("413 Content Too Large", [*_page_headers(said), *every], body)
