"""A run's text as a signed cookie (CONTRACT 6). The only user of itsdangerous.

The cookie is ``version, key's mark . text . signature``: stock itsdangerous verifies it, with
``Signer(secret_keys, salt="flowguard.v1.NAME", key_derivation="hmac", digest_method=hashlib.sha256)``.

A run is read from the text (see `codec`), never recognised by the cookie's spelling: the signature is compared in its
one canonical spelling, and who keeps runs on a server keeps them by the id inside.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from hmac import compare_digest
from itertools import islice
from typing import Callable, NamedTuple, Optional, Sequence, Union

from itsdangerous import Signer
from werkzeug.http import dump_cookie

from flowguard.codec import Codec
from flowguard.core.run import Run, Values

# A browser need not keep more than 4096 bytes of a cookie, attributes included (RFC 6265, 6.1).
MAX_COOKIE = 4096  # bytes
MAX_CANDIDATES = 8  # cookies of one name that are looked at: a browser sends one, a tossing neighbour a few
VERSION = "1"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SIGNATURE = 43  # characters: 32 bytes in base64 without padding
# Browsers keep a cookie of such a name for its very host: it must be Secure, of the path "/", and without a Domain.
_PREFIX = "__Host-"


def derived_keys(secret_keys: Sequence[Union[str, bytes]], salt: str) -> list[bytes]:
    """A key of its own for each purpose, from each of the secrets."""
    keys = [key.encode("utf-8") if isinstance(key, str) else key for key in secret_keys]
    stock = Signer(keys, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
    return [stock.derive_key(key) for key in keys]


class _TextSigner(Signer):
    """A stock signer with one key, which is derived already, and whose two padded blocks are hashed once (RFC 2104,
    section 4, recommends it). It writes what a stock one writes, at a third of the cost.

    head: what every text begins with, hashed beforehand; `get_signature` is then given what comes behind it.
    """

    def __init__(self, key: bytes, head: bytes = b"") -> None:
        super().__init__(key, key_derivation="none", digest_method=hashlib.sha256)
        padded = key.ljust(64, b"\0")
        new_inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + head).copy
        new_outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded)).copy

        def get_signature(value: Union[str, bytes]) -> bytes:
            inner, outer = new_inner(), new_outer()
            inner.update(value if isinstance(value, bytes) else value.encode())
            outer.update(inner.digest())
            return b2a_base64(outer.digest()).translate(_URL_SAFE, b"=\n")

        self.get_signature = get_signature  # type: ignore[method-assign]  # all that it needs is at hand


def looks_signed(token: str) -> bool:
    """Does it begin as every cookie of ours does, whatever flow's and whatever key's?"""
    return token[:1] == VERSION and token[3:4] == "."


Write = Callable[[str], Optional[str]]  # a run's text to the value of a Set-Cookie header; None: it is too long


class Seal:
    """Signs with the last of the keys, verifies with all. A mark in the text names the key, so that a forgery costs
    one signature and not one for each key."""

    def __init__(self, secret_keys: Sequence[Union[str, bytes]], name: str) -> None:
        derived = derived_keys(secret_keys, f"flowguard.v1.{name}")
        self._signers: dict[bytes, list[Callable[[bytes], bytes]]] = {}
        for key in derived:
            self._signers.setdefault(self._head_of(key).encode(), []).insert(0, _TextSigner(key).get_signature)
        self._head = self._head_of(derived[-1])
        self._newest = _TextSigner(derived[-1], self._head.encode()).get_signature

    @staticmethod
    def _head_of(key: bytes) -> str:
        return f"{VERSION}{hashlib.sha256(b'mark' + key).hexdigest()[:2]}."

    def sign(self, text: str) -> str:
        return f"{self._head}{text}.{self._newest(text.encode()).decode()}"

    def framed(self, before: str, after: str) -> Write:
        """Signs a text, and puts the token between *before* and *after*; None where that is too long for a cookie."""
        before, signature = f"{before}{self._head}", self._newest

        def write(text: str) -> Optional[str]:
            header = f"{before}{text}.{signature(text.encode()).decode()}{after}"
            return header if len(header) <= MAX_COOKIE else None

        return write

    def verify(self, token: str) -> Optional[str]:
        """The text that was signed, or None for anything that we did not write."""
        if len(token) > MAX_COOKIE or not token.isascii():
            return None
        value, _, signature = token.encode().rpartition(b".")
        for sign in self._signers.get(value[:4], ()):
            if compare_digest(sign(value), signature):
                return token[4 : len(value)]
        return None


class Found(NamedTuple):
    """What a Cookie header held under our name: the newest run that verifies, and its text, if any; and whether
    anything was there at all.

    name: of the cookie, where each `instance` has its own. others: the names and values of the others'.
    """

    run: Optional[Run]
    text: str
    present: bool
    name: str = ""
    others: tuple[tuple[str, str], ...] = ()

    @property
    def brought(self) -> bool:
        """Did the browser send any cookie of this flow?"""
        return self.present or bool(self.others)


ABSENT = Found(None, "", False)


class Attributes(NamedTuple):
    """The attributes of a flow's cookie, as the configuration says them."""

    samesite: str = "Lax"
    domain: Optional[str] = None
    path: str = "/"


