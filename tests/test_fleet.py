"""Many workers, one ledger: at most once, whatever is clicked, killed, or deployed (CONTRACT 7)."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from servers import Browser, Gunicorn

TO_PAYMENT = ("GET /cart", "GET /shipping", "POST /shipping")
ROUNDS = 300 if os.environ.get("FLOWGUARD_DEEP") else 40
LEDGER_WAIT = 2  # seconds, by default
CLICKS = 12  # parallel submissions with one cookie

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def ledger(request, tmp_path):
    """The URL of a real ledger that processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return request.getfixturevalue("redis_url")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "charges.db"
    with closing(sqlite3.connect(path)) as charges:
        charges.execute("PRAGMA journal_mode=WAL")
        charges.execute("CREATE TABLE charges (name TEXT, pid INTEGER)")
    return path


def charged(database) -> dict[str, int]:
    """How often each order was charged."""
    with closing(sqlite3.connect(database)) as charges:
        return dict(charges.execute("SELECT name, count(*) FROM charges GROUP BY name"))


def at_payment(port: int, order: str) -> Browser:
    browser = Browser(port, {"order": order})
    assert browser.walk(*TO_PAYMENT) == "/payment"
    return browser


def test_twelve_clicks_on_pay_charge_once_and_all_end_at_the_confirmation(ledger, database):
    with Gunicorn("fleet_app", 4, 8, FLEET_LEDGER=ledger, FLEET_DATABASE=database) as server, \
            ThreadPoolExecutor(CLICKS) as pool:  # fmt: skip
        for number in range(ROUNDS):
            buyer = at_payment(server.port, f"order-{number}")
            barrier = threading.Barrier(CLICKS)

            def click(buyer=buyer, barrier=barrier) -> str:
                browser = Browser(server.port, buyer.cookies)
                barrier.wait()
                return browser.go("POST", "/payment")

            ends = list(pool.map(lambda _n, click=click: click(), range(CLICKS)))
            assert ends == ["/done"] * CLICKS
    assert charged(database) == {f"order-{number}": 1 for number in range(ROUNDS)}


def test_a_killed_worker_loses_nothing_acknowledged_and_nothing_is_done_twice(ledger, database):
    acknowledged = set()
    with Gunicorn("fleet_app", 3, 4, FLEET_LEDGER=ledger, FLEET_DATABASE=database, FLEET_LEASE="0.2") as server, \
            ThreadPoolExecutor(4) as pool:  # fmt: skip
        for number in range(ROUNDS):
            order = f"order-{number}"
            buyer = patiently(lambda order=order: at_payment(server.port, order))
            victim = int(patiently(lambda buyer=buyer: buyer.request("GET", "/payment"))[1]["x-pid"])
            clicks = [pool.submit(paid, Browser(server.port, buyer.cookies)) for _ in range(4)]
            os.kill(victim, signal.SIGKILL)
            if sum(click.result() for click in clicks):
                acknowledged.add(order)
            for _ in range(2):  # the visitor tries again with the cookie from before, as a stopped browser does
                patiently(lambda buyer=buyer: Browser(server.port, buyer.cookies).go("POST", "/payment"))
    counted = charged(database)
    assert max(counted.values()) == 1
    assert acknowledged <= set(counted)


def paid(browser: Browser) -> bool:
    """Was the visitor told that the payment is done?"""
    try:
        status, headers = browser.request("POST", "/payment")
    except (OSError, http.client.HTTPException):
        return False
    return status == 303 and headers["location"] == "/done" and "flowguard-reason" not in headers


