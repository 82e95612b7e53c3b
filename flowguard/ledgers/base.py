"""The ledger's protocol: the server-side memory of the newest run of each id (CONTRACT 7).

A signature proves who wrote a cookie, not that it is the newest. A ledger keeps, for each key, one `Record`: an opaque
text (the newest run), a version that counts its writes, and at most one `Claim` (a submission that is under way). Four
verbs, each atomic, each one round trip, are all that a backend has; what the texts mean is decided elsewhere.

Every time is in seconds since the epoch, as the guard's clock tells it; a backend has no clock of its own, but may let
rows vanish by themselves once they have expired. A backend may forget anything at any time, and answers as if it never
knew. It raises `flowguard.errors.LedgerUnavailable`, and nothing else, when it cannot answer.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Protocol


class Claim(NamedTuple):
    """A submission under way: only its holder may submit, until `until` (seconds since the epoch)."""

    token: str  # random, one for each submission: who holds it
    state: str  # the name of the state that is being submitted
    until: float  # when the lease ends; the claim stays, so that somebody can say what became of it


class Record(NamedTuple):
    """What a ledger holds for one key."""

    text: str
    version: int  # 1 for the first write, and one more for each later write of the text
    claim: Optional[Claim]


class Ledger(Protocol):
    """Any object with these verbs is a ledger. `expires` is when the record may be forgotten: from then on it is not
    there. A `write` sets it; a `claim` can lengthen a record's life, and never shortens it.

    `keep` says that something in the record is spent: a ledger that must make room lets the others go first.

    For operators a ledger may have four more: ``scan(now) -> Iterator[(key, Record, expires)]``, of what has not
    expired; ``purge(now) -> int``, which forgets what has, and counts it; ``forget(key) -> None``; and
    ``trouble() -> Optional[LedgerUnavailable]``, why it could not answer now, which is asked when a guard is made: it
    raises nothing, and leaves nothing open that a fork would carry over. They may take long, and no request uses them.
    """

    def read(self, key: str, *, now: float) -> Optional[Record]:
        """The record of *key*, or None: never written, expired, or forgotten."""

    def claim(self, key: str, claim: Claim, *, text: str, expires: float, now: float) -> Record:
        """Take *claim* if nobody holds one, and return the record as it is then: won if the token in it is ours.

        A key that is not there is created with *text*, as version 1; the text of one that is there stays. A claim that
        is held, be its lease over or not, is left alone: whoever finds it over says what became of it, by `write`.
        Asked again with the same token (a reply was lost), the answer is the same.
        """

    def write(self, key: str, text: str, *, version: int, expires: float, keep: bool, now: float,
              release: Optional[str] = None) -> bool:
        """Replace the text, if the version is still *version* (0: the key is not there, and is created).

        In the same step the claim ends if its token is *release*; another's claim stays. False, and nothing changed,
        if the version is another. Asked again after a lost reply, a write that was done says True: the text is ours
        and the version is one more (and the claim ends all the same).
        """

    def release(self, key: str, token: str, *, now: float) -> None:
        """End the claim of *token*, if it is still the one that is held; the text stays."""
