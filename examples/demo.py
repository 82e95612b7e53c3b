"""A small shop, bare and guarded: honest customers go through both, and then others.

    python3 examples/demo.py             # prints what happened, and ends: with 0 only if the guarded shop held
    python3 examples/demo.py --serve     # then goes on serving it, for you to try

Two real servers, on ports that the system assigns; every figure is read from the shops' own databases.
"""

import argparse
import contextlib
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    sys.path.insert(0, os.path.join(ROOT, "tests"))
    import _bootstrap
    _bootstrap.ensure()

import logging
import socketserver
import sqlite3
import tempfile
import threading
from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from shop import Shop
from shop_flow import guarded
from visitors import ABUSES, HONEST, Refused

MOMENT = 0.3  # seconds that the bank takes when it is slow; well below the 2 s that the guard waits for a payment


class Bank:
    """What the shop asks for every charge. While it is slow, two payments that come within a moment meet in it."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.meeting: Optional[threading.Barrier] = None

    def __call__(self) -> None:
        self.called.set()
        if self.meeting:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.meeting.wait(MOMENT)

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        self.called.clear()
        self.meeting = threading.Barrier(2)
        yield
        self.meeting = None


class Count(NamedTuple):
    """What a shop has done: the orders that customers meant to place, the charges and parcels of its database."""

    orders: int
    charged: int
    sent: int

    def since(self, earlier: "Count") -> "Count":
        return Count(*(now - then for now, then in zip(self, earlier)))

    @property
    def is_right(self) -> bool:
        """One charge for each order, and no parcel that nobody paid for."""
        return self.charged == self.orders and not self.is_theft

    @property
    def is_theft(self) -> bool:
        return self.sent > self.charged

    @property
    def is_complete(self) -> bool:
        return self.charged == self.sent == self.orders


class Stand:
    """A shop that is open: served, with a database and a bank of its own."""

    def __init__(self, directory: str, name: str, guard: Callable[[Any], Any], port: int = 0) -> None:
        self.directory = directory
        self.database = os.path.join(directory, name + ".db")
        self.bank = Bank()
        self.orders = 0
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.set_app(guard(Shop(self.database, self.bank)))
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def rows(self, query: str) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as db:
            return db.execute(query).fetchall()

    def count(self) -> Count:
        row, = self.rows("SELECT (SELECT count(*) FROM charges), (SELECT count(*) FROM parcels)")
        return Count(self.orders, *row)

    def elsewhere(self) -> "Stand":
        """Another guarded shop of the same make, with a secret of its own."""
        return Stand(self.directory, f"elsewhere-{self.port}", guarded)

    def __enter__(self) -> "Stand":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A table is printed, and nothing else."""


# What happens in them, and the table of it.

class Outcome(NamedTuple):
    """What came of one thing in one shop."""

    count: Count
    note: str  # what the guard said
    refused: bool = False  # an honest customer was

    @property
    def is_right(self) -> bool:
        return self.count.is_right and not self.refused


def watch(stand: Stand, act: Callable[[Stand], Any]) -> Outcome:
    """Let somebody *act*, and see in the database what it did."""
    before = stand.count()
    try:
        came_back = act(stand)
    except Refused as refused:
        return Outcome(stand.count().since(before), str(refused), refused=True)
    return Outcome(stand.count().since(before), ", ".join(sorted({answer.reason for answer in came_back or ()})))


def phrase(outcome: Outcome, by_parcels: bool) -> str:
    orders, charged, sent = outcome.count
    figures = f"{sent} sent, {charged} paid" if by_parcels else f"{charged} charged, {orders} due"
    return f"{figures}: {outcome.note}" if outcome.note else figures


WIDTHS = (44, 22)  # characters; the third column is the last, and about 30 wide
GREEN, RED, BOLD = "32", "31", "1"


def paint(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def print_line(cells: Sequence[str], colours: Sequence[str]) -> None:
    padded = [cell.ljust(width) for cell, width in zip(cells, (*WIDTHS, 0))]
    print("  ".join(paint(text, colour) for text, colour in zip(padded, colours)), flush=True)


def compare(heading: str, acts: dict[str, Callable[[Stand], Any]], bare: Stand, guard: Stand) -> list[list[Outcome]]:
    """Do everything in both shops, and print a row for each."""
    print()
    print_line([heading, "bare shop", "guarded shop"], [BOLD] * 3)
    return [compare_one(title, act, bare, guard) for title, act in acts.items()]


def compare_one(title: str, act: Callable[[Stand], Any], bare: Stand, guard: Stand) -> list[Outcome]:
    pair = [watch(bare, act), watch(guard, act)]
    by_parcels = any(outcome.count.is_theft for outcome in pair)
    print_line([title, *(phrase(outcome, by_parcels) for outcome in pair)],
               ["0", *(GREEN if outcome.is_right else RED for outcome in pair)])
    return pair


NOTES = """
due: the orders that a customer meant to place. Behind the figures: the guard's reasons.
* Without the option `bind`, somebody else can go on with a copy of a run; what he can't do is pay once more.
"""


def report(honest: list[list[Outcome]], abuses: list[list[Outcome]]) -> bool:
    """Print the verdict, and say whether the guarded shop held: for honest customers, and against the others."""
    print(NOTES)
    served = [guard.is_right and guard.count.is_complete for _, guard in honest]
    held = [guard.is_right for _, guard in abuses]
    shown = [not bare.is_right for bare, _ in abuses]
    print(f"Honest customers: {sum(served)} of {len(served)} were served as they should be in the guarded shop.")
    print(f"Abuses: {sum(shown)} of {len(shown)} worked in the bare shop, "
          f"{len(held) - sum(held)} of {len(held)} in the guarded one.")
    return all(served) and all(held) and all(shown)


def main(arguments: Optional[Sequence[str]] = None, guard: Callable[[Any], Any] = guarded) -> int:
    """Run the demo, *guard* around the guarded shop, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", action="store_true", help="go on serving the guarded shop until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="the guarded shop's port (default: the system assigns one)")
    options = parser.parse_args(arguments)
    logging.getLogger("flowguard").addHandler(logging.NullHandler())  # the table is what is printed here
    with opened(guard, options.port) as (bare, guarded_stand):
        held = report(compare("Honest customer", HONEST, bare, guarded_stand),
                      compare("Abuse", ABUSES, bare, guarded_stand))
        print("The guarded shop held." if held else "THE GUARDED SHOP DID NOT HOLD.")
        if options.serve:
            serve(bare, guarded_stand)
    return 0 if held else 1


@contextlib.contextmanager
def opened(guard: Callable[[Any], Any], port: int) -> Iterator[tuple[Stand, Stand]]:
    """The bare shop and the guarded one, open as long as they are needed."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        try:
            guarded_stand = stack.enter_context(Stand(directory, "guarded", guard, port))
        except OSError as error:
            sys.exit(f"Port {port} can't be used: {error.strerror}.")
        yield stack.enter_context(Stand(directory, "bare", lambda shop: shop)), guarded_stand


def serve(bare: Stand, guard: Stand) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        print(f"\nThe guarded shop is open at {guard.url}, the bare one at {bare.url}; Ctrl-C closes them.", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
