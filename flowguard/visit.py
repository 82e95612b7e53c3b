"""One request that was let through: what the application's answer comes to, and the headers it leaves with."""

from __future__ import annotations

import logging
from typing import Callable, NamedTuple, Optional

from flowguard import tracing
from flowguard.answers import NOTHING_TOLD, OVERRULE, Lookup, Told, header_of, hear, read_answer
from flowguard.cookie import Cookie, Found
from flowguard.core.flow import REFUSE, Definition
from flowguard.core.outcome import NO_ANSWER, Answer, Outcome, Overrule, Settled, settle, undecided
from flowguard.core.passage import Attempt, Passage
from flowguard.core.run import NOTHING, Run, finished
from flowguard.exchange import Exchange, Headers
from flowguard.handle import Event, RunHandle
from flowguard.hooks import Hooks
from flowguard.judge import Judged
from flowguard.keeping import Held, Keeper
from flowguard.notes import Note, Notes
from flowguard.reading import Environ, StartResponse, may_take_cookie
from flowguard.searching import Search

logger = logging.getLogger("flowguard.decision")


class Pages:
    """Counts the submissions of each `once` state that were answered by a page, and warns if nothing else ever comes:
    then the page is mostly the success, and every further click of a visitor gets through."""

    LIMIT = 3  # a form that fails three times before anybody has ever succeeded is rare

    def __init__(self, flow: str) -> None:
        self._flow = flow
        self._shown: dict[str, int] = {}

    def saw(self, state: str, outcome: Outcome) -> None:
        count = self._shown.get(state, 0)
        if count >= self.LIMIT:
            return
        self._shown[state] = count + 1 if outcome is Outcome.SHOWN else self.LIMIT
        if self._shown[state] == self.LIMIT and outcome is Outcome.SHOWN:
            logger.warning(
                "flow %r: %d submissions of the `once` state %r were answered by a page, which is taken for the form "
                "shown again, and none succeeded. If such a page is its success, write accept=[200]: until then "
                "a second click gets through.", self._flow, self.LIMIT, state,
            )  # fmt: skip


class Kit(NamedTuple):
    """What every visit of a flow works with. clock: seconds since the epoch."""

    flow: Definition
    keeper: Keeper
    hooks: Hooks
    lookup: Lookup
    clock: Callable[[], float]
    pages: Pages

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.clock() * 1000)

    def keep(
        self, environ: Environ, held: Held, attempt: Attempt, passage: Passage, answer: Answer, settled: Settled,
        led: Optional[str],
    ) -> Settled:  # fmt: skip
        """Write what came of a request, and tell whoever wants to hear of it. Returns it as it was written. led: where
        the answer's redirect leads."""
        settled = self.keeper.keep(held, attempt, passage, answer, settled, led, self.now())
        if passage.claim and self.is_once(passage.state):
            self.pages.saw(passage.state, settled.outcome)
        if self.hooks.any and settled.run is not held.run:
            self._tell(environ, passage.state, held.run, settled.run)
        return settled

    def is_once(self, name: str) -> bool:
        state = self.flow.states.get(name)  # a companion's claim is for what a header names
        return state is not None and state.once

    def _tell(self, environ: Environ, name: str, before: Run, after: Run) -> None:
        flow, hooks = self.flow, self.hooks
        if after.trail and (after.trail != before.trail or after.entered != before.entered):
            hooks.entered(Event("entered", flow.name, name, after.current, None, environ))
        if after.trail and finished(flow, after) and not (before.trail and finished(flow, before)):
            hooks.finished(Event("finished", flow.name, name, after.current, None, environ))


class Jar(NamedTuple):
    """A flow's cookies in one of their two shapes: secure, or not."""

    cookie: Cookie
    notes: Notes


class Brought(NamedTuple):
    """What the browser sent along."""

    jar: Jar
    found: Found
    note: Note


def caching_of(flow: Definition, name: str) -> str:
    """How answers of a state or companion may be cached, where the application does not say it."""
    state = flow.states.get(name)
    quiet = state is not None and state.back != REFUSE  # so that Back stays instant
    return "private, no-cache" if quiet else "no-store"


def may_tell(answer: Answer) -> bool:
    """May it carry a cookie? Never a 304: a browser keeps those of the answer that it had before (CONTRACT 6)."""
    return answer.status != 304


