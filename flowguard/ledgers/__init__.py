"""The ledgers: one protocol (`base`), and a backend a module. Nothing here knows what a run is.

A backend is imported when it is asked for, so that no one pays for, or needs, what another uses.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Callable, NoReturn, Optional, Union, cast
from urllib.parse import parse_qsl

from flowguard.errors import ConfigError, Problem
from flowguard.ledgers.base import Claim, Ledger, Record

__all__ = ["Claim", "Ledger", "Record", "open_ledger"]

VERBS = ("read", "claim", "write", "release")
EXPECTED = "Write 'memory://', 'sqlite:///PATH', 'redis://HOST:PORT/DB', an object with the four verbs, or None"


def open_ledger(spec: Union[str, Ledger, None]) -> Optional[Ledger]:
    """The ledger that a configuration names (CONTRACT 7); nothing is connected to yet.

    A URL: ``memory://`` (``?capacity=``, in records), ``sqlite:///relative.db`` or ``sqlite:////absolute/path.db``
    (``?durable=true``), ``redis://``, ``rediss://`` or ``unix://`` as redis-py reads them. An object that has the four
    verbs is its own ledger, and None is none. Raises `ConfigError` for everything else; no message quotes a URL, which
    may hold a password.
    """
    if spec is None:
        return None
    if isinstance(spec, str):
        scheme, separator, rest = spec.partition("://")
        opener = OPENERS.get(scheme) if separator else None
        return opener(spec, rest) if opener else _refuse_url(scheme, bool(separator))
    return _checked(spec)


def _open_memory(url: str, rest: str) -> Ledger:
    from flowguard.ledgers.memory import CAPACITY, MemoryLedger

    place, options = _options(rest, {"capacity": _whole_number})
    if place:
        _wrong("'memory://' takes no path: it is the memory of this process. " + EXPECTED + ".")
    return MemoryLedger(options.get("capacity", CAPACITY))


def _open_sqlite(url: str, rest: str) -> Ledger:
    from flowguard.ledgers.sqlite import SqliteLedger

    place, options = _options(rest, {"durable": _yes_or_no})
    if not place.startswith("/") or place.endswith("/"):
        _wrong("'sqlite://' needs the path of a file: 'sqlite:///relative.db' or 'sqlite:////absolute/path.db'.")
    if place == "/:memory:":
        _wrong("SQLite's ':memory:' is another database for every connection. Did you mean 'memory://'?")
    return SqliteLedger(place[1:], durable=options.get("durable", False))


def _open_redis(url: str, rest: str) -> Ledger:
    from flowguard.ledgers.redis import RedisLedger

    return RedisLedger(url)


OPENERS: dict[str, Callable[[str, str], Ledger]] = {
    "memory": _open_memory, "sqlite": _open_sqlite, "redis": _open_redis, "rediss": _open_redis, "unix": _open_redis,
}


def _options(rest: str, known: dict[str, Callable[[str, str], Any]]) -> tuple[str, dict[str, Any]]:
    place, _, query = rest.partition("?")
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            _wrong(f"unknown option {name!r}; known: {', '.join(known)}.{_hint(name, known)}")
        options[name] = known[name](name, value)
    return place, options


def _whole_number(name: str, value: str) -> int:
    if not value.isdecimal() or not int(value):
        _wrong(f"{name} is {value!r}, not a whole number above 0.")
    return int(value)


def _yes_or_no(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        _wrong(f"{name} is {value!r}, neither true nor false.")
    return value.lower() in ("true", "1")


def _checked(spec: object) -> Ledger:
    if isinstance(spec, type):
        _wrong(f"is the class {spec.__name__}, not an object. Write {spec.__name__}(…).")
    if hasattr(spec, "evalsha"):
        _wrong("is a client, not a ledger. Write RedisLedger(client), from flowguard.ledgers.redis.")
    missing = [verb for verb in VERBS if not callable(getattr(spec, verb, None))]
    if missing:
        _wrong(f"is a {type(spec).__name__} without {', '.join(missing)}. {EXPECTED}.")
    return cast(Ledger, spec)


def _refuse_url(scheme: str, complete: bool) -> NoReturn:
    if scheme.startswith(("redis+", "rediss+", "redis-", "valkey+")):
        _wrong(f"'{scheme}://' is not read here. Make the client yourself and pass it: ledger=RedisLedger(client), "
               "where client is Sentinel(…).master_for(…) or RedisCluster(…).")
    if not complete:
        _wrong(f"is a text without '://'.{_hint(scheme, OPENERS, '{}://')} {EXPECTED}.")
    _wrong(f"unknown kind '{scheme}://'.{_hint(scheme, OPENERS, '{}://')} {EXPECTED}.")


def _hint(word: str, known: dict[str, Any], form: str = "{}") -> str:
    close = get_close_matches(word.lower(), known)
    return f" Did you mean '{form.format(close[0])}'?" if close else ""


def _wrong(what: str) -> NoReturn:
    raise ConfigError([Problem("ledger", what)])
