"""A ledger's runs, for operators: what each is, and how a spent state is set free. No flow is needed for it.

It changes a run as a submission does, so that it never overwrites one: it holds the run's only claim while it writes,
and writes only over the version that the operator saw.
"""

from __future__ import annotations

import secrets
from enum import Enum
from typing import Any, Iterator, NamedTuple, Optional

from flowguard import records
from flowguard.codec import Coded
from flowguard.core.run import Run
from flowguard.ledgers.base import Claim, Ledger, Record
from flowguard.records import Entry

HELD_FOR = 5.0  # seconds: the lease of our own claim. If we die with it, the state is as spent as it was before.


class Listed(NamedTuple):
    """A run in a ledger. Times in seconds since the epoch.

    key: the ledger's, which holds the run's id: a secret. run: what `records.digest` makes of the id. flow: the flow's
    name. coded: the run with codes for its states' names; None where another version of flowguard wrote it. expires:
    when it is forgotten.
    """

    key: str
    run: str
    flow: str
    record: Record
    entry: Entry
    coded: Optional[Coded]
    expires: float

    def in_doubt(self, state: str) -> bool:
        """Is the spent *state* not known to be done?"""
        return self.coded is None or self.coded.code(state) not in self.coded.run.done

    def abandoned(self, now: float) -> Optional[Claim]:
        """The claim whose lease is over: its submission ended without an answer, and nobody has looked since."""
        claim = self.record.claim
        return claim if claim is not None and claim.until <= now else None

    def doubts(self, now: float) -> tuple[str, ...]:
        """The states of which it is not known what came of their submission."""
        abandoned = self.abandoned(now)
        spent = tuple(state for state in self.entry.spent if self.in_doubt(state))
        return spent if abandoned is None or abandoned.state in spent else (*spent, abandoned.state)


class Freed(Enum):
    """What came of freeing a state."""

    DONE = "done"
    NOT_SPENT = "not spent"
    UNDER_WAY = "under way"  # a submission of this run is
    CHANGED = "changed"  # since it was looked at
    UNREADABLE = "unreadable"  # written by another version of flowguard


def listed(ledger: Any, now: float) -> Iterator[Listed]:
    """Every run in *ledger*, which has the verb `scan`. Raises LedgerUnavailable."""
    for key, record, expires in ledger.scan(now):
        flow, _, id_ = key.partition(":")
        entry = records.read(record.text)
        yield Listed(key, records.digest(id_), flow, record, entry, Coded.decode(entry.run), expires)


def free(ledger: Ledger, found: Listed, state: str, now: float) -> Freed:
    """Let *state* be submitted once more in the run that was *found*: it is neither spent nor done, and a run that has
    gone on goes back to it. Raises LedgerUnavailable."""
    abandoned = found.abandoned(now)
    if found.coded is None:
        return Freed.UNREADABLE
    if found.record.claim is not None and abandoned is None:
        return Freed.UNDER_WAY
    if state not in found.entry.spent and (abandoned is None or abandoned.state != state):
        return Freed.NOT_SPENT
    if abandoned is not None:
        # While it stands, nobody else gets a claim; and whoever ends it writes, so that our version is the wrong one.
        ended = abandoned.token if abandoned.state == state else None
        return Freed.DONE if _write(ledger, found, found.coded, state, now, ended) else Freed.CHANGED
    claim = Claim(secrets.token_urlsafe(12), state, now + HELD_FOR)
    record = ledger.claim(found.key, claim, text=found.record.text, expires=now, now=now)
    if record.claim is None or record.claim.token != claim.token:
        return Freed.UNDER_WAY
    if _write(ledger, found, found.coded, state, now, claim.token):
        return Freed.DONE
    ledger.release(found.key, claim.token, now=now)
    return Freed.CHANGED


def _write(ledger: Ledger, found: Listed, coded: Coded, state: str, now: float, ended: Optional[str]) -> bool:
    after = coded._replace(run=_set_free(coded.run, coded.code(state), int(now * 1000)))
    current = state if after.run.current == coded.code(state) else found.entry.current
    spent = [name for name in found.entry.spent if name != state]
    text = records.write(after.encode(), current, spent)
    return ledger.write(
        found.key, text, version=found.record.version, expires=found.expires, keep=bool(spent), now=now, release=ended
    )


def _set_free(run: Run, state: str, now: int) -> Run:
    """As a new run of the same id: what a cookie of the one before calls spent does not count for it."""
    if state in run.trail:
        run = run.going_back(state, now)
    run = run.freeing(state)._replace(done=run.done - {state}).counted(now)
    return run._replace(first=run.seq)
