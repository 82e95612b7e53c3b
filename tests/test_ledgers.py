"""One contract for every ledger (CONTRACT 7), and what each backend promises besides."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import logging
import multiprocessing
import os
import re
import resource
import select
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import warnings
from itertools import count
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_workers import race
from redis_server import Server, free_port, launch

from flowguard import FlowGuard
from flowguard.errors import ConfigError, LedgerUnavailable
from flowguard.ledgers import Claim, Ledger, Record, open_ledger
from flowguard.ledgers import redis as redis_module
from flowguard.ledgers import sqlite as sqlite_module
from flowguard.ledgers.memory import DRAINED, EXAMINED, MemoryLedger
from flowguard.ledgers.redis import GRACE, PAUSE, RedisLedger
from flowguard.ledgers.sqlite import MAX_IDLE, PURGE_AT_MOST, PURGE_EVERY, SqliteLedger

NOW, LATER = 1_000.0, 5_000.0  # seconds since the epoch: the guard's clock, whatever the machine's says
HALF_A_SECOND = 0.5  # in which an outage must be told
AT_ONCE = "it did not answer a moment ago"  # what is said without asking anybody
README = Path(__file__).parent.parent / "README.md"
DEEP = bool(os.environ.get("FLOWGUARD_DEEP"))
BACKENDS = ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)]
SHARED = ["sqlite", pytest.param("redis", marks=pytest.mark.redis)]
MINE, YOURS = Claim("mine", "/pay", NOW + 300), Claim("yours", "/confirm", NOW + 200.5)

pytestmark = pytest.mark.timed


class Place(NamedTuple):
    """Where a ledger is, for as many as want to open it."""

    spec: str
    prefix: str

    def open(self) -> Any:
        return RedisLedger(self.spec, self.prefix) if self.prefix else open_ledger(self.spec)


def place_of(backend: str, request: pytest.FixtureRequest, directory: Path) -> Place:
    if backend == "memory":
        return Place("memory://", "")
    if backend == "sqlite":
        return Place(f"sqlite:///{directory}/ledger.db", "")
    return Place(request.getfixturevalue("redis_url"), f"test-{uuid4().hex}:")


@pytest.fixture(params=BACKENDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return place_of(request.param, request, tmp_path).open()


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_of(request.param, request, tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def file_ledger(path: Path) -> SqliteLedger:
    return SqliteLedger(path)


def write(ledger: Any, key: str = "k", text: str = "t", version: int = 0, expires: float = LATER, keep: bool = False,
          now: float = NOW, release: Optional[str] = None) -> bool:
    answer = ledger.write(key, text, version=version, expires=expires, keep=keep, now=now, release=release)
    assert answer is True or answer is False
    return answer


def claim(ledger: Any, key: str = "k", of: Claim = MINE, text: str = "t", expires: float = LATER,
          now: float = NOW) -> Record:
    record = ledger.claim(key, of, text=text, expires=expires, now=now)
    assert isinstance(record, Record)
    return record


@contextlib.contextmanager
def unavailable() -> Iterator[pytest.ExceptionInfo[LedgerUnavailable]]:
    begun = time.monotonic()
    with pytest.raises(LedgerUnavailable) as caught:
        yield caught
    assert time.monotonic() - begun < HALF_A_SECOND


# --- the contract: records ----------------------------------------------------------------------------------------


def test_a_key_that_was_never_written_is_unknown(ledger: Ledger) -> None:
    assert ledger.read("k", now=NOW) is None


@pytest.mark.parametrize("text", ["t", "", "größer 漢字 \U0001f511", "two\nlines, a \x00 and a '", "x" * 4096])
def test_a_text_is_read_as_it_was_written(ledger: Ledger, text: str) -> None:
    assert write(ledger, text=text)
    assert ledger.read("k", now=NOW) == Record(text, 1, None)


@pytest.mark.parametrize("key", ["checkout:aB-_9", "", "a b", "größer", "*", "[k]", "k'; --", "x" * 500])
def test_a_key_is_nothing_but_itself(ledger: Ledger, key: str) -> None:
    assert write(ledger, key)
    assert ledger.read(key, now=NOW) == Record("t", 1, None)
    assert ledger.read(key + "?", now=NOW) is None
    assert ledger.read(key.upper() + "K", now=NOW) is None


def test_a_record_is_there_until_it_expires_and_not_from_then_on(ledger: Ledger) -> None:
    write(ledger, expires=NOW + 10.5)
    assert ledger.read("k", now=NOW + 10.25) == Record("t", 1, None)
    assert ledger.read("k", now=NOW + 10.5) is None


def test_what_has_expired_can_be_written_anew_and_nothing_of_it_is_left(ledger: Ledger) -> None:
    claim(ledger, expires=NOW + 10)
    write(ledger, version=1, expires=NOW + 10)
    assert write(ledger, text="new", now=NOW + 10)
    assert ledger.read("k", now=NOW + 10) == Record("new", 1, None)


def test_each_write_counts(ledger: Ledger) -> None:
    assert [write(ledger, text=f"t{version}", version=version) for version in range(5)] == [True] * 5
    assert ledger.read("k", now=NOW) == Record("t4", 5, None)


@pytest.mark.parametrize("version", [0, 1, 3, 4], ids=lambda version: f"version-{version}-of-2")
def test_a_write_of_another_version_changes_nothing(ledger: Ledger, version: int) -> None:
    write(ledger, text="one")
    write(ledger, text="two", version=1)
    assert not write(ledger, text="late", version=version, expires=LATER + 9)
    assert ledger.read("k", now=NOW) == Record("two", 2, None)
    assert ledger.read("k", now=LATER) is None


@pytest.mark.parametrize("expired", [False, True], ids=["never-written", "expired"])
def test_a_write_of_a_version_of_nothing_creates_nothing(ledger: Ledger, expired: bool) -> None:
    if expired:
        write(ledger, expires=NOW)
    assert not write(ledger, version=1)
    assert ledger.read("k", now=NOW) is None


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_write_whose_answer_was_lost_is_true_when_it_is_asked_again(ledger: Ledger, version: int) -> None:
    for earlier in range(version):
        write(ledger, text=f"t{earlier}", version=earlier)
    assert write(ledger, text="mine", version=version)
    assert write(ledger, text="mine", version=version)
    assert ledger.read("k", now=NOW) == Record("mine", version + 1, None)


def test_a_write_says_when_the_record_expires_be_it_sooner_or_later(ledger: Ledger) -> None:
    write(ledger, expires=NOW + 10)
    write(ledger, version=1, expires=NOW + 20)
    assert ledger.read("k", now=NOW + 15) == Record("t", 2, None)
    write(ledger, version=2, expires=NOW + 5)
    assert ledger.read("k", now=NOW + 7) is None


# --- the contract: claims -----------------------------------------------------------------------------------------


def test_a_claim_of_a_new_key_creates_it(ledger: Ledger) -> None:
    assert claim(ledger) == Record("t", 1, MINE)
    assert ledger.read("k", now=NOW) == Record("t", 1, MINE)


def test_a_claim_of_a_key_that_is_there_leaves_its_text(ledger: Ledger) -> None:
    write(ledger, text="newest")
    write(ledger, text="newer still", version=1)
    assert claim(ledger, text="older") == Record("newer still", 2, MINE)


def test_only_one_holds_a_claim_and_the_others_learn_who(ledger: Ledger) -> None:
    claim(ledger)
    assert claim(ledger, of=YOURS) == Record("t", 1, MINE)


def test_a_claim_that_is_asked_for_again_gets_the_same_answer(ledger: Ledger) -> None:
    claim(ledger)
    assert claim(ledger) == Record("t", 1, MINE)
    assert claim(ledger, of=MINE._replace(until=LATER), text="other") == Record("t", 1, MINE)


def test_a_claim_whose_lease_is_over_is_left_for_somebody_to_judge(ledger: Ledger) -> None:
    claim(ledger)
    assert claim(ledger, of=YOURS, now=MINE.until + 1) == Record("t", 1, MINE)


def test_a_claim_goes_with_the_record_that_expires(ledger: Ledger) -> None:
    claim(ledger, text="old", expires=NOW + 10)
    assert claim(ledger, of=YOURS, text="new", now=NOW + 10) == Record("new", 1, YOURS)


def test_a_claim_lengthens_a_records_life_and_never_shortens_it(ledger: Ledger) -> None:
    write(ledger, expires=NOW + 10)
    claim(ledger, expires=NOW + 20)
    ledger.release("k", "mine", now=NOW)
    claim(ledger, expires=NOW + 5)
    assert ledger.read("k", now=NOW + 15) == Record("t", 1, MINE)
    assert ledger.read("k", now=NOW + 20) is None


def test_a_write_ends_the_claim_that_it_releases(ledger: Ledger) -> None:
    claim(ledger)
    assert write(ledger, text="done", version=1, release="mine")
    assert ledger.read("k", now=NOW) == Record("done", 2, None)
    assert claim(ledger, of=YOURS) == Record("done", 2, YOURS)


@pytest.mark.parametrize("release", [None, "yours", ""])
def test_a_write_leaves_another_claim_alone(ledger: Ledger, release: Optional[str]) -> None:
    claim(ledger)
    assert write(ledger, text="new", version=1, release=release)
    assert ledger.read("k", now=NOW) == Record("new", 2, MINE)


def test_a_write_that_is_refused_ends_no_claim(ledger: Ledger) -> None:
    claim(ledger)
    assert not write(ledger, text="new", version=2, release="mine")
    assert ledger.read("k", now=NOW) == Record("t", 1, MINE)


@pytest.mark.parametrize("version", [0, 1])
def test_a_write_that_is_done_already_still_ends_the_claim_that_it_releases(ledger: Ledger, version: int) -> None:
    for earlier in range(version + 1):
        write(ledger, text=f"t{earlier}", version=earlier)
    claim(ledger)
    assert write(ledger, text=f"t{version}", version=version, release="mine")
    assert ledger.read("k", now=NOW) == Record(f"t{version}", version + 1, None)


def test_a_claim_is_released_by_its_holder(ledger: Ledger) -> None:
    claim(ledger)
    ledger.release("k", "mine", now=NOW)
    ledger.release("k", "mine", now=NOW)
    assert ledger.read("k", now=NOW) == Record("t", 1, None)
    assert claim(ledger, of=YOURS) == Record("t", 1, YOURS)


def test_a_claim_is_released_by_nobody_else(ledger: Ledger) -> None:
    claim(ledger)
    ledger.release("k", "yours", now=NOW)
    assert ledger.read("k", now=NOW) == Record("t", 1, MINE)


def test_a_release_of_nothing_creates_nothing(ledger: Ledger) -> None:
    ledger.release("k", "mine", now=NOW)
    assert ledger.read("k", now=NOW) is None


def test_of_many_threads_one_gets_each_claim_and_one_each_version(ledger: Any) -> None:
    won: list[str] = []
    written: list[str] = []
    start = threading.Barrier(8)

    def compete(me: str) -> None:
        start.wait()
        for number in range(50):
            held = claim(ledger, f"c{number}", Claim(me, "/pay", LATER))
            won.extend([f"{number}"] * (held.claim == Claim(me, "/pay", LATER)))
            written.extend([f"{number}"] * write(ledger, f"w{number}", me))

    in_threads(*[lambda me=f"thread {number}": compete(me) for number in range(8)])
    assert sorted(won) == sorted(written) == sorted(str(number) for number in range(50))


def in_threads(*work: Callable[[], object]) -> None:
    """All at once; what one raises is raised here."""
    problems: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(job,)) for job in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


# --- the contract: the optional verbs, for operators --------------------------------------------------------------


def test_a_scan_tells_every_record_that_has_not_expired(ledger: Any) -> None:
    write(ledger, "a", "one")
    claim(ledger, "b", text="two", expires=LATER + 0.5)
    write(ledger, "!")
    write(ledger, "gone", expires=NOW)
    assert sorted(ledger.scan(NOW)) == [
        ("!", Record("t", 1, None), LATER), ("a", Record("one", 1, None), LATER),
        ("b", Record("two", 1, MINE), LATER + 0.5)]


def test_a_scan_tells_many_records(ledger: Any) -> None:
    keys = {f"k{number}" for number in range(1_203)}
    for key in keys:
        write(ledger, key)
    assert {key for key, _, _ in ledger.scan(NOW)} == keys


def test_a_purge_forgets_what_has_expired_and_counts_it(ledger: Any) -> None:
    for number in range(600):
        write(ledger, f"short {number}", expires=NOW + 10)
    claim(ledger, "long", expires=NOW + 20)
    assert ledger.purge(NOW + 10) == 600
    assert ledger.purge(NOW + 10) == 0
    assert ledger.read("short 0", now=NOW) is None
    assert ledger.read("long", now=NOW) == Record("t", 1, MINE)


def test_what_is_forgotten_was_never_there(ledger: Any) -> None:
    claim(ledger)
    claim(ledger, "other")
    ledger.forget("k")
    ledger.forget("never there")
    assert ledger.read("k", now=NOW) is None
    assert ledger.read("other", now=NOW) == Record("t", 1, MINE)
    assert claim(ledger, of=YOURS) == Record("t", 1, YOURS)


# --- the contract: all backends say the same ----------------------------------------------------------------------

TIMES = st.sampled_from([NOW, NOW + 1, NOW + 1.5, NOW + 2, NOW + 3])
TOKENS = st.sampled_from(["a", "b"])
STEPS = st.lists(st.one_of(
    st.tuples(st.just("read"), TIMES),
    st.tuples(st.just("claim"), TIMES, TIMES, TOKENS, st.sampled_from(["x", "y"])),
    st.tuples(st.just("write"), TIMES, TIMES, st.none() | TOKENS, st.sampled_from(["x", "y"]), st.integers(0, 3)),
    st.tuples(st.just("release"), TIMES, TOKENS),
    st.tuples(st.just("forget"), TIMES),
), max_size=12)


def take(ledger: Any, key: str, step: tuple[Any, ...]) -> object:
    verb, now, *rest = step
    if verb == "read":
        return ledger.read(key, now=now)
    if verb == "claim":
        return claim(ledger, key, Claim(rest[1], "/s", NOW), rest[2], rest[0], now)
    if verb == "write":
        return write(ledger, key, rest[2], rest[3], rest[0], False, now, rest[1])
    return ledger.release(key, rest[0], now=now) if verb == "release" else ledger.forget(key)


@pytest.mark.parametrize("backend", SHARED)
def test_whatever_is_asked_a_shared_ledger_answers_as_the_one_in_memory_does(
        backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    shared, memory, keys = place_of(backend, request, tmp_path).open(), MemoryLedger(), count()

    @settings(max_examples=1_000 if DEEP else 100, deadline=None, database=None,
              suppress_health_check=[HealthCheck.too_slow])
    @given(STEPS)
    def agree(steps: list[tuple[Any, ...]]) -> None:
        key, now = f"k{next(keys)}", NOW
        for verb, time_, *rest in steps:
            now = max(now, time_)  # the guard's clock goes one way
            step = (verb, now, *rest)
            assert take(shared, key, step) == take(memory, key, step), step

    agree()


def ledger_of_the_readme() -> Any:
    (block,) = re.findall(r"```python\n(import threading\n.*?)\napplication = ", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - the text is our own
    return names["DictLedger"]()


def test_whatever_is_asked_the_ledger_of_the_readme_answers_as_the_one_in_memory_does() -> None:
    theirs, memory, keys = ledger_of_the_readme(), MemoryLedger(), count()

    @settings(max_examples=300, deadline=None, database=None)
    @given(STEPS)
    def agree(steps: list[tuple[Any, ...]]) -> None:
        key, now = f"k{next(keys)}", NOW
        for verb, time_, *rest in steps:
            if verb != "forget":
                now = max(now, time_)
                step = (verb, now, *rest)
                assert take(theirs, key, step) == take(memory, key, step), step

    agree()


# --- several processes --------------------------------------------------------------------------------------------


def test_eight_processes_race_for_ten_thousand_claims_and_each_has_one_winner(place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(8), context.Queue()
    racers = [context.Process(target=race, args=(*place, 10_000, number, start, results)) for number in range(8)]
    for racer in racers:
        racer.start()
    won = [key for _ in racers for key in results.get(timeout=120)]
    for racer in racers:
        racer.join()
    assert sorted(won) == list(range(10_000))


def test_nothing_acknowledged_is_lost_when_the_writers_are_killed(place: Place) -> None:
    for number in range(150 if DEEP else 3):
        killed_while_writing(place, number)


def killed_while_writing(place: Place, round_: int) -> None:
    names = [f"round {round_} writer {writer}" for writer in range(3)]
    writers = [subprocess.Popen([sys.executable, Path(__file__).with_name("ledger_workers.py"), *place, name],
                                stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
               for name in names]
    told = [read_some(writer, 100 + round_) for writer in writers]
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
    for name, writer, first in zip(names, writers, told):
        acknowledged = (first + writer.communicate()[0]).split(b"\n")[:-1]
        assert len(acknowledged) >= 100
        ledger = place.open()
        for number in map(int, acknowledged):
            assert ledger.read(f"{name}-{number}", now=NOW) == Record(f"text {number}", 1, None)


def read_some(writer: subprocess.Popen[bytes], lines: int) -> bytes:
    assert writer.stdout is not None
    return b"".join(writer.stdout.readline() for _ in range(lines))


# --- memory -------------------------------------------------------------------------------------------------------


def test_a_full_memory_lets_the_run_go_that_was_unused_longest() -> None:
    ledger = MemoryLedger(capacity=3)
    for key in "abc":
        write(ledger, key)
    ledger.read("a", now=NOW)
    claim(ledger, "b")
    ledger.release("b", "mine", now=NOW)
    write(ledger, "d")
    assert [key for key in "abcd" if ledger.read(key, now=NOW)] == ["a", "b", "d"]


def test_a_full_memory_keeps_what_is_spent_and_what_is_claimed() -> None:
    ledger = MemoryLedger(capacity=3)
    write(ledger, "spent", keep=True)
    claim(ledger, "claimed")
    write(ledger, "idle")
    write(ledger, "another")
    write(ledger, "yet another")
    assert sorted(key for key, _, _ in ledger.scan(NOW)) == ["claimed", "spent", "yet another"]


@pytest.mark.parametrize("spend", [
    lambda ledger: write(ledger, keep=True),
    lambda ledger: write(ledger) and write(ledger, version=1, keep=True),
    lambda ledger: write(ledger, keep=True) and claim(ledger) and ledger.release("k", "mine", now=NOW),
    lambda ledger: write(ledger) and claim(ledger),
], ids=["spent at once", "spent later", "spent, claimed and set free", "claimed while it was idle"])
def test_a_full_memory_has_no_place_for_another_than(spend: Callable[[MemoryLedger], object]) -> None:
    ledger = MemoryLedger(capacity=1)
    spend(ledger)
    with unavailable():
        write(ledger, "another")


def test_a_claim_that_is_set_free_makes_room() -> None:
    ledger = MemoryLedger(capacity=1)
    claim(ledger)
    ledger.release("k", "mine", now=NOW)
    assert write(ledger, "another")


def test_what_has_expired_makes_room_wherever_it_stands() -> None:
    ledger = MemoryLedger(capacity=4)
    for key, expires in (("a", LATER), ("b", LATER), ("c", LATER), ("short", NOW + 10)):
        write(ledger, key, expires=expires, keep=True)
    assert write(ledger, "new", now=NOW + 10)
    assert sorted(key for key, _, _ in ledger.scan(NOW)) == ["a", "b", "c", "new"]


def test_what_has_expired_makes_room_however_often_it_was_put_off() -> None:
    ledger = MemoryLedger(capacity=10)
    for number in range(10):
        write(ledger, f"old {number}", expires=NOW + 10, keep=True)
    for number in range(10):
        write(ledger, f"old {number}", version=1, expires=NOW + 20, keep=True)
    for number in range(10):
        assert write(ledger, f"new {number}", keep=True, now=NOW + 20)


def test_a_claim_whose_lease_is_over_is_not_pushed_out_before_it_is_judged() -> None:
    ledger = MemoryLedger(capacity=1)
    claim(ledger, "claimed")
    with unavailable():
        write(ledger, "another", now=MINE.until + 1)


def test_a_memory_without_a_place_is_unavailable_to_new_runs_and_to_no_other() -> None:
    ledger = MemoryLedger(capacity=2)
    write(ledger, "spent", keep=True)
    claim(ledger, "claimed")
    with unavailable() as caught:
        claim(ledger, "new", of=YOURS)
    assert (caught.value.ledger, "all 2 places" in caught.value.cause) == ("memory://", True)
    with unavailable():
        write(ledger, "new")
    assert claim(ledger, "spent", of=YOURS).claim == YOURS
    assert write(ledger, "spent", version=1, keep=True, release="yours")
    assert write(ledger, "claimed", version=1, release="mine")
    assert write(ledger, "new")


def test_what_has_expired_goes_before_anything_that_is_idle() -> None:
    ledger = MemoryLedger(capacity=2)
    write(ledger, "idle")
    write(ledger, "spent", keep=True, expires=NOW + 10)
    write(ledger, "new", now=NOW + 10)
    assert [key for key, _, _ in ledger.scan(NOW + 10)] == ["idle", "new"]


def test_what_has_expired_drains_away_as_others_come() -> None:
    ledger = MemoryLedger()
    for number in range(100):
        write(ledger, f"old {number}", expires=NOW + 10, keep=True)
    for number in range(100 // DRAINED):
        write(ledger, f"new {number}", now=NOW + 10)
    assert ledger.purge(NOW + 10) == 0


def test_so_it_does_whatever_has_come_and_gone_meanwhile() -> None:
    ledger = MemoryLedger()
    for number in range(100):
        write(ledger, f"old {number}", expires=NOW + 10 + number)
        for passing in range(20):
            write(ledger, "passing", expires=NOW + 200 + passing)
            ledger.forget("passing")
    for number in range(100 // DRAINED):
        write(ledger, f"new {number}", now=NOW + 150)
    assert ledger.purge(NOW + 150) == 0


def test_a_memory_is_bounded_whatever_comes_and_goes() -> None:
    ledger = MemoryLedger(capacity=10)
    for number in range(2_000):
        write(ledger, f"k{number}", expires=LATER + number % 7)
        write(ledger, f"k{number}", version=1, expires=LATER - number)
    assert len(ledger._entries) == len(ledger._idle) == 10
    assert len(ledger._deadlines) <= 50


def test_one_new_run_never_pays_for_all_that_has_gone() -> None:
    ledger = MemoryLedger()
    for number in range(1_000):
        write(ledger, f"k{number}", expires=NOW + 1 + number)
    for number in range(1_000):
        ledger.forget(f"k{number}")
    write(ledger, "new", now=NOW + 1_000)
    assert 1_000 - len(ledger._deadlines) <= 2 * EXAMINED + 2  # two heaps, and what is swept


@pytest.mark.parametrize("capacity", [0, -1, True, 1.5, "10", None])
def test_a_capacity_is_a_whole_number_of_at_least_one(capacity: Any) -> None:
    with pytest.raises(ConfigError, match=r"ledger: capacity is .*, not a whole number of at least 1\."):
        MemoryLedger(capacity)


# --- SQLite -------------------------------------------------------------------------------------------------------


def test_a_file_remembers_across_a_restart(path: Path) -> None:
    claim(SqliteLedger(path))
    assert SqliteLedger(path).read("k", now=NOW) == Record("t", 1, MINE)


def test_only_the_owner_can_read_the_file_and_those_beside_it(path: Path, file_ledger: SqliteLedger) -> None:
    before = os.umask(0)
    try:
        write(file_ledger)
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_a_file_that_somebody_made_keeps_its_mode(path: Path, file_ledger: SqliteLedger) -> None:
    path.touch()
    path.chmod(0o660)
    write(file_ledger)
    assert path.stat().st_mode & 0o777 == 0o660


def test_the_file_of_another_program_is_shared_with_it(path: Path, file_ledger: SqliteLedger) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
        write(file_ledger)
        assert other.execute("SELECT count(*) FROM theirs").fetchone() == (0,)


@pytest.mark.parametrize(("durable", "level"), [(False, 1), (True, 2)], ids=["normal", "durable"])
def test_durable_writes_reach_the_disk_first(path: Path, durable: bool, level: int) -> None:
    ledger = SqliteLedger(path, durable)
    with ledger._connection() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (level,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_unless_it_is_asked_for_writes_are_not_durable(path: Path) -> None:
    assert SqliteLedger(path).durable is False


def test_a_server_that_changes_its_directory_keeps_its_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger: Any = open_ledger("sqlite:///ledger.db")
    write(ledger)
    monkeypatch.chdir("/")
    assert ledger.read("k", now=NOW) == Record("t", 1, None)
    assert (tmp_path / "ledger.db").exists()


def test_threads_that_come_and_go_share_a_connection(file_ledger: SqliteLedger) -> None:
    file_ledger.read("k", now=NOW)  # by a thread that is still there, for the number of one that has gone is given anew
    for _ in range(40):
        in_threads(lambda: file_ledger.read("k", now=NOW))
    assert len(file_ledger._idle) == 1


def test_after_a_rush_the_connections_too_many_are_closed(file_ledger: SqliteLedger) -> None:
    with contextlib.ExitStack() as rush:
        for _ in range(MAX_IDLE + 5):
            rush.enter_context(file_ledger._connection())
    assert len(file_ledger._idle) == MAX_IDLE


FORK = """
import ctypes, os, sys
from flowguard.ledgers.sqlite import SqliteLedger
def ask(ledger, key):
    return ledger.write(key, "t", version=0, expires=5000.0, keep=False, now=1000.0)
