"""A short-lived cookie beside the run's: what a redirect of ours leaves for the request that follows it.

It counts redirects, so that an application and a guard which send a visitor back and forth come to a page; and it holds
the reason, which the application may tell the visitor, once. It is not signed: it changes the form of an answer, and
what the visitor is told; never a verdict.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Mapping, NamedTuple, Optional, Union

from werkzeug.http import dump_cookie, http_date

from flowguard.core.passage import Reason

WINDOW = 10  # seconds: in which three redirects make a loop (CONTRACT 5)
LIMIT = 3  # redirects: the next answer is a page

MAX_HEADER = 16_384  # characters of a Cookie header in which a note is looked for: twice what most servers take

_REASONS = frozenset(reason.value for reason in Reason)


class Note(NamedTuple):
    """What the last redirects left.

    times: of the redirects within the window, in whole seconds since the epoch, at most as many as count. notice: the
    reason of the last. present: there is such a cookie, whatever is in it, and it is cleared when a page is served.
    """

    times: tuple[int, ...] = ()
    notice: Optional[str] = None
    present: bool = False

    @property
    def looping(self) -> bool:
        """Redirected again and again, without a page in between: it is time for one."""
        return len(self.times) >= LIMIT


NO_NOTE = Note()


class Notes:
    """One flow's notes, in one of the two shapes of its cookie."""

    def __init__(self, name: str, path: str, domain: Optional[str], secure: bool) -> None:
        self.name = f"{name}-note"
        value = r"([0-9]{1,12}(?:\.[0-9]{1,12}){0,2})~([a-z_]{1,20})"
        self._pattern = re.compile(r"(?:^|[;, \t])" + re.escape(self.name) + f"={value}(?=[;, \t]|$)")
        self._path, self._domain, self._secure = path, domain, secure
        header = self._dump("VALUE", WINDOW, "EXPIRES")[len(f"{self.name}=VALUE") :]
        self._between, _, self._after = header.partition("EXPIRES")
        self._cleared = self._dump("", 0, 0)

    def read(self, environ: Mapping[str, Any], now: int) -> Note:
        """What stands in the Cookie header; nothing where it is odd, or older than the window. *now* in milliseconds.

        A time as far ahead counts as well: hosts' clocks differ.
        """
        header = environ.get("HTTP_COOKIE", "")[:MAX_HEADER]
        if self.name not in header:
            return NO_NOTE
        match = self._pattern.search(header)
        if match is None or match[2] not in _REASONS:
            return Note(present=True)
        times = tuple(time for time in map(int, match[1].split(".")) if abs(now // 1000 - time) <= WINDOW)
        return Note(times, match[2] if times else None, True)

    def write(self, note: Note, reason: str, now: int) -> str:
        """The Set-Cookie of one more redirect, for *reason*."""
        times = (*note.times, now // 1000)[-LIMIT:]
        value = f"{'.'.join(map(str, times))}~{reason}"
        return f"{self.name}={value}{self._between}{_date(times[-1] + WINDOW)}{self._after}"

    def clear(self) -> str:
        """The Set-Cookie that takes the note away: a page was served."""
        return self._cleared

    def _dump(self, value: str, max_age: int, expires: Union[str, int]) -> str:
        return dump_cookie(
            self.name, value, max_age=max_age, expires=expires, path=self._path, domain=self._domain,
            secure=self._secure, httponly=True, samesite="Lax",
        )  # fmt: skip


@lru_cache(maxsize=2)  # many are redirected in one second
def _date(seconds: int) -> str:
    return http_date(seconds)
