"""The beaten track: a request that is like others before it goes by what was decided for them (see `core.precedents`).

A flow has one where it is steady, and its lanes are the states whose path has no variables. What is looked up is what
the rules say of a way; what belongs to one visitor is looked at each time, as it is everywhere: the signature, the
run's times, whose it is, the ledger. A request that is in any way out of the ordinary (`UNUSUAL`, no cookie of ours or
several, a note, another run in the ledger, a word of the application's) goes by the gate, which can do all that is done
here.
"""

from __future__ import annotations

from math import inf
from typing import Callable, Iterable, Optional

from flowguard import replies, tracing
from flowguard.codec import USER, Codec, apart
from flowguard.cookie import is_odd
from flowguard.core.flow import SAFE
from flowguard.core.passage import Attempt, Reason
from flowguard.core.precedents import Precedent, pattern_of
from flowguard.errors import LedgerUnavailable
from flowguard.exchange import CALLS
from flowguard.gate import Gate
from flowguard.keeping import Held, is_as_written
from flowguard.notes import NO_NOTE
from flowguard.passing import Passing
from flowguard.reading import Application, Environ, StartResponse, ask_for_the_page
from flowguard.refusing import Refuser
from flowguard.replies import Response
from flowguard.steps import LONG, Shelves, Step, run_of
from flowguard.visit import Jar, Kit

# Keys of an environ with which a request is no ordinary one: another method than the wire's, a speculation, a guard
# around this one that is at work on it.
UNUSUAL = (
    "HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE", "HTTP_SEC_PURPOSE", "HTTP_PURPOSE",
    "HTTP_X_MOZ", CALLS,
)  # fmt: skip
METHODS = ("GET", "POST")  # that have lanes
NOBODY: tuple[str, ...] = ()  # asks, as far as a flow knows that is not bound to its users
FORGED = "forged"  # what stands for the way of a cookie that nobody can read: a way has dots


# The answer to an ordinary request; None for any other, which must go by the gate.
Serve = Callable[[Environ, StartResponse], Optional[Iterable[bytes]]]


class Track:
    """What a flow's lanes share."""

    def __init__(
        self, guard: object, app: Application, gate: Gate, kit: Kit, codec: Codec, refuser: Refuser,
        look_at_server: Callable[[Environ], None],
    ) -> None:  # fmt: skip
        self.look_at_server = look_at_server
        self.guard, self.app, self.gate, self.kit, self.codec, self.refuser = guard, app, gate, kit, codec, refuser
        self.jars = [(jar, jar.cookie.only, jar.cookie.verify, jar.notes.name) for jar in gate.jars]
        self.steps = Shelves()

    def lane(self, name: str, method: str) -> Optional[Lane]:
        """None where the text of the answers is looked at, and they wait."""
        return None if self.kit.flow.step(name).texts else Lane(self, name, method not in SAFE)