def files():
    return sum("ledger.db" in os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
               if os.path.islink(f"/proc/self/fd/{n}"))
fork = {"os": os.fork, "c": ctypes.CDLL(None).fork}[sys.argv[2]]
ledger = SqliteLedger(sys.argv[1])
assert ask(ledger, "before")
child = fork()
carried_over = files() if os.path.exists("/proc/self/fd") and not child else 0
assert ask(ledger, "after in the parent" if child else "after in the child")
if not child:
    sys.exit(3 if carried_over and sys.argv[2] == "os" else 4)
status = os.waitpid(child, 0)[1]
sys.exit(os.WEXITSTATUS(status))
"""


@pytest.mark.parametrize("way", ["os", "c"])
def test_a_fork_carries_no_connection_over_and_both_sides_go_on(path: Path, way: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, str(path), way],
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 4
    keys = [key for key, _, _ in SqliteLedger(path).scan(NOW)]
    assert keys == ["after in the child", "after in the parent", "before"]


def test_a_process_that_was_forked_behind_pythons_back_opens_its_own_connection(
        file_ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file_ledger)
    (inherited,) = file_ledger._idle
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        assert file_ledger.read("k", now=NOW) == Record("t", 1, None)
        assert inherited not in file_ledger._idle
    inherited.close()  # in this process it is ours to close
    file_ledger.close()
    sqlite_module._ABANDONED[-1][0].close()


def test_while_another_holds_the_file_it_can_be_read_but_not_written(path: Path, file_ledger: SqliteLedger) -> None:
    write(file_ledger)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert file_ledger.read("k", now=NOW) == Record("t", 1, None)
        with unavailable() as caught:
            write(file_ledger, "new")
        with unavailable():
            claim(file_ledger)
        with unavailable():
            file_ledger.release("k", "mine", now=NOW)
        other.execute("ROLLBACK")
    assert caught.value.ledger == f"sqlite:///{path}"
    assert caught.value.cause == "database is locked"
    assert write(file_ledger, "new")


def test_who_writes_waits_until_another_has_written(
        path: Path, file_ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file_ledger)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waited = []
        with monkeypatch.context() as patched:
            patched.setattr(time, "sleep", lambda seconds: waited.append(other.execute("COMMIT")))
            assert write(file_ledger, "new")
    assert len(waited) == 1


def test_a_file_that_vanishes_is_made_again_and_all_use_the_new_one(path: Path) -> None:
    workers = [SqliteLedger(path) for _ in range(3)]
    for number, worker in enumerate(workers):
        write(worker, f"before {number}")
    path.unlink()  # and what lies beside it is still there
    assert write(workers[0], "after")
    assert [worker.read("after", now=NOW) for worker in workers[1:]] == [Record("t", 1, None)] * 2
    assert workers[2].read("before 0", now=NOW) is None
    for worker in workers:
        worker.close()
    assert [key for key, _, _ in SqliteLedger(path).scan(NOW)] == ["after"]


@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_what_lies_beside_a_file_that_was_taken_away_is_not_believed(
        path: Path, file_ledger: SqliteLedger, end: str) -> None:
    with path.with_name(path.name + end).open("wb") as left_over:
        assert write(file_ledger)
        assert os.fstat(left_over.fileno()).st_nlink == 0


def test_a_link_that_leads_nowhere_is_not_followed(path: Path, file_ledger: SqliteLedger) -> None:
    path.symlink_to(path.with_name("elsewhere"))
    with unavailable() as caught:
        write(file_ledger)
    assert "File exists" in caught.value.cause
    assert not path.exists()


def test_no_connection_is_open_when_it_forks(file_ledger: SqliteLedger) -> None:
    write(file_ledger)
    with warnings.catch_warnings():  # of threads that another test may have left, on Python 3.12 and later
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os._exit(len(file_ledger._idle))
    assert os.waitpid(child, 0)[1] == 0
    assert file_ledger._idle == []


def test_a_file_that_is_replaced_is_the_one_that_counts(path: Path, file_ledger: SqliteLedger) -> None:
    backup = SqliteLedger(path.with_name("backup.db"))
    write(backup, text="as it was")
    backup.close()
    write(file_ledger, text="as it is")
    file_ledger.close()
    write(file_ledger, "other")
    for beside in ("-wal", "-shm"):
        os.unlink(f"{path}{beside}")
    os.replace(path.with_name("backup.db"), path)
    assert file_ledger.read("k", now=NOW) == Record("as it was", 1, None)


def test_whatever_breaks_a_verb_its_connection_is_not_used_again(file_ledger: SqliteLedger) -> None:
    def interrupted() -> None:
        with file_ledger._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file_ledger._idle == []
    assert write(file_ledger)


def test_a_missing_directory_is_an_outage_until_it_is_there(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "mount" / "ledger.db")
    with unavailable() as caught:
        ledger.read("k", now=NOW)
    assert caught.value.ledger == ledger.name == f"sqlite:///{tmp_path}/mount/ledger.db"
    (tmp_path / "mount").mkdir()
    assert write(ledger)


def test_a_file_in_place_of_the_directory_is_an_outage_until_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "mount").touch()
    ledger = SqliteLedger(tmp_path / "mount" / "ledger.db")
    with unavailable():
        ledger.read("k", now=NOW)
    (tmp_path / "mount").unlink()
    (tmp_path / "mount").mkdir()
    assert write(ledger)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Root may write everywhere: for once, be somebody else."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("made_before", [False, True], ids=["without-the-file", "with-the-file"])
def test_a_directory_that_cannot_be_written_is_an_outage_until_it_can(tmp_path: Path, made_before: bool) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    ledger = SqliteLedger(closed / "ledger.db")
    if made_before:
        write(ledger)
        ledger.close()
    for parent in [closed, *closed.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    closed.chmod(0o555)
    with without_rights(), unavailable():
        write(ledger, "new")
    closed.chmod(0o755)
    assert write(ledger, "new")


def told_at_start_up(ledger: Any, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a guard logs of its ledger when it is made."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "flowguard"):
        FlowGuard(lambda environ, start_response: [], {"/a": {}}, secret_key="a secret of these tests", ledger=ledger)
    assert {record.name for record in caplog.records} <= {"flowguard.ledger"}
    return [record.getMessage() for record in caplog.records]


def test_a_path_that_will_not_do_is_told_at_start_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    closed, file, locked = tmp_path / "closed", tmp_path / "file", tmp_path / "open" / "locked"
    closed.mkdir()
    file.mkdir()
    locked.parent.mkdir()
    locked.parent.chmod(0o777)
    locked.touch(0o444)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    closed.chmod(0o555)
    after = "; as long as that is so, submissions are refused"
    with without_rights():
        told = [told_at_start_up(f"sqlite:///{place}", caplog) for place in (
            tmp_path / "nowhere" / "l.db", closed / "l.db", locked)]
    told.append(told_at_start_up(f"sqlite:///{file}", caplog))
    assert told == [[f"the ledger sqlite:///{where} is not available: {why}{after}"] for where, why in (
        (tmp_path / "nowhere" / "l.db", f"there is no directory '{tmp_path}/nowhere'"),
        (closed / "l.db", f"the directory '{closed}' can't be written"),
        (locked, "it is no file that can be written"),
        (file, "it is no file that can be written"))]


def test_a_path_that_will_do_is_left_as_it_is_at_start_up(
        path: Path, file_ledger: SqliteLedger, caplog: pytest.LogCaptureFixture) -> None:
    """Who starts a server may be another user than who serves: a file that is made now could not be written then."""
    assert told_at_start_up(file_ledger, caplog) == []
    assert (list(path.parent.iterdir()), file_ledger._idle) == ([], [])
    write(file_ledger)
    assert told_at_start_up(f"sqlite:///{path}", caplog) == []


@pytest.mark.parametrize("open_before", [False, True], ids=["when-it-is-opened", "while-it-is-open"])
def test_a_corrupt_file_is_an_outage_until_it_is_taken_away(
        path: Path, file_ledger: SqliteLedger, open_before: bool) -> None:
    if open_before:
        write(file_ledger)
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b" if open_before else "wb") as file:
        file.write(b"no database " * 4096)
    with unavailable() as caught:
        write(file_ledger, "new")
    assert "not a database" in caught.value.cause or "malformed" in caught.value.cause
    path.unlink()
    assert write(file_ledger, "new")


def test_a_full_disk_is_an_outage_until_there_is_room(path: Path, file_ledger: SqliteLedger) -> None:
    write(file_ledger)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))  # bytes: more than SQLite's shared memory takes
    try:
        with unavailable():
            write(file_ledger, "new", "x" * 65_536)
        assert file_ledger.read("k", now=NOW) == Record("t", 1, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert write(file_ledger, "new")


def test_who_holds_the_directory_keeps_others_waiting_for_half_a_second_at_most(
        path: Path, file_ledger: SqliteLedger) -> None:
    handle = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with unavailable() as caught:
        write(file_ledger)
    assert caught.value.cause == "another process holds a lock on its directory"
    os.close(handle)
    assert write(file_ledger)


def test_a_thread_that_opens_the_file_keeps_others_waiting_for_half_a_second_at_most(
        path: Path, file_ledger: SqliteLedger) -> None:
    def ask() -> None:
        with unavailable() as caught:
            write(file_ledger)
        assert caught.value.cause == "another thread has been opening it for too long"

    with sqlite_module._OPENING:
        in_threads(ask)
    assert write(file_ledger)


@pytest.mark.parametrize("verb", [claim, write])
def test_expired_rows_go_a_few_at_a_time_within_ordinary_writes(
        path: Path, file_ledger: SqliteLedger, verb: Callable[..., object]) -> None:
    with file_ledger._connection() as db, contextlib.closing(sqlite3.connect(path)) as other:
        db.execute("BEGIN")
        for number in range(3 * PURGE_AT_MOST):
            db.execute("INSERT INTO flowguard_ledger_1 (key, text, version, expires) VALUES (?, '', 1, ?)",
                       (f"old {number}", NOW))
        db.execute("COMMIT")
        left = []
        for number in range(4 * PURGE_EVERY):
            verb(file_ledger, f"new {number}")
            left += other.execute("SELECT count(*) FROM flowguard_ledger_1 WHERE expires <= ?", (NOW,)).fetchone()
    steps = sorted({before - after for before, after in zip(left, left[1:])})
    assert (left[0], steps, left[-1]) == (2 * PURGE_AT_MOST, [0, PURGE_AT_MOST], 0)


def test_a_verb_that_is_done_is_done_though_expired_rows_would_not_go(file_ledger: SqliteLedger) -> None:
    def deny(action: int, *names: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_DELETE else sqlite3.SQLITE_OK

    with file_ledger._connection() as db:
        db.set_authorizer(deny)
    assert claim(file_ledger) == Record("t", 1, MINE)
    with unavailable():
        file_ledger.forget("k")


def test_a_claim_whose_record_is_forgotten_in_between_is_nobodys(path: Path, file_ledger: SqliteLedger) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:

        def forget(statement: str) -> None:
            if statement.startswith("SELECT text"):
                other.execute("DELETE FROM flowguard_ledger_1")

        claim(file_ledger, of=YOURS)
        with file_ledger._connection() as db:
            db.set_trace_callback(forget)
        assert claim(file_ledger) == Record("t", 1, None)


def test_a_sqlite_that_is_too_old_to_return_what_it_wrote_reads_it_back(
        file_ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "CLAIM", sqlite_module.CLAIM.partition(" RETURNING ")[0])
    assert claim(file_ledger) == Record("t", 1, MINE)
    assert claim(file_ledger, of=YOURS) == Record("t", 1, MINE)


def test_where_there_is_no_fork_nothing_of_it_is_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    spec = importlib.util.spec_from_file_location("sqlite_on_windows", sqlite_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert write(module.SqliteLedger(path))


# --- Redis and Valkey ---------------------------------------------------------------------------------------------

redis_test = pytest.mark.redis


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.time = 50.0

    def __call__(self) -> float:
        return self.time


class Wire:
    """A TCP proxy before a server: *handle* is given each reply, and the client's socket to send it on, or not."""

    def __init__(self, port: int, handle: Callable[[bytes, socket.socket], None]) -> None:
        self._port, self._handle = port, handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> str:
        self._thread.start()
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __exit__(self, *problem: object) -> None:
        self._wake.close()
        self._thread.join()
        self._woken.close()

    def _run(self) -> None:
        pairs: dict[socket.socket, socket.socket] = {}
        clients = set()
        while self._woken not in (ready := select.select([self._listener, self._woken, *pairs], [], [])[0]):
            for one in ready:
                if one is self._listener:
                    client, server = one.accept()[0], socket.create_connection(("127.0.0.1", self._port))
                    pairs.update({client: server, server: client})
                    clients.add(client)
                elif one in pairs:
                    self._pass_on(one, pairs, one in clients)
        for one in (self._listener, *pairs):
            one.close()

    def _pass_on(self, one: socket.socket, pairs: dict[socket.socket, socket.socket], asks: bool) -> None:
        other = pairs[one]
        data = one.recv(65_536) if one.fileno() >= 0 else b""
        if data and asks:
            other.sendall(data)
        elif data and other.fileno() >= 0:
            self._handle(data, other)
        if not data or other.fileno() < 0:
            for gone in (one, other):
                pairs.pop(gone)
                gone.close()


