"""One flow's gate: a request for one of its paths is judged, then let through or refused.

The way of a request: environ -> cookie -> the newest run (`keeping`) -> `decide` (`judge`) -> the application
(`exchange`) -> `settle` (`visit`) -> ledger and cookie; or a refusal (`refusing`).
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Optional

from werkzeug.exceptions import RequestEntityTooLarge

from flowguard import refusals, replies
from flowguard.body import hand_over_body
from flowguard.config import Plan
from flowguard.cookie import Found
from flowguard.core.passage import Attempt, Kind, Passage, Reason, Refusal
from flowguard.core.run import Run, Values
from flowguard.errors import LedgerUnavailable
from flowguard.handle import RunHandle
from flowguard.judge import Asked, Judge, Judged
from flowguard.keeping import Held
from flowguard.reading import (
    Application,
    Environ,
    StartResponse,
    ask_for_the_page,
    ask_in_plain,
    is_preflight,
    methods_of,
)  # fmt: skip
from flowguard.refusing import Refuser, mount_of, set_cookies
from flowguard.replies import Response
from flowguard.users import Users
from flowguard.visit import Brought, Jar, Kit, Visit
from flowguard.withholding import Withheld

Select = Callable[[str], str]  # a method to the name of the state that it asks for


class Gate:
    """A flow's plan at work. jars: the flow's cookies, not secure and secure; none is ever larger than `largest_cookie`
    bytes, with its attributes. users: who asks, where runs are bound."""

    judge: type[Judge] = Judge

    def __init__(
        self, app: Application, plan: Plan, kit: Kit, refuser: Refuser, jars: tuple[Jar, Jar], users: Optional[Users]
    ) -> None:
        self.users = users
        secure = plan.options.cookie_secure
        self._app, self._kit, self._refuser = app, kit, refuser
        self.jars = jars if secure == "auto" else (jars[bool(secure)],) * 2  # for http, and for https
        self.plan, self.flow, self._options = plan, plan.definition, plan.options
        self.largest_cookie = max(jar.cookie.longest for jar in jars)
        self._searched = frozenset(name for name in plan.paths if self.flow.step(name).texts)
        self._judge = self.judge(self.flow, kit.keeper, plan.options.max_body)
        self._allow = {name: _methods_beside(plan, name) for name in self.flow.effects}

    def serve(
        self, environ: Environ, start_response: StartResponse, select: Select, args: Mapping[str, Any], values: Values,
        others: tuple[str, ...] = (),
    ) -> Iterable[bytes]:  # fmt: skip
        """Judge a request for one of the flow's paths; the application or a refusal answers it. others: what else it
        could be (see `Choice`)."""
        asked = self._asked(environ, select, args, values, others)
        shut = self._shut(asked, select) if self._allow else None
        if shut is not None:
            replies.drain(environ)
            return replies.send(shut, environ, start_response)
        if self._options.preflight and is_preflight(environ):
            return self._app(environ, start_response)
        brought = self._brought(asked)
        try:
            judged = self._judge.judge(asked, brought.found)
        except LedgerUnavailable:
            judged = self._judge.standing(asked, brought.found, Reason.UNAVAILABLE)
        except RequestEntityTooLarge:
            replies.drain(environ)
            return replies.send(refusals.too_large(environ, self._options.texts or {}), environ, start_response)
        return self._answer(asked, judged, brought, start_response)

    def serve_on(
        self, held: Optional[Held], users: tuple[str, ...], environ: Environ, start_response: StartResponse, name: str
    ) -> Iterable[bytes]:
        """The same for a request for *name*, by *users*, of which the ledger has been asked already. held: what it
        said; None where it did not answer, and must have."""
        asked = self._asked(environ, lambda _method: name, {}, (), users=users)
        brought = self._brought(asked)
        if held is None:
            judged = self._judge.standing(asked, brought.found, Reason.UNAVAILABLE)
        else:
            judged = self._judge.on(asked, held)
        return self._answer(asked, judged, brought, start_response)

    def must_ask(self, attempt: Attempt) -> bool:
        """Can't it go on by the cookie alone, where the ledger is silent?"""
        return attempt.submission and self._judge.may_change(attempt.state)

    def refuse_path(
        self, environ: Environ, start_response: StartResponse, select: Select, spelling: Optional[str]
    ) -> Iterable[bytes]:
        """A spelling of one of our paths that never reaches the application; *spelling* is the declared one, None for
        a path that has none (a value that is too long)."""
        asked = self._asked(environ, select, {}, ())
        brought = self._brought(asked)
        if spelling is None or asked.methods.wire not in ("GET", "HEAD") or brought.note.looping:
            judged = self._judge.standing(asked, brought.found, Reason.PATH)
            return self._refuse(asked, judged, brought, start_response)
        response = replies.respelt(mount_of(environ) + spelling, environ.get("QUERY_STRING", ""))
        note = brought.jar.notes.write(brought.note, Reason.PATH.value, asked.now)
        response.headers.extend(set_cookies(environ, brought, [note]))
        replies.drain(environ)
        return replies.send(response, environ, start_response)

    def reset(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """GET or POST forgets the run, and goes to the start."""
        asked = self._asked(environ, lambda _method: self.flow.starts[0], {}, ())
        replies.drain(environ)
        if any(method not in ("GET", "POST") for method in asked.methods.all):
            return replies.send(replies.method_not_allowed(("GET", "POST")), environ, start_response)
        brought = self._brought(asked)
        every = brought.jar.cookie.every(environ.get("HTTP_COOKIE", ""))
        cookies = [cookie for found in every for cookie in self._forget(asked, brought.jar, found)]
        known = every[-1].run.values if every and every[-1].run is not None else ()
        mount = mount_of(environ)
        start = self._refuser.beginning(known, mount) or f"{mount}/"
        headers = [("Location", start), ("Cache-Control", "no-store"), *set_cookies(environ, brought, cookies)]
        return replies.send(replies.plain("303 See Other", "Start again.\n", headers), environ, start_response)

    def put_off(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """A prefetch or a prerender: not now."""
        replies.drain(environ)
        return replies.send(replies.speculation(), environ, start_response)

    def _shut(self, asked: Asked, select: Select) -> Optional[Response]:
        """The 405 of a HEAD or OPTIONS where a GET has effects: the application might do what it does for a GET."""
        for method in ("HEAD", "OPTIONS"):
            allow = self._allow.get(select(method)) if method in asked.methods.all else None
            if allow is not None:
                return replies.method_not_allowed(allow)
        return None

    # --- its parts ----------------------------------------------------------------------------------------------

    def _forget(self, asked: Asked, jar: Jar, found: Found) -> list[str]:
        """Empty a run of the visitor's; the cookies that say so. Another user's is left alone."""
        values = () if found.run is None else found.run.values
        held = self._judge.newest(asked._replace(values=values), found)
        if not held.run.id:
            return []
        run = held.run.emptied().counted(asked.now)
        self._kit.keeper.replace(held, run, asked.now)
        return jar.cookie.forgotten(run, found)

    def _asked(
        self, environ: Environ, select: Select, args: Mapping[str, Any], values: Values, others: tuple[str, ...] = (),
        users: Optional[tuple[str, ...]] = None,
    ) -> Asked:  # fmt: skip
        """users: who asks, where that is known."""
        methods = methods_of(environ)
        every = methods.all
        names = (select(every[0]),) if len(every) == 1 else tuple(dict.fromkeys([select(method) for method in every]))
        if users is None:
            users = () if self.users is None else self.users.of(environ)
        return Asked(environ, methods, names, args, values, self._kit.now(), users, others)

    def _brought(self, asked: Asked) -> Brought:
        jar = self.jar(asked.environ)
        found = jar.cookie.read(asked.environ.get("HTTP_COOKIE", ""), asked.values)
        return Brought(jar, found, jar.notes.read(asked.environ, asked.now))

    def runs(self, environ: Environ) -> list[Run]:
        """The runs that a request brings, each as the ledger knows it by now."""
        found, now = self.jar(environ).cookie.every(environ.get("HTTP_COOKIE", "")), self._kit.now()
        return [self._kit.keeper.newest_or_cookie(one.run, one.text, now).run for one in found if one.run is not None]

    def jar(self, environ: Environ) -> Jar:
        """The cookies of this request: secure or not."""
        return self.jars[environ.get("wsgi.url_scheme") == "https"]

    def _answer(
        self, asked: Asked, judged: Judged, brought: Brought, start_response: StartResponse
    ) -> Iterable[bytes]:
        if isinstance(judged.verdict, Refusal):
            return self._refuse(asked, judged, brought, start_response)
        return self._let_through(asked, judged, judged.verdict, brought, start_response)

    def _let_through(
        self, asked: Asked, judged: Judged, passage: Passage, brought: Brought, start_response: StartResponse
    ) -> Iterable[bytes]:
        environ, agrees = asked.environ, judged.attempt.agrees
        handle = RunHandle(self.flow, judged.run, passage.state, asked.now, agrees, brought.note.notice)
        visit = Visit(self._kit, environ, environ.copy(), judged, passage, brought, handle, start_response)
        environ["flowguard.run"] = handle
        hand_over_body(environ)
        if needs_the_page(passage):
            ask_for_the_page(environ)
        if self._is_searched(passage):
            ask_in_plain(environ)
        return self._call(visit, environ)

    def _is_searched(self, passage: Passage) -> bool:
        return passage.state in self._searched and passage.kind not in (Kind.PEEK, Kind.LOOK)

    def _call(self, visit: Visit, environ: Environ) -> Iterable[bytes]:
        """Call the application; where its text is looked for, its answer waits."""
        if not self._is_searched(visit.passage):
            return visit.call(self._app, environ)
        return visit.call(lambda environ, start: Withheld(visit, start).call(self._app, environ), environ)

    def _refuse(
        self, asked: Asked, judged: Judged, brought: Brought, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Where a time has run out, the run is over with the refusal."""
        verdict, run = judged.verdict, judged.run
        if isinstance(verdict, Refusal) and verdict.ends and run is not None:
            run = run.emptied().counted(asked.now)
            self._kit.keeper.replace(judged.held, run, asked.now)
            judged = judged._replace(held=judged.held._replace(run=run))
        return self._refuser.refuse(asked, judged, brought, start_response)


def needs_the_page(passage: Passage) -> bool:
    """Does what was let through have to be answered anew, and not by a 304?"""
    return passage.kind in (Kind.ENTER, Kind.BEGIN) or passage.by_get


def _methods_beside(plan: Plan, name: str) -> tuple[str, ...]:
    """What the paths of a state with effects take; of a key that takes every method, the two that forms send."""
    rules = {plan.keys[position].rule for position in plan.paths[name]}
    found = {method for key in plan.keys if key.rule in rules for method in key.methods or ("GET", "POST")}
    return tuple(sorted(found - {"HEAD", "OPTIONS"}))
