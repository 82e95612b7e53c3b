"""The ledger in the memory of one process: bounded, about a microsecond a verb, gone when the process ends.

What is bounded is the number of records. When there is no place for another, those that have expired go first; then the
one unused longest that has nothing spent (`keep` false) and no claim. Where there is none, a new key is
`LedgerUnavailable`; the keys that are there go on. A claim whose lease is over still counts as a claim here: nobody has
said yet what became of it, and it may have been a payment.

Nothing is done in the background, and no request pays for more than a few of the places that others left behind.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from itertools import count
from math import ceil, inf
from threading import Lock
from typing import Iterator, Optional

from flowguard.errors import ConfigError, LedgerUnavailable, Problem
from flowguard.ledgers.base import Claim, Record

CAPACITY = 100_000  # records (CONTRACT 7)
DRAINED = 2  # expired records that make way for each new one: more than come, so that they drain away
EXAMINED = 32  # places on a heap that one new record looks at, at most: about 20 microseconds


class _Entry:
    """What is known of a key. bucket: where it stands among the deadlines."""

    __slots__ = ("bucket", "expires", "keep", "key", "record")

    def __init__(self, key: str, record: Record, expires: float, keep: bool) -> None:
        self.key, self.record, self.expires, self.keep = key, record, expires, keep
        self.bucket = _NOWHERE


class _Bucket(dict[str, _Entry]):
    """The entries that expire within one second. number: of its place on the heap; 0: it is empty, and has none."""

    __slots__ = ("number", "second")

    def __init__(self, second: int, number: int) -> None:
        self.second, self.number = second, number


_NOWHERE = _Bucket(0, 0)


class _Deadlines:
    """Entries by the second in which they have expired. A second's place is (second, number, bucket), and dead once its
    bucket has another number.

    Dead places are swept out a few at a time: what remains of a heap when its tail is cut off is a heap, so each new
    place moves two from the tail of the old heap to the new one, the dead ones excepted. That bounds the places to
    about twice the buckets that are not empty, without ever looking at all of them.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, _Bucket] = {}
        self._old: list[tuple[int, int, _Bucket]] = []
        self._new: list[tuple[int, int, _Bucket]] = []
        self._numbers = count(1)
        self.due = inf  # seconds: nothing expires before

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def add(self, entry: _Entry) -> None:
        second = ceil(entry.expires)
        bucket = self._buckets.get(second) or self._opened(second)
        bucket[entry.key] = entry
        entry.bucket = bucket

    def remove(self, entry: _Entry) -> None:
        del entry.bucket[entry.key]
        self._close_if_empty(entry.bucket)

    def take_expired(self, now: float) -> Optional[_Entry]:
        """Take an entry off that has expired; None if there is none among the first few places."""
        bucket = self._first_expired(now)
        entry = None if bucket is None else bucket.popitem()[1]
        if bucket is not None:
            self._close_if_empty(bucket)
        self.due = min([heap[0][0] for heap in (self._old, self._new) if heap], default=inf)
        return entry

    def _first_expired(self, now: float) -> Optional[_Bucket]:
        for heap in (self._old, self._new):
            left = EXAMINED
            while heap and heap[0][0] <= now and left:
                left -= 1
                _, number, bucket = heap[0]
                if bucket.number == number:
                    return bucket
                heappop(heap)
        return None

    def _close_if_empty(self, bucket: _Bucket) -> None:
        if not bucket:
            bucket.number = 0
            del self._buckets[bucket.second]

    def _opened(self, second: int) -> _Bucket:
        bucket = self._buckets[second] = _Bucket(second, next(self._numbers))
        heappush(self._new, (second, bucket.number, bucket))
        self.due = min(self.due, second)
        if len(self) > len(self._buckets):
            self._sweep()
        return bucket

    def _sweep(self) -> None:
        for _ in range(min(2, len(self._old))):
            place = self._old.pop()
            if place[2].number == place[1]:
                heappush(self._new, place)
        if not self._old:
            self._old, self._new = self._new, self._old