def cut_the_first(replies: int) -> Callable[[bytes, socket.socket], None]:
    numbers = count()

    def handle(data: bytes, client: socket.socket) -> None:
        if next(numbers) < replies:
            client.close()
        else:
            client.sendall(data)

    return handle


def swallow_the_first(replies: int) -> Callable[[bytes, socket.socket], None]:
    numbers = count()

    def handle(data: bytes, client: socket.socket) -> None:
        if next(numbers) >= replies:
            client.sendall(data)

    return handle


class Silent:
    """A port where the system completes each connection, and nobody ever reads or answers."""

    def __enter__(self) -> Silent:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._callers: list[socket.socket] = []
        return self

    def __exit__(self, *problem: object) -> None:
        for one in (self._listener, *self._callers):
            one.close()

    def calls(self) -> int:
        """How often somebody has connected since the last look."""
        before = len(self._callers)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._callers.append(self._listener.accept()[0])
        return len(self._callers) - before


@redis_test
def test_a_server_that_stops_is_an_outage_until_it_is_back_and_empty(redis_server: Server) -> None:
    clock = Clock()
    ledger = RedisLedger(redis_server.url, monotonic=clock)
    claim(ledger)
    redis_server.stop()
    for verb in (lambda: ledger.read("k", now=NOW), lambda: claim(ledger), lambda: write(ledger),
                 lambda: ledger.release("k", "mine", now=NOW), lambda: ledger.forget("k")):
        clock.time += PAUSE
        with unavailable():
            verb()
    redis_server.start()
    with unavailable() as caught:
        claim(ledger, of=YOURS)
    assert caught.value.cause == AT_ONCE
    clock.time += PAUSE
    assert claim(ledger, of=YOURS) == Record("t", 1, YOURS)
    assert claim(ledger, "other") == Record("t", 1, MINE)


