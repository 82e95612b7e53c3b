"""A request of the beaten track that was let through: nearly every answer is like others before it (see `steps`), and
whatever else comes is for a visit."""

from __future__ import annotations

from typing import Optional

from flowguard.answers import hear
from flowguard.codec import HEAD, apart, numbers_of, write_head, write_later
from flowguard.cookie import Found
from flowguard.core.flow import Definition
from flowguard.core.outcome import Settled
from flowguard.core.passage import Agrees, Attempt, Passage, everything_agrees
from flowguard.core.precedents import moved
from flowguard.core.run import Run
from flowguard.errors import LedgerUnavailable
from flowguard.exchange import Exchange, Headers
from flowguard.handle import RunHandle
from flowguard.judge import Judged
from flowguard.keeping import Held
from flowguard.notes import NO_NOTE
from flowguard.reading import Environ, StartResponse
from flowguard.steps import Reply, Step, run_of
from flowguard.visit import Brought, Jar, Visit


class Handle(RunHandle):
    """The visitor's run, which is read when the application asks for it."""

    def __init__(self, step: Step, text: str, now: int) -> None:
        self.state, self._step, self._text, self._now, self.overrule = step.name, step, text, now, None

    @property
    def _flow(self) -> Definition:  # type: ignore[override]
        return self._step.kit.flow

    @property
    def _run(self) -> Optional[Run]:  # type: ignore[override]
        return self._step.codec.decode(self._text)

    @property
    def _agrees(self) -> Agrees:  # type: ignore[override]
        return everything_agrees


class Passing(Exchange):
    """head, text: of the visitor's run, as the cookie has it; version: of the ledger's text, which is the same. users:
    who asks, as digests, if the run is bound to its user, who is the last of them. token: of the claim that was won.
    begun: when the run began. Times are in milliseconds."""

    _reply: Optional[Reply]
    _visit: Optional[Visit]
    # When the answer was started; and of the run that it leaves, if that is another, when it began, and how it is
    # written: set by `_change`.
    _now: int
    _left_begun: int
    _written: str

    def __init__(
        self, step: Step, environ: Environ, start_response: StartResponse, jar: Jar, head: list[str],
        users: tuple[str, ...], text: str, begun: int, version: int, now: int, token: Optional[str] = None,
    ) -> None:  # fmt: skip
        self._start, self._environ, self._base = start_response, environ, environ.copy()
        self.step, self._jar, self._head, self._text = step, jar, head, text
        self._users, self._begun, self._version, self._token = users, begun, version, token
        self._unsettled, self._started, self._visit, self._reply = True, False, None, None
        self.handle = Handle(step, text, now)

    # --- what an exchange asks for ------------------------------------------------------------------------------

    def answered(self, status: str, headers: Headers) -> Headers:
        headers = list(headers)
        heard = kind, location, said, cached = hear(headers)
        if said is not None or self._visit is not None or self.handle.overrule is not None:
            visit = self.visit()
            headers = visit.answered(status, headers)
            self.settled_already = visit.settled_already
            return headers
        step, known = self.step, (status, kind, location, self._base.get("SCRIPT_NAME"))
        reply = self._reply = step.replies.get(known) or step.learn(known, heard, self._base)
        headers += step.headers[cached]
        if reply.way is None:
            self.settled_already = self._token is None
            return headers
        self.settled_already, self._now = False, int(step.clock() * 1000)
        way = f"{reply.way}.{self._users[-1]}" if self._users and reply.owned else reply.way
        if reply.goes_on:
            self._left_begun = self._begun
            self._written = write_later(self._head, reply.more, self._begun, self._now, reply.enters) + way
        else:
            numbers = moved(numbers_of(self._head), reply.settled.run, self._now)
            self._left_begun, self._written = numbers[2], write_head(self._head[0], numbers) + way
        if reply.tells:
            cookie = self._jar.cookie
            headers.append(("Set-Cookie", cookie.sign(self._written) or cookie.write(self._left(reply).run)))
        return headers

    def settle(self) -> None:
        reply = self._reply
        if self._visit is not None or self.handle.overrule is not None:
            self.visit().settle()
        elif reply is not None and not self.settled_already:
            if reply.way is None or self.step.hooked or not self._is_kept(reply):
                self._keep_slowly(reply)
            elif self.step.once:
                self.step.kit.pages.saw(self.step.name, reply.settled.outcome)

    def raised(self) -> None:
        self.visit().raised()

    # --- its parts ----------------------------------------------------------------------------------------------

    def _is_kept(self, reply: Reply) -> bool:
        """What the reply leaves goes to the ledger as it is, or need not; False where somebody else has written
        meanwhile."""
        keeper, id, passage, now = self.step.keeper, self._head[0], self.step.passage, self._now
        try:
            if self._token is None and (not keeper.keeps or keeper.need_not_keep(id, self._version, passage, now)):
                return True
            text = self._written + reply.record
            return keeper.write(id, text, self._left_begun, self._version, reply.keep, self._token, now)
        except LedgerUnavailable:  # that is told, and the cookie has it
            return True

    def _keep_slowly(self, reply: Reply) -> None:
        attempt, passage = self._asked()
        told = reply.told
        self.step.kit.keep(
            self._environ, self._held(), attempt, passage, told.answer, self._left(reply), told.location
        )  # fmt: skip

    def _asked(self) -> tuple[Attempt, Passage]:
        """What was asked, by whom, and how it passes."""
        attempt, passage = self.step.precedent.attempt, self.step.passage
        if not self._users:
            return attempt, passage
        return attempt._replace(users=self._users), passage._replace(user=self._users[-1])

    def _held(self) -> Held:
        """The run as it was, and what the ledger said."""
        return Held(run_of(self.step.run, self._head, self._user), self._version, None, self._token)

    def _left(self, reply: Reply) -> Settled:
        """The run that the reply leaves."""
        run, outcome = reply.settled
        if reply.way is None:
            return Settled(self._held().run, outcome)
        run = run_of(run, apart(self._written)[:HEAD], self._user if reply.owned else "")
        self.step.codec.know(run, self._written)
        return Settled(run, outcome)

    @property
    def _user(self) -> str:
        return self._users[-1] if self._users else ""

    def visit(self) -> Visit:
        """The same request, and what is known of it so far, as a visit."""
        if self._visit is None:
            step, held = self.step, self._held()
            attempt, passage = self._asked()
            brought = Brought(self._jar, Found(held.run, self._text, True), NO_NOTE)
            self._visit = Visit(
                step.kit, self._environ, self._base, Judged(passage, attempt, held, False), passage, brought,
                self.handle, self._start,
            )  # fmt: skip
            if self._reply is not None:
                self._visit.go_on(self._reply.told)
        return self._visit
