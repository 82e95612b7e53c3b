"""The ledger in Redis or Valkey: shared by many hosts.

Every verb is one command or one script on one key, so it is atomic, and works in a cluster. A record is a hash that
vanishes by itself a minute after it has expired; whether it has expired is judged by the guard's clock alone.

An outage. Time-outs are 0.2 seconds and redis-py's own retries are off. When no answer came within a quarter of a
second, the same is asked once more on a fresh connection: an idle connection that was cut, a stall of 0.3 seconds or a
lost reply is then not noticed at all, since every verb that is asked again answers the same. After that the ledger is
`LedgerUnavailable` at once, for a second; then one request asks, once, and when it is answered the service is back.
So an outage is told within half a second, and costs one request in a second 0.2 seconds. (The resolver that turns a
host's name into an address has its own time-out: where that is long, write the address.)

A server that evicts forgets what is spent (`maxmemory-policy noeviction` is what a ledger needs), and a replica that
takes over may not have the last writes.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from contextlib import suppress
from typing import Any, Callable, Iterator, NamedTuple, Optional, Union

from flowguard.errors import ConfigError, LedgerUnavailable, Problem
from flowguard.ledgers.base import Claim, Record

TIMEOUT = 0.2  # seconds, to connect and for each reply: twice that is still less than half a second
AGAIN_WITHIN = 0.25  # seconds after which nothing more is begun
PAUSE = 1.0  # seconds for which nothing is asked after a failure
GRACE = 60.0  # seconds that a key outlives its record: hosts' clocks differ (CONTRACT 6)
LONGEST = 10 * 365 * 86_400.0  # seconds: Redis refuses what overflows its own clock
CAUSE = 200  # characters of a server's words that an error repeats

log = logging.getLogger("flowguard.ledger")


class _Script(NamedTuple):
    text: str
    digest: str


def _script(text: str) -> _Script:
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())  # its name in the server


# A new key is not deleted first: after one write, Redis lets a script go on even where there is no memory left.
FIELDS = ("text", "version", "expires", "token", "state", "until")
CLAIM = _script("""
local now, expires, ttl, text, token, state, until_ = unpack(ARGV)
local old = redis.call('HMGET', KEYS[1], 'expires', 'token')
local there = old[1] and tonumber(old[1]) > tonumber(now)
if old[1] and not there then redis.call('DEL', KEYS[1]) end
if not there then
    redis.call('HSET', KEYS[1], 'text', text, 'version', 1, 'expires', expires,
               'token', token, 'state', state, 'until', until_)
    redis.call('PEXPIRE', KEYS[1], ttl)
elseif not old[2] then
    redis.call('HSET', KEYS[1], 'token', token, 'state', state, 'until', until_)
    if tonumber(expires) > tonumber(old[1]) then
        redis.call('HSET', KEYS[1], 'expires', expires)
        redis.call('PEXPIRE', KEYS[1], ttl)
    end
end
return redis.call('HMGET', KEYS[1], 'text', 'version', 'expires', 'token', 'state', 'until')
""")
WRITE = _script("""
local now, expires, ttl, text, version, release = unpack(ARGV)
local old = redis.call('HMGET', KEYS[1], 'expires', 'version', 'text', 'token')
local there = old[1] and tonumber(old[1]) > tonumber(now)
local found, wanted = there and tonumber(old[2]) or 0, tonumber(version)
if found ~= wanted and not (found == wanted + 1 and old[3] == text) then return 0 end
if old[1] and not there then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'text', text, 'version', wanted + 1, 'expires', expires)
redis.call('PEXPIRE', KEYS[1], ttl)
if old[4] == release then redis.call('HDEL', KEYS[1], 'token', 'state', 'until') end
return 1
""")
RELEASE = _script("""
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
    redis.call('HDEL', KEYS[1], 'token', 'state', 'until')