@pytest.mark.parametrize("look", [lambda ledger: list(ledger.scan(NOW)), lambda ledger: ledger.purge(NOW)],
                         ids=["scan", "purge"])
def test_a_server_that_is_not_there_is_no_empty_ledger(look: Any) -> None:
    with unavailable():
        look(RedisLedger(f"redis://127.0.0.1:{free_port()}"))


@redis_test
def test_a_restart_that_nobody_was_there_to_see_costs_no_request(redis_server: Server) -> None:
    ledger = RedisLedger(redis_server.unix_url)
    claim(ledger)
    redis_server.stop()
    redis_server.start()
    assert write(ledger)
    assert ledger.read("k", now=NOW) == Record("t", 1, None)


@redis_test
def test_a_silent_server_is_told_in_time_and_then_costs_one_request_in_a_while() -> None:
    clock = Clock()
    with Silent() as silent:
        ledger = RedisLedger(silent.url, monotonic=clock)
        for calls in (2, 1, 1):  # the first time it is asked once more
            told = []
            for _ in range(50):
                with unavailable() as caught:
                    claim(ledger)
                told.append(caught.value.cause)
            assert "Timeout" in told[0]
            assert told[1:] == [AT_ONCE] * 49
            assert caught.value.ledger == silent.url
            assert silent.calls() == calls
            clock.time += PAUSE


