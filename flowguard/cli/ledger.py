"""`flowguard ledger URL`: lists and explains the runs in a ledger, sets a spent state free, purges what has expired.

A run is called by the digest that the log lines carry. No id, no cookie and no value of a variable is printed, and no
query of where a submission led.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from datetime import datetime, timezone
from typing import Any, NoReturn, Optional, Sequence
from urllib.parse import urlsplit

from flowguard.cli.terminal import paint
from flowguard.errors import ConfigError, LedgerUnavailable, Problem
from flowguard.ledgers import open_ledger
from flowguard.operating import Freed, Listed, free, listed

HELP = "list and explain the runs in a ledger, set a spent state free, purge what has expired"
_HEAD = ("RUN", "FLOW", "AT", "SPENT", "SUBMISSION", "CHANGED", "EXPIRES")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the ledger, as the guard has it: sqlite:///PATH or redis://HOST")
    parser.add_argument("--prefix", help="what stands before every key in Redis (flowguard:)")
    parser.add_argument("--flow", metavar="NAME", help="list the runs of this flow only")
    parser.add_argument("--doubt", action="store_true", help="list the runs with an unknown outcome only")
    parser.add_argument("--run", metavar="RUN", dest="one", help="explain this run, by its digest or how that begins")
    verbs = parser.add_subparsers(dest="verb", metavar="[free | purge]")
    freeing = verbs.add_parser("free", help="let a spent state of one run be submitted again", allow_abbrev=False)
    freeing.add_argument("freed", metavar="RUN", help="as for --run")
    freeing.add_argument("state", metavar="STATE", help="the state's name")
    verbs.add_parser("purge", help="forget what has expired; servers do so by themselves", allow_abbrev=False)


def run(arguments: argparse.Namespace) -> int:
    now = time.time()
    try:
        ledger = _open(arguments.url, arguments.prefix)
        if arguments.verb == "purge":
            return _purge(ledger, now)
        found = _found(ledger, arguments, now)
        if arguments.verb == "free":
            return _free(ledger, found, arguments.state, now)
        return _list(found, now) if arguments.one is None else _explain(found, now)
    except ConfigError as error:
        print(f"flowguard ledger: {error.problems[0].what}", file=sys.stderr)
    except LedgerUnavailable as error:
        print(f"flowguard ledger: {error}", file=sys.stderr)
    return 2


def _open(url: str, prefix: Optional[str]) -> Any:
    """The ledger at *url*. A file must be there already: one that a slip of the pen makes would be the operator's."""
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        _wrong("memory:// is the memory of the server's own process: nobody else can look into it, and it is gone with "
               "the process. Give the guard sqlite:///PATH or redis://HOST.")  # fmt: skip
    if prefix is not None:
        return _prefixed(scheme, url, prefix)
    ledger = open_ledger(url)
    path = rest.partition("?")[0][1:]
    if scheme == "sqlite" and not os.path.exists(path):
        _wrong(f"there is no file {path!r}. A relative path starts at the directory in which the server runs.")
    return ledger


def _prefixed(scheme: str, url: str, prefix: str) -> Any:
    if scheme not in ("redis", "rediss", "unix"):
        _wrong("--prefix is for Redis: the keys of other ledgers have none.")
    from flowguard.ledgers.redis import RedisLedger

    return RedisLedger(url, prefix)


def _wrong(what: str) -> NoReturn:
    raise ConfigError([Problem("ledger", what)])


def _found(ledger: Any, arguments: argparse.Namespace, now: float) -> list[Listed]:
    """The runs that were asked for, the one that changed last first."""
    wanted = arguments.freed if arguments.verb == "free" else arguments.one
    found = [
        one
        for one in listed(ledger, now)
        if (wanted is None or one.run.startswith(wanted.lower()))
        and (arguments.flow is None or one.flow == arguments.flow)
        and (not arguments.doubt or one.doubts(now))
    ]
    return sorted(found, key=lambda one: (-_changed(one), one.run))


# --- what is done ----------------------------------------------------------------------------------------------------


def _purge(ledger: Any, now: float) -> int:
    gone = ledger.purge(now)
    print(f"{gone} {'run that had expired is' if gone == 1 else 'runs that had expired are'} forgotten.")
    return 0


def _free(ledger: Any, found: Sequence[Listed], state: str, now: float) -> int:
    one = _the_one(found)
    if one is None:
        return 1
    come = free(ledger, one, state, now)
    print(_OF_FREEING[come].format(state=_plain(state), run=one.run, spent=_spent(one) or "nothing"))
    return 0 if come is Freed.DONE else 1