class Lane:
    """The requests by one method, GET or POST, for one of a flow's states."""

    def __init__(self, track: Track, name: str, submission: bool) -> None:
        self._track, self._flow, self._name = track, track.kit.flow, name
        self._jars, self._steps, self._users = track.jars, track.steps.new(), track.gate.users
        self._app, self._guard, self._clock, self._keeper = track.app, track.guard, track.kit.clock, track.kit.keeper
        by_get = not submission and name in self._flow.effects
        self._attempt = Attempt(name, submission or by_get, None, by_get=by_get)
        self._must_ask = track.gate.must_ask(self._attempt)
        self._ttl, self._idle = self._flow.ttl, inf if self._flow.idle is None else self._flow.idle  # milliseconds

    def serve(self, environ: Environ, start_response: StartResponse) -> Optional[Iterable[bytes]]:
        """See `Serve`."""
        jar, only, verify, note = self._jars[environ.get("wsgi.url_scheme") == "https"]
        token = only(environ.get("HTTP_COOKIE", ""), note)
        if token is None or not environ.keys().isdisjoint(UNUSUAL):
            return None
        text, now = verify(token), int(self._clock() * 1000)
        if text is None:
            return None if is_odd(token) else self._forged(environ, start_response, jar, now)
        head = apart(text)
        way, owner = head[-1], ""
        if self._users is not None:
            way, _, owner = way.rpartition(".")
            if len(owner) != USER:  # it is nobody's yet
                return None
        step = (self._steps.get(way) if len(way) < LONG else self._steps.find(way)) or self._learn(way, environ)
        if step is None:
            return None
        try:
            started, changed = int(head[3], 16), int(head[4], 16)
            entered = changed if head[5] == head[4] else int(head[5], 16)
        except (ValueError, IndexError):  # of a version to come
            return None
        # Where hosts' clocks differ, and near a run's end, the gate says what its times mean.
        age = now - started
        if not 0 <= changed <= age <= self._ttl or age - changed > self._idle or entered > age:
            return None
        return self._judged(step, environ, start_response, jar, head, owner, text, started, now)

    def _judged(
        self, step: Step, environ: Environ, start_response: StartResponse, jar: Jar, head: list[str], owner: str,
        text: str, started: int, now: int,
    ) -> Optional[Iterable[bytes]]:  # fmt: skip
        """The same, where the visitor's run is read, and it is known what comes of it if it is his and the newest."""
        response, version, token, overtaken, silent = None, 0, None, None, False
        if step.refused:
            response = self._response(step, environ)
            if response is None:
                return None
        users = NOBODY
        if self._users is not None:
            users = self._users.of(environ)  # last of all: whoever goes by the gate is asked there, too
            if not users or owner != users[-1]:  # it is somebody else's, or signed by an older secret
                return None
        try:
            if step.claims:
                version, token, overtaken = self._claim(step, head, users, text, started, now)
            else:
                record = self._keeper.record(head[0], now)
                if record is not None:
                    if step.again or not is_as_written(record, text):  # it may know where the first submission led
                        return None
                    version = record.version
        except LedgerUnavailable:
            silent = step.claims or self._must_ask
        if silent or overtaken is not None:  # out here: the application meets no exception of ours
            return self._by_the_gate(overtaken, users, environ, start_response)
        if response is not None:
            return self._turn_away(step, response, environ, start_response, jar, now)
        return self._pass(
            Passing(step, environ, start_response, jar, head, users, text, started, version, now, token), environ
        )  # fmt: skip

    def _learn(self, way: str, environ: Environ) -> Optional[Step]:
        """What comes of those who have come that way, of whom one is here; None where there is no run in it."""
        self._track.look_at_server(environ)
        track, run, attempt = self._track, None, self._attempt
        if way == FORGED:
            attempt = attempt._replace(lost=Reason.BAD_COOKIE)
        else:
            run = track.codec.of_way(way)
            if run is None or not run.trail:
                return None
            run = pattern_of(run)
        step = Step(track.kit, track.codec, self._name, way, Precedent(self._flow, run, attempt))
        track.steps.put(self._steps, step)
        return step

    # --- what comes of it ---------------------------------------------------------------------------------------

    def _claim(
        self, step: Step, head: list[str], users: tuple[str, ...], text: str, started: int, now: int
    ) -> tuple[int, Optional[str], Optional[Held]]:
        """The run's version in the ledger, and the token of the claim on this submission. Last, what the ledger said
        where it holds another run than the cookie, or another submission is under way; None where the claim is won.
        Raises LedgerUnavailable."""
        keeper, written = self._keeper, text + step.record
        claim, record = keeper.claim(head[0], written, started, self._name, now)
        if record.text == written and record.claim == claim:
            return record.version, claim.token, None
        run = run_of(step.run, head, users[-1] if users else "")
        held = keeper.awarded(run, text, written, claim, record, now)
        return held.version, held.token, held if held.run is not run or held.busy else None

    def _pass(self, passing: Passing, environ: Environ) -> Iterable[bytes]:
        if tracing.wanted():
            passing.visit()
        if passing.step.needs_page:
            ask_for_the_page(environ)
        call = [self._guard]
        environ["flowguard.run"], environ[CALLS] = passing.handle, (call,)
        try:
            return passing.call(self._app, environ)
        finally:
            call.clear()

    def _by_the_gate(
        self, held: Optional[Held], users: tuple[str, ...], environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """held: what the ledger said; None where it was silent. users: who asks: to ask the deployer's callable once
        more might raise, and leave behind the claim that was won."""
        call = [self._guard]
        environ[CALLS] = (call,)
        try:
            return self._track.gate.serve_on(held, users, environ, start_response, self._name)
        finally:
            call.clear()

    def _response(self, step: Step, environ: Environ) -> Optional[Response]:
        """How those are refused who take that step; None where the gate must say it."""
        return self._track.refuser.usual(step.precedent, environ, step.responses)

    def _forged(
        self, environ: Environ, start_response: StartResponse, jar: Jar, now: int
    ) -> Optional[Iterable[bytes]]:
        step = self._steps.get(FORGED) or self._learn(FORGED, environ)
        response = self._response(step, environ) if step is not None and step.refused else None
        if step is None or response is None:
            return None
        return self._turn_away(step, response, environ, start_response, jar, now)

    @staticmethod
    def _turn_away(
        step: Step, response: Response, environ: Environ, start_response: StartResponse, jar: Jar, now: int
    ) -> Iterable[bytes]:
        headers = response.headers.copy()
        if response.redirected and step.refused is not None:
            headers.append(("Set-Cookie", jar.notes.write(NO_NOTE, step.refused.reason.value, now)))
        replies.drain(environ)
        start_response(response.status, headers)
        return [response.body]