@redis_test
def test_while_one_asks_after_the_pause_the_others_do_not_wait_for_it() -> None:
    clock, told = Clock(), []
    with Silent() as silent:
        ledger = RedisLedger(silent.url, monotonic=clock)
        with unavailable():
            claim(ledger)
        clock.time += PAUSE

        def ask() -> None:
            with unavailable() as caught:
                claim(ledger)
            told.append(caught.value.cause)

        in_threads(*[ask] * 4)
        assert silent.calls() == 2 + 1
    assert told.count(AT_ONCE) == 3


@redis_test
@pytest.mark.parametrize("delay", [0.12, 0.19, 0.3], ids=lambda delay: f"{delay}s-a-reply")
def test_a_slow_server_is_answered_for_or_told_in_time(redis_server: Server, delay: float) -> None:
    pause = threading.Event()

    def handle(data: bytes, client: socket.socket) -> None:
        pause.wait(delay)
        with contextlib.suppress(OSError):
            client.sendall(data)

    with Wire(redis_server.port, handle) as url:
        ledger = RedisLedger(url)
        for number in range(3):
            begun = time.monotonic()
            with contextlib.suppress(LedgerUnavailable):
                assert claim(ledger, f"k{number}") == Record("t", 1, MINE)
            assert time.monotonic() - begun < HALF_A_SECOND
        pause.set()  # it is fast again
        ledger = RedisLedger(url)
        assert claim(ledger) == Record("t", 1, MINE)


