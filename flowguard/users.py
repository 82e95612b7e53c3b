"""Whose run it is: who asks, by the option `bind`, as digests that only we can make, since a cookie can be read.

There is one digest for each of the secrets, so that a new secret makes nobody a stranger to his run.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from flowguard.codec import USER
from flowguard.cookie import derived_keys

MAX_HEADER = 16_384  # characters of a Cookie header that are read: twice what most servers take
COOKIE = "cookie:"  # what the name of a cookie stands after
Bind = Union[str, Callable[[Mapping[str, Any]], Optional[str]]]


class Users:
    """Says who asks. bind: an environ key, ``cookie:NAME``, or a callable from the environ to a text or None."""

    def __init__(self, bind: Bind, secret_keys: Sequence[Union[str, bytes]], flow: str) -> None:
        self._flow = flow
        self._keys = derived_keys(secret_keys, f"flowguard.v1.{flow}.user")  # no flow's name has a dot
        self._user = _reader(bind)

    def of(self, environ: Mapping[str, Any]) -> tuple[str, ...]:
        """The digests of the user who asks, that of the newest secret last; none for nobody.

        Raises what the deployer's callable raises, and TypeError for what is no text.
        """
        user = self._user(environ)
        if not isinstance(user, str) and user is not None:
            raise TypeError(f"bind of the flow {self._flow!r} gives {type(user).__name__}, not a str or None")
        return tuple(_digest(key, user) for key in self._keys) if user else ()


def _digest(key: bytes, user: str) -> str:
    digest = hmac.digest(key, user.encode("utf-8", "surrogatepass"), "sha256")
    return urlsafe_b64encode(digest).decode("ascii")[:USER]


def _reader(bind: Bind) -> Callable[[Mapping[str, Any]], Any]:
    if callable(bind):
        return bind
    if not bind.startswith(COOKIE):
        return lambda environ: environ.get(bind)
    pattern = re.compile(r"(?:^|;)[ \t]*" + re.escape(bind[len(COOKIE) :]) + r"=([^;]*)")

    def of_cookie(environ: Mapping[str, Any]) -> str:
        header: str = environ.get("HTTP_COOKIE", "")
        return _only(pattern.findall(header)) if len(header) <= MAX_HEADER else header  # a user that nobody else is

    return of_cookie


def _only(values: list[str]) -> str:
    """The value of a cookie. Two that differ are a user of their own: which of them the application reads, we can't
    know, and whoever sends somebody else's beside his own shall be neither."""
    return ";".join(dict.fromkeys(filter(None, (value.strip(" \t") for value in values))))
