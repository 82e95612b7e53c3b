"""One flow's gate: a request for one of its paths is judged, then let through or refused.

The way of a request: environ -> cookie -> the newest run (`keeping`) -> `decide` (`judge`) -> the application
(`exchange`) -> `settle` (`visit`) -> ledger and cookie; or a refusal, which `refusals` puts into words.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Iterable, List, Mapping, Optional, Tuple, cast
from urllib.parse import quote

from werkzeug.exceptions import RequestEntityTooLarge

from flowguard import refusals
from flowguard.answers import destination
from flowguard.config import Plan
from flowguard.core.passage import Attempt, Kind, Passage, Reason, Refusal, decide, guidance, stuck
from flowguard.core.run import Run, Values, finished
from flowguard.errors import LedgerUnavailable
from flowguard.exchange import Exchange
from flowguard.handle import Event, RunHandle
from flowguard.judge import Asked, Judge, Judged
from flowguard.keeping import Held
from flowguard.paths import PathTable
from flowguard.reading import Environ, ask_for_the_page, is_preflight, may_take_cookie, methods_of
from flowguard.refusals import Form, Refused
from flowguard.visit import Brought, Jar, Kit, Visit

logger = logging.getLogger("flowguard.decision")

Select = Callable[[str], str]  # a method to the name of the state that it asks for


class Gate:
    """A flow's plan at work.

    numbers: the places in *table* of the plan's keys. jars: the flow's cookies, not secure and secure.
    """

    def __init__(
        self, app: Any, plan: Plan, kit: Kit, table: PathTable, numbers: Tuple[int, ...], jars: Tuple[Jar, Jar]
    ) -> None:
        self._app, self._plan, self._kit = app, plan, kit
        self.flow, self._options = plan.definition, plan.options
        self._table, self._numbers, self._jars = table, numbers, jars
        self._judge = Judge(self.flow, kit.keeper, plan.options.max_body)

    # --- a request ----------------------------------------------------------------------------------------------

    def serve(
        self, environ: Environ, start_response: Any, select: Select, args: Mapping[str, Any], values: Values
    ) -> Iterable[bytes]:
        """Judge a request for one of the flow's paths; the application or a refusal answers it."""
        if self._options.preflight and is_preflight(environ):
            return cast(Iterable[bytes], self._app(environ, start_response))
        asked = self._asked(environ, select, args, values)
        brought = self._brought(asked)
        try:
            judged = self._judge.judge(asked, brought.found)
        except LedgerUnavailable:
            return self._unavailable(asked, brought, start_response)
        except RequestEntityTooLarge:
            refusals.drain(environ)
            return refusals.send(refusals.too_large(environ), environ, start_response)
        if isinstance(judged.verdict, Refusal):
            return self._refuse(asked, judged, judged.verdict, brought, start_response)
        return self._let_through(asked, judged, judged.verdict, brought, start_response)

    def _asked(self, environ: Environ, select: Select, args: Mapping[str, Any], values: Values) -> Asked:
        methods = methods_of(environ)
        names = tuple(dict.fromkeys([select(method) for method in methods.all]))
        return Asked(environ, methods, names, args, values, self._kit.now())

    def _brought(self, asked: Asked) -> Brought:
        environ, secure = asked.environ, self._options.cookie_secure
        if secure == "auto":
            secure = environ.get("wsgi.url_scheme") == "https"
        jar = self._jars[bool(secure)]
        found = jar.cookie.read(environ.get("HTTP_COOKIE", ""))
        return Brought(jar, found, jar.notes.read(environ, asked.now))

    def _let_through(
        self, asked: Asked, judged: Judged, passage: Passage, brought: Brought, start_response: Any
    ) -> Iterable[bytes]:
        environ = asked.environ
        handle = RunHandle(
            self.flow, judged.run, passage.state, asked.now, judged.attempt.agrees, brought.note.notice
        )
        visit = Visit(self._kit, environ, judged, passage, brought, handle)
        environ["flowguard.run"] = handle
        if passage.kind in (Kind.ENTER, Kind.BEGIN):
            ask_for_the_page(environ)
        return Exchange(visit, start_response).call(self._app, environ)

    # --- refusals -----------------------------------------------------------------------------------------------

    def _refuse(
        self, asked: Asked, judged: Judged, refusal: Refusal, brought: Brought, start_response: Any
    ) -> Iterable[bytes]:
        held, run = judged.held, judged.run
        if refusal.ends and run is not None:
            run = run.emptied()._replace(seq=run.seq + 1, changed=asked.now)
            self._kit.keeper.replace(held, run, asked.now)
        cookies = [] if run is None or run == brought.found.run else [brought.jar.cookie.write(run)]
        refused = self._refused(asked, judged.attempt, refusal, held, run, brought)
        self._report(asked, refused)
        return self._answer(asked, refused, brought, cookies, start_response)

    def _refused(
        self, asked: Asked, attempt: Attempt, refusal: Refusal, held: Held, run: Optional[Run], brought: Brought
    ) -> Refused:
        """All that the answer says: where the visitor should be, and what stands in the way."""
        run = run if run is not None and run.trail else None
        guide = guidance(self.flow, run, attempt)
        url, method = self._way(guide.target, run, asked.environ)
        caught = run is not None and not finished(self.flow, run) and stuck(self.flow, run, attempt.agrees)
        return Refused(
            flow=self.flow.name, reason=refusal.reason.value, state=refusal.state,
            current=None if run is None else run.current, missing=guide.missing, allowed=guide.allowed,
            target=url, redirects=guide.passes and url is not None, target_method=method,
            led=self._led(asked, attempt, refusal, held), start=self._way(self.flow.starts[0], None, asked.environ)[0],
            stuck=caught, uncertain=run is not None and refusal.state in run.spent - run.done,
            looping=brought.note.looping, retry_after=self._retry_after(refusal, run, asked.now),
            submission=attempt.submission, form=refusals.form_of(asked.environ, attempt.submission),
        )  # fmt: skip

    def _retry_after(self, refusal: Refusal, run: Optional[Run], now: int) -> Optional[int]:
        """Whole seconds until it is no longer too fast, where that is known."""
        if refusal.reason is not Reason.TOO_FAST:
            return None
        waits = [self.flow.states[name].min_time for name in (refusal.state, run.current if run else None) if name]
        left = max((wait or 0) - (now - run.entered if run else 0) for wait in waits)
        return max(1, -(-left // 1000))

    def _led(self, asked: Asked, attempt: Attempt, refusal: Refusal, held: Held) -> Optional[str]:
        """Where the first submission led, if a GET there would pass or it is no state of this flow."""
        led = held.led
        if led is None or led.state != refusal.state or refusal.reason not in refusals.AGAIN:
            return None
        to = destination(led.location, asked.environ, self._kit.lookup)
        if to.state is not None:
            there = attempt._replace(state=to.state, submission=False, values=to.values, lost=None)
            if not isinstance(decide(self.flow, held.run, there), Passage):
                return None
        return led.location

    def _way(self, name: str, run: Optional[Run], environ: Environ) -> Tuple[Optional[str], Optional[str]]:
        """The URL of a state below the mount point, and the method that it takes where that is not GET."""
        keys = [(number, self._plan.keys[number]) for number in self._plan.paths[name]]
        number, key = next(((n, key) for n, key in keys if key.methods is None or "GET" in key.methods), keys[0])
        path = self._table.build(self._numbers[number], dict(run.values) if run is not None else {})
        method = None if key.methods is None or "GET" in key.methods else min(key.methods, key="POST".__ne__)
        return (None if path is None else mount_of(environ) + path), method

    def _answer(
        self, asked: Asked, refused: Refused, brought: Brought, cookies: List[str], start_response: Any
    ) -> Iterable[bytes]:
        """Say it as the state or the flow wants it said, with our cookies. The body is read first."""
        environ = asked.environ
        refusals.drain(environ)
        how = self._how(refused.state)
        if callable(how):
            return self._custom(how, asked, refused, brought, cookies, start_response)
        texts = self._options.texts or {}
        response = refusals.answer(refused, environ, how, texts)
        if response.redirected:
            cookies = [*cookies, brought.jar.notes.write(brought.note, refused.reason, asked.now)]
        elif brought.note.present:
            cookies = [*cookies, brought.jar.notes.clear()]
        response.headers.extend(self._set(environ, brought, cookies))
        return refusals.send(response, environ, start_response)

    def _how(self, name: str) -> Any:
        step = self.flow.states.get(name) or self.flow.companions[name]
        return self._options.on_refusal if step.on_refusal is None else step.on_refusal

    def _custom(
        self, how: Callable[..., Any], asked: Asked, refused: Refused, brought: Brought, cookies: List[str],
        start_response: Any,
    ) -> Iterable[bytes]:  # fmt: skip
        """A responder of the deployer's: the answer is its own, but for what every refusal carries."""
        ours = [("Flowguard-Reason", refused.reason), ("Cache-Control", "no-store"), ("Vary", refusals.VARY),
                *self._set(asked.environ, brought, cookies)]  # fmt: skip

        def start(status: str, headers: List[Tuple[str, str]], exc_info: Any = None) -> Any:
            kept = [pair for pair in headers if pair[0].lower() not in ("cache-control", "flowguard-reason")]
            return start_response(status, kept + ours, *([exc_info] if exc_info else []))

        return cast(Iterable[bytes], how(refused, asked.environ)(asked.environ, start))

    def _set(self, environ: Environ, brought: Brought, cookies: List[str]) -> List[Tuple[str, str]]:
        if not may_take_cookie(environ, brought.found.present):
            return []
        return [("Set-Cookie", value) for value in cookies]

    def _report(self, asked: Asked, refused: Refused) -> None:
        """One line for each refusal: no cookie, no query, no path as the visitor wrote it."""
        said = {"flow": refused.flow, "reason": refused.reason, "state": refused.state, "current": refused.current,
                "target": refused.target}  # fmt: skip
        logger.info("refused %(reason)s: %(state)s from %(current)s, to %(target)s", said, extra={"flowguard": said})
        if refused.looping:
            logger.error(
                "redirected again and again: flow %r and the application disagree about %r", refused.flow, refused.state
            )
        self._kit.hooks.refused(
            Event("refused", refused.flow, refused.state, refused.current, refused.reason, asked.environ)
        )

    def _unavailable(self, asked: Asked, brought: Brought, start_response: Any) -> Iterable[bytes]:
        """The ledger must be asked, and does not answer: 503."""
        return self._refuse_anyway(asked, brought, Reason.UNAVAILABLE, start_response)

    def _refuse_anyway(self, asked: Asked, brought: Brought, reason: Reason, start_response: Any) -> Iterable[bytes]:
        """A refusal that has nothing to do with the run, and leaves it alone."""
        judged = self._judge.standing(asked, brought.found)
        refusal = Refusal(reason, judged.attempt.state, 0)
        refused = self._refused(asked, judged.attempt, refusal, judged.held, judged.run, brought)
        self._report(asked, refused)
        return self._answer(asked, refused, brought, [], start_response)

    # --- spellings, resets --------------------------------------------------------------------------------------

    def refuse_path(self, environ: Environ, start_response: Any, select: Select, spelling: Optional[str]) -> Iterable[bytes]:
        """A spelling of one of our paths that never reaches the application; *spelling* is the declared one, None for
        a path that has none (a value that is too long)."""
        asked = self._asked(environ, select, {}, ())
        brought = self._brought(asked)
        if spelling is not None and asked.methods.wire in ("GET", "HEAD") and not brought.note.looping:
            response = refusals.respelt(mount_of(environ) + spelling, environ.get("QUERY_STRING", ""))
            response.headers.extend(self._set(environ, brought, [brought.jar.notes.write(brought.note, "path", asked.now)]))
            return refusals.send(response, environ, start_response)
        return self._refuse_anyway(asked, brought, Reason.PATH, start_response)

    def reset(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """GET or POST forgets the run, and goes to the start."""
        asked = self._asked(environ, lambda _method: self.flow.starts[0], {}, ())
        refusals.drain(environ)
        if any(method not in ("GET", "POST") for method in asked.methods.all):
            response = refusals.method_not_allowed(("GET", "POST"))
            return refusals.send(response, environ, start_response)
        brought = self._brought(asked)
        start = self._way(self.flow.starts[0], None, environ)[0] or mount_of(environ) + "/"
        cookies = []
        if brought.found.run is not None:
            held = self._kit.keeper.newest_or_cookie(brought.found.run, brought.found.text, asked.now)
            run = held.run.emptied()._replace(seq=held.run.seq + 1, changed=asked.now)
            self._kit.keeper.replace(held, run, asked.now)
            cookies = [brought.jar.cookie.write(run)]
        headers = [("Location", start), ("Cache-Control", "no-store"), *self._set(environ, brought, cookies)]
        return refusals.send(refusals.plain("303 See Other", "Start again.\n", headers), environ, start_response)


def mount_of(environ: Mapping[str, Any]) -> str:
    """The mount point (SCRIPT_NAME), percent-quoted, as a Location begins: empty, or one slash and no host."""
    mount = quote((environ.get("SCRIPT_NAME") or "").encode("latin-1", "replace"), "/")
    return "/" + mount.strip("/") if mount.strip("/") else ""
