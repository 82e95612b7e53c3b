"""One request of one flow: which run is the visitor's newest, and may the request pass?

The order in which ledger and rules are asked is this: a submission that the cookie's own run would let through claims
it, which also tells the newest run; every other request only reads. Then the rules decide, on the newest run.
"""

from __future__ import annotations

import secrets
from typing import Any, Mapping, NamedTuple, Optional

from werkzeug.exceptions import RequestEntityTooLarge

from flowguard.body import lost_body
from flowguard.cookie import Found
from flowguard.core.flow import Condition, Definition
from flowguard.core.guidance import hoped
from flowguard.core.passage import (
    NO_RUN,
    Agrees,
    Attempt,
    Passage,
    Reason,
    Refusal,
    Verdict,
    decide,
    everything_agrees,
    foreign,
    quietly,
    usable,
)  # fmt: skip
from flowguard.core.run import Run, Values
from flowguard.handle import RunHandle
from flowguard.keeping import Held, Keeper
from flowguard.reading import Context, Environ, Methods

# Why a run is not this visitor's at all: whoever it belongs to, nothing is done to it, and another begins with an id of
# its own.
FOREIGN = (Reason.WRONG_USER, Reason.BAD_COOKIE)


class Asked(NamedTuple):
    """A request for one of the flow's paths.

    names: the states that its methods select; where there are several, the application acts as the last. args: the
    path's variables as the rule converts them; values: as they stand in the path. now: milliseconds since the epoch.
    users: who asks, as digests (see `users`). others: states that the application may take the request for.
    """

    environ: Environ
    methods: Methods
    names: tuple[str, ...]
    args: Mapping[str, Any]
    values: Values
    now: int
    users: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Judged(NamedTuple):
    """What was decided, and on which run.

    invented: the visitor has no run that can be used; `held.run` is an empty one, under whose id one may begin.
    """

    verdict: Verdict
    attempt: Attempt
    held: Held
    invented: bool

    @property
    def run(self) -> Optional[Run]:
        return None if self.invented else self.held.run

    def is_newer_than(self, found: Found) -> bool:
        """Is the browser's copy older than the run that was judged? (It may have been emptied meanwhile.)"""
        run, brought = self.held.run, found.run
        if not self.invented:
            return run is not brought and run != brought
        lost = self.attempt.lost is not None  # by its times: then nobody has emptied it yet
        return not lost and brought is not None and run.id == brought.id and run.seq > brought.seq