end
return 1
""")
PURGE = _script("""
local expires = redis.call('HGET', KEYS[1], 'expires')
if expires and tonumber(expires) <= tonumber(ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
""")

# Told by their names, so that any client with redis-py's interface will do: valkey's classes have the same ones.
TROUBLE = frozenset({"RedisError", "RedisClusterException", "ValkeyError", "ValkeyClusterException", "OSError"})
NO_ANSWER = frozenset({"ConnectionError", "TimeoutError", "OSError"})
NO_SCRIPT = frozenset({"NoScriptError"})


class RedisLedger:
    """A `flowguard.ledgers.base.Ledger` in a Redis (4.0 or later) or a Valkey.

    *url_or_client* is a ``redis://``, ``rediss://`` or ``unix://`` URL as redis-py reads it, options included, or a
    client of redis-py or valkey-py (a cluster's, a Sentinel's), whose own time-outs and retries then hold. *prefix*
    stands before every key. *monotonic* tells seconds, for the pause after a failure. Raises `ConfigError` for a URL
    that can't be read, and where redis-py is missing; nothing is connected to yet.
    """

    def __init__(self, url_or_client: Union[str, Any], prefix: str = "flowguard:", *,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        if isinstance(url_or_client, str):
            self.name = _without_credentials(url_or_client)
            self._client = _connect_lazily(url_or_client)
            self._url: Optional[str] = url_or_client
        else:
            self._url = None
            self.name = f"redis ({type(url_or_client).__name__})"
            self._client = _checked(url_or_client)
        self._prefix = prefix
        self._monotonic = monotonic
        self._down_until = 0.0  # by `monotonic`; 0: it answers
        self._looked = False

    def __repr__(self) -> str:
        return f"RedisLedger({self.name!r}, prefix={self._prefix!r})"

    def read(self, key: str, *, now: float) -> Optional[Record]:
        """The record of *key*. Raises `LedgerUnavailable`, as every verb does."""
        found = self._row(self._prefix + key)
        return _record(found) if found and float(found[2]) > now else None

    def claim(self, key: str, claim: Claim, *, text: str, expires: float, now: float) -> Record:
        """Take *claim* if nobody holds one."""
        return _record(self._run(CLAIM, key, now, expires, _ttl(expires, now), text, *claim))

    def write(self, key: str, text: str, *, version: int, expires: float, keep: bool, now: float,
              release: Optional[str] = None) -> bool:
        """Replace the text of *version*. `keep` is of no use here: nothing goes before it has expired."""
        released = () if release is None else (release,)
        return bool(self._run(WRITE, key, now, expires, _ttl(expires, now), text, version, *released))

    def release(self, key: str, token: str, *, now: float) -> None:
        """End the claim of *token*."""
        self._run(RELEASE, key, token)

    def scan(self, now: float) -> Iterator[tuple[str, Record, float]]:
        """Every record, with its key and its expiry; one that is written meanwhile may come twice. For operators."""
        for name in self._names():
            found = self._row(name)
            if found and float(found[2]) > now:
                yield name[len(self._prefix):], _record(found), float(found[2])

    def purge(self, now: float) -> int:
        """Forget what has expired; how many that was. For operators: the server does it by itself."""
        return sum(int(self._run(PURGE, name[len(self._prefix):], now)) for name in self._names())

    def forget(self, key: str) -> None:
        """Forget *key*, whatever it holds."""
        self._ask(lambda begun: self._client.delete(self._prefix + key))

    def trouble(self) -> Optional[LedgerUnavailable]:
        """Why the server of a URL does not answer now, asked on a connection that is closed again. A client that was
        given is left alone."""
        if self._url is None:
            return None
        client = _connect_lazily(self._url)
        try:
            client.ping()
        except Exception as error:  # whatever it is, it is no reason not to start
            return self._unavailable(error)
        finally:
            client.connection_pool.disconnect()
        return None

    def _unavailable(self, error: Exception) -> LedgerUnavailable:
        return LedgerUnavailable(self.name, f"{type(error).__name__}: {error}"[:CAUSE])

    def _names(self) -> Iterator[str]:
        """Asked for once: an iterator that has raised says from then on that it is at its end."""
        names = self._client.scan_iter(match=re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix) + "*", count=500)
        while (name := self._ask(lambda begun: next(names, None), again=False)) is not None:
            yield _str(name)

    def _row(self, name: str) -> Optional[list[Any]]:
        found: list[Any] = self._ask(lambda begun: self._client.hmget(name, FIELDS))
        return None if found[0] is None else found

    def _run(self, script: _Script, key: str, *values: Union[str, float]) -> Any:
        return self._ask(lambda begun: self._evaluate(script, self._prefix + key, values, begun))

    def _evaluate(self, script: _Script, name: str, values: tuple[Union[str, float], ...], begun: float) -> Any:
        try:
            return self._client.evalsha(script.digest, 1, name, *values)
        except Exception as error:
            if not _is(error, NO_SCRIPT) or self._monotonic() - begun > AGAIN_WITHIN:
                raise
        return self._client.eval(script.text, 1, name, *values)

    def _ask(self, question: Callable[[float], Any], again: bool = True) -> Any:
        begun = self._monotonic()
        again = self._admit(begun) and again
        try:
            try:
                answer = question(begun)
            except Exception as error:
                if not again or not _is(error, NO_ANSWER) or self._monotonic() - begun > AGAIN_WITHIN:
                    raise
                answer = question(begun)
        except Exception as error:
            if not _is(error, TROUBLE):
                raise
            if _is(error, NO_ANSWER):
                self._down_until = self._monotonic() + PAUSE
            raise self._unavailable(error) from error
        self._down_until = 0.0
        if not self._looked and self._monotonic() - begun <= AGAIN_WITHIN:
            self._look()
        return answer

    def _admit(self, now: float) -> bool:
        """Whether it answered the last time; after a pause, the first to come asks for all."""
        if not self._down_until:
            return True
        if now < self._down_until:
            raise LedgerUnavailable(self.name, "it did not answer a moment ago")
        self._down_until = now + PAUSE
        return False

    def _look(self) -> None:
        """Warn of a server that may forget what is spent, once; many servers don't tell."""
        self._looked = True
        with suppress(Exception):  # whatever a server or a client says to INFO, the ledger works
            memory = self._client.info("memory")
            policy = memory.get("maxmemory_policy", "noeviction")
            if policy != "noeviction" and memory.get("maxmemory"):
                log.warning("the ledger %s may evict keys (maxmemory-policy %s), and with them the memory of what is "
                            "spent: set maxmemory-policy to noeviction", self.name, policy)


def _connect_lazily(url: str) -> Any:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise _wrong('needs the package redis: pip install "wsgi-flowguard[redis]"') from None
    options: dict[str, Any] = {"socket_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 0), **_no_ceremony(redis.Redis)}
    if not url.startswith("unix:"):
        options["socket_connect_timeout"] = TIMEOUT
    try:
        client = redis.Redis.from_url(url, **options)
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)  # connects to nothing yet
    except Exception as error:  # its words, and it as a cause, may hold a part of the password
        problem = type(error).__name__
    else:
        return client
    raise _wrong(f"is not a URL that redis-py can read ({problem}). Write redis://USER:PASSWORD@HOST:PORT/DB or "
                 "unix:///PATH?db=DB; characters such as / ? # @ : % in a password as %2F and so on.")


def _no_ceremony(client: Any) -> dict[str, Any]:
    """Options without which each new connection waits for two to four more replies, by redis-py's version."""
    import inspect

    known = inspect.signature(client.__init__).parameters
    options: dict[str, Any] = {"protocol": 2} if "protocol" in known else {}
    if "driver_info" in known:
        return {**options, "driver_info": None}
    return {**options, "lib_name": None, "lib_version": None} if "lib_name" in known else options


def _checked(client: Any) -> Any:
    missing = [name for name in ("hmget", "evalsha", "eval") if not callable(getattr(client, name, None))]
    if missing:
        raise _wrong(f"is a {type(client).__name__} without {', '.join(missing)}, neither a URL nor a client.")
    if "asyncio" in type(client).__module__:
        raise _wrong("is a client for asyncio; a WSGI application needs redis.Redis.")
    return client


def _without_credentials(url: str) -> str:
    scheme, _, rest = url.partition("://")
    place = re.match(r"(?:[^/?#@]*@)?([^/?#@]*(?:/[^?#@]*)?)(?:[?#][^@]*)?$", rest)
    return f"{scheme}://{place[1] if place else ''}"  # where an @ may belong to a password that was not quoted: nothing


def _is(error: BaseException, names: frozenset[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _ttl(expires: float, now: float) -> int:
    return int(min(max(expires - now + GRACE, 0.001), LONGEST) * 1000)  # milliseconds


def _record(row: list[Any]) -> Record:
    text, version, _, token, state, until = row
    return Record(_str(text), int(version), None if token is None else Claim(_str(token), _str(state), float(until)))


def _str(value: Union[str, bytes]) -> str:
    return value if isinstance(value, str) else value.decode()


def _wrong(what: str) -> ConfigError:
    return ConfigError([Problem("ledger", what)])
