"""What a ledger's text says of a run, line by line (CONTRACT 7):

1. the run, as `codec.Codec` writes it, with digests in place of its states' names;
2. the current state's name;
3. the names of the states that are spent, separated by tabs;
4. and 5., where the last submission led and nothing has changed the run since: its state, and the Location.

The guard needs the first and the last two; the names are for operators, who have no flow to read the digests by. No
name holds a tab or a line feed: the configuration refuses them.
"""

from __future__ import annotations

import hashlib
from typing import Iterable, NamedTuple, Optional

MAX_LED = 2_000  # characters of a Location that are kept (CONTRACT 5)
DIGEST = 12  # characters, of 4 bits: among 100,000 runs, two are alike once in 50,000 ledgers


class Led(NamedTuple):
    """Where a submission of `state` led: the Location of its answer, as the application wrote it."""

    state: str
    location: str


class Entry(NamedTuple):
    """A text, taken apart. `run` is what the codec wrote; a text of another version has empty names."""

    run: str
    current: str
    names: str  # of the states that are spent, as they are written
    led: Optional[Led]

    @property
    def spent(self) -> tuple[str, ...]:
        return tuple(filter(None, self.names.split("\t")))


def write(run: str, current: str, spent: Iterable[str], led: Optional[Led] = None) -> str:
    """Put a text together."""
    return run + behind(current, spent, led)


def behind(current: str, spent: Iterable[str], led: Optional[Led] = None) -> str:
    """What stands in a text behind the run: many runs share it."""
    names = f"\n{current}\n" + ("\t".join(sorted(spent)) if spent else "")
    if led is None or len(led.location) > MAX_LED or "\n" in led.location:
        return names
    return f"{names}\n{led.state}\n{led.location}"


def read(text: str) -> Entry:
    """Take a text apart; one that we did not write gives what it gives, and no error."""
    lines = text.split("\n", 4)
    run, current, names = (*lines, "", "")[:3]
    return Entry(run, current, names, Led(*lines[3:]) if len(lines) == 5 else None)


def run_in(text: str) -> str:
    """The run alone."""
    return text.partition("\n")[0]


def digest(id: str) -> str:
    """What logs and operators call the run of this id. The id itself is a secret: who knows it, and the secret key,
    could write the run's cookie."""
    return hashlib.sha256(id.encode("utf-8")).hexdigest()[:DIGEST]
