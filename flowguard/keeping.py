"""Runs in a ledger: an older cookie is brought up to the newest run, one submission at a time gets through, and what
came of it is kept (CONTRACT 7). The ledger knows texts and claims; the rules know runs; here they meet."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Callable, NamedTuple, Optional, cast

from flowguard import records
from flowguard.codec import Codec
from flowguard.core.flow import SKEW, Definition
from flowguard.core.outcome import Answer, Outcome, Settled, settle
from flowguard.core.passage import Attempt, Passage, decide, foreign, quietly
from flowguard.core.run import Run
from flowguard.errors import LedgerUnavailable
from flowguard.ledgers.base import Claim, Ledger, Record
from flowguard.records import Led

logger = logging.getLogger("flowguard.ledger")

# Submissions of one process that wait for another at the same time; further ones are busy at once. Each holds a thread
# of the server's for up to `ledger_wait`, so this bounds what they can hold together.
MAX_WAITING = 16
MAX_AWAITED = 256  # claims that were waited for and are remembered: several times MAX_WAITING
# What came of a submission whose answer is worth keeping: one in doubt is not led there again, whatever it was told.
IN_DOUBT = (Outcome.UNKNOWN, Outcome.NOTHING)
FIRST_PAUSE, LAST_PAUSE = 0.005, 0.05  # seconds between two looks at a claim, growing
QUIET = 60  # seconds between two times that an outage is told: a ledger that is full answers some, and others not
MAX_WRITES = 8  # tries to write a change that others overtake; each means that somebody else's was written


class Held(NamedTuple):
    """A run as the ledger and the cookie tell it together. `version` 0: the ledger does not hold it."""

    run: Run
    version: int = 0
    led: Optional[Led] = None
    token: Optional[str] = None  # the claim that we won
    busy: bool = False  # another submission of this run is under way, and did not end while we waited
    under_way: Optional[Claim] = None  # another submission's, which has not ended
    abandoned: Optional[str] = None  # the token of one whose lease is over: what it left is in `run`

    @property
    def ended(self) -> Optional[str]:
        """The claim that ends when this run is written: ours, or one that nobody ends any more. Left there, it would
        be laid to the account of a run that begins later."""
        return self.token or self.abandoned


class _Patience:
    """How long this process waits for a claim: *wait* seconds from when the first began to. A visitor who goes on
    clicking on a slow payment would hold one worker after the other for as long again."""

    def __init__(self, wait: float, monotonic: Callable[[], float]) -> None:
        self._wait, self._monotonic = wait, monotonic
        self._since: dict[str, float] = {}  # by the claim's token, the oldest first
        self._lock = threading.Lock()

    def lasts(self, claim: Claim, begun: float) -> bool:
        """Is *claim* still waited for, by somebody who began to wait when it was *begun*?"""
        with self._lock:
            since = self._since.setdefault(claim.token, begun)
            if len(self._since) > MAX_AWAITED:
                del self._since[next(iter(self._since))]
        now = self._monotonic()
        return now - begun < self._wait and now - since < self._wait


class _Outages:
    """Says once that the ledger is down, when it is asked and does not answer, and once that it is back."""

    def __init__(self, flow: str, monotonic: Callable[[], float]) -> None:
        self._flow, self._monotonic = flow, monotonic
        self.told = False  # an outage was, and its end was not yet
        self._since = -float(QUIET)  # when the last one was told, by the monotonic clock

    def __enter__(self) -> None:
        """The ledger is about to be asked."""

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> None:
        if error is None:
            self.over()
        elif isinstance(error, LedgerUnavailable):
            self.met(error)

    def met(self, error: LedgerUnavailable) -> None:
        if not self.told and self._monotonic() - self._since >= QUIET:
            logger.error("%s; submissions are refused, other requests go on by the cookie alone", error)
            self.told, self._since = True, self._monotonic()

    def over(self) -> None:
        if self.told:
            logger.warning("the ledger of flow %r answers again", self._flow)
            self.told = False


class Keeper:
    """One flow's runs in one ledger. Without a ledger every cookie is the newest."""

    def __init__(
        self, flow: Definition, codec: Codec, ledger: Optional[Ledger], wait: float, lease: float,
        pause: Callable[[float], object] = time.sleep, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._flow, self._codec, self._ledger = flow, codec, ledger
        self.keeps = ledger is not None
        self._asked = cast(Ledger, ledger)  # by whoever has seen that there is one
        self._lease, self._pause, self._monotonic = lease, pause, monotonic
        self._patience = _Patience(wait, monotonic)
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._outages = _Outages(flow.name, monotonic)
        self._prefix = f"{flow.name}:"  # of the ledger's keys
        # From a run's beginning, until no cookie of it is good any more, on any host's clock. Milliseconds.
        self._life = flow.ttl + 2 * SKEW

    # --- before the application ---------------------------------------------------------------------------------

    def newest(self, run: Run, text: str, now: int) -> Held:
        """The newest run of *run*'s id; *text* is how the cookie wrote it. Raises LedgerUnavailable."""
        record = self.record(run.id, now)
        return Held(run) if record is None else self._merge(run, text, record, now)

    def newest_or_cookie(self, run: Run, text: str, now: int) -> Held:
        """The same, for an answer that can do without the ledger."""
        try:
            return self.newest(run, text, now)
        except LedgerUnavailable:
            return Held(run)

    def claimed(self, run: Run, text: str, state: str, now: int) -> Held:
        """Claim the one submission that may be under way in *run*, waiting up to `ledger_wait` for another's to end.

        The run in what is returned is the newest. Raises LedgerUnavailable.
        """
        if self._ledger is None:
            return Held(run)
        written = records.write(text or self._codec.encode(run), run.current or "", run.spent)
        claim, record = self.claim(run.id, written, run.started, state, now)
        return self.awarded(run, text, written, claim, record, now)

    def claim(
        self, id: str, text: str, started: int, state: str, now: int, claim: Optional[Claim] = None
    ) -> tuple[Claim, Record]:
        """Ask once for the claim on a submission of *state*, or for this *claim* again: what was asked for, and what
        the ledger holds then. text: what it is to hold of this run, if it holds nothing. Raises LedgerUnavailable."""
        moment = now / 1000
        if claim is None:
            claim = Claim(os.urandom(12).hex(), state, moment + self._lease)
        expires = ((started or now) + self._life) / 1000
        try:
            record = self._asked.claim(f"{self._prefix}{id}", claim, text=text, expires=expires, now=moment)
        except LedgerUnavailable as error:
            self._outages.met(error)
            raise
        if self._outages.told:
            self._outages.over()
        return claim, record

    def awarded(self, run: Run, text: str, written: str, claim: Claim, record: Record, now: int) -> Held:
        """What the ledger's *record* means to whoever has asked for *claim*; *written* is what was to be held."""
        held = self._try_claim(run, text, written, claim, record, now)
        if not held.busy or not self._waiting.acquire(blocking=False):
            return held
        try:
            return self._wait_for(held, run, text, written, claim, now)
        finally:
            self._waiting.release()

    def _wait_for(self, held: Held, run: Run, text: str, written: str, claim: Claim, now: int) -> Held:
        begun, pause = self._monotonic(), FIRST_PAUSE
        while held.under_way is not None and self._patience.lasts(held.under_way, begun):
            self._pause(pause)
            waited, pause = self._monotonic() - begun, min(2 * pause, LAST_PAUSE)
            later, moment = claim._replace(until=claim.until + waited), now + int(1000 * waited)
            _, record = self.claim(run.id, written, run.started, claim.state, moment, later)
            held = self._try_claim(run, text, written, later, record, moment)
        return held

    def _try_claim(self, run: Run, text: str, written: str, claim: Claim, record: Record, now: int) -> Held:
        held = Held(run)
        for tried in range(MAX_WRITES):
            if tried:
                _, record = self.claim(run.id, written, run.started, claim.state, now, claim)
            if record.text == written and record.claim == claim:  # mostly: nobody has written since
                return Held(run, record.version, None, claim.token)
            held = self._merge(run, text, record, now, claim.token)
            if held.token is not None:
                return held
            if held.under_way is not None:
                break
            self._bury(run, record, now)
        return held._replace(busy=True)

    def _bury(self, run: Run, record: Record, now: int) -> None:
        """Say of a submission whose lease is over what it left. This is written even where it left nothing: whoever
        has read the record before must see that another submission may have begun since."""
        claim, entry = record.claim, records.read(record.text)
        if claim is None:
            return
        logger.warning("a submission of %r in flow %r ended without an answer (run %s)",
                       claim.state, self._flow.name, records.digest(run.id))  # fmt: skip
        left = self._codec.decode(entry.run)
        if left is None:
            self._release(run, claim.token, now)
            return
        after = self._without_answer(left, claim)
        led = entry.led if after is left else None
        self._write(after.counted(now), record.version, claim.token, led, now)

    def _without_answer(self, run: Run, claim: Claim) -> Run:
        """The lease of a submission is over: its worker died. A `once` state may have been done, so it is spent; an
        ordinary one is free again."""
        state = self._flow.states.get(claim.state)
        return run.spending(state.name) if state is not None and state.once else run

    # --- after the application ----------------------------------------------------------------------------------

    def keep(
        self, held: Held, attempt: Attempt, passage: Passage, answer: Answer, settled: Settled,
        led: Optional[str], now: int,
    ) -> Settled:  # fmt: skip
        """Write what came of a request, and end its claim. Returns it as it was written: if the run has moved on
        meanwhile, the change is judged again against the newest run. What cannot be written is logged: the cookie has
        it, and a claim that was not ended counts as unknown when its lease is over."""
        if self._ledger is None:
            return settled
        try:
            if settled.run is held.run or settled.run == held.run:
                self.give_up(held, now)
                return settled
            if self.need_not_keep(held.run.id, held.version, passage, now):
                return settled
            kept = Led(passage.state, led) if led is not None and passage.submission else None
            run = self._keep(held, attempt, answer, settled, kept, now)
            return settled if run is settled.run else settled._replace(run=run)
        except LedgerUnavailable:
            return settled

    def _keep(
        self, held: Held, attempt: Attempt, answer: Answer, settled: Settled, led: Optional[Led], now: int
    ) -> Run:
        after, version, ended = settled, held.version, held.ended
        for _ in range(MAX_WRITES):
            if self._write(after.run, version, ended, None if after.outcome in IN_DOUBT else led, now):
                break
            newest, version, ended = self._overtaken(held, now)
            if newest is not None:
                after = self._judged_again(held.run, newest, attempt, answer, settled.run, now)
        return after.run

    def _overtaken(self, held: Held, now: int) -> tuple[Optional[Run], int, Optional[str]]:
        """Somebody else has written: the run as it is now, its version, and the claim that our next write ends."""
        record = self.record(held.run.id, now)
        if record is None:
            return None, 0, held.token
        newest, over = self._codec.decode(records.read(record.text).run), _over(record, now)
        if newest is None or over is None or over.token == held.token:
            return newest, record.version, held.token
        return self._without_answer(newest, over), record.version, over.token

    def _judged_again(
        self, before: Run, newest: Run, attempt: Attempt, answer: Answer, after: Run, now: int
    ) -> Settled:
        """The change, against the newest run; if it is refused there, only what it spent in the same run."""
        again = attempt._replace(now=None, agrees=quietly(attempt.agrees))
        verdict = decide(self._flow, newest, again)
        if isinstance(verdict, Passage) and foreign(self._flow, newest, again) is None:
            return settle(self._flow, newest, verdict, answer, now)
        spent = after.spent - before.spent - newest.spent
        if newest.first != before.first or not spent:
            return Settled(newest, Outcome.NOTHING)
        return Settled(newest._replace(spent=newest.spent | spent).counted(now), Outcome.NOTHING)

    def need_not_keep(self, id: str, version: int, passage: Passage, now: int) -> bool:
        """A mere visitor takes no place: nothing is written of one whom the ledger did not hold, and still does not.
        Raises LedgerUnavailable."""
        if version or passage.submission:
            return False
        return self.record(id, now) is None

    def replace(self, held: Held, run: Run, now: int) -> None:
        """Keep *run* (emptied by a reset or an expiry) in place of what the ledger holds, if it holds anything."""
        version, ended = held.version, held.ended
        try:
            for _ in range(MAX_WRITES):
                if not version or self._write(run, version, ended, None, now):
                    return
                _, version, ended = self._overtaken(held, now)
        except LedgerUnavailable:
            return

    def give_up(self, held: Held, now: int) -> None:
        """End a claim of which nothing came."""
        if held.token is None:
            return
        try:
            self._release(held.run, held.token, now)
        except LedgerUnavailable:
            return

    # --- what they share ----------------------------------------------------------------------------------------

    def _merge(self, run: Run, text: str, record: Record, now: int, token: Optional[str] = None) -> Held:
        """Where the ledger holds the run, its copy counts, but for what the cookie calls spent, for the user that it
        names (a run may have become somebody's while the ledger was silent), and for a submission whose lease is over.
        token: of the claim that we have asked for."""
        entry = records.read(record.text)
        newest = run if entry.run == text else self._codec.decode(entry.run)
        claim, led = record.claim, entry.led
        if newest is None:  # written by another version of flowguard: as if it had been forgotten
            newest, led = run, None
        elif newest.first == run.first:
            newest = newest.remembering(run)
        if claim is None:
            return Held(newest, record.version, led)
        if claim.token == token:
            return Held(newest, record.version, led, token)
        if _over(record, now) is not None:
            return Held(self._without_answer(newest, claim), record.version, led, abandoned=claim.token)
        return Held(newest, record.version, led, under_way=claim)

    # Each as `with self._outages`, but a frame cheaper, as `claim` is: every request comes here.

    def record(self, id: str, now: int) -> Optional[Record]:
        """What the ledger holds of the run of this id. Raises LedgerUnavailable."""
        if not self.keeps:
            return None
        try:
            record = self._asked.read(f"{self._prefix}{id}", now=now / 1000)
        except LedgerUnavailable as error:
            self._outages.met(error)
            raise
        if self._outages.told:
            self._outages.over()
        return record

    def write(
        self, id: str, text: str, started: int, version: int, keep: bool, token: Optional[str], now: int
    ) -> bool:
        """Have the ledger hold *text* in place of *version*, and end the claim of *token*. started: of the run; keep:
        something is spent in it. False where somebody else has written. Raises LedgerUnavailable."""
        expires = ((started or now) + self._life) / 1000
        try:
            done = self._asked.write(f"{self._prefix}{id}", text, version=version, expires=expires, keep=keep,
                                     now=now / 1000, release=token)  # fmt: skip
        except LedgerUnavailable as error:
            self._outages.met(error)
            raise
        if self._outages.told:
            self._outages.over()
        return done

    def _write(self, run: Run, version: int, token: Optional[str], led: Optional[Led], now: int) -> bool:
        text = records.write(self._codec.encode(run), run.current or "", run.spent, led)
        return self.write(run.id, text, run.started, version, bool(run.spent), token, now)

    def _release(self, run: Run, token: str, now: int) -> None:
        with self._outages:
            self._asked.release(f"{self._prefix}{run.id}", token, now=now / 1000)


def is_as_written(record: Record, text: str) -> bool:
    """Is the run in it as a cookie writes it, in *text*, and nobody submits?"""
    return record.claim is None and records.run_in(record.text) == text


def _over(record: Record, now: int) -> Optional[Claim]:
    """The claim whose lease is over."""
    claim = record.claim
    return claim if claim is not None and claim.until <= now / 1000 else None