class MemoryLedger:
    """A `flowguard.ledgers.base.Ledger` for one process, of *capacity* records at most (about 1 kB each, and the text).

    Each process that has one has its own: behind several workers a replay finds another that knows nothing of it.
    """

    name = "memory://"

    def __init__(self, capacity: int = CAPACITY) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ConfigError([Problem("ledger", f"capacity is {capacity!r}, not a whole number of at least 1.")])
        self.capacity = capacity
        self._entries: dict[str, _Entry] = {}
        self._idle: OrderedDict[str, _Entry] = OrderedDict()  # those that may go, the one unused longest first
        self._deadlines = _Deadlines()
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"MemoryLedger(capacity={self.capacity})"

    def read(self, key: str, *, now: float) -> Optional[Record]:
        """The record of *key*; to read it is to use it."""
        if key not in self._entries:  # of mere visitors; nothing is looked at together, so there is nothing to lock
            return None
        with self._lock:
            entry = self._find(key, now)
            return entry.record if entry else None

    def claim(self, key: str, claim: Claim, *, text: str, expires: float, now: float) -> Record:
        """Take *claim* if nobody holds one. Raises `LedgerUnavailable` where a new key has no place."""
        with self._lock:
            entry = self._find(key, now) if key in self._entries else None
            if entry is None:
                record = Record(text, 1, claim)
                self._create(key, record, expires, False, now)
                return record
            if entry.record.claim is None:
                self._put(entry, entry.record._replace(claim=claim), max(expires, entry.expires), entry.keep)
            return entry.record

    def write(self, key: str, text: str, *, version: int, expires: float, keep: bool, now: float,
              release: Optional[str] = None) -> bool:
        """Replace the text of *version*. Raises `LedgerUnavailable` where a new key has no place."""
        with self._lock:
            entry = self._find(key, now)
            if entry is None:
                if version == 0:
                    self._create(key, Record(text, 1, None), expires, keep, now)
                return version == 0
            written, before, claim = entry.record
            if before != version and (before, written) != (version + 1, text):
                return False
            held = None if claim is None or claim.token == release else claim
            self._put(entry, Record(text, version + 1, held), expires, keep)
            return True

    def release(self, key: str, token: str, *, now: float) -> None:
        """End the claim of *token*."""
        with self._lock:
            entry = self._find(key, now)
            if entry is not None and entry.record.claim is not None and entry.record.claim.token == token:
                self._put(entry, entry.record._replace(claim=None), entry.expires, entry.keep)

    def scan(self, now: float) -> Iterator[tuple[str, Record, float]]:
        """Every record, with its key and its expiry, as they are at the first step. For operators: it copies them."""
        with self._lock:
            found = [(entry.key, entry.record, entry.expires) for entry in self._entries.values()]
        return (row for row in found if row[2] > now)

    def purge(self, now: float) -> int:
        """Forget what has expired; how many that was. For operators: it looks at every record."""
        with self._lock:
            gone = [entry for entry in self._entries.values() if entry.expires <= now]
            for entry in gone:
                self._remove(entry)
            return len(gone)

    def forget(self, key: str) -> None:
        """Forget *key*, whatever it holds."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._remove(entry)

    # All below: the lock is held.

    def _find(self, key: str, now: float) -> Optional[_Entry]:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self._remove(entry)
            return None
        if key in self._idle:
            self._idle.move_to_end(key)
        return entry

    def _create(self, key: str, record: Record, expires: float, keep: bool, now: float) -> None:
        if self._deadlines.due <= now or len(self._entries) >= self.capacity:
            self._make_room(now)
        entry = self._entries[key] = _Entry(key, record, expires, keep)
        self._deadlines.add(entry)
        if not keep and record.claim is None:
            self._idle[key] = entry

    def _make_room(self, now: float) -> None:
        for _ in range(DRAINED):
            gone = self._deadlines.take_expired(now)
            if gone is None:
                break
            self._forget(gone)
        if len(self._entries) < self.capacity:
            return
        if not self._idle:
            raise LedgerUnavailable(self.name, f"all {self.capacity} places hold a submission that must be remembered")
        self._remove(next(iter(self._idle.values())))

    def _put(self, entry: _Entry, record: Record, expires: float, keep: bool) -> None:
        entry.record, entry.keep = record, keep
        if expires != entry.expires:
            self._deadlines.remove(entry)
            entry.expires = expires
            self._deadlines.add(entry)
        if keep or record.claim is not None:
            self._idle.pop(entry.key, None)
        elif entry.key not in self._idle:  # else it is the latest already, since it was found
            self._idle[entry.key] = entry

    def _remove(self, entry: _Entry) -> None:
        self._deadlines.remove(entry)
        self._forget(entry)

    def _forget(self, entry: _Entry) -> None:
        del self._entries[entry.key]
        self._idle.pop(entry.key, None)
