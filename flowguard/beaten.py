"""The beaten track: a request that is like others before it goes by what was decided for them (see `core.precedents`).

A flow has one where it is steady, and its lanes are the states whose path has no variables. What is looked up is what
the rules say of a way; what belongs to one visitor is looked at each time, as it is everywhere: the signature, the
run's times, the ledger. A request that is in any way out of the ordinary (`UNUSUAL`, no cookie of ours or several, a
note, another run in the ledger, a word of the application's) goes by the gate, which can do all that is done here.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple, Optional, cast

from flowguard import replies, tracing
from flowguard.answers import Heard, Told, hear, is_local, read_answer
from flowguard.body import hand_over_body
from flowguard.codec import HEAD, Codec, apart, numbers_of, times, write_head
from flowguard.cookie import Found
from flowguard.core.flow import SAFE, Definition
from flowguard.core.outcome import Settled
from flowguard.core.passage import NO_RUN, Agrees, Attempt, Passage, Reason, Refusal, everything_agrees, out_of_time
from flowguard.core.precedents import Precedent, moved, pattern_of
from flowguard.core.run import Run, with_numbers
from flowguard.errors import LedgerUnavailable
from flowguard.exchange import Call, Exchange, Headers
from flowguard.gate import Gate, needs_the_page
from flowguard.handle import RunHandle
from flowguard.judge import Judged
from flowguard.keeping import Held
from flowguard.notes import NO_NOTE
from flowguard.reading import Application, Environ, StartResponse, ask_for_the_page
from flowguard.refusals import AGAIN
from flowguard.refusing import Refuser, Shape
from flowguard.replies import Response
from flowguard.visit import Brought, Jar, Kit, Visit, caching_of, may_tell

# Keys of an environ with which a request is no ordinary one: another method than the wire's, a speculation, a guard
# around this one.
UNUSUAL = (
    "HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE", "HTTP_SEC_PURPOSE", "HTTP_PURPOSE",
    "HTTP_X_MOZ", "flowguard.calls", "flowguard.body",
)  # fmt: skip
METHODS = ("GET", "POST")  # that have lanes
MAX_STEPS = 1_024  # that a flow remembers: some kB each
MAX_REPLIES = 16  # of each step: Locations are many where they name an order
USUAL = 400  # characters of an answer's headers; what was made of longer ones is not kept
FORGED = "forged"  # what stands for the way of a cookie that nobody can read: a way has dots

# An answer of the application: status, Content-Type, Location, and the mount point that the last is read against.
Known = tuple[str, Optional[str], Optional[str], Optional[str]]


class Reply(NamedTuple):
    """What an answer of the application comes to. way: how the run that it leaves is written; None: as it was."""

    told: Told
    settled: Settled
    way: Optional[str]


class Step:
    """What comes of one kind of request of all who have come the same way."""

    __slots__ = ("claims", "led", "needs_page", "passage", "precedent", "refused", "replies", "responses", "run")

    def __init__(self, precedent: Precedent) -> None:
        self.precedent, verdict = precedent, precedent.verdict
        self.run = precedent.run or NO_RUN
        self.refused = verdict if isinstance(verdict, Refusal) else None
        self.led = self.refused is not None and self.refused.reason in AGAIN
        self.passage = cast(Passage, verdict)  # where it is not refused
        self.claims = self.refused is None and self.passage.claim
        self.needs_page = self.refused is None and needs_the_page(self.passage)
        self.replies: dict[Known, Reply] = {}
        self.responses: dict[Shape, Response] = {}  # where it is refused


class Track:
    """What a flow's lanes share."""

    def __init__(
        self, guard: object, app: Application, gate: Gate, kit: Kit, codec: Codec, refuser: Refuser
    ) -> None:
        self.guard, self.app, self.gate, self.kit, self.codec, self.refuser = guard, app, gate, kit, codec, refuser
        self.steps: dict[tuple[str, Lane], Step] = {}  # by the way's text

    def lane(self, name: str, method: str) -> Optional[Lane]:
        """None where the text of the answers is looked at, and they wait."""
        return None if self.kit.flow.step(name).texts else Lane(self, name, method not in SAFE)


