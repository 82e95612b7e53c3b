"""The ledger in a file: shared by the processes of one host, and there again after a restart.

Every verb is one statement that decides and writes, so its lock is held for as long as SQLite needs and never for as
long as Python does. A killed process loses nothing that was acknowledged; a power cut may lose the last commits, unless
`durable` is asked for (about 15 times slower). Not for network file systems: their locks are not to be trusted.

Connections are opened when they are needed and kept for the next request, whatever its thread; none is ever used by two
threads at a time, or on both sides of a fork.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import contextmanager, suppress
from itertools import count
from threading import RLock
from typing import Any, Iterator, Optional, Union
from weakref import WeakSet

from flowguard.errors import LedgerUnavailable
from flowguard.ledgers.base import Claim, Record

if sys.platform != "win32":
    import fcntl

TIMEOUT = 0.25  # seconds to wait for another's write: an outage must be answered within half a second
LOOK_AGAIN = 0.002  # seconds between looks: SQLite's own pauses grow to 0.1, and who waited longest comes last
MAX_IDLE = 16  # connections kept for later; each has three open files
PURGE_EVERY = 64  # writes of this process
PURGE_AT_MOST = 256  # rows at a time: about two milliseconds; a run writes twice at least, so this keeps up
SCAN_PAGE = 500  # rows

# The number is the layout's: another layout is another table, and a file may hold tables of other programs.
LAYOUT = (
    """CREATE TABLE IF NOT EXISTS flowguard_ledger_1 (
        key TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL, version INTEGER NOT NULL, expires REAL NOT NULL,
        token TEXT, state TEXT, until REAL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS flowguard_ledger_1_expires ON flowguard_ledger_1 (expires)",
)
READ = "SELECT text, version, token, state, until FROM flowguard_ledger_1 WHERE key = :key AND expires > :now"
READ_BACK = "SELECT text, version, token, state, until FROM flowguard_ledger_1 WHERE key = :key"
CLAIM = """
    INSERT INTO flowguard_ledger_1 (key, text, version, expires, token, state, until)
    VALUES (:key, :text, 1, :expires, :token, :state, :until)
    ON CONFLICT (key) DO UPDATE SET
        text = CASE WHEN expires > :now THEN text ELSE :text END,
        version = CASE WHEN expires > :now THEN version ELSE 1 END,
        expires = max(expires, :expires), token = :token, state = :state, until = :until
    WHERE token IS NULL OR expires <= :now"""
# Before SQLite 3.35, and where another holds a claim, the row is read back.
CLAIM += " RETURNING text, version, token, state, until" if sqlite3.sqlite_version_info >= (3, 35) else ""
CREATE = """
    INSERT INTO flowguard_ledger_1 (key, text, version, expires) VALUES (:key, :text, 1, :expires)
    ON CONFLICT (key) DO UPDATE SET
        text = :text, version = 1, expires = :expires,
        token = CASE WHEN expires <= :now OR token = :release THEN NULL ELSE token END
    WHERE expires <= :now OR (version = 1 AND text = :text)"""
REPLACE = """
    UPDATE flowguard_ledger_1 SET
        text = :text, version = :version + 1, token = CASE WHEN token = :release THEN NULL ELSE token END
    WHERE key = :key AND expires > :now AND (version = :version OR (version = :version + 1 AND text = :text))
        AND expires = :expires"""
# Most writes leave the expiry as it is. To set it costs a quarter more, for the index, even where it stays the same.
REPLACE_AND_MOVE = REPLACE.replace("SET", "SET expires = :expires,").replace("AND expires = :expires", "")
RELEASE = "UPDATE flowguard_ledger_1 SET token = NULL WHERE key = :key AND token = :token"
PURGE = """
    DELETE FROM flowguard_ledger_1 WHERE key IN
        (SELECT key FROM flowguard_ledger_1 WHERE expires <= :now LIMIT :most)"""
FORGET = "DELETE FROM flowguard_ledger_1 WHERE key = :key"
SCAN = """
    SELECT text, version, token, state, until, expires, key FROM flowguard_ledger_1
    WHERE key > :after AND expires > :now ORDER BY key LIMIT :most"""

File = tuple[int, int]  # device and inode: which file it is, whatever its name