class Visit(Exchange):
    """Reads the application's answer, settles it, and adds our headers. Made for one request that may pass."""

    _told = NOTHING_TOLD
    _answer = NO_ANSWER  # as the rules see it: what was told, but for what the application said beside it
    _texts: frozenset[str] = NOTHING  # what was found in an answer that was held back
    _settled: Optional[Settled] = None  # nothing, until there is an answer
    _spoken: Optional[Overrule] = None  # what the application had said when it started its answer

    def __init__(
        self, kit: Kit, environ: Environ, base: Environ, judged: Judged, passage: Passage, brought: Brought,
        handle: RunHandle, start_response: StartResponse,
    ) -> None:  # fmt: skip
        """base: the environ as the request came, which an application may change: a Location is read against that."""
        super().__init__(start_response)
        self._kit, self._judged, self.passage, self._brought = kit, judged, passage, brought
        self._held, self._handle = judged.held, handle
        self._environ, self._base = environ, base

    def go_on(self, told: Told) -> None:
        """From an answer that was heard elsewhere, and is about to be judged."""
        self._hear(told)

    # --- what an exchange asks for ------------------------------------------------------------------------------

    def answered(self, status: str, headers: Headers) -> Headers:
        headers = list(headers)
        self._hear(read_answer(status, hear(headers), self._base, self._kit.lookup, self._texts))
        if self._told.said is not None and self._told.answer.overrule is None:
            logger.warning("the application said %r in its Flowguard header: not one of our words", self._told.said)
        self._judge_answer()
        return self._headers(headers)

    def settle(self) -> None:
        if self._handle.overrule is not self._spoken:  # the application spoke after it had started its answer
            self._answer = self._answer._replace(overrule=self._handle.overrule)
            self._judge_answer()
        if self.passage.claim or not self.settled_already:
            self._keep()

    def raised(self) -> None:
        """An exception is *unknown*, whatever the application had said before."""
        self._hear(NOTHING_TOLD)
        self._handle.overrule = None
        self._judge_answer()
        self._keep()

    # --- what an answer that is held back asks for (see `withholding.Reader`) -------------------------------------

    def search(self, status: str, headers: Headers) -> Optional[Search]:
        self._hear(read_answer(status, hear(headers), self._base, self._kit.lookup))
        self._answer = self._answer._replace(overrule=self._answer.overrule or self._handle.overrule)
        self._texts = NOTHING
        texts = self._undecided()
        try:
            content = header_of(headers, "content-encoding"), header_of(headers, "content-type")
            return Search(texts, *content) if texts else None
        except ValueError as error:
            logger.warning("state %r of flow %r: %s", self.passage.state, self._kit.flow.name, error)
            return None

    def decided(self, search: Search) -> bool:
        self._texts = search.found
        return not self._undecided()

    def _undecided(self) -> frozenset[str]:
        answer = self._answer._replace(texts=self._texts)
        return undecided(self._kit.flow, self._held.run, self.passage, answer)

    # --- its parts ----------------------------------------------------------------------------------------------

    def _hear(self, told: Told) -> None:
        self._told, self._answer = told, told.answer

    def _keep(self) -> None:
        settled = self._settled or Settled(self._held.run, Outcome.NOTHING)
        self._settled = self._kit.keep(
            self._environ, self._held, self._judged.attempt, self.passage, self._answer, settled, self._told.location
        )

    def _judge_answer(self) -> None:
        self._spoken = self._handle.overrule
        if self._spoken is not None and self._answer.overrule is None:
            self._answer = self._answer._replace(overrule=self._spoken)
        self._settled = settle(self._kit.flow, self._held.run, self.passage, self._answer, self._kit.now())
        self.settled_already = self._held.token is None and self._settled.run is self._held.run
        if tracing.wanted():
            tracing.answered(self._kit.flow, self._judged, self.passage, self._answer, self._settled)

    def _headers(self, headers: Headers) -> Headers:
        kept = self._without_word(headers)
        kept.append(("Vary", "Cookie"))
        if not self._told.cached:
            kept.append(("Cache-Control", caching_of(self._kit.flow, self.passage.state)))
        kept += self._set_cookies()
        return kept

    def _without_word(self, headers: Headers) -> Headers:
        return headers if self._told.said is None else [pair for pair in headers if pair[0].lower() != OVERRULE]

    def _set_cookies(self) -> Headers:
        cookies = self._cookies()
        if not cookies or not may_tell(self._answer) or not may_take_cookie(self._base, self._brought.found.brought):
            return []
        return [("Set-Cookie", value) for value in cookies]

    def _cookies(self) -> list[str]:
        """Written only when the run changed or the browser's copy is older."""
        jar, held = self._brought.jar, self._held.run
        run = held if self._settled is None else self._settled.run
        news = run is not held or self._judged.is_newer_than(self._brought.found)
        cookies = jar.cookie.sent(run, self._brought.found) if news else []
        if self._brought.note.present and self._answer.to is None:  # a redirect is no page, nor is the reason told yet
            cookies.append(jar.notes.clear())
        return cookies
