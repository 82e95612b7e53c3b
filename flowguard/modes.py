"""A flow's mode, and who says it: the configuration once and for all, or a file, while the server runs (CONTRACT 2)."""

from __future__ import annotations

import logging
import os
import time
from typing import Callable, Optional, Union

MODES = ENFORCE, REPORT, OFF = ("enforce", "report", "off")
INTERVAL = 1.0  # seconds between two looks at a file
SIZE = 64  # bytes of it that are read: a word, and some white space

logger = logging.getLogger("flowguard.config")


def word_in(path: str) -> str:
    """The mode in a file that holds nothing else. Raises OSError, or ValueError for anything but one of the three."""
    with open(path, "rb") as file:
        word = file.read(SIZE).decode("utf-8-sig", "replace").strip()
    if word not in MODES:
        raise ValueError(f"holds {word!r}. Write 'enforce', 'report' or 'off' into it.")
    return word


class ModeFile:
    """The mode that a file says: call it. The file is looked at once a second at most, and read again when it changed.

    path: the file. read: what makes a mode of the path; raises OSError or ValueError where that is not possible, which
    comes through when this is made. Later it is logged, once, and the last mode stays. clock: seconds, monotonic. of:
    whose mode it is, for the log, where the file has several.
    """

    def __init__(
        self, path: Union[str, os.PathLike[str]], read: Callable[[str], str] = word_in,
        clock: Callable[[], float] = time.monotonic, of: str = "",
    ) -> None:  # fmt: skip
        self.path = os.fspath(path)
        self._what = f"the mode of {of!r}" if of else "the mode"
        self._read, self._clock = read, clock
        self._seen = _stamp(self.path)  # before it is read: what is written meanwhile is read again
        self._mode = read(self.path)
        self._next = clock() + INTERVAL

    def __repr__(self) -> str:
        return f"ModeFile({self.path!r})"

    def __call__(self) -> str:
        now = self._clock()
        if now >= self._next:
            self._next = now + INTERVAL
            self._look()
        return self._mode

    def _look(self) -> None:
        seen = _stamp(self.path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            mode = self._read(self.path)
        except (OSError, ValueError) as error:
            logger.error("%s stays %r: %s %s", self._what, self._mode, self.path, reason(error))
            return
        if mode != self._mode:
            logger.warning("%s is %r now, and was %r: %s", self._what, mode, self._mode, self.path)
            self._mode = mode


def reason(error: Exception) -> str:
    """Why a mode could not be read, as the end of a sentence that begins with the file."""
    return f"can't be read: {error.strerror}." if isinstance(error, OSError) else str(error)


def _stamp(path: str) -> Optional[tuple[int, int, int]]:
    """What changes when a file is written or put in another's place; None for one that can't be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