class _Connection(sqlite3.Connection):
    file: File

    def ask(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        """Execute *statement*, waiting up to TIMEOUT for another's write to end."""
        begun = time.monotonic()
        while True:
            try:
                return self.execute(statement, values)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() - begun > TIMEOUT:
                    raise
            time.sleep(LOOK_AGAIN)


class SqliteLedger:
    """A `flowguard.ledgers.base.Ledger` in the file *path*, which is made where it is missing (mode 0600).

    *durable*: every write reaches the disk before it is acknowledged. A file that is taken away or replaced meanwhile
    is noticed with the next verb, and the one that is there then, or a new one, is used.
    """

    def __init__(self, path: Union[str, os.PathLike[str]], durable: bool = False) -> None:
        self._idle: list[_Connection] = []
        self._process = os.getpid()
        self._path = os.path.abspath(path)  # a server may change its directory later
        self.name = f"sqlite:///{self._path}"
        self.durable = durable
        self._writes = count()
        _LEDGERS.add(self)

    def __repr__(self) -> str:
        return f"SqliteLedger({self._path!r}, durable={self.durable})"

    def __del__(self) -> None:
        self.close()

    def read(self, key: str, *, now: float) -> Optional[Record]:
        """The record of *key*. Raises `LedgerUnavailable`, as every verb does."""
        with self._connection() as db:
            row = db.ask(READ, {"key": key, "now": now}).fetchone()
        return _record(row) if row else None

    def claim(self, key: str, claim: Claim, *, text: str, expires: float, now: float) -> Record:
        """Take *claim* if nobody holds one."""
        with self._connection() as db:
            values = {"key": key, "text": text, "expires": expires, "now": now, **claim._asdict()}
            rows = db.ask(CLAIM, values).fetchall() or db.ask(READ_BACK, values).fetchall()
            self._purge_now_and_then(db, now)
        return _record(rows[0] if rows else (text, 1, None, None, None))  # forgotten in between: nobody holds a claim

    def write(self, key: str, text: str, *, version: int, expires: float, keep: bool, now: float,
              release: Optional[str] = None) -> bool:
        """Replace the text of *version*. `keep` is of no use here: nothing goes before it has expired."""
        values = {"key": key, "text": text, "version": version, "expires": expires, "now": now, "release": release}
        with self._connection() as db:
            statements = (REPLACE, REPLACE_AND_MOVE) if version else (CREATE,)
            done = any(db.ask(statement, values).rowcount == 1 for statement in statements)
            self._purge_now_and_then(db, now)
        return done

    def release(self, key: str, token: str, *, now: float) -> None:
        """End the claim of *token*."""
        with self._connection() as db:
            db.ask(RELEASE, {"key": key, "token": token})

    def scan(self, now: float) -> Iterator[tuple[str, Record, float]]:
        """Every record, with its key and its expiry, in the order of the keys, read in pages. For operators."""
        after = ""
        while True:
            with self._connection() as db:
                rows = db.ask(SCAN, {"after": after, "now": now, "most": SCAN_PAGE}).fetchall()
            if not rows:
                return
            for row in rows:
                yield row[6], _record(row[:5]), row[5]
            after = rows[-1][6]

    def purge(self, now: float) -> int:
        """Forget what has expired; how many that was. For operators: ordinary writes do it by themselves."""
        gone = 0
        with self._connection() as db:
            while found := db.ask(PURGE, {"now": now, "most": PURGE_AT_MOST}).rowcount:
                gone += found
        return gone

    def forget(self, key: str) -> None:
        """Forget *key*, whatever it holds."""
        with self._connection() as db:
            db.ask(FORGET, {"key": key})

    def trouble(self) -> Optional[LedgerUnavailable]:
        """Why this process could not write it now. Nothing is opened, and no file is made: it would be this process's,
        and those that serve may be another user's."""
        directory = os.path.dirname(self._path)
        if not os.path.isdir(directory):
            return LedgerUnavailable(self.name, f"there is no directory {directory!r}")
        if not _may(directory, os.W_OK | os.X_OK):
            return LedgerUnavailable(self.name, f"the directory {directory!r} can't be written")
        if os.path.exists(self._path) and not (os.path.isfile(self._path) and _may(self._path, os.R_OK | os.W_OK)):
            return LedgerUnavailable(self.name, "it is no file that can be written")
        return None

    def close(self) -> None:
        """Close the connections that are not in use. The next verb opens another."""
        self._leave_what_a_fork_carried_over()
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _connection(self) -> _Loan:
        return _Loan(self)

    def _take(self) -> _Connection:
        self._leave_what_a_fork_carried_over()
        file = _file(self._path)
        with suppress(IndexError):
            while True:
                db = self._idle.pop()
                if db.file == file:
                    return db
                db.close()
        return self._open()

    def _leave_what_a_fork_carried_over(self) -> None:
        if self._process != os.getpid():  # it was forked in C, and Python was not told
            _ABANDONED.append(self._idle)
            self._idle, self._process = [], os.getpid()

    def _give_back(self, db: _Connection) -> None:
        if len(self._idle) < MAX_IDLE:
            self._idle.append(db)
        else:
            db.close()

    def _open(self) -> _Connection:
        with _one_thread(), _one_process(os.path.dirname(self._path)):
            file = _file(self._path) or _new_file(self._path)
            db = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False, factory=_Connection)
            try:
                db.file = file
                db.ask(f"PRAGMA synchronous = {'FULL' if self.durable else 'NORMAL'}")
                for statement in ("PRAGMA journal_mode = WAL", *LAYOUT):
                    db.ask(statement).fetchone()
            except BaseException:
                db.close()
                raise
        return db

    def _purge_now_and_then(self, db: _Connection, now: float) -> None:
        if next(self._writes) % PURGE_EVERY:
            return
        with suppress(sqlite3.Error):  # never worth a wait; and the verb is done: if something is wrong, the next tells
            db.execute(PURGE, {"now": now, "most": PURGE_AT_MOST})


