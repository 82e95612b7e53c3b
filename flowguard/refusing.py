"""A refusal becomes an answer: where the visitor should be, as a URL; what stands in the way; and who words it."""

from __future__ import annotations

import json
import logging
from typing import Callable, Iterable, Mapping, Optional, cast
from urllib.parse import quote

from flowguard import records, refusals, replies, tracing
from flowguard.answers import destination
from flowguard.config import Plan
from flowguard.core.guidance import beginning, guidance, hoped, target
from flowguard.core.passage import Attempt, Passage, Reason, Refusal, decide, quietly, stuck
from flowguard.core.precedents import Precedent
from flowguard.core.run import Run, Values, finished
from flowguard.handle import Event
from flowguard.judge import Asked, Judged
from flowguard.paths import PathTable
from flowguard.reading import Application, Environ, StartResponse, may_take_cookie
from flowguard.refusals import Form, Refused
from flowguard.replies import Response
from flowguard.visit import Brought, Kit

logger = logging.getLogger("flowguard.decision")

Headers = list[tuple[str, str]]

# What the answer to a refusal depends on, beside the way and the request itself, where a browser says `Sec-Fetch-Mode`.
SHAPES = ("HTTP_SEC_FETCH_MODE", "HTTP_ACCEPT_LANGUAGE", "HTTP_HX_REQUEST", "HTTP_X_INERTIA", "SCRIPT_NAME")
MAX_USUAL = 8  # answers to one refusal that are kept, of up to 4 kB each
USUAL = 200  # characters of those headers, of browsers; what was made of longer ones is not kept

Shape = tuple[Optional[str], ...]