class Lane:
    """The requests by one method, GET or POST, for one of a flow's states."""

    def __init__(self, track: Track, name: str, submission: bool) -> None:
        self.track, self.kit, self.flow, self.name = track, track.kit, track.kit.flow, name
        self._jars, self._steps = track.gate.jars, track.steps
        by_get = not submission and name in self.flow.effects
        self._attempt = Attempt(name, submission or by_get, None, by_get=by_get)
        self._must_ask = track.gate.must_ask(self._attempt)
        vary, caching = ("Vary", "Cookie"), ("Cache-Control", caching_of(self.flow, name))
        self.headers = {True: [vary], False: [vary, caching]}  # does the application say how it may be cached?

    def serve(self, environ: Environ, start_response: StartResponse) -> Optional[Iterable[bytes]]:
        """The answer to an ordinary request; None for any other, which must go by the gate."""
        header, jar = environ.get("HTTP_COOKIE", ""), self._jars[environ.get("wsgi.url_scheme") == "https"]
        token = jar.cookie.only(header)
        if token is None or jar.notes.name in header or not environ.keys().isdisjoint(UNUSUAL):
            return None
        text, now = jar.cookie.verify(token), self.kit.now()
        if text is None:
            step = self._steps.get((FORGED, self)) or self._learnt(FORGED)
            response = self._usual(step, environ)
            return self._turn_away(step, response, environ, start_response, jar, now)
        head = apart(text)
        step = (self._steps.get((head[HEAD], self)) or self._learnt(head[HEAD])) if len(head) > HEAD else None
        if step is None or out_of_time(self.flow, times(head), now) is not None:
            return None
        if step.claims:
            return self._submit(step, environ, start_response, jar, head, text, now)
        response = self._usual(step, environ) if step.refused else None
        if step.refused and response is None:
            return None
        try:
            version = self.kit.keeper.version(head[0], text, now)
        except LedgerUnavailable:
            if self._must_ask:
                return self._by_the_gate(None, environ, start_response)
            version = 0
        if version is None or (version and step.led):  # it may know where the first submission led
            return None
        if step.refused:
            return self._turn_away(step, response, environ, start_response, jar, now)
        return self._pass(Passing(self, step, environ, start_response, jar, head, text, version, now), environ)

    def _learnt(self, way: str) -> Optional[Step]:
        """The step of those who have come that way; None where there is no run in it."""
        if way == FORGED:
            step = Step(Precedent(self.flow, None, self._attempt._replace(lost=Reason.BAD_COOKIE)))
        else:
            run = self.track.codec.of_way(way)
            if run is None or not run.trail:
                return None
            step = Step(Precedent(self.flow, pattern_of(run), self._attempt))
        if len(self._steps) >= MAX_STEPS:
            self._steps.clear()
        self._steps[way, self] = step
        return step

    def is_visitors(self, step: Step, id: str, version: int) -> bool:
        """Is a change of this run none that the ledger has to know, or that anybody hears of?"""
        kit = self.kit
        try:
            return not kit.hooks.any and kit.keeper.need_not_keep(id, version, step.passage, kit.now())
        except LedgerUnavailable:
            return True

    # --- what comes of it ---------------------------------------------------------------------------------------

    def _submit(
        self, step: Step, environ: Environ, start_response: StartResponse, jar: Jar, head: list[str], text: str,
        now: int,
    ) -> Optional[Iterable[bytes]]:  # fmt: skip
        run = with_numbers(step.run, head[0], numbers_of(head))
        try:
            held = self.kit.keeper.claimed(run, text, self.name, now)
        except LedgerUnavailable:
            return self._by_the_gate(None, environ, start_response)
        if held.run is not run or held.busy:
            return self._by_the_gate(held, environ, start_response)
        passing = Passing(self, step, environ, start_response, jar, head, text, held.version, now)
        passing.hold(held)
        return self._pass(passing, environ)

    def _pass(self, passing: Passing, environ: Environ) -> Iterable[bytes]:
        environ["flowguard.run"] = passing.handle
        hand_over_body(environ)
        if tracing.wanted():
            passing.visit()
        if passing.step.needs_page:
            ask_for_the_page(environ)
        call = self._call(environ)
        try:
            return passing.call(self.track.app, environ)
        finally:
            call.open = False

    def _by_the_gate(
        self, held: Optional[Held], environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """held: what the ledger said; None where it was silent."""
        call = self._call(environ)
        try:
            return self.track.gate.serve_on(held, environ, start_response, self.name)
        finally:
            call.open = False

    def _call(self, environ: Environ) -> Call:
        call = Call(self.track.guard)
        environ["flowguard.calls"] = (call,)
        return call

    def _usual(self, step: Optional[Step], environ: Environ) -> Optional[Response]:
        """How those are refused who take that step; None where it passes, or where the gate must say it."""
        if step is None or step.refused is None:
            return None
        return self.track.refuser.usual(step.precedent, environ, step.responses)

    def _turn_away(
        self, step: Optional[Step], response: Optional[Response], environ: Environ, start_response: StartResponse,
        jar: Jar, now: int,
    ) -> Optional[Iterable[bytes]]:  # fmt: skip
        if step is None or step.refused is None or response is None:
            return None
        headers = response.headers.copy()
        if response.redirected:
            headers.append(("Set-Cookie", jar.notes.write(NO_NOTE, step.refused.reason.value, now)))
        replies.drain(environ)
        start_response(response.status, headers)
        return [response.body]


class Handle(RunHandle):
    """The visitor's run, which is read when the application asks for it."""

    __slots__ = ("_lane", "_text")

    def __init__(self, lane: Lane, text: str, now: int) -> None:
        self.state, self._lane, self._text, self._now = lane.name, lane, text, now
        self.notice, self.overrule = None, None

    @property
    def _flow(self) -> Definition:  # type: ignore[override]
        return self._lane.flow

    @property
    def _run(self) -> Optional[Run]:  # type: ignore[override]
        return self._lane.track.codec.decode(self._text)

    @property
    def _agrees(self) -> Agrees:  # type: ignore[override]
        return everything_agrees


class Passing(Exchange):
    """A request that a lane lets through. Most answers are like others, too; whatever else comes is for a visit."""

    _held: Optional[Held] = None
    _reply: Optional[Reply] = None
    _visit: Optional[Visit] = None

    def __init__(
        self, lane: Lane, step: Step, environ: Environ, start_response: StartResponse, jar: Jar, head: list[str],
        text: str, version: int, now: int,
    ) -> None:  # fmt: skip
        self._start, self._environ, self._base = start_response, environ, environ.copy()
        self._lane, self.step, self._jar, self._head, self._text, self._version = lane, step, jar, head, text, version
        self.handle = Handle(lane, text, now)

    def hold(self, held: Held) -> None:
        """The run is known already."""
        self._held = held

    # --- what an exchange asks for ------------------------------------------------------------------------------

    def answered(self, status: str, headers: Headers) -> Headers:
        headers = list(headers)
        heard = kind, location, said, cached = hear(headers)
        if self._visit is not None or said is not None or self.handle.overrule is not None:
            visit = self.visit()
            headers = visit.answered(status, headers)
            self.settled_already = visit.settled_already
            return headers
        known = status, kind, location, self._base.get("SCRIPT_NAME")
        reply = self._reply = self.step.replies.get(known) or self._learnt(known, heard)
        self.settled_already = reply.way is None and not self.step.claims
        headers += self._lane.headers[cached]
        if reply.way is not None:
            headers += self._changed(reply, reply.way)
        return headers

    def settle(self) -> None:
        if self._visit is not None or self.handle.overrule is not None:
            self.visit().settle()
        elif self._reply is not None and not self.settled_already:
            self._keep(self._reply)

    def raised(self) -> None:
        self.visit().raised()

    # --- its parts ----------------------------------------------------------------------------------------------

    def _learnt(self, known: Known, heard: Heard) -> Reply:
        status, _, location, _ = known
        told = read_answer(status, heard, self._base, self._lane.kit.lookup)
        settled = self.step.precedent.settled(told.answer)
        same = settled.run is self.step.run
        reply = Reply(told, settled, None if same else self._lane.track.codec.way(settled.run))
        # A Location that is not local is read by more than its text.
        if (location is None or is_local(location)) and sum(map(len, filter(None, known))) <= USUAL:
            if len(self.step.replies) >= MAX_REPLIES:
                self.step.replies.clear()
            self.step.replies[known] = reply
        return reply

    def _changed(self, reply: Reply, way: str) -> Headers:
        """The header that tells the browser what run the reply leaves."""
        self._numbers = moved(numbers_of(self._head), reply.settled.run, self._lane.kit.now())
        text = self._written = f"{write_head(self._head[0], self._numbers)}{way}"
        if not may_tell(reply.told.answer):
            return []
        cookie = self._jar.cookie.sign(text)
        return [("Set-Cookie", self._jar.cookie.write(self._left(reply).run) if cookie is None else cookie)]

    def _keep(self, reply: Reply) -> None:
        lane, step, told = self._lane, self.step, reply.told
        if self._held is None and lane.is_visitors(step, self._head[0], self._version):
            return
        lane.kit.keep(
            self._environ, self._whole(), step.precedent.attempt, step.passage, told.answer, self._left(reply),
            told.location,
        )  # fmt: skip

    def _whole(self) -> Held:
        """The run as it was, and what the ledger said."""
        if self._held is None:
            run = with_numbers(self.step.run, self._head[0], numbers_of(self._head))
            self._held = Held(run, self._version)
        return self._held

    def _left(self, reply: Reply) -> Settled:
        """The run that the reply leaves."""
        run, outcome = reply.settled
        if reply.way is None:
            return Settled(self._whole().run, outcome)
        run = with_numbers(run, self._head[0], self._numbers)
        self._lane.track.codec.know(run, self._written)
        return Settled(run, outcome)

    def visit(self) -> Visit:
        """The same request, and what is known of it so far, as a visit."""
        if self._visit is None:
            kit, passage, held = self._lane.kit, self.step.passage, self._whole()
            judged = Judged(passage, self.step.precedent.attempt, held, False)
            brought = Brought(self._jar, Found(held.run, self._text, True), NO_NOTE)
            self._visit = Visit(kit, self._environ, self._base, judged, passage, brought, self.handle, self._start)
            if self._reply is not None:
                self._visit.go_on(self._reply.told, self._left(self._reply))
        return self._visit