class _Loan:
    """A connection for one verb. (A generator with `contextmanager` takes three times as long.)"""

    __slots__ = ("_db", "_ledger")

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    def __enter__(self) -> _Connection:
        try:
            self._db = self._ledger._take()
        except (sqlite3.Error, OSError) as error:
            raise LedgerUnavailable(self._ledger.name, str(error)) from error
        return self._db

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> None:
        if error is None:
            self._ledger._give_back(self._db)
            return
        self._db.close()  # whatever it was, its connection is not trusted with anything else
        if isinstance(error, (sqlite3.Error, OSError)):
            raise LedgerUnavailable(self._ledger.name, str(error)) from error


def _record(row: tuple[Any, ...]) -> Record:
    text, version, token, state, until = row
    return Record(text, version, None if token is None else Claim(token, state, until))


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _file(path: str) -> Optional[File]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _new_file(path: str) -> File:
    """Make the file, readable by its owner only: SQLite makes the files beside it alike.

    What lies beside it is left over from one that was taken away, and SQLite would believe it.
    """
    for beside in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + beside)
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        status = os.fstat(handle)
    finally:
        os.close(handle)
    return status.st_dev, status.st_ino


@contextmanager
def _one_thread() -> Iterator[None]:
    if not _OPENING.acquire(timeout=TIMEOUT):
        raise TimeoutError("another thread has been opening it for too long")
    try:
        yield
    finally:
        _OPENING.release()


@contextmanager
def _one_process(directory: str) -> Iterator[None]:
    """Only one process at a time makes the file: SQLite's switch to WAL does not wait for another's."""
    if sys.platform == "win32":  # there, a file that is open can't be taken away either
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < TIMEOUT:
        with suppress(BlockingIOError):
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(LOOK_AGAIN)
    raise TimeoutError("another process holds a lock on its directory")


# SQLite's locks belong to the process: a connection that a fork carries over makes SQLite believe, in the child, in
# locks that only the parent holds (sqlite.org/howtocorrupt.html, 2.6). So none is open, or being opened, when it forks.
# For the same reason nothing else in this process may open and close the file while a connection is open (2.2).
_LEDGERS: WeakSet[SqliteLedger] = WeakSet()
_OPENING = RLock()
_ABANDONED: list[list[_Connection]] = []  # carried over all the same; to close them would be as bad


def _before_fork() -> None:
    _OPENING.acquire()
    for ledger in list(_LEDGERS):
        ledger.close()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_parent=_OPENING.release, after_in_child=_OPENING.release)
