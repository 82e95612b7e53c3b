"""One request that was let through: what the application's answer comes to, and the headers it leaves with."""

from __future__ import annotations

import logging
from typing import Callable, NamedTuple, Optional

from flowguard import tracing
from flowguard.answers import NOTHING_TOLD, OVERRULE, Lookup, Told, header_of, read_answer
from flowguard.cookie import Cookie, Found
from flowguard.core.flow import REFUSE, Definition
from flowguard.core.outcome import NO_ANSWER, Outcome, Overrule, Settled, settle, undecided
from flowguard.core.passage import Passage
from flowguard.core.run import NOTHING, Run, finished
from flowguard.handle import Event, RunHandle
from flowguard.hooks import Hooks
from flowguard.judge import Judged
from flowguard.keeping import Keeper
from flowguard.notes import Note, Notes
from flowguard.reading import Environ, may_take_cookie
from flowguard.searching import Search

logger = logging.getLogger("flowguard.decision")

Headers = list[tuple[str, str]]


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
    """What every visit of a flow works with. `now`: milliseconds since the epoch."""

    flow: Definition
    keeper: Keeper
    hooks: Hooks
    lookup: Lookup
    now: Callable[[], int]
    pages: Pages


class Jar(NamedTuple):
    """A flow's cookies in one of their two shapes: secure, or not."""

    cookie: Cookie
    notes: Notes


class Brought(NamedTuple):
    """What the browser sent along."""

    jar: Jar
    found: Found
    note: Note


class Visit:
    """Reads the application's answer, settles it, and adds our headers. Made for one request that may pass."""

    __slots__ = (
        "_answer", "_base", "_brought", "_environ", "_handle", "_held", "_judged", "_kit", "_settled", "_spoken",
        "_texts", "_told", "passage",
    )  # fmt: skip

    def __init__(
        self, kit: Kit, environ: Environ, judged: Judged, passage: Passage, brought: Brought, handle: RunHandle
    ) -> None:
        self._kit, self._judged, self.passage, self._brought = kit, judged, passage, brought
        self._held, self._handle = judged.held, handle
        # An application may change the environ: a Location is read against the request as it came.
        self._environ, self._base = environ, environ.copy()
        self._told = NOTHING_TOLD
        self._answer = NO_ANSWER  # as the rules see it: what was told, but for what the application said beside it
        self._texts: frozenset[str] = NOTHING  # what was found in an answer that was held back
        self._settled: Optional[Settled] = None  # nothing, until there is an answer
        self._spoken: Optional[Overrule] = None  # what the application had said when it started its answer

    # --- what an exchange asks for (see `exchange.Visit`) -------------------------------------------------------

    def answered(self, status: str, headers: Headers) -> Headers:
        headers = list(headers)
        self._hear(read_answer(status, headers, self._base, self._kit.lookup, self._texts))
        if self._told.said is not None and self._told.answer.overrule is None:
            logger.warning("the application said %r in its Flowguard header: not one of our words", self._told.said)
        self._judge_answer()
        return self._headers(headers)

    @property
    def settled_already(self) -> bool:
        return self._held.token is None and (self._settled is None or self._settled.run is self._held.run)

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
        self._hear(read_answer(status, headers, self._base, self._kit.lookup))
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
        kit, before = self._kit, self._held.run
        settled = self._settled or Settled(before, Outcome.NOTHING)
        self._settled = kit.keeper.keep(
            self._held, self._judged.attempt, self.passage, self._answer, settled, self._told.location, kit.now()
        )
        if self.passage.claim and self._is_once():
            kit.pages.saw(self.passage.state, self._settled.outcome)
        if kit.hooks.any and self._settled.run is not before:
            self._tell(before, self._settled.run)

    def _judge_answer(self) -> None:
        self._spoken = self._handle.overrule
        if self._spoken is not None and self._answer.overrule is None:
            self._answer = self._answer._replace(overrule=self._spoken)
        self._settled = settle(self._kit.flow, self._held.run, self.passage, self._answer, self._kit.now())
        if tracing.wanted():
            tracing.answered(self._kit.flow, self._judged, self.passage, self._answer, self._settled)

    def _headers(self, headers: Headers) -> Headers:
        kept = self._without_word(headers)
        kept.append(("Vary", "Cookie"))
        if not self._told.cached:
            state = self._kit.flow.states.get(self.passage.state)
            quiet = state is not None and state.back != REFUSE  # so that Back stays instant
            kept.append(("Cache-Control", "private, no-cache" if quiet else "no-store"))
        kept += self._set_cookies()
        return kept

    def _without_word(self, headers: Headers) -> Headers:
        return headers if self._told.said is None else [pair for pair in headers if pair[0].lower() != OVERRULE]

    def _set_cookies(self) -> Headers:
        cookies = self._cookies()
        if not cookies or self._answer.status == 304 or not may_take_cookie(self._base, self._brought.found.brought):
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

    def _is_once(self) -> bool:
        state = self._kit.flow.states.get(self.passage.state)  # a companion's claim is for what a header names
        return state is not None and state.once

    def _tell(self, before: Run, after: Run) -> None:
        flow, hooks = self._kit.flow, self._kit.hooks
        if after.trail and (after.trail != before.trail or after.entered != before.entered):
            hooks.entered(self._event("entered", after))
        if after.trail and finished(flow, after) and not (before.trail and finished(flow, before)):
            hooks.finished(self._event("finished", after))

    def _event(self, kind: str, run: Run) -> Event:
        return Event(kind, self._kit.flow.name, self.passage.state, run.current, None, self._environ)
