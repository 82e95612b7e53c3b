"""A run as a signed text, and that text as a cookie (CONTRACT 6). The only user of itsdangerous.

The text is plain and URL-safe, its fields in the order of `_FIELDS`, joined by dots. States are written as short
digests of their names, so that a deployment which adds, moves or removes states still reads the runs that are alive.
The cookie is ``version, key's mark . text . signature``: stock itsdangerous verifies it, with
``Signer(secret_keys, salt="flowguard.v1.NAME", key_derivation="hmac", digest_method=hashlib.sha256)``.

A run is read from the text, never recognised by the cookie's spelling: the signature is compared in its one canonical
spelling, and who keeps runs on a server keeps them by the id inside.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from typing import Callable, Mapping, NamedTuple, Optional, Sequence, Union

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm
from werkzeug.http import dump_cookie

from flowguard.core.flow import Definition
from flowguard.core.graph import bound
from flowguard.core.run import Run, Values

# A browser need not keep more than 4096 bytes of a cookie, attributes included (RFC 6265, 6.1).
MAX_COOKIE = 4096  # bytes
MAX_CANDIDATES = 8  # cookies of one name that are looked at: a browser sends one, a tossing neighbour a few
VERSION = "1"
WIDTH = 5  # characters of a state's code: 30 bits, so that a thousand states collide once in two thousand flows
USER = 16  # characters of a user's digest: 96 bits
MAX_VALUE = 128  # bytes of a rule variable's value (CONTRACT 2)
Name = Callable[[str], Optional[str]]  # a state's code to its name; None for one that does not exist
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PLACE = {letter: number for number, letter in enumerate(_ALPHABET)}
_SIGNATURE = 43  # characters: 32 bytes in base64 without padding
# What does not grow: id 16, seq and first 8 hex digits each, three times of up to 12, flags 2, 11 dots, and the sign
# before a history.
_FIXED = 16 + 2 * 8 + 3 * 12 + 2 + 11 + 1


def derived_keys(secret_keys: Sequence[Union[str, bytes]], salt: str) -> list[bytes]:
    """A key of its own for each purpose, from each of the secrets."""
    keys = [key.encode("utf-8") if isinstance(key, str) else key for key in secret_keys]
    stock = Signer(keys, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
    return [stock.derive_key(key) for key in keys]


class _HmacSha256(SigningAlgorithm):
    """HMAC-SHA-256 for one key, whose two padded blocks are hashed once: the same bytes as `hmac`, at 40 % of the
    cost (RFC 2104, section 4, recommends it)."""

    def __init__(self, key: bytes) -> None:
        key = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def get_signature(self, _key: bytes, value: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value)
        outer.update(inner.digest())
        return outer.digest()


class Seal:
    """Signs with the last of the keys, verifies with all. A mark in the text names the key, so that a forgery costs
    one signature and not one for each key."""

    def __init__(self, secret_keys: Sequence[Union[str, bytes]], name: str) -> None:
        derived = derived_keys(secret_keys, f"flowguard.v1.{name}")
        self._signers: dict[str, list[Signer]] = {}
        for key in derived:
            signer = Signer(key, key_derivation="none", algorithm=_HmacSha256(key))
            self._signers.setdefault(self._mark(key), []).insert(0, signer)
        self._head = f"{VERSION}{self._mark(derived[-1])}."
        self._newest = self._signers[self._mark(derived[-1])][0]

    @staticmethod
    def _mark(key: bytes) -> str:
        return hashlib.sha256(b"mark" + key).hexdigest()[:2]

    def sign(self, text: str) -> str:
        value = self._head + text
        return f"{value}.{self._newest.get_signature(value.encode('ascii')).decode('ascii')}"

    def verify(self, token: str) -> Optional[str]:
        """The text that was signed, or None for anything that we did not write."""
        if len(token) > MAX_COOKIE or token[:1] != VERSION or token[3:4] != "." or not token.isascii():
            return None
        value, _, signature = token.rpartition(".")
        given = signature.encode("ascii")
        for signer in self._signers.get(token[1:3], ()):
            if compare_digest(signer.get_signature(value.encode("ascii")), given):
                return value[4:]
        return None


class Codec:
    """A flow's runs as texts, and back."""

    def __init__(self, flow: Definition, variables: Sequence[str] = ()) -> None:
        self._names = tuple(flow.states)
        self._width, self._code = _codes(self._names)
        self._state: dict[int, Mapping[str, str]] = {self._width: {code: name for name, code in self._code.items()}}
        self._variables = frozenset(variables)
        self._bind = flow.bind
        self._last: tuple[Optional[Run], str] = None, ""  # what a submission writes into its cookie and the ledger
        self.longest = self._bound(flow, variables)  # characters

    def _bound(self, flow: Definition, variables: Sequence[str]) -> int:
        """The longest text that any run has, whatever the visitor does. The time fields are counted in full."""
        most = bound(flow)
        once = sum(state.once for state in flow.states.values())
        places = 2 * (1 if most.trail <= len(_ALPHABET) else 2)
        values = sum(len(name) + 2 + -(-MAX_VALUE * 4 // 3) for name in variables)
        user = 1 + USER if flow.bind else 0
        return _FIXED + (most.trail + once) * self._width + most.history * places + most.trail // 4 + 1 + values + user

    def encode(self, run: Run) -> str:
        last, text = self._last
        if last is not run:
            text = _write(run, self._width, self._code.__getitem__)
            self._last = run, text
        return text

    def decode(self, text: str) -> Optional[Run]:
        """The run that *text* holds, without the states that no longer exist; None if it is no text of ours."""
        run = _read(text, lambda width: self._known(width).get, self._variables.__contains__)
        return run._replace(user="") if run is not None and run.user and not self._bind else run

    def _known(self, width: int) -> Mapping[str, str]:
        """Codes of *width* to names. Another deployment may have written shorter or longer ones; one that two of our
        states share names neither."""
        if width not in self._state:
            shorter: dict[str, list[str]] = {}
            for name in self._names:
                shorter.setdefault(_digest(name)[:width], []).append(name)
            self._state[width] = {code: names[0] for code, names in shorter.items() if len(names) == 1}
        return self._state[width]


class Coded(NamedTuple):
    """A run whose flow is not at hand: its states are named by their codes, of *width* characters."""

    run: Run
    width: int

    @classmethod
    def decode(cls, text: str) -> Optional[Coded]:
        """The run that *text* holds, with all that is in it; None if it is no text of ours."""
        run = _read(text, lambda width: str, lambda variable: True)
        return None if run is None else cls(run, int(text.split(".")[6][0], 16))

    def encode(self) -> str:
        return _write(self.run, self.width, str)

    def code(self, name: str) -> str:
        """How the state of this name is written here."""
        return _digest(name)[: self.width]


def _write(run: Run, width: int, code: Callable[[str], str]) -> str:
    start, flags = run.started, f"{width:x}{'f' if run.closed else ''}"
    text = ".".join((
        run.id, f"{run.seq:x}", f"{run.seq - run.first:x}",
        f"{start:x}", f"{run.changed - start:x}", f"{run.entered - start:x}", flags,
        "".join([code(name) for name in run.trail]), _write_history(run),
        f"{_mask(run.trail, run.done):x}", "".join([code(name) for name in sorted(run.spent)]),
        _write_values(run.values),
    ))  # fmt: skip
    return f"{text}.{run.user}" if run.user else text


def _read(text: str, names_of: Callable[[int], Name], variable: Callable[[str], bool]) -> Optional[Run]:
    """names_of: how codes of a width are turned into names; variable: whether a rule variable of that name exists."""
    try:
        id_, seq, since, started, changed, entered, flags, trail, history, done, spent, values, *user = text.split(".")
        count, start, width = int(seq, 16), int(started, 16), int(flags[0], 16)
        name_of = names_of(width)
        names = [name_of(code) for code in _split(trail, width)]
        mask = int(done, 16)
        return Run(
            id_, count, count - int(since, 16),
            tuple([name for name in names if name is not None]),
            _read_history(history, names),
            frozenset([name for place, name in enumerate(names) if name is not None and mask >> place & 1]),
            frozenset([name for name in map(name_of, _split(spent, width)) if name is not None]),
            _read_values(values, variable),
            start, start + int(changed, 16), start + int(entered, 16), flags[1:] == "f", _read_user(user),
        )  # fmt: skip
    except (ValueError, KeyError, IndexError):
        return None


def _digest(name: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(name.encode("utf-8")).digest()).decode("ascii")


def _codes(names: Sequence[str]) -> tuple[int, dict[str, str]]:
    """The narrowest width, from `WIDTH` on, in which every state has a code of its own."""
    digests = {name: _digest(name) for name in names}
    width = WIDTH
    while len({digest[:width] for digest in digests.values()}) < len(digests):
        width += 1
    return width, {name: digest[:width] for name, digest in digests.items()}


def _split(text: str, width: int) -> list[str]:
    if not width or len(text) % width:
        raise ValueError("cut in the middle of a code")
    return [text[i : i + width] for i in range(0, len(text), width)]


def _mask(trail: Sequence[str], done: frozenset[str]) -> int:
    return sum([1 << place for place, name in enumerate(trail) if name in done]) if done else 0


def _write_history(run: Run) -> str:
    """Empty where the history is the trail, step by step; else pairs of places in the trail."""
    trail, history = run.trail, run.history
    if len(history) == len(trail) - 1 and history == tuple(zip(trail, trail[1:])):
        return ""
    place = {name: number for number, name in enumerate(trail)}
    if len(trail) <= len(_ALPHABET):
        return "-" + "".join([_ALPHABET[place[name]] for step in history for name in step])
    return "+" + "".join(
        [_ALPHABET[place[name] >> 6] + _ALPHABET[place[name] & 63] for step in history for name in step]
    )


def _read_history(text: str, names: Sequence[Optional[str]]) -> tuple[tuple[str, str], ...]:
    if not text:
        steps = list(zip(names, names[1:]))
    elif text[0] == "-":
        places = [_PLACE[letter] for letter in text[1:]]
        steps = [(names[a], names[b]) for a, b in zip(places[::2], places[1::2])]
    else:
        places = [_PLACE[pair[0]] << 6 | _PLACE[pair[1]] for pair in _split(text[1:], 2)]
        steps = [(names[a], names[b]) for a, b in zip(places[::2], places[1::2])]
    return tuple([(a, b) for a, b in steps if a is not None and b is not None])


def _write_values(values: Values) -> str:
    return "~".join(part for name, value in values for part in (name, _pack(value))) if values else ""


def _pack(value: str) -> str:
    return urlsafe_b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def _read_values(text: str, variable: Callable[[str], bool]) -> Values:
    if not text:
        return ()
    parts = text.split("~")
    pairs = zip(parts[::2], parts[1::2])
    return tuple([(name, _unpack(value)) for name, value in pairs if variable(name)])


def _read_user(fields: list[str]) -> str:
    """A run that is nobody's has no such field."""
    if not fields:
        return ""
    (user,) = fields
    if len(user) != USER:
        raise ValueError("no digest of a user")
    return user


def _unpack(value: str) -> str:
    return urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode("utf-8", "surrogatepass")


# --- the cookie ------------------------------------------------------------------------------------------------------


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


class Cookie:
    """One flow's cookie, in one of its two shapes: secure or not. The name that we would set is the only one read."""

    def __init__(self, name: str, codec: Codec, seal: Seal, attributes: Attributes, secure: bool) -> None:
        # Browsers keep a `__Host-` name for its very host: it must be Secure, of the path "/", and without a Domain.
        host = secure and attributes.domain is None and attributes.path == "/"
        self.name = f"__Host-{name}" if host else name
        self._codec, self._seal = codec, seal
        self._needle = f"{self.name}="
        self._pattern = re.compile(r"(?:^|[;, \t])" + re.escape(self._needle) + r"([^;, \t]*)")
        self._before, self._after = self._frame(attributes, secure)
        self.longest = len(self._before) + len(self._after) + codec.longest + len(VERSION) + 4 + _SIGNATURE

    def _frame(self, attributes: Attributes, secure: bool) -> tuple[str, str]:
        """The header's text before and after the value, as werkzeug writes it."""
        header = dump_cookie(
            self.name, "VALUE", path=attributes.path, domain=attributes.domain, secure=secure, httponly=True,
            samesite=attributes.samesite,
        )  # fmt: skip
        before, _, after = header.partition("VALUE")
        return before, after

    def read(self, header: str, values: Values = ()) -> Found:
        """The newest of the runs in a Cookie header that verify: of several, the highest sequence number counts.

        *header* is as WSGI gives it: latin-1 text, whatever a visitor sent, several headers joined as servers do.
        values: the variables of the request's path, by which an `instance` is told.
        """
        if self._needle not in header:
            return ABSENT
        return self._newest(self._pattern.findall(header))

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
        newest = Found(None, "", bool(tokens))
        for token in tokens[:MAX_CANDIDATES]:
            text = self._seal.verify(token)
            run = None if text is None else self._codec.decode(text)
            if text is not None and run is not None and (newest.run is None or run.seq > newest.run.seq):
                newest = Found(run, text, True)
        return newest

    def write(self, run: Run) -> str:
        """The value of a Set-Cookie header for *run*, never over `MAX_COOKIE`.

        A run that began under another deployment's flow may not fit the bound of this one: then the oldest states of
        its trail are forgotten, as if they had never been entered.
        """
        return self._written(run, self._before)

    def _written(self, run: Run, before: str) -> str:
        while True:
            header = f"{before}{self._seal.sign(self._codec.encode(run))}{self._after}"
            if len(header) <= MAX_COOKIE:
                return header
            run = _shortened(run)


def _shortened(run: Run) -> Run:
    forgotten = frozenset(run.trail[: len(run.trail) // 4 + 1])
    return run._replace(
        trail=tuple(name for name in run.trail if name not in forgotten),
        history=tuple(step for step in run.history if not forgotten.intersection(step)),
        done=run.done - forgotten,
    )