@pytest.mark.timed
@pytest.mark.parametrize(("workers", "threads"), [(4, 1), (4, 8)], ids=["sync workers", "threads"])
def test_clicks_on_a_slow_payment_keep_others_waiting_for_ledger_wait_at_most(tmp_path, database, workers, threads):
    """However many they are: who waits holds a worker, and a queue of clicks would hold them one after the other."""
    clicks = 3 * workers * threads
    with Gunicorn("fleet_app", workers, threads, FLEET_LEDGER=f"sqlite:///{tmp_path}/l.db", FLEET_DATABASE=database) \
            as server, ThreadPoolExecutor(clicks) as pool:  # fmt: skip
        buyer = at_payment(server.port, "slow")
        with closing(sqlite3.connect(database, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")  # the shop can't charge until this ends
            answers = [pool.submit(Browser(server.port, buyer.cookies).request, "POST", "/payment")
                       for _ in range(clicks)]  # fmt: skip
            begun, longest = time.monotonic(), 0.0
            while time.monotonic() - begun < 3:
                asked = time.monotonic()
                assert Browser(server.port).go("GET", "/cart") == "/cart"
                longest = max(longest, time.monotonic() - asked)
            lock.execute("COMMIT")
        assert min(answer.result()[0] for answer in answers) == 303
    assert longest < 2 * LEDGER_WAIT  # one, and as much again for a machine that has other things to do
    assert charged(database) == {"slow": 1}


def patiently(ask):
    """Ask again while a worker is being replaced."""
    for _ in range(100):
        with suppress(OSError, http.client.HTTPException):
            return ask()
    raise AssertionError("the server did not come back")


def test_a_visitor_who_hangs_up_before_the_answer_is_led_on_when_coming_back(ledger, database):
    with Gunicorn("fleet_app", 2, 4, FLEET_LEDGER=ledger, FLEET_DATABASE=database) as server:
        buyer = at_payment(server.port, "hung-up")
        with closing(sqlite3.connect(database, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")  # the shop can't charge until this ends
            gone = Browser(server.port, buyer.cookies)
            with pytest.raises(OSError, match="timed out"):
                gone.request("POST", "/payment", timeout=0.5)
            lock.execute("COMMIT")
        assert gone.cookies == buyer.cookies
        assert gone.go("POST", "/payment") == "/done"
    assert charged(database) == {"hung-up": 1}


@pytest.mark.redis
def test_a_rolling_deploy_under_load_refuses_no_honest_visitor(redis_url, database):
    """Old and new servers on one ledger; a visitor who has met a new one does not meet an old one again."""
    old = Gunicorn("fleet_app", 2, 4, FLEET_LEDGER=redis_url, FLEET_DATABASE=database)
    new = Gunicorn("fleet_app", 2, 4, FLEET_LEDGER=redis_url, FLEET_DATABASE=database, FLEET_FLOW="new")
    steps = [*TO_PAYMENT, "POST /payment", "GET /done"]
    deployed, visitors = threading.Event(), []

    def shop(number: int) -> None:
        for order in range(60):
            browser = Browser(old.port, {"order": f"{number}-{order}"})
            for step in steps:
                if deployed.is_set():
                    browser.port = new.port
                assert browser.go(*step.split()) is not None
            visitors.append((browser.page, browser.refused))
            if order == 20 and number == 0:
                deployed.set()

    with old, new, ThreadPoolExecutor(6) as pool:
        list(pool.map(shop, range(6)))
    assert visitors == [("/done", [])] * 360
    assert set(charged(database).values()) == {1}


@pytest.mark.parametrize(("workers", "threads"), [(3, 1), (1, 8)], ids=["sync workers", "threads"])
def test_who_waits_does_not_keep_others_from_their_pages(ledger, database, workers, threads):
    """While a payment is under way, other visitors are served."""
    with Gunicorn("fleet_app", workers, threads, FLEET_LEDGER=ledger, FLEET_DATABASE=database) as server, \
            ThreadPoolExecutor(8) as pool:  # fmt: skip
        buyer = at_payment(server.port, "slow")
        with closing(sqlite3.connect(database, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")  # the shop can't charge until this ends
            clicks = [pool.submit(Browser(server.port, buyer.cookies).go, "POST", "/payment") for _ in range(2)]
            others = [Browser(server.port).go("GET", "/cart") for _ in range(3)]
            lock.execute("COMMIT")
        assert others == ["/cart"] * 3
        assert [click.result() for click in clicks] == ["/done"] * 2
    assert charged(database) == {"slow": 1}