_OF_FREEING = {
    Freed.DONE: "{state} is free in run {run}: its visitor can submit it once more.",
    Freed.NOT_SPENT: "{state} is not spent in run {run}; spent is: {spent}. Nothing was changed.",
    Freed.UNDER_WAY: "A submission of run {run} is under way. Nothing was changed; look again when it has ended.",
    Freed.CHANGED: "Run {run} has changed while you looked. Nothing was changed by this; look again.",
    Freed.UNREADABLE: "Run {run} was written by another version of flowguard. Nothing was changed.",
}


def _the_one(found: Sequence[Listed]) -> Optional[Listed]:
    """The only run that was found; otherwise it is said why there is none."""
    if len(found) == 1:
        return found[0]
    if found:
        print("More than one run begins like that: " + ", ".join(one.run for one in found))
    else:
        print("There is no such run: it has expired, or was never submitted to, or this is another ledger.")
    return None


# --- what is told ----------------------------------------------------------------------------------------------------


def _list(found: Sequence[Listed], now: float) -> int:
    if not found:
        print("No run was found.")
        return 1
    rows = [_HEAD, *(_row(one, now) for one in found)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for number, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        doubtful = number and found[number - 1].doubts(now)
        print(paint(line, "bold") if not number else paint(line, "yellow") if doubtful else line)
    return 0


def _row(one: Listed, now: float) -> tuple[str, ...]:
    return (
        one.run, _plain(one.flow), _plain(one.entry.current) or "-", _spent(one) or "-", _submission(one, now) or "-",
        f"{_span(now - _changed(one))} ago" if one.coded else "-", f"in {_span(one.expires - now)}",
    )  # fmt: skip


def _explain(found: Sequence[Listed], now: float) -> int:
    one = _the_one(found)
    if one is None:
        return 1
    facts = {
        "run": f"{one.run} of flow {_plain(one.flow)}",
        **_times(one, now),
        "at": _plain(one.entry.current) or "nothing: it was reset, or has run out",
        "spent": _spent(one) or "nothing",
        "submission": _submission(one, now) or "none is under way",
        "led": _led(one) or "the last change was no submission that led anywhere",
        "expires": f"{_clock(one.expires)}, in {_span(one.expires - now)}",
    }
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{paint(name.ljust(width), 'bold')}  {value}")
    for state in one.doubts(now):
        print(f"\nWhat came of {_plain(state)} is not known. If you know that it did not happen, set it free:\n"
              f"  flowguard ledger URL free {one.run} {shlex.quote(_plain(state))}")  # fmt: skip
    return 0


def _times(one: Listed, now: float) -> dict[str, str]:
    if one.coded is None:
        return {"text": "written by another version of flowguard"}
    run = one.coded.run
    moments = {"began": run.started / 1000, "changed": run.changed / 1000}
    return {name: f"{_clock(at)}, {_span(now - at)} ago" for name, at in moments.items() if at}


def _changed(one: Listed) -> float:
    return one.coded.run.changed / 1000 if one.coded else 0.0


def _spent(one: Listed) -> str:
    return ", ".join(_plain(state) + " (in doubt)" * one.in_doubt(state) for state in one.entry.spent)


def _submission(one: Listed, now: float) -> str:
    claim = one.record.claim
    if claim is None:
        return ""
    if claim.until > now:
        return f"{_plain(claim.state)} under way, {_span(claim.until - now)} left"
    return f"{_plain(claim.state)} without an answer, over for {_span(now - claim.until)}"


def _led(one: Listed) -> str:
    """Where the last submission led: without its query, and whatever may name a user or a password."""
    if one.entry.led is None:
        return ""
    try:
        url = urlsplit(one.entry.led.location)
    except ValueError:  # the application's own mistake
        return ""
    host = f"{url.scheme}://{url.netloc.rpartition('@')[2]}" if url.netloc else ""
    return f"{_plain(one.entry.led.state)} to {_plain(host + url.path)}"


def _plain(text: str) -> str:
    """Nothing that a terminal would obey: the ledger may be shared with others."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    """A length of time, in its two largest units."""
    left = max(0, round(seconds))
    for size, unit, smaller, lesser in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if left >= size:
            return f"{left // size} {unit} {left % size // smaller} {lesser}"
    return f"{left // 60} min" if left >= 60 else f"{left} s"