class Refuser:
    """Answers one flow's refused requests. numbers: the places in *table* of the plan's keys."""

    def __init__(self, plan: Plan, kit: Kit, table: PathTable, numbers: tuple[int, ...]) -> None:
        self._plan, self._kit, self._table, self._numbers = plan, kit, table, numbers
        self._flow, self._options = plan.definition, plan.options

    def refuse(
        self, asked: Asked, judged: Judged, brought: Brought, start_response: StartResponse
    ) -> Iterable[bytes]:
        """The answer, as the state or the flow wants it said, with our cookies. The request's body is read first."""
        news = judged.is_newer_than(brought.found)
        cookies = brought.jar.cookie.sent(judged.held.run, brought.found) if news else []
        refused = self._refused(asked, judged, brought)
        self._report(asked, judged, brought, refused)
        self._trace(judged)
        replies.drain(asked.environ)
        how = self._how(refused.state)
        if callable(how):
            return self._custom(how, asked, refused, set_cookies(asked.environ, brought, cookies), start_response)
        return self._standard(str(how), asked, refused, brought, cookies, start_response)

    def usual(self, precedent: Precedent, environ: Environ, known: dict[Shape, Response]) -> Optional[Response]:
        """The answer that all get who are refused alike, but for its cookies; None where it is one's own, or has to be
        reported. known: those that were worked out before, for this precedent."""
        shape = tuple([environ.get(key) for key in SHAPES])
        response = known.get(shape)
        if self._kit.hooks.any or logger.isEnabledFor(logging.INFO) or "HTTP_SEC_FETCH_MODE" not in environ:
            return None
        if response is None:
            response = self._usual(precedent, environ)
            if response is not None and sum(len(text or "") for text in shape) <= USUAL:
                if len(known) >= MAX_USUAL:
                    known.clear()
                known[shape] = response
        return response

    def _usual(self, precedent: Precedent, environ: Environ) -> Optional[Response]:
        refusal, attempt = cast(Refusal, precedent.verdict), precedent.attempt
        how = self._how(refusal.state)
        if callable(how):
            return None
        form = refusals.form_of(environ, attempt.submission)
        refused = self._word(refusal, precedent.run, attempt, form, mount_of(environ), False)
        return refusals.answer(refused, environ, str(how), self._options.texts or {})

    def beginning(self, values: Values, mount: str) -> Optional[str]:
        """The URL of the first start that takes a GET; of a run's *values*, it has those that a run does not hold."""
        name = next((name for name in self._flow.starts if self._flow.states[name].get), None)
        return None if name is None else self._way(name, self._varying(values), mount)[0]

    def _way(self, name: str, values: Values, mount: str) -> tuple[Optional[str], Optional[str]]:
        """The URL of a state, below the mount point, and the method that it takes where that is not GET. Of its paths,
        the first that takes a GET and whose variables are known; or else the first."""
        keys = [(number, self._plan.keys[number]) for number in self._plan.paths[name]]
        known = dict(values)
        gettable = [(number, key) for number, key in keys if key.methods is None or "GET" in key.methods]
        for number, key in gettable:
            path = self._table.build(self._numbers[number], known)
            if path is not None:
                return mount + path + key.query, None
        number, key = (gettable or keys)[0]
        path = self._table.build(self._numbers[number], known)
        method = None if gettable or key.methods is None else min(key.methods, key="POST".__ne__)
        return (None if path is None else mount + path + key.query), method

    # --- what is to be said -------------------------------------------------------------------------------------

    def _refused(self, asked: Asked, judged: Judged, brought: Brought) -> Refused:
        refusal, attempt = cast(Refusal, judged.verdict), judged.attempt
        run = judged.run if judged.run is not None and judged.run.trail else None
        form, mount = refusals.form_of(asked.environ, attempt.submission), mount_of(asked.environ)
        refused = self._word(refusal, run, attempt, form, mount, brought.note.looping)
        led, then = self._led(asked, judged, refusal), self._then(judged, refusal, mount)
        return refused._replace(led=led, then=then) if led is not None or then is not None else refused

    def _word(
        self, refusal: Refusal, run: Optional[Run], attempt: Attempt, form: Form, mount: str, looping: bool
    ) -> Refused:
        guide = guidance(self._flow, run, attempt)
        values = self._values(run, attempt)
        url, method = self._way(guide.target, values, mount)
        caught = run is not None and not finished(self._flow, run) and stuck(self._flow, run, attempt.agrees)
        return Refused(
            flow=self._flow.name, reason=refusal.reason.value, state=refusal.state,
            current=run.current if run else None, missing=guide.missing, allowed=guide.allowed,
            target=url, redirects=guide.passes and url is not None, target_method=method,
            start=self._start(run, attempt, values, mount, guide.allowed if caught else None),
            stuck=caught, uncertain=run is not None and refusal.state in run.spent - run.done,
            looping=looping, retry_after=self._retry_after(refusal, run, attempt),
            submission=attempt.submission, by_get=attempt.by_get, form=form,
        )  # fmt: skip

    def _values(self, run: Optional[Run], attempt: Attempt) -> Values:
        """What targets are built from: the run's values, and the request's own where the run has none, or where they
        may vary."""
        held = run.values if run else ()
        return tuple({**dict(attempt.values), **dict(held), **dict(self._varying(attempt.values))}.items())

    def _varying(self, values: Values) -> Values:
        """Those of *values* that a run does not hold."""
        return tuple(pair for pair in values if pair[0] in self._flow.vary)

    def _start(
        self, run: Optional[Run], attempt: Attempt, values: Values, mount: str, begun: Optional[tuple[str, ...]]
    ) -> Optional[str]:
        """The URL of the first start that a GET would reach. begun: in a stuck run, the starts in which a GET begins
        anew: rather one of these. Where there is none, a start is only looked at, and the way on is the reset path."""
        flow, reset = self._flow, self._options.reset
        if begun == () and reset is not None and flow.instance is None:  # it would forget the other instances, too
            return mount + quote(reset)
        name = begun[0] if begun else beginning(flow, run, attempt.now, attempt.agrees)
        return None if name is None else self._way(name, values, mount)[0]

    def _then(self, judged: Judged, refusal: Refusal, mount: str) -> Optional[str]:
        """The URL of the page that is open when the submission that is under way has counted."""
        run, attempt, under_way = judged.run, judged.attempt, judged.held.under_way
        if refusal.reason is not Reason.BUSY or run is None or under_way is None:
            return None
        after = hoped(self._flow, run, under_way.state)
        name = target(self._flow, after, attempt.now, attempt.agrees) if attempt.submission else refusal.state
        if name in self._flow.states and not self._flow.states[name].get:
            return None
        url, method = self._way(name, self._values(run, attempt), mount)
        return url if method is None else None

    def _retry_after(self, refusal: Refusal, run: Optional[Run], attempt: Attempt) -> Optional[int]:
        """Whole seconds until it is no longer too fast. A state that is not the current one must be entered first."""
        if refusal.reason is not Reason.TOO_FAST or attempt.now is None:
            return None
        current = self._flow.states[run.trail[-1]] if run else None
        left = (current.min_time or 0) - (attempt.now - run.entered) if run and current else 0
        if attempt.submission and (current is None or refusal.state != current.name):
            left = max(left, self._flow.states[refusal.state].min_time or 0)
        return max(1, -(-left // 1000))

    def _led(self, asked: Asked, judged: Judged, refusal: Refusal) -> Optional[str]:
        """Where the first submission led, if a GET there would pass: it is judged where it is this flow's page."""
        led = judged.held.led
        if led is None or led.state != refusal.state or refusal.reason not in refusals.AGAIN:
            return None
        to = destination(led.location, asked.environ, self._kit.lookup)
        if to.shut:
            return None
        name = to.state or to.companion
        if name is None:
            return led.location
        there = Attempt(name, False, asked.now, values=to.values, agrees=quietly(judged.attempt.agrees))
        would_pass = isinstance(decide(self._flow, judged.run, there), Passage)
        return led.location if would_pass and (to.state is None or self._flow.states[name].get) else None

    # --- who says it --------------------------------------------------------------------------------------------

    def _how(self, name: str) -> object:
        step = self._flow.states.get(name) or self._flow.companions.get(name)
        return self._options.on_refusal if step is None or step.on_refusal is None else step.on_refusal

    def _standard(
        self, how: str, asked: Asked, refused: Refused, brought: Brought, cookies: list[str],
        start_response: StartResponse,
    ) -> Iterable[bytes]:  # fmt: skip
        response = refusals.answer(refused, asked.environ, how, self._options.texts or {})
        if response.redirected:
            cookies = [*cookies, brought.jar.notes.write(brought.note, refused.reason, asked.now)]
        elif brought.note.present:
            cookies = [*cookies, brought.jar.notes.clear()]
        headers = response.headers + set_cookies(asked.environ, brought, cookies)
        return replies.send(response._replace(headers=headers), asked.environ, start_response)

    def _custom(
        self, how: Callable[[Refused, Environ], Application], asked: Asked, refused: Refused, cookies: Headers,
        start_response: StartResponse,
    ) -> Iterable[bytes]:  # fmt: skip
        """A responder of the deployer's: the answer is its own, but for what every refusal carries."""
        ours = [*refusals.every(refused), *cookies]
        replaced = {name.lower() for name, _ in ours} - {"vary", "set-cookie"}

        def start(status: str, headers: Headers, *exc_info: object) -> object:
            kept = [pair for pair in headers if pair[0].lower() not in replaced]
            return start_response(status, kept + ours, *exc_info)

        return how(refused, asked.environ)(asked.environ, start)

    def would_refuse(self, asked: Asked, judged: Judged, brought: Brought) -> None:
        """What is said of a refusal where there is none: in report mode nobody is refused."""
        said = _said(self._refused(asked, judged, brought), judged, brought)
        logger.warning("would refuse %s", json.dumps(said), extra={"flowguard": said})
        self._trace(judged)

    def _trace(self, judged: Judged) -> None:
        if tracing.wanted():
            tracing.refused(self._flow, judged)

    def _report(self, asked: Asked, judged: Judged, brought: Brought, refused: Refused) -> None:
        if logger.isEnabledFor(logging.INFO):
            said = _said(refused, judged, brought)
            logger.info("refused %(reason)s: %(state)s from %(current)s, to %(target)s (run %(run)s)",
                        said, extra={"flowguard": said})  # fmt: skip
        if refused.looping and refused.redirects and refused.form is not Form.OTHER:
            logger.warning("redirected again and again: flow %r and the application may disagree about %r",
                           refused.flow, refused.state)  # fmt: skip
        if self._kit.hooks.any:
            event = Event("refused", refused.flow, refused.state, refused.current, refused.reason, asked.environ)
            self._kit.hooks.refused(event)


def _said(refused: Refused, judged: Judged, brought: Brought) -> dict[str, Optional[str]]:
    """The log's words for a refusal: no cookie, no query, no path as the visitor wrote it, and of the run a digest."""
    run = judged.run or brought.found.run
    return {"flow": refused.flow, "reason": refused.reason, "state": refused.state, "current": refused.current,
            "target": refused.target, "run": records.digest(run.id) if run else None}  # fmt: skip


def set_cookies(environ: Environ, brought: Brought, values: list[str]) -> Headers:
    """The Set-Cookie headers, where this request's answer may carry any."""
    if not values or not may_take_cookie(environ, brought.found.brought):
        return []
    return [("Set-Cookie", value) for value in values]


def mount_of(environ: Mapping[str, object]) -> str:
    """The mount point (SCRIPT_NAME), percent-quoted, as a Location begins: empty, or one slash and no host."""
    name = environ.get("SCRIPT_NAME")
    if not name:
        return ""
    mount = quote(str(name).encode("latin-1", "replace"), "/").strip("/")
    return f"/{mount}" if mount else ""
