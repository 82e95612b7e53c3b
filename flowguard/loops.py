"""The loop breaker's counting: how often a visitor was redirected lately, without a page in between (CONTRACT 5).

A cookie of its own holds the times of the latest redirects. It is not signed, because it only changes the form of an
answer: whoever forges it gets a page in place of a redirect. The guard counts on with every redirect, and clears it
when it serves a page of the flow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from werkzeug.http import dump_cookie

LIMIT = 3  # redirects: the next answer is a page
WINDOW = 10  # seconds

# Times in whole seconds since the epoch, at most as many as count.
_TIMES = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12}){0,2}")


@dataclass(frozen=True)
class Loops:
    """The counting for the flow of this name. Times are seconds since the epoch, handed in."""

    flow: str

    @property
    def cookie_name(self) -> str:
        return f"flowguard-{self.flow}-loop"

    def count(self, cookie_value: str, now: float) -> int:
        """How many redirects within the last ten seconds the cookie tells of; 0 for one that tells nothing."""
        return len(_recent(cookie_value, now))

    def looping(self, cookie_value: str, now: float) -> bool:
        """Is it time to stop?"""
        return self.count(cookie_value, now) >= LIMIT

    def next_value(self, cookie_value: str, now: float) -> str:
        """The cookie's value after one more redirect."""
        times = (*_recent(cookie_value, now), int(now))
        return ".".join(str(time) for time in times[-LIMIT:])

    def set_cookie(self, value: str, *, path: str = "/", secure: bool = False) -> tuple[str, str]:
        """The header that hands the visitor this value for as long as it counts; an empty value takes it away."""
        age = WINDOW if value else 0
        text = dump_cookie(
            self.cookie_name, value, max_age=age, path=path, secure=secure, httponly=True, samesite="Lax"
        )
        return ("Set-Cookie", text)


def _recent(cookie_value: str, now: float) -> tuple[int, ...]:
    """The times in the window; those as far ahead as well, since hosts' clocks differ."""
    if not _TIMES.fullmatch(cookie_value):
        return ()
    return tuple(time for time in map(int, cookie_value.split(".")) if abs(int(now) - time) <= WINDOW)
