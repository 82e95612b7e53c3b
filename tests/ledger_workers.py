"""What the processes do that race for a ledger's claims, or are killed while they write to it."""

from __future__ import annotations

import os
import sys
from typing import Any

from flowguard.errors import LedgerUnavailable
from flowguard.ledgers import Claim, Ledger, open_ledger
from flowguard.ledgers.redis import RedisLedger

NOW, EXPIRES = 1_000.0, 5_000.0


def opened(spec: str, prefix: str) -> Ledger:
    ledger = RedisLedger(spec, prefix) if spec.startswith("redis") else open_ledger(spec)
    assert ledger is not None
    return ledger


def race(spec: str, prefix: str, keys: int, racer: int, start: Any, results: Any) -> None:
    """Claim every key, once all racers are there; tell which were won."""
    ledger = opened(spec, prefix)
    start.wait()
    results.put([key for key in range(keys) if _wins(ledger, key, f"racer {racer}")])


def _wins(ledger: Ledger, key: int, token: str) -> bool:
    while True:
        try:
            record = ledger.claim(f"k{key}", Claim(token, "/pay", NOW + 300), text="t", expires=EXPIRES, now=NOW)
        except LedgerUnavailable:  # two cores, eight racers: it may take a quarter of a second; ask again
            continue
        assert record.claim is not None
        return record.claim.token == token


def write_until_killed(spec: str, prefix: str, name: str) -> None:
    """Write one record after the other, and acknowledge each on stdout once the ledger has."""
    ledger = opened(spec, prefix)
    number = 0
    while True:
        assert ledger.write(f"{name}-{number}", f"text {number}", version=0, expires=EXPIRES, keep=True, now=NOW)
        os.write(1, b"%d\n" % number)
        number += 1


if __name__ == "__main__":
    write_until_killed(*sys.argv[1:])