@redis_test
@pytest.mark.parametrize("lose", [cut_the_first, swallow_the_first], ids=["cut", "swallowed"])
def test_a_lost_reply_is_no_false_duplicate(redis_server: Server, lose: Any) -> None:
    claim(RedisLedger(redis_server.url), "warm")  # the scripts are known, so that the first reply is the claim's
    write(RedisLedger(redis_server.url), "warm too")
    with Wire(redis_server.port, lose(1)) as url:
        assert claim(RedisLedger(url, monotonic=Clock())) == Record("t", 1, MINE)
    with Wire(redis_server.port, lose(1)) as url:
        assert write(RedisLedger(url, monotonic=Clock()), text="done", version=1, release="mine")
    assert RedisLedger(redis_server.url).read("k", now=NOW) == Record("done", 2, None)


@redis_test
@pytest.mark.parametrize("lose", [cut_the_first, swallow_the_first], ids=["cut", "swallowed"])
def test_a_claim_whose_reply_was_lost_twice_is_still_there_for_who_asks_again(redis_server: Server, lose: Any) -> None:
    clock = Clock()
    claim(RedisLedger(redis_server.url), "warm")
    with Wire(redis_server.port, lose(2)) as url:
        ledger = RedisLedger(url, monotonic=clock)
        with unavailable():
            claim(ledger)
        clock.time += PAUSE
        assert claim(ledger) == Record("t", 1, MINE)


@redis_test
def test_a_late_reply_is_never_taken_for_the_answer_to_another_question(redis_server: Server) -> None:
    late: list[tuple[bytes, socket.socket]] = []

    def handle(data: bytes, client: socket.socket) -> None:
        if not late:
            late.append((data, client))
            return
        with contextlib.suppress(OSError):
            late[0][1].sendall(late[0][0])
        client.sendall(data)

    write(RedisLedger(redis_server.url), "a", "text of a")
    write(RedisLedger(redis_server.url), "b", "text of b")
    with Wire(redis_server.port, handle) as url:
        ledger = RedisLedger(url, monotonic=Clock())
        assert ledger.read("a", now=NOW) == Record("text of a", 1, None)
        assert ledger.read("b", now=NOW) == Record("text of b", 1, None)


@redis_test
def test_a_server_that_takes_too_long_to_say_that_it_knows_no_script_is_asked_no_more(redis_server: Server) -> None:
    times = iter([0.0, 0.3, 0.3, 0.3])  # asked; not known; how long was that?; the pause begins
    ledger = RedisLedger(redis_server.url, monotonic=lambda: next(times))
    with unavailable() as caught:
        claim(ledger)
    assert "NoScriptError" in caught.value.cause


@redis_test
def test_a_new_connection_asks_for_nothing_but_what_it_is_opened_for(redis_server: Server) -> None:
    redis_server.ask("CONFIG RESETSTAT")
    RedisLedger(redis_server.url).read("k", now=NOW)
    asked = redis_server.ask("INFO commandstats")
    assert {line.split(b":")[0] for line in asked.splitlines() if b"calls=" in line} <= {
        b"cmdstat_hmget", b"cmdstat_info", b"cmdstat_config|resetstat"}


@redis_test
def test_a_key_vanishes_by_itself_a_minute_after_its_record_has_expired(redis_url: str) -> None:
    client, prefix = redis.Redis.from_url(redis_url), f"test-{uuid4().hex}:"
    ledger = RedisLedger(redis_url, prefix)
    left = []
    for ask in (lambda: claim(ledger, expires=NOW + 100),
                lambda: write(ledger, version=1, expires=NOW + 50, release="mine"),
                lambda: claim(ledger, expires=NOW + 200),
                lambda: write(ledger, version=2, expires=1e300)):
        ask()
        left.append(client.pttl(f"{prefix}k") / 1000)
    assert left == pytest.approx([100 + GRACE, 50 + GRACE, 200 + GRACE, 10 * 365 * 86_400], abs=5)
    assert write(ledger, "old", expires=NOW - 100)
    assert client.pttl(f"{prefix}old") < 2
    client.close()


@redis_test
def test_every_backend_key_carries_the_prefix_even_one_with_wildcards(redis_url: str) -> None:
    prefix = f"test-{uuid4().hex}-[a*?\\]:"
    write(RedisLedger(redis_url, prefix.replace("a", "b")), "other's")
    write(RedisLedger(redis_url, prefix))
    assert [key for key, _, _ in RedisLedger(redis_url, prefix).scan(NOW)] == ["k"]


