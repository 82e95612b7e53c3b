"""What operators see and do: the runs of a ledger, and a spent state that is set free; end to end, and raced."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterable
from uuid import uuid4

import pytest
from visitor import FAULT, SECRET, Application, Visitor, led

from flowguard import FlowGuard, records
from flowguard.cli import main
from flowguard.cli.ledger import _span
from flowguard.codec import Coded
from flowguard.ledgers.base import Claim
from flowguard.ledgers.memory import MemoryLedger
from flowguard.ledgers.redis import RedisLedger
from flowguard.ledgers.sqlite import SqliteLedger
from flowguard.operating import HELD_FOR, Freed, free, listed

NAME = "flowguard-shop"
ROOT = Path(__file__).parent.parent
SHOP: dict[str, Any] = {
    "/<sku>/cart": {"state": "cart", "to": ["shipping"], "repeat": True},
    "/<sku>/shipping": {"state": "shipping", "to": ["pay"], "submit": True},
    "/<sku>/pay": {"state": "pay", "to": ["done"], "once": True},
    "/<sku>/done": {"state": "done"},
}
ANSWERS = {"POST /hat/shipping": led("/hat/pay"), "POST /hat/pay": led("/hat/done?token=s3cret")}
TO_PAYMENT = ("GET /hat/cart", "GET /hat/shipping", "POST /hat/shipping", "GET /hat/pay")
SHARED = ["sqlite", pytest.param("redis", marks=pytest.mark.redis)]


class Place:
    """A shared ledger: how the guard has it, and how the command."""

    def __init__(self, ledger: Any, *arguments: str) -> None:
        self.ledger, self.arguments = ledger, arguments

    def listed(self) -> Any:
        return list(listed(self.ledger, time.time()))


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(SqliteLedger(tmp_path / "l.db"), f"sqlite:///{tmp_path}/l.db")
    url, prefix = request.getfixturevalue("redis_url"), f"test-{uuid4().hex}:"
    return Place(RedisLedger(url, prefix), url, "--prefix", prefix)


@pytest.fixture
def file(tmp_path: Path) -> Place:
    return Place(SqliteLedger(tmp_path / "l.db"), f"sqlite:///{tmp_path}/l.db")


def shopping(place: Place, *steps: str, clock: Callable[[], float] = time.time, **options: Any) -> Any:
    """A visitor who has walked *steps*, and the shop."""
    app = Application()
    app.answers.update(ANSWERS)
    guard = FlowGuard(
        app, SHOP, name="shop", secret_key=SECRET, ledger=place.ledger, clock=clock, **{"ledger_wait": 0, **options}
    )
    visitor = Visitor(guard)
    for step in steps:
        visitor.send(visitor.environ(*step.split(), HTTP_SEC_FETCH_MODE="navigate"))
    return visitor, app


def run_of(visitor: Visitor) -> str:
    return records.digest(visitor.jar[NAME].split(".")[1])


def command(place: Place, capsys: Any, *arguments: str, code: int = 0) -> str:
    """What `flowguard ledger` prints."""
    assert main(["ledger", *place.arguments, *arguments]) == code
    told = capsys.readouterr()
    assert told.err == ""
    return str(told.out)


# --- setting free, from end to end -----------------------------------------------------------------------------------


def in_doubt(place: Place, **options: Any) -> Any:
    """A payment was answered by a fault: nobody knows whether it was done."""
    visitor, app = shopping(place, *TO_PAYMENT, **options)
    app.answers["POST /hat/pay"] = FAULT
    visitor.post("/hat/pay")
    app.answers["POST /hat/pay"] = ANSWERS["POST /hat/pay"]
    assert visitor.post("/hat/pay").verdict == (409, "duplicate")
    app.seen.clear()
    return visitor, app


def test_a_payment_in_doubt_is_set_free_and_then_done_once(place: Place, capsys: Any):
    visitor, app = in_doubt(place)
    old = visitor.twin()
    told = command(place, capsys, "free", run_of(visitor), "pay")
    assert told == f"pay is free in run {run_of(visitor)}: its visitor can submit it once more.\n"
    assert (visitor.post("/hat/pay").reason, visitor.get("/hat/done").reason) == (None, None)
    assert (old.post("/hat/pay").reason, app.calls) == ("finished", ["POST /hat/pay", "GET /hat/done"])


def test_a_payment_that_counted_and_did_not_happen_is_set_free_and_the_run_goes_back_to_it(place: Place, capsys: Any):
    visitor, app = shopping(place, *TO_PAYMENT, "POST /hat/pay", "GET /hat/done")
    app.seen.clear()
    assert visitor.post("/hat/pay").reason == "finished"
    command(place, capsys, "free", run_of(visitor)[:6].upper(), "pay")
    assert visitor.get("/hat/done").reason == "skipped"
    assert (visitor.post("/hat/pay").reason, visitor.post("/hat/pay").reason) == (None, "duplicate")
    assert app.calls == ["POST /hat/pay"]


def test_every_cookie_from_before_is_worth_the_freed_run_and_no_more(place: Place, capsys: Any):
    visitor, app = shopping(place, *TO_PAYMENT)
    before = visitor.twin()
    visitor.post("/hat/pay")
    after = visitor.twin()
    command(place, capsys, "free", run_of(visitor), "pay")
    assert [tab.get("/hat/done").reason for tab in (before, after, visitor)] == ["skipped"] * 3
    app.seen.clear()
    assert [tab.post("/hat/pay").reason for tab in (after, before, visitor)] == [None, "duplicate", "duplicate"]
    assert app.calls == ["POST /hat/pay"]


def left_behind(place: Place, state: str = "pay", lease: float = -1) -> Any:
    """At the payment; and a worker took a claim, and died with it. lease: seconds that it has still to go."""
    visitor, app = shopping(place, *TO_PAYMENT)
    app.seen.clear()
    one = next(one for one in place.listed() if one.run == run_of(visitor))
    now = time.time()
    place.ledger.claim(one.key, Claim("dead", state, now + lease), text="", expires=now, now=now)
    return visitor, app


def test_a_submission_that_ended_without_an_answer_is_set_free_before_anybody_has_looked(place: Place, capsys: Any):
    visitor, app = left_behind(place)
    assert visitor.get("/hat/done").verdict == (409, "skipped")  # stuck: the outcome is not known
    command(place, capsys, "free", run_of(visitor), "pay")
    assert (visitor.post("/hat/pay").reason, visitor.post("/hat/pay").reason) == (None, "duplicate")
    assert app.calls == ["POST /hat/pay"]


def test_a_payment_in_doubt_that_was_never_entered_is_set_free_where_the_visitor_is(place: Place, capsys: Any):
    """Its form stood on the page before: the POST was to be the step."""
    visitor, app = shopping(place, *TO_PAYMENT[:3])
    app.answers["POST /hat/pay"] = FAULT
    visitor.post("/hat/pay")
    app.answers["POST /hat/pay"] = ANSWERS["POST /hat/pay"]
    command(place, capsys, "free", run_of(visitor), "pay")
    assert place.listed()[0].entry.current == "shipping"
    assert (visitor.post("/hat/pay").reason, visitor.post("/hat/pay").reason) == (None, "duplicate")


def test_a_dead_submission_of_another_state_is_left_for_the_guard_to_judge(place: Place, capsys: Any):
    """Only the flow knows whether it spent anything."""
    visitor, app = in_doubt(place)
    (one,) = place.listed()
    claim = Claim("dead", "shipping", time.time() - 1)
    place.ledger.claim(one.key, claim, text="", expires=time.time(), now=time.time())
    command(place, capsys, "free", run_of(visitor), "pay")
    assert place.listed()[0].record.claim == claim
    assert (visitor.post("/hat/pay").reason, app.calls) == (None, ["POST /hat/pay"])


def test_nothing_is_set_free_while_a_submission_is_under_way(place: Place, capsys: Any):
    visitor, app = shopping(place, *TO_PAYMENT)
    told: list[str] = []

    def paying(environ: Any, start_response: Any) -> Iterable[bytes]:
        told.append(command(place, capsys, "free", run_of(visitor), "pay", code=1))
        start_response("303 See Other", [("Location", "/hat/done"), ("Content-Type", "text/html")])
        return [b""]

    app.answers["POST /hat/pay"] = paying
    assert visitor.post("/hat/pay").reason is None
    assert told == [f"A submission of run {run_of(visitor)} is under way. Nothing was changed; look again when it has "
                    "ended.\n"]  # fmt: skip
    assert visitor.post("/hat/pay").reason == "duplicate"


@pytest.mark.parametrize("state", ["shipping", "no-such-state"])
def test_what_is_not_spent_is_not_set_free(file: Place, capsys: Any, state: str):
    visitor, _ = in_doubt(file)
    before = file.listed()
    assert command(file, capsys, "free", run_of(visitor), state, code=1) == (
        f"{state} is not spent in run {run_of(visitor)}; spent is: pay (in doubt). Nothing was changed.\n"
    )
    assert file.listed() == before


# --- setting free, raced: what was seen is what is changed, or nothing ------------------------------------------------


def seen(place: Place) -> Any:
    visitor, app = in_doubt(place)
    (one,) = place.listed()
    return visitor, app, one


def test_a_run_that_was_written_since_it_was_looked_at_is_left_alone(place: Place):
    visitor, _, one = seen(place)
    place.ledger.write(one.key, one.record.text, version=one.record.version, expires=one.expires, keep=True,
                       now=time.time())  # fmt: skip
    before = place.listed()
    assert free(place.ledger, one, "pay", time.time()) is Freed.CHANGED
    assert place.listed() == before
    assert visitor.post("/hat/pay").reason == "duplicate"


def test_a_submission_that_began_since_it_was_looked_at_is_left_alone(place: Place):
    _, _, one = seen(place)
    claim = Claim("theirs", "pay", time.time() + 300)
    place.ledger.claim(one.key, claim, text="", expires=time.time(), now=time.time())
    assert free(place.ledger, one, "pay", time.time()) is Freed.UNDER_WAY
    assert place.listed()[0].record == one.record._replace(claim=claim)


def test_a_dead_submission_that_was_judged_since_it_was_looked_at_is_not_set_free(place: Place):
    """Who judged it may have begun another: then the version is another."""
    visitor, _ = left_behind(place)
    (one,) = place.listed()
    assert visitor.post("/hat/pay").reason == "duplicate"
    assert free(place.ledger, one, "pay", time.time()) is Freed.CHANGED
    assert place.listed()[0].entry.spent == ("pay",)


def test_a_record_that_was_forgotten_since_it_was_looked_at_is_not_made_again(place: Place):
    _, _, one = seen(place)
    place.ledger.forget(one.key)
    assert free(place.ledger, one, "pay", time.time()) is not Freed.DONE
    assert place.listed() == []


def test_a_text_of_another_version_is_left_alone(file: Place, capsys: Any):
    now = time.time()
    file.ledger.write("shop:id", "from the future", version=0, expires=now + 90, keep=True, now=now)
    told = command(file, capsys, "free", records.digest("id"), "pay", code=1)
    assert told == f"Run {records.digest('id')} was written by another version of flowguard. Nothing was changed.\n"
    assert file.listed()[0].record.text == "from the future"
    assert "written by another version" in command(file, capsys, "--run", records.digest("id"))
    assert records.digest("id") in command(file, capsys)


def test_our_own_claim_leaves_the_state_as_spent_as_it_was_if_we_die_with_it(place: Place):
    visitor, app, one = seen(place)
    now = time.time() - HELD_FOR - 1
    place.ledger.claim(one.key, Claim("ours", "pay", now + HELD_FOR), text="", expires=now, now=now)
    assert (visitor.post("/hat/pay").reason, app.calls) == ("duplicate", [])


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_log_line_leads_to_the_run(file: Place, capsys: Any, caplog: Any):
    with caplog.at_level(logging.INFO, "flowguard.decision"):
        in_doubt(file)
    told = command(file, capsys, "--run", caplog.records[-1].flowguard["run"])
    lines = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", line) for line in told.splitlines()]
    run = run_of_the_only(file)
    assert lines == [
        f"run         {run} of flow shop",
        "began       TIME, 0 s ago",
        "changed     TIME, 0 s ago",
        "at          pay",
        "spent       pay (in doubt)",
        "submission  none is under way",
        "led         the last change was no submission that led anywhere",
        "expires     TIME, in 4 h 2 min",
        "",
        "What came of pay is not known. If you know that it did not happen, set it free:",
        f"  flowguard ledger URL free {run} pay",
    ]


def run_of_the_only(place: Place) -> str:
    (one,) = place.listed()
    return str(one.run)


def test_a_submission_without_an_answer_can_be_set_free_as_it_is_told(file: Place, capsys: Any):
    visitor, _ = left_behind(file, lease=-70)
    told = command(file, capsys, "--run", run_of(visitor))
    assert "submission  pay without an answer, over for 1 min\n" in told
    assert told.endswith(f"  flowguard ledger URL free {run_of(visitor)} pay\n")
    assert command(file, capsys, "--doubt").splitlines()[1].startswith(run_of(visitor))


def test_where_the_last_submission_led_is_told_without_its_query(file: Place, capsys: Any):
    shopping(file, *TO_PAYMENT, "POST /hat/pay")
    told = command(file, capsys, "--run", run_of_the_only(file))
    assert "led         pay to /hat/done\n" in told
    assert "spent       pay\n" in told


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://user:password@pay.example/a?b#c", "pay to https://pay.example/a"),
        ("/a\x1b[31m/b", "pay to /a\\x1b[31m/b"),
        ("http://[", "the last change was no submission that led anywhere"),
    ],
)
def test_nothing_of_a_location_is_obeyed_or_gives_a_password_away(file: Place, capsys: Any, location: str, told: str):
    now = time.time()
    text = records.write("a.text", "pay", ["pay"], records.Led("pay", location))
    file.ledger.write("shop:id", text, version=0, expires=now + 90, keep=True, now=now)
    assert f"led         {told}\n" in command(file, capsys, "--run", records.digest("id"))


def test_the_list_tells_each_run_the_one_that_changed_last_first(file: Place, capsys: Any):
    now = time.time()
    shopping(file, *TO_PAYMENT, "POST /hat/pay", clock=lambda: now - 7_000)
    in_doubt(file, clock=lambda: now - 130)
    left_behind(file, lease=90.4)
    left_behind(file, "shipping", lease=-30)
    table = [re.split(r"\s{2,}", line) for line in command(file, capsys).splitlines()]
    assert table[0] == ["RUN", "FLOW", "AT", "SPENT", "SUBMISSION", "CHANGED", "EXPIRES"]
    assert sorted(row[1:] for row in table[1:]) == sorted([
        ["shop", "pay", "-", "pay under way, 1 min left", "0 s ago", "in 4 h 2 min"],
        ["shop", "pay", "-", "shipping without an answer, over for 30 s", "0 s ago", "in 4 h 2 min"],
        ["shop", "pay", "pay (in doubt)", "-", "2 min ago", "in 3 h 59 min"],
        ["shop", "pay", "pay", "-", "1 h 56 min ago", "in 2 h 5 min"],
    ])  # fmt: skip
    assert [row[5] for row in table[3:]] == ["2 min ago", "1 h 56 min ago"]


def test_the_list_can_be_of_one_flow_or_of_what_is_in_doubt(file: Place, capsys: Any):
    shopping(file, *TO_PAYMENT, "POST /hat/pay")
    other = Visitor(FlowGuard(Application(), {"/x": {}}, name="other", secret_key=SECRET, ledger=file.ledger))
    other.post("/x")
    doubtful, _ = in_doubt(file)
    assert len(command(file, capsys).splitlines()) == 4
    assert command(file, capsys, "--flow", "other").splitlines()[1].split()[1] == "other"
    assert command(file, capsys, "--doubt").splitlines()[1].split()[0] == run_of(doubtful)
    assert command(file, capsys, "--flow", "other", "--doubt", code=1) == "No run was found.\n"


def test_a_run_that_was_reset_is_nowhere(file: Place, capsys: Any):
    visitor, _ = shopping(file, *TO_PAYMENT, reset="/reset")
    visitor.get("/reset")
    assert "at          nothing: it was reset, or has run out\n" in command(file, capsys, "--run", run_of(visitor))
    assert command(file, capsys).splitlines()[1].split()[2] == "-"


@pytest.mark.parametrize("arguments", [("--run",), ("free",)], ids=["explained", "set free"])
def test_a_run_that_is_not_there_or_not_the_only_one_is_said(file: Place, capsys: Any, arguments: Any):
    state = ["pay"] if arguments == ("free",) else []
    in_doubt(file)
    in_doubt(file)
    both = ", ".join(one.run for one in sorted(file.listed(), key=lambda one: (-one.coded.run.changed, one.run)))
    assert command(file, capsys, *arguments, "", *state, code=1) == f"More than one run begins like that: {both}\n"
    assert command(file, capsys, *arguments, "x", *state, code=1) == (
        "There is no such run: it has expired, or was never submitted to, or this is another ledger.\n"
    )


def test_nothing_secret_is_told(place: Place, capsys: Any):
    visitor, _ = shopping(place, *TO_PAYMENT, "POST /hat/pay")
    id_, signature = visitor.jar[NAME].split(".")[1], visitor.jar[NAME].rpartition(".")[2]
    told = command(place, capsys) + command(place, capsys, "--run", run_of(visitor))
    for secret in (id_, signature, "s3cret", place.listed()[0].entry.run):
        assert secret not in told


def test_what_has_expired_is_purged(file: Place, capsys: Any):
    now = time.time()
    for number in range(3):
        file.ledger.write(f"shop:{number}", "", version=0, expires=now - 5, keep=False, now=now - 10)
    shopping(file, *TO_PAYMENT)
    assert command(file, capsys, "purge") == "3 runs that had expired are forgotten.\n"
    assert command(file, capsys, "purge") == "0 runs that had expired are forgotten.\n"
    file.ledger.write("shop:4", "", version=0, expires=now - 5, keep=False, now=now - 10)
    assert command(file, capsys, "purge") == "1 run that had expired is forgotten.\n"
    assert len(file.listed()) == 1


# --- what can't be done ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["memory://"], "memory:// is the memory of the server's own process: nobody else can look into it"),
        (["sqlite:///nowhere.db"], "there is no file 'nowhere.db'. A relative path starts at the directory in which"),
        (["sqlte:///x.db"], "unknown kind 'sqlte://'. Did you mean 'sqlite://'?"),
        (["x.db"], "is a text without '://'."),
        (["sqlite:///x.db", "--prefix", "a:"], "--prefix is for Redis: the keys of other ledgers have none."),
        (["redis://:s3cret@127.0.0.1:1"], "the ledger redis://127.0.0.1:1 is not available: ConnectionError"),
    ],
    ids=["memory", "no file", "a slip", "no URL", "a prefix", "nobody there"],
)
def test_what_can_not_be_done_is_said_in_a_line_and_ends_with_2(
    arguments: list[str], told: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["ledger", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith(f"flowguard ledger: {told}"), err.count("\n"), "s3cret" in err) == ("", True, 1, False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_ledger_is_said_in_a_line(tmp_path: Path, capsys: Any):
    (tmp_path / "x.db").write_bytes(b"no database " * 100)
    assert main(["ledger", f"sqlite:///{tmp_path}/x.db"]) == 2
    assert capsys.readouterr().err == (
        f"flowguard ledger: the ledger sqlite:///{tmp_path}/x.db is not available: file is not a database\n"
    )


def test_a_reader_who_has_seen_enough_breaks_nothing(file: Place):
    now = time.time()
    for number in range(2_000):
        file.ledger.write(f"shop:{number}", "", version=0, expires=now + 90, keep=False, now=now)
    command = [sys.executable, "-m", "flowguard", "ledger", *file.arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        assert (first.split(), process.stderr.read()) == (
            [b"RUN", b"FLOW", b"AT", b"SPENT", b"SUBMISSION", b"CHANGED", b"EXPIRES"], b""
        )  # fmt: skip


def test_on_a_terminal_what_is_in_doubt_stands_out(file: Place, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shopping(file, *TO_PAYMENT, "POST /hat/pay")
    in_doubt(file)
    head, *rows = command(file, capsys).splitlines()
    assert head.startswith("\033[1mRUN")
    assert sorted(row.startswith("\033[33m") for row in rows) == [False, True]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3_599, "59 min"), (3_600, "1 h 0 min"),
     (86_399, "23 h 59 min"), (200_000, "2 d 7 h")],
)  # fmt: skip
def test_a_length_of_time_is_said_in_its_two_largest_units(seconds: float, said: str):
    assert _span(seconds) == said


def test_a_run_whose_flow_is_not_at_hand_is_read_and_written_as_it_was():
    visitor, _ = shopping(Place(MemoryLedger()), *TO_PAYMENT, "POST /hat/pay")
    text = visitor.jar[NAME].partition(".")[2].rpartition(".")[0]
    coded = Coded.decode(text)
    assert coded is not None
    assert coded.encode() == text
    assert (coded.run.current, coded.run.spent) == (coded.code("pay"), {coded.code("pay")})
    assert coded.run.values == (("sku", "hat"),)
    assert Coded.decode("nonsense") is None