class Judge:
    """Judges the requests of one flow. max_body: bytes that a condition may read."""

    def __init__(self, flow: Definition, keeper: Keeper, max_body: int) -> None:
        self._flow, self._keeper, self._max_body = flow, keeper, max_body

    def judge(self, asked: Asked, brought: Found) -> Judged:
        """Raises LedgerUnavailable where a ledger that must be asked does not answer, what a condition raises, and
        RequestEntityTooLarge where one asked for more than `max_body`."""
        run = brought.run
        if run is None:
            return self._on_nothing(asked, Reason.BAD_COOKIE if brought.present else None)
        if self._would_claim(asked, run):
            return self.on(asked, self._claimed(asked, run, brought.text))
        judged = self.on(asked, self._read(asked, run, brought.text))
        if judged.held.version and isinstance(judged.verdict, Passage) and judged.verdict.claim:
            # The cookie is old: its run would not have passed, and the newest does.
            judged = self.on(asked, self._claimed(asked, judged.held.run, ""))
        return judged

    def _would_claim(self, asked: Asked, run: Run) -> bool:
        """Would the run that the cookie tells let this request through, as a submission that must be alone?"""
        if not run.trail or not self._submits(asked, asked.names[-1]) or self._lost(asked, run) is not None:
            return False
        claims = False
        for name in asked.names:
            verdict = decide(self._flow, run, self.attempt(asked, name))
            if isinstance(verdict, Refusal):
                return False
            claims |= verdict.claim
        return claims

    def _claimed(self, asked: Asked, run: Run, text: str) -> Held:
        """Claimed for the state that must not be done twice, should the claim outlive its worker."""
        name, states = asked.names[-1], self._flow.states
        if len(asked.names) > 1:
            name = next((other for other in asked.names if other in states and states[other].once), name)
        return self._keeper.claimed(run, text, name, asked.now)

    def _read(self, asked: Asked, run: Run, text: str) -> Held:
        """Safe requests, and companions that change nothing, go on by the cookie where the ledger is silent."""
        for name in asked.names:
            if self._submits(asked, name) and self.may_change(name):
                return self._keeper.newest(run, text, asked.now)
        return self._keeper.newest_or_cookie(run, text, asked.now)

    def may_change(self, name: str) -> bool:
        return name in self._flow.states or bool(self._flow.companions[name].undoes)

    def standing(self, asked: Asked, brought: Found, reason: Reason) -> Judged:
        """Where the visitor stands, for a request that is refused for *reason*, whatever the run: by the cookie alone
        where the ledger has just been silent."""
        if brought.run is not None and reason is Reason.UNAVAILABLE:
            held = self._own(asked, Held(brought.run))
        else:
            held = self.newest(asked, brought)
        return self._refused(asked, reason, held, not held.run.trail or self._lost(asked, held.run) is not None)

    def newest(self, asked: Asked, brought: Found) -> Held:
        """The visitor's newest run, by the cookie alone where the ledger is silent; an empty one without an id where
        there is none, or where it is another's."""
        if brought.run is None:
            return Held(NO_RUN)
        return self._own(asked, self._keeper.newest_or_cookie(brought.run, brought.text, asked.now))

    def _own(self, asked: Asked, held: Held) -> Held:
        return Held(NO_RUN) if self._lost(asked, held.run) in FOREIGN else held

    def _refused(self, asked: Asked, reason: Reason, held: Held, invented: bool) -> Judged:
        """Refused for what is none of the rules' business; they still say where the visitor can go."""
        name, run = asked.names[-1], None if invented else held.run
        attempt = self.attempt(asked, name, agrees=quietly(self._asker(asked, run, name)))
        return Judged(Refusal(reason, name, 0), attempt, held, invented)

    def on(self, asked: Asked, held: Held) -> Judged:
        """Decide on the newest run, if it can still be used."""
        lost = self._lost(asked, held.run)
        if lost in FOREIGN:
            self._keeper.give_up(held, asked.now)
            return self._on_nothing(asked, lost)
        if held.busy:
            return self._refused(asked, Reason.BUSY, held, False)
        if not held.run.trail:
            return self._decide(asked, held, None, True)
        if lost is Reason.EXPIRED:  # its id counts on, so that ledger and tabs know what is newer
            return self._decide(asked, held._replace(run=held.run.emptied()), lost, True)
        return self._decide(asked, held, None, False)

    def _lost(self, asked: Asked, run: Run) -> Optional[Reason]:
        """Why *run* can't be used, or None if it can, or if there is nothing in it."""
        if not run.trail:
            return None
        lost = foreign(self._flow, run, self.attempt(asked, asked.names[-1])) if self._flow.owned else None
        return lost or usable(self._flow, run, asked.now)

    def _on_nothing(self, asked: Asked, lost: Optional[Reason]) -> Judged:
        return self._decide(asked, Held(Run(secrets.token_urlsafe(12))), lost, True)

    def _decide(self, asked: Asked, held: Held, lost: Optional[Reason], invented: bool) -> Judged:
        """Where the methods select different states, all must pass; the application is taken to act as the last. So
        must those that it may be taken for, but where the visitor has been already."""
        run = None if invented else held.run
        passed: list[Passage] = []
        try:
            for name in (*asked.others, *asked.names):
                attempt = self.attempt(asked, name, lost, self._asker(asked, run, name))
                verdict = decide(self._flow, run, attempt)
                if name in asked.others and (isinstance(verdict, Passage) or (run and name in run.trail)):
                    continue
                if isinstance(verdict, Refusal):
                    break
                passed.append(verdict)
            self._check_body(asked.environ)
        except BaseException:  # of a condition: the run stays as it was
            self._keeper.give_up(held, asked.now)
            raise
        if isinstance(verdict, Refusal):
            self._keeper.give_up(held, asked.now)
            if self._is_pending(attempt, held, invented):
                verdict = Refusal(Reason.BUSY, attempt.state, 0)
        elif len(passed) > 1:
            verdict = verdict._replace(claim=any(one.claim for one in passed), others=tuple(passed[:-1]))
        return Judged(verdict, attempt, held, invented)

    def _is_pending(self, attempt: Attempt, held: Held, invented: bool) -> bool:
        """Would this page be open if the submission that is under way counted? Then it is too early to refuse it."""
        if held.under_way is None or attempt.submission or invented:
            return False
        quiet = attempt._replace(agrees=quietly(attempt.agrees), now=None)
        return isinstance(decide(self._flow, hoped(self._flow, held.run, held.under_way.state), quiet), Passage)

    def _check_body(self, environ: Environ) -> None:
        """Was it too large for a condition? Then the application can't have it whole either."""
        if lost_body(environ):
            raise RequestEntityTooLarge

    def _asker(self, asked: Asked, run: Optional[Run], name: str) -> Agrees:
        """Asks the deployer's conditions, each at most once for a request and a run."""
        if not self._flow.conditional:
            return everything_agrees
        answers: dict[int, bool] = {}
        context: list[Context] = []

        def agrees(condition: Condition) -> bool:
            if id(condition) not in answers:
                if not context:
                    handle = RunHandle(self._flow, run, name, asked.now)
                    context.append(Context(asked.environ, handle, asked.args, self._max_body))
                answers[id(condition)] = bool(condition(context[0]))
            return answers[id(condition)]

        return agrees

    def attempt(
        self, asked: Asked, name: str, lost: Optional[Reason] = None, agrees: Agrees = everything_agrees
    ) -> Attempt:
        """The request as a request for *name*."""
        methods, submission = asked.methods, self._submits(asked, name)
        by_get = submission and not methods.submission
        return Attempt(name, submission, asked.now, methods.peek, asked.values, agrees, lost, by_get, asked.users)

    def _submits(self, asked: Asked, name: str) -> bool:
        """A safe request is a submission where a GET has effects."""
        return asked.methods.submission or (name in self._flow.effects and not asked.methods.peek)