@redis_test
def test_a_script_has_the_name_that_the_server_gives_it(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        script = redis_module._script("return 7")
        assert client.script_load(script.text) == script.digest
        assert client.evalsha(script.digest, 0) == 7


@redis_test
@pytest.mark.parametrize(("policy", "memory", "warned"), [
    ("noeviction", "100mb", False), ("allkeys-lru", "0", False), ("volatile-ttl", "100mb", True),
], ids=["noeviction", "no-limit", "evicting"])
def test_a_server_that_may_forget_what_is_spent_is_warned_of_once(
        redis_server: Server, caplog: pytest.LogCaptureFixture, policy: str, memory: str, warned: bool) -> None:
    redis_server.ask(f"CONFIG SET maxmemory {memory} maxmemory-policy {policy}")
    ledger = RedisLedger(redis_server.url)
    with caplog.at_level(logging.WARNING, "flowguard.ledger"):
        for number in range(3):
            claim(ledger, f"k{number}")
    assert [record.getMessage() for record in caplog.records] == [
        f"the ledger redis://127.0.0.1:{redis_server.port}/0 may evict keys (maxmemory-policy volatile-ttl), and with "
        "them the memory of what is spent: set maxmemory-policy to noeviction"] * warned


def test_a_server_that_is_not_there_is_told_at_start_up_and_keeps_nobody_from_it(
        caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    (told,) = told_at_start_up(f"redis://:s3cret@127.0.0.1:{port}", caplog)
    assert told.startswith(f"the ledger redis://127.0.0.1:{port} is not available: ConnectionError: ")
    assert (told.endswith("; as long as that is so, submissions are refused"), "s3cret" in told) == (True, False)


@redis_test
def test_a_server_that_is_there_is_asked_at_start_up_and_left(
        redis_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    ledger = RedisLedger(redis_server.url)
    assert told_at_start_up(ledger, caplog) == []
    assert ledger._client.connection_pool._available_connections == []
    assert redis_server.ask("CLIENT LIST").count(b" addr=") == 1  # whoever asks this
    redis_server.stop()
    client = redis.Redis(port=redis_server.port)
    assert told_at_start_up(RedisLedger(client), caplog) == []  # its owner's to connect
    client.close()


@redis_test
def test_a_full_server_is_an_outage_for_writes_and_not_for_reads(redis_server: Server) -> None:
    ledger = RedisLedger(redis_server.url)
    write(ledger)
    redis_server.ask("CONFIG SET maxmemory 1 maxmemory-policy noeviction")
    with unavailable():
        claim(ledger, "new")
    assert ledger.read("k", now=NOW) == Record("t", 1, None)
    redis_server.ask("CONFIG SET maxmemory 0")
    assert claim(ledger, "new") == Record("t", 1, MINE)


@redis_test
def test_a_key_that_another_program_has_taken_is_an_outage_for_that_key(redis_url: str) -> None:
    client, prefix = redis.Redis.from_url(redis_url), f"test-{uuid4().hex}:"
    client.set(f"{prefix}k", "something else", ex=60)
    client.close()
    ledger = RedisLedger(redis_url, prefix)
    with unavailable():
        ledger.read("k", now=NOW)
    with unavailable():
        claim(ledger)
    assert claim(ledger, "other") == Record("t", 1, MINE)


@redis_test
def test_a_password_opens_the_server_and_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    server = launch("--requirepass", "s3cret/pass")
    try:
        right = RedisLedger(server.url.replace("//", "//:s3cret%2Fpass@"))
        assert claim(right) == Record("t", 1, MINE)
        wrong = RedisLedger(server.url.replace("//", "//default:wr0ng%2Fpass@"))
        with unavailable() as caught:
            claim(wrong)
    finally:
        server.remove()
    told = " ".join([repr(right), repr(wrong), str(caught.value), repr(caught.value), caplog.text, right.name])
    assert "pass" not in told.replace("password", "").replace("-pass", "")
    assert str(caught.value).startswith(f"the ledger redis://127.0.0.1:{server.port}/0 is not available: ")


@redis_test
@pytest.mark.parametrize("package", [name for name in ("redis", "valkey") if importlib.util.find_spec(name)])
@pytest.mark.parametrize("decoded", [False, True], ids=["bytes", "str"])
def test_a_client_object_will_do_whatever_it_decodes(redis_server: Server, package: str, decoded: bool) -> None:
    module, backoff, retry = (importlib.import_module(f"{package}{part}") for part in ("", ".backoff", ".retry"))
    client = getattr(module, package.capitalize())(
        host="127.0.0.1", port=redis_server.port, decode_responses=decoded, retry=retry.Retry(backoff.NoBackoff(), 0))
    ledger = RedisLedger(client)
    assert claim(ledger) == Record("t", 1, MINE)
    assert write(ledger, text="größer", version=1, release="mine")
    assert list(ledger.scan(NOW)) == [("k", Record("größer", 2, None), LATER)]
    redis_server.stop()
    with pytest.raises(LedgerUnavailable) as caught:
        claim(ledger)
    assert caught.value.ledger == f"redis ({package.capitalize()})"
    client.close()


@redis_test
def test_a_cluster_will_do() -> None:
    server = launch("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    try:
        server.ask("CLUSTER ADDSLOTSRANGE 0 16383")
        while b"cluster_state:ok" not in server.ask("CLUSTER INFO"):
            server.ask("WAIT 1 100")  # for a replica, which there is not: the server answers after 100 ms
        with redis.RedisCluster(host="127.0.0.1", port=server.port) as client:
            ledger = RedisLedger(client)
            for number in range(20):
                assert claim(ledger, f"k{number}") == Record("t", 1, MINE)
                assert write(ledger, f"k{number}", version=1, release="mine")
            assert len(list(ledger.scan(NOW))) == ledger.purge(LATER) == 20
    finally:
        server.remove()


@redis_test
def test_a_rediss_url_encrypts(redis_server: Server, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        url = (f"rediss://127.0.0.1:{listener.getsockname()[1]}?ssl_ca_certs={certificate}"
               "&socket_timeout=10&socket_connect_timeout=10")  # a handshake takes its time where much else is done
        ledger = RedisLedger(url, monotonic=Clock())  # and the time does not count
        answers: list[object] = []

        def serve() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as client, socket.create_connection(
                    ("127.0.0.1", redis_server.port)) as server:
                while data := client.recv(65_536):
                    server.sendall(data)
                    client.sendall(server.recv(65_536))

        def ask() -> None:
            try:
                answers.append(write(ledger))
            finally:
                ledger._client.connection_pool.disconnect()

        in_threads(serve, ask)
    assert answers == [True]
    assert RedisLedger(redis_server.url).read("k", now=NOW) == Record("t", 1, None)


class FakeClient:
    """A client that does as it is told."""

    def __init__(self, problem: Exception) -> None:
        self._problem = problem

    def hmget(self, *arguments: object) -> object:
        raise self._problem

    evalsha = eval = hmget


def test_a_fault_in_a_program_is_not_taken_for_an_outage() -> None:
    ledger = RedisLedger(FakeClient(KeyError("a bug")))
    with pytest.raises(KeyError):
        ledger.read("k", now=NOW)
    with pytest.raises(KeyError):
        claim(ledger)


class ListedClient:
    """A client that answers, or fails, as its list says."""

    def __init__(self, *answers: object, **memory: object) -> None:
        self.answers = list(answers)
        self._memory = memory

    def hmget(self, *arguments: object) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    evalsha = eval = hmget

    def info(self, section: str) -> object:
        return self._memory


ROW = ["t", "1", str(LATER), None, None, None]
CUT = redis.ConnectionError("cut")


@pytest.mark.parametrize(("after", "answered"), [(0.25, True), (0.26, False)])
def test_what_was_not_answered_is_asked_again_within_a_quarter_of_a_second(after: float, answered: bool) -> None:
    times = iter([0.0, after, after, after])
    client = ListedClient(CUT, ROW)
    ledger = RedisLedger(client, monotonic=lambda: next(times))
    with contextlib.nullcontext() if answered else unavailable():
        assert ledger.read("k", now=NOW) == Record("t", 1, None)
    assert len(client.answers) == (0 if answered else 1)


def test_what_was_answered_by_an_error_is_not_asked_again() -> None:
    client = ListedClient(redis.ResponseError("no"), ROW)
    with unavailable():
        RedisLedger(client).read("k", now=NOW)
    assert client.answers == [ROW]


@pytest.mark.parametrize("after", [0.0, 0.25])
def test_a_script_that_is_not_known_after_a_cut_is_sent(after: float) -> None:
    times = iter([0.0, 0.0, after, after])  # asked; cut; not known
    ledger = RedisLedger(ListedClient(CUT, redis.exceptions.NoScriptError(), ROW), monotonic=lambda: next(times))
    assert claim(ledger) == Record("t", 1, None)


@redis_test
def test_a_script_that_is_known_is_asked_for_by_its_name_alone(redis_server: Server) -> None:
    ledger = RedisLedger(redis_server.url)
    for step in range(2):
        redis_server.ask("CONFIG RESETSTAT")
        claim(ledger, f"k{step}")
        ledger.release(f"k{step}", "mine", now=NOW)
    told = redis_server.ask("INFO commandstats")
    assert (b"cmdstat_evalsha:calls=2," in told, b"cmdstat_eval:" in told) == (True, False)


@pytest.mark.parametrize(("after", "memory", "warnings"), [
    (0.0, {"maxmemory": 100, "maxmemory_policy": "allkeys-lru"}, 1),
    (0.25, {"maxmemory": 100, "maxmemory_policy": "allkeys-lru"}, 1),
    (0.26, {"maxmemory": 100, "maxmemory_policy": "allkeys-lru"}, 0),
    (0.0, {"maxmemory": 100}, 0),
    (0.0, {}, 0),
], ids=["at once", "in time", "too late to ask for more", "it does not tell its policy", "it tells nothing"])
def test_only_of_what_a_server_tells_in_time_anybody_is_warned(
        caplog: pytest.LogCaptureFixture, after: float, memory: Any, warnings: int) -> None:
    times = iter([0.0, after])
    with caplog.at_level(logging.WARNING, "flowguard.ledger"):
        RedisLedger(ListedClient(ROW, **memory), monotonic=lambda: next(times)).read("k", now=NOW)
    assert len(caplog.records) == warnings


def test_whatever_comes_of_the_question_how_it_forgets_the_ledger_works() -> None:
    client = ListedClient(ROW)
    client.info = lambda section: client.hmget()  # type: ignore[method-assign]  # there is no answer in its list
    assert RedisLedger(client).read("k", now=NOW) == Record("t", 1, None)


@pytest.mark.parametrize(("url", "limits"), [
    ("redis://cache", {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}),
    ("unix:///run/redis.sock", {"socket_timeout": 0.2}),
], ids=["a host", "a file"])
def test_each_wait_for_a_server_has_its_limit(url: str, limits: dict[str, float]) -> None:
    options = RedisLedger(url)._client.connection_pool.connection_kwargs
    assert {name: value for name, value in options.items() if name.endswith("timeout")} == limits


def test_an_error_of_the_system_is_an_outage() -> None:
    with unavailable() as caught:
        RedisLedger(FakeClient(BrokenPipeError(32, "Broken pipe"))).read("k", now=NOW)
    assert caught.value.ledger == "redis (FakeClient)"
    assert caught.value.cause == "BrokenPipeError: [Errno 32] Broken pipe"


class OldClient:
    def __init__(self, host: str) -> None: ...


class MiddleClient:
    def __init__(self, host: str, protocol: int, lib_name: str, lib_version: str) -> None: ...


class NewClient:
    def __init__(self, host: str, protocol: int, lib_name: str, lib_version: str, driver_info: object) -> None: ...


@pytest.mark.parametrize(("client", "options"), [
    (OldClient, {}),
    (MiddleClient, {"protocol": 2, "lib_name": None, "lib_version": None}),
    (NewClient, {"protocol": 2, "driver_info": None}),
])
def test_the_introduction_of_a_connection_is_left_out_as_each_version_allows(client: Any, options: object) -> None:
    assert redis_module._no_ceremony(client) == options


# --- which ledger? ------------------------------------------------------------------------------------------------


def test_none_is_no_ledger() -> None:
    assert open_ledger(None) is None


def test_an_object_with_the_verbs_is_its_own_ledger() -> None:
    ledger = MemoryLedger()
    assert open_ledger(ledger) is ledger


@pytest.mark.parametrize(("spec", "shown"), [
    ("memory://", "MemoryLedger(capacity=100000)"),
    ("memory://?capacity=7", "MemoryLedger(capacity=7)"),
    ("sqlite:////var/lib/shop/ledger.db", "SqliteLedger('/var/lib/shop/ledger.db', durable=False)"),
    ("sqlite:////ledger?durable=true", "SqliteLedger('/ledger', durable=True)"),
    ("sqlite:////ledger?durable=1", "SqliteLedger('/ledger', durable=True)"),
    ("sqlite:////ledger?durable=0", "SqliteLedger('/ledger', durable=False)"),
    ("sqlite:////ledger?durable=False", "SqliteLedger('/ledger', durable=False)"),
    ("redis://user:secret@cache:1234/2", "RedisLedger('redis://cache:1234/2', prefix='flowguard:')"),
    ("rediss://:secret@cache?ssl_cert_reqs=required", "RedisLedger('rediss://cache', prefix='flowguard:')"),
    ("unix://user:secret@/run/redis.sock?db=1", "RedisLedger('unix:///run/redis.sock', prefix='flowguard:')"),
    ("redis://cache?password=sec@ret", "RedisLedger('redis://', prefix='flowguard:')"),
    ("redis://cache?password=sec://ret", "RedisLedger('redis://cache', prefix='flowguard:')"),
])
def test_a_url_opens_the_ledger_that_it_names(spec: str, shown: str) -> None:
    assert repr(open_ledger(spec)) == shown


def test_a_relative_path_starts_where_the_server_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert repr(open_ledger("sqlite:///data/l.db")) == f"SqliteLedger('{tmp_path}/data/l.db', durable=False)"


class HalfALedger:
    read = claim = "not a verb"

    def write(self) -> None: ...


@pytest.mark.parametrize(("spec", "what"), [
    ("memroy://", "unknown kind 'memroy://'. Did you mean 'memory://'? Write "),
    ("Redis://cache", "unknown kind 'Redis://'. Did you mean 'redis://'? Write "),
    ("postgres://db", "unknown kind 'postgres://'. Write 'memory://', "),
    ("memory", "is a text without '://'. Did you mean 'memory://'? Write "),
    ("sqlite:/ledger.db", "is a text without '://'. Write "),
    ("", "is a text without '://'. Write "),
    ("memory:///path", "'memory://' takes no path: it is the memory of this process. Write 'memory://', "
     "'sqlite:///PATH', 'redis://HOST:PORT/DB', an object with the four verbs, or None."),
    ("sqlite:///l?a=1", "unknown option 'a'; known: durable."),
    ("memory://?capcity=5", "unknown option 'capcity'; known: capacity. Did you mean 'capacity'?"),
    ("memory://?capacity=0", "capacity is '0', not a whole number above 0."),
    ("memory://?capacity=", "capacity is '', not a whole number above 0."),
    ("sqlite://ledger.db", "'sqlite://' needs the path of a file: 'sqlite:///relative.db' or "),
    ("sqlite:///", "'sqlite://' needs the path of a file"),
    ("sqlite:///:memory:", "SQLite's ':memory:' is another database for every connection. Did you mean 'memory://'?"),
    ("sqlite:///l.db?durable=perhaps", "durable is 'perhaps', neither true nor false."),
    ("redis+sentinel://a,b/master", "'redis+sentinel://' is not read here. Make the client yourself and pass it: "
     "ledger=RedisLedger(client), where client is Sentinel(…).master_for(…) or RedisCluster(…)."),
    ("redis+cluster://a", "'redis+cluster://' is not read here."),
    ("rediss+sentinel://a", "'rediss+sentinel://' is not read here."),
    ("redis-cluster://a", "'redis-cluster://' is not read here."),
    ("valkey+sentinel://a", "'valkey+sentinel://' is not read here."),
    ("redis://host:port", "is not a URL that redis-py can read (ValueError). Write redis://USER:PASSWORD@HOST:PORT/DB "
     "or unix:///PATH?db=DB; characters such as / ? # @ : % in a password as %2F and so on."),
    ("redis://host?sokcet_timeout=1", "is not a URL that redis-py can read (TypeError)."),
    (7, "is a int without read, claim, write, release. Write "),
    (HalfALedger(), "is a HalfALedger without read, claim, release. Write "),
    (MemoryLedger, "is the class MemoryLedger, not an object. Write MemoryLedger(…)."),
    (FakeClient(OSError()), "is a client, not a ledger. Write RedisLedger(client), from flowguard.ledgers.redis."),
])
def test_anything_else_is_refused_with_what_to_write_instead(spec: Any, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_ledger(spec)
    (problem,) = caught.value.problems
    assert (problem.where, problem.what[:len(what)]) == ("ledger", what)


@pytest.mark.parametrize("url", ["redis://:s3cr#et@h:1", "redis://:s3cr@h:s3cr", "redis://s3cr:s3cr", "unix:///s?db=s3cr"])
def test_a_url_that_cannot_be_read_is_refused_without_a_word_of_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_ledger(url)
    assert "s3cr" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_without_redis_py_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError) as caught:
        open_ledger("redis://cache")
    assert str(caught.value) == 'ledger: needs the package redis: pip install "wsgi-flowguard[redis]"'


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"is a dict without hmget, evalsha, eval, neither a URL nor a client\."):
        RedisLedger({})


def test_a_client_for_asyncio_is_refused() -> None:
    import redis.asyncio

    with pytest.raises(ConfigError) as caught:
        RedisLedger(redis.asyncio.Redis())
    assert str(caught.value) == "ledger: is a client for asyncio; a WSGI application needs redis.Redis."