def is_odd(token: str) -> bool:
    """May `read` find another token in it? No token of ours has such a character."""
    return "," in token or " " in token or "\t" in token


def name_and_value(name: str) -> re.Pattern[str]:
    """Finds, in a Cookie header, the cookies whose name matches *name*, a pattern of one length.

    Servers join two Cookie headers by commas, too. Browsers send one; and a neighbour domain, which can't set a name
    that they protect, can set a value with a comma or a space in it: such a name is read only where browsers put one.
    """
    # The name first, and what must not stand before it afterwards: so the name is searched for, not matched.
    if name.startswith(re.escape(_PREFIX)):
        apart = f"(?:(?<=^{name}=)|(?<=;{name}=)|(?<=; {name}=))"
    else:
        apart = f"(?<![^;, \\t]{name}=)"
    return re.compile(f"({name})={apart}([^;, \\t]*)")


class Cookie:
    """One flow's cookie, in one of its two shapes: secure or not. The name that we would set is the only one read."""

    def __init__(self, name: str, codec: Codec, seal: Seal, attributes: Attributes, secure: bool) -> None:
        host = secure and attributes.domain is None and attributes.path == "/"
        self.name = f"{_PREFIX}{name}" if host else name
        self._codec, self._seal = codec, seal
        self.verify = seal.verify
        self._needle = f"{self.name}="
        self._pattern = name_and_value(re.escape(self.name))
        self._before, self._after = self._frame(attributes, secure)
        self.sign = seal.framed(self._before, self._after)  # a run's text as the value of a Set-Cookie header
        self.longest = len(self._before) + len(self._after) + codec.longest + len(VERSION) + 4 + _SIGNATURE

    def _frame(self, attributes: Attributes, secure: bool) -> tuple[str, str]:
        """The header's text before and after the value, as werkzeug writes it."""
        header = dump_cookie(
            self.name, "VALUE", path=attributes.path, domain=attributes.domain, secure=secure, httponly=True,
            samesite=attributes.samesite,
        )  # fmt: skip
        before, _, after = header.partition("=VALUE")  # not VALUE alone, which a name may hold
        return f"{before}=", after

    def read(self, header: str, values: Values = ()) -> Found:
        """The newest of the runs in a Cookie header that verify: of several, the highest sequence number counts.

        *header* is as WSGI gives it: latin-1 text, whatever a visitor sent, several headers joined as servers do.
        values: the variables of the request's path, by which an `instance` is told.
        """
        if self._needle not in header:
            return ABSENT
        return self._newest([match[2] for match in islice(self._pattern.finditer(header), MAX_CANDIDATES)])

    def only(self, header: str, note: str) -> Optional[str]:
        """The token, where our name stands there once, where browsers put it, and no *note* is beside it; None where
        more is to be read. A token that does not verify may be *odd*."""
        before, name, rest = header.partition(self._needle)
        if not name or (before and (before[-2:] != "; " or note in before)):
            return None
        token, _, after = rest.partition(";")
        return None if after and (self._needle in after or note in after) else token

    def every(self, header: str) -> list[Found]:
        """All runs of this flow in a Cookie header."""
        found = self.read(header)
        return [] if found.run is None else [found]

    def sent(self, run: Run, found: Found) -> list[str]:
        """The values of the Set-Cookie headers for *run*, which takes the place of what was *found*."""
        return [self.write(run)]

    def forgotten(self, run: Run, found: Found) -> list[str]:
        """The same for an empty run after a reset."""
        return [self.write(run)]

    def _newest(self, tokens: Sequence[str]) -> Found:
        newest, its_text = None, ""
        for token in tokens[:MAX_CANDIDATES]:
            text = self._seal.verify(token)
            run = None if text is None else self._codec.decode(text)
            if text is not None and run is not None and (newest is None or run.seq > newest.seq):
                newest, its_text = run, text
        return Found(newest, its_text, bool(tokens))

    def write(self, run: Run) -> str:
        """The value of a Set-Cookie header for *run*, never over `MAX_COOKIE`.

        A run that began under another deployment's flow may not fit the bound of this one: then the oldest states of
        its trail are forgotten, as if they had never been entered.
        """
        return self._written(run)

    def _written(self, run: Run, before: Optional[str] = None) -> str:
        """before: what stands before the token, where it is not the flow's own name."""
        write = self.sign if before is None else self._seal.framed(before, self._after)
        header = write(self._codec.encode(run))
        while header is None:
            run = _shortened(run)
            header = write(self._codec.encode(run))
        return header


def _shortened(run: Run) -> Run:
    forgotten = frozenset(run.trail[: len(run.trail) // 4 + 1])
    return run._replace(
        trail=tuple(name for name in run.trail if name not in forgotten),
        history=tuple(step for step in run.history if not forgotten.intersection(step)),
        done=run.done - forgotten,
    )
