"""A real Chromium before a real server: what people do to a checkout, what its books say then, and what they see.

The shop is the small one of examples/: it charges whenever something is posted to /payment, and sends a parcel whenever
somebody with a filled cart looks at /done. The server is waitress, or cheroot for https, in this process, so that a
test can keep the bank waiting until the browser has sent what it sends; one test asks gunicorn's processes.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any, Callable, ContextManager, Iterator, NamedTuple

import pytest
from browser import another, missing, profile, visiting
from servers import Gunicorn, https_here, waitress_here

from flowguard import FlowGuard

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from shop import Shop
from shop_flow import FLOW

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 10  # seconds; what takes longer on this machine does not happen any more
SECRET = "a secret of the browsers' tests"


class Came(NamedTuple):
    """A request, as it stood before the guard's door. purpose: what a browser says of one that nobody has made yet."""

    what: str
    purpose: str
    mode: str


class Door:
    """Outside of the guard: writes down what the browser sends. While it is *forgetful*, browsers get no cookie."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.forgetful = False
        self.came: list[Came] = []
        self._changed = threading.Condition()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        words = (environ.get(f"HTTP_SEC_{name}", "") for name in ("PURPOSE", "FETCH_MODE"))
        with self._changed:
            self.came.append(Came(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}", *words))
            self._changed.notify_all()

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            kept = [pair for pair in headers if not (self.forgetful and pair[0] == "Set-Cookie")]
            return start_response(status, kept, *exc_info)

        return self.application(environ, start)

    def count(self, what: str, purpose: str = "") -> int:
        return sum(came.what == what and came.purpose == purpose for came in self.came)

    def wait_for(self, what: str, times: int = 1, purpose: str = "") -> None:
        with self._changed:
            come = self._changed.wait_for(lambda: self.count(what, purpose) >= times, PATIENCE)
        assert come, f"{times} x {what} {purpose} did not come, but {self.came}"


class Bank:
    """What the shop asks for every charge: it answers at once, but while it is *slow*. It may be out of order, too."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.broken = False

    def __call__(self) -> None:
        assert self._open.wait(PATIENCE)
        if self.broken:
            raise OSError("the bank does not answer")

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """Payments that come while the block runs wait for its end."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()


class Books(NamedTuple):
    charges: int
    parcels: int


ONE_ORDER = Books(1, 1)
NOTHING = Books(0, 0)


class Place(NamedTuple):
    url: str
    door: Door
    bank: Bank
    database: Path

    def tell(self, query: str) -> list[tuple[Any, ...]]:
        """What the shop wrote down."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=PATIENCE)) as db:
            return db.execute(query).fetchall()

    @property
    def books(self) -> Books:
        (row,) = self.tell("SELECT (SELECT count(*) FROM charges), (SELECT count(*) FROM parcels)")
        return Books(*row)


class Web:
    """How servers are reached. `serve` opens one for an application, by the name of a host, and gives its URL."""

    def __init__(self, scheme: str, here: Callable[[Any], ContextManager[int]]) -> None:
        self._scheme, self._here = scheme, here

    @contextlib.contextmanager
    def serve(self, application: Any, host: str = "127.0.0.1") -> Iterator[str]:
        with self._here(application) as port:
            yield f"{self._scheme}://{host}:{port}"


HTTP = Web("http", waitress_here)


@contextlib.contextmanager
def opened(directory: Path, guard: Any = FlowGuard, at: str = "127.0.0.1", web: Web = HTTP, **options: Any) -> Any:
    """The shop behind a guard with *options*, on the host *at*, as long as the block runs: a Place."""
    bank, database = Bank(), directory / "shop.db"
    door = Door(guard(Shop(database, bank), FLOW, **{"back": "edit", "secret_key": SECRET, **options}))
    with web.serve(door, at) as url:
        yield Place(url, door, bank, database)


def bare(application: Any, *_flow: Any, **_options: Any) -> Any:
    """In the place of a guard, there is none."""
    return application


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Place]:
    with opened(tmp_path) as place:
        yield place


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    with visiting(chromium) as visited:
        visited.context.set_default_timeout(1000 * PATIENCE)
        yield visited


@pytest.fixture(scope="module")
def people(chromium: Any) -> Iterator[Any]:
    """A browser that is more like people's than Playwright's own: it keeps pages for Back, if it can. And to it,
    every name that ends in .test is this machine: a shop has neighbours there, and is no localhost, where browsers
    take http for secure. It takes every certificate; Playwright's ignore_https_errors knows no speculations."""
    arguments = ("--host-resolver-rules=MAP *.test 127.0.0.1", "--ignore-certificate-errors")
    with another(chromium, *arguments, ignore_default_args=["--disable-back-forward-cache"]) as running:
        yield running


@pytest.fixture
def person(people: Any) -> Iterator[Any]:
    """A page of that browser."""
    with visiting(people) as visited:
        visited.context.set_default_timeout(1000 * PATIENCE)
        yield visited


@pytest.fixture
def keeper(people: Any, person: Any) -> Any:
    """A page that is kept alive when it is left (bfcache), and says `kept` when it came back so."""
    if people.new_browser_cdp_session().send("Browser.getVersion")["product"].startswith("Headless"):
        missing("a browser with a back/forward cache", "apt-get install chromium")
    person.add_init_script("addEventListener('pageshow', event => { window.kept = event.persisted })")
    return person


@pytest.fixture(scope="module")
def https() -> Iterator[Web]:
    try:
        import trustme
    except ImportError:
        missing("trustme", "pip install trustme")
    issued = trustme.CA().issue_cert("*.test")
    with issued.private_key_and_cert_chain_pem.tempfile() as certificate:
        yield Web("https", lambda application: https_here(application, certificate))


# --- what people do --------------------------------------------------------------------------------------------------


def arrives(page: Any, title: str) -> None:
    """The person sees the page that is headed so. (The guard's pages and the shop's have their title as a heading.)"""
    page.locator("h1", has_text=title).wait_for(timeout=1000 * PATIENCE)
    assert page.title() == title


def press(page: Any, button: str, clicks: int = 1) -> None:
    """Click, and don't wait for what comes of it. Chromium takes clicks that are 60 ms apart for so many clicks."""
    page.get_by_role("button", name=button).click(click_count=clicks, delay=60, no_wait_after=True)


def go_to_shipping(page: Any, shop: Place) -> None:
    page.goto(shop.url + "/cart")
    press(page, "Add to cart")
    page.get_by_text("Books: 1").wait_for()
    page.get_by_role("link", name="To shipping").click()
    arrives(page, "Shipping")


def give_address(page: Any) -> None:
    page.get_by_label("Address").fill("1 Long Lane")
    press(page, "Continue")
    arrives(page, "Payment")


def go_to_payment(page: Any, shop: Place) -> None:
    go_to_shipping(page, shop)
    give_address(page)


def pay(page: Any) -> None:
    press(page, "Pay")
    arrives(page, "Thank you!")


def order(page: Any, shop: Place) -> None:
    go_to_payment(page, shop)
    pay(page)


def go_back(page: Any) -> None:
    """The back button. (Playwright's own waits for a load that does not come where the page was kept alive.)"""
    session = page.context.new_cdp_session(page)
    history = session.send("Page.getNavigationHistory")
    earlier = history["entries"][history["currentIndex"] - 1]
    with page.expect_event("framenavigated"):
        session.send("Page.navigateToHistoryEntry", {"entryId": earlier["id"]})


# --- impatience ------------------------------------------------------------------------------------------------------


def test_a_bare_shop_charges_a_double_click_twice(tmp_path, page):
    """What the next tests rest on: the browser does send it twice."""
    with opened(tmp_path, guard=bare) as shop:
        go_to_payment(page, shop)
        with shop.bank.slow():
            press(page, "Pay", clicks=2)
            shop.door.wait_for("POST /payment", 2)
        arrives(page, "Thank you!")
        assert shop.books == Books(charges=2, parcels=1)


@pytest.mark.parametrize("clicks", [2, 4])
def test_many_clicks_on_a_slow_payment_pay_once_and_end_at_the_confirmation(shop, page, clicks):
    go_to_payment(page, shop)
    with shop.bank.slow():
        press(page, "Pay", clicks)
        shop.door.wait_for("POST /payment", clicks)
    arrives(page, "Thank you!")
    assert page.url == shop.url + "/done"
    assert shop.books == ONE_ORDER


def test_a_double_click_pays_once_where_many_processes_share_a_ledger(tmp_path, page):
    database, ledger = tmp_path / "charges.db", f"sqlite:///{tmp_path}/ledger.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as charges:
        charges.execute("CREATE TABLE charges (name TEXT, pid INTEGER)")
        with Gunicorn("fleet_app", 4, 4, FLEET_LEDGER=ledger, FLEET_DATABASE=database) as server:
            posts: list[str] = []
            page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
            for path in ("/cart", "/shipping", "/payment"):
                page.goto(f"http://127.0.0.1:{server.port}{path}")
                page.evaluate("document.body.innerHTML = `<form method=post><button>Go</button></form>`")
                if path == "/shipping":
                    press(page, "Go")
                    page.get_by_text("/payment", exact=True).wait_for()
            charges.execute("BEGIN IMMEDIATE")  # the shop can't charge until this ends
            with page.expect_event("request", lambda _request: len(posts) == 3):
                press(page, "Go", clicks=2)
            charges.execute("COMMIT")
            page.get_by_text("/done", exact=True).wait_for()
            assert [url.rpartition("/")[2] for url in posts] == ["shipping", "payment", "payment"]
        assert charges.execute("SELECT count(*) FROM charges").fetchone() == (1,)


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Place]:
    """A shop whose guard lets the second click wait for a tenth of a second only."""
    with opened(tmp_path, ledger_wait=0.1) as place:
        yield place


def test_a_click_on_a_payment_that_takes_longer_gets_a_page_that_ends_at_the_confirmation_by_itself(hasty, page):
    go_to_payment(page, hasty)
    with hasty.bank.slow():
        press(page, "Pay", clicks=2)
        arrives(page, "We are still working on it")
        assert page.get_by_text("What you typed this time was not taken.").is_visible()
        assert page.get_by_text("This page goes on by itself in a few seconds.").is_visible()
        page.reload()  # sends the form once more
        arrives(page, "We are still working on it")
    arrives(page, "Thank you!")
    assert hasty.books == ONE_ORDER


def test_who_looks_for_the_confirmation_while_the_payment_is_under_way_is_led_to_it(hasty, page):
    go_to_payment(page, hasty)
    with hasty.bank.slow():
        press(page, "Pay")
        hasty.door.wait_for("POST /payment")
        page.goto(hasty.url + "/done")
        arrives(page, "We are still working on it")
    arrives(page, "Thank you!")
    assert hasty.books == ONE_ORDER


def stop(page: Any, _shop: Place) -> Any:
    page.context.new_cdp_session(page).send("Page.stopLoading")
    return page


def look_elsewhere(page: Any, shop: Place) -> Any:
    page.goto(shop.url + "/about")
    page.goto(shop.url + "/payment")
    return page


def open_another_tab(page: Any, shop: Place) -> Any:
    page.close()
    tab = page.context.new_page()
    tab.goto(shop.url + "/payment")
    return tab


@pytest.mark.parametrize("leave", [stop, look_elsewhere, open_another_tab], ids=lambda leave: leave.__name__)
def test_who_leaves_while_the_payment_is_under_way_and_pays_again_pays_once(shop, page, leave):
    """The answer to the first click is lost, and its cookie with it."""
    go_to_payment(page, shop)
    with shop.bank.slow():
        press(page, "Pay")
        shop.door.wait_for("POST /payment")
        page = leave(page, shop)
        press(page, "Pay")
        shop.door.wait_for("POST /payment", 2)
    arrives(page, "Thank you!")
    assert shop.books == ONE_ORDER


def test_a_payment_that_broke_is_not_tried_again_and_the_page_says_that_nobody_knows(tmp_path, page):
    """And it leads to a new order: the basket of this shop may be looked at, so that the reset is the way there."""
    with opened(tmp_path, reset="/anew") as shop:
        go_to_payment(page, shop)
        shop.bank.broken = True
        press(page, "Pay")
        page.get_by_text("Internal Server Error").wait_for()
        shop.bank.broken = False
        page.reload()  # sends the form once more
        arrives(page, "We do not know whether it worked")
        assert page.get_by_text("What you typed this time was not taken.").is_visible()
        assert shop.books == NOTHING
        page.get_by_role("link", name="Go to the first step").click()
        arrives(page, "Your cart")
        page.get_by_role("link", name="To shipping").click()
        give_address(page)
        pay(page)
        assert shop.books == ONE_ORDER


def test_who_goes_back_after_a_payment_that_broke_and_does_it_all_again_is_told_before_it_is_charged(shop, page):
    go_to_payment(page, shop)
    shop.bank.broken = True
    press(page, "Pay")
    page.get_by_text("Internal Server Error").wait_for()
    shop.bank.broken = False
    page.goto(shop.url + "/cart")
    page.get_by_role("link", name="To shipping").click()
    give_address(page)
    press(page, "Pay")
    arrives(page, "We do not know whether it worked")
    assert shop.books == NOTHING


# --- back, reload, typed addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("back", ["view", "edit"])
def test_back_after_the_order_is_the_confirmation_where_the_browser_asks(tmp_path, page, back):
    with opened(tmp_path, back=back) as shop:
        order(page, shop)
        go_back(page)
        arrives(page, "Thank you!")
        assert shop.books == ONE_ORDER


def test_a_form_that_was_corrected_after_back_counts(shop, page):
    go_to_payment(page, shop)
    go_back(page)
    arrives(page, "Shipping")
    page.get_by_label("Address").fill("2 Short Street")
    press(page, "Continue")
    page.get_by_text("2 Short Street").wait_for()
    pay(page)
    assert shop.tell("SELECT address FROM parcels") == [("2 Short Street",)]
    assert shop.books == ONE_ORDER


def test_the_confirmation_may_be_reloaded(shop, page):
    order(page, shop)
    page.reload()
    arrives(page, "Thank you!")
    assert shop.door.count("GET /done") == 2
    assert shop.books == ONE_ORDER


def test_who_types_the_address_of_a_later_page_is_sent_to_where_the_run_is(shop, page):
    for path, title in (("/done", "Your cart"), ("/payment", "Your cart")):
        page.goto(shop.url + path)
        arrives(page, title)
    go_to_shipping(page, shop)
    for path in ("/payment", "/done"):
        page.goto(shop.url + path)
        arrives(page, "Shipping")
    give_address(page)
    page.goto(shop.url + "/done")
    arrives(page, "Payment")
    assert shop.books == NOTHING


def test_a_form_that_is_sent_too_early_says_that_it_was_not_taken(shop, page):
    go_to_shipping(page, shop)
    page.locator("form").evaluate("form => { form.action = '/payment' }")
    press(page, "Continue")
    arrives(page, "Something comes first")
    assert page.get_by_text("What you typed was not taken.").is_visible()
    page.get_by_role("link", name="Go on to where you were").click()
    arrives(page, "Shipping")
    assert shop.books == NOTHING


def test_who_orders_again_pays_again(shop, page):
    for _ in range(2):
        order(page, shop)
    assert shop.books == Books(charges=2, parcels=2)


# --- pages that the browser has kept alive ---------------------------------------------------------------------------
# Back shows such a page as it was left, and no server is asked.


def go_back_to_a_kept_page(page: Any, shop: Place, title: str) -> None:
    asked = len(shop.door.came)
    go_back(page)
    arrives(page, title)
    assert page.evaluate("window.kept")
    assert len(shop.door.came) == asked


def test_a_bare_shop_charges_who_goes_back_and_pays_again_twice(tmp_path, keeper):
    """What the next tests rest on."""
    with opened(tmp_path, guard=bare) as shop:
        order(keeper, shop)
        go_back_to_a_kept_page(keeper, shop, "Payment")
        pay(keeper)
        assert shop.books == Books(charges=2, parcels=1)


@pytest.mark.parametrize("back", ["view", "edit"])
def test_who_goes_back_after_the_order_and_pays_again_pays_once(tmp_path, keeper, back):
    with opened(tmp_path, back=back) as shop:
        order(keeper, shop)
        go_back_to_a_kept_page(keeper, shop, "Payment")
        pay(keeper)
        assert keeper.url == shop.url + "/done"
        assert shop.door.count("POST /payment") == 2
        assert shop.books == ONE_ORDER


def test_where_back_is_refused_no_page_is_kept_and_back_after_the_order_is_the_confirmation(tmp_path, keeper):
    with opened(tmp_path, back="refuse") as shop:
        order(keeper, shop)
        asked = len(shop.door.came)
        go_back(keeper)
        arrives(keeper, "Thank you!")
        assert not keeper.evaluate("window.kept")
        assert [came.what for came in shop.door.came[asked:]] == ["GET /payment", "GET /done"]
        assert shop.books == ONE_ORDER


@pytest.mark.parametrize(("back", "address"), [("view", "1 Long Lane"), ("edit", "2 Short Street")])
def test_a_kept_form_that_is_sent_again_counts_where_it_may_be_edited(tmp_path, keeper, back, address):
    with opened(tmp_path, back=back) as shop:
        go_to_payment(keeper, shop)
        go_back_to_a_kept_page(keeper, shop, "Shipping")
        keeper.get_by_label("Address").fill("2 Short Street")
        press(keeper, "Continue")
        keeper.get_by_text(f"to {address}").wait_for()
        pay(keeper)
        assert shop.tell("SELECT address FROM parcels") == [(address,)]
        assert shop.books == ONE_ORDER


# --- two tabs --------------------------------------------------------------------------------------------------------


def test_of_two_tabs_the_one_that_is_behind_changes_nothing_and_shows_the_confirmation(shop, page):
    go_to_payment(page, shop)
    behind = page.context.new_page()
    behind.goto(shop.url + "/shipping")
    behind.get_by_label("Address").fill("9 Thief's Alley")
    pay(page)
    press(behind, "Continue")
    arrives(behind, "Thank you!")
    assert shop.tell("SELECT address FROM visitors") == [("1 Long Lane",)]
    assert shop.books == ONE_ORDER


def test_a_tab_that_still_shows_the_payment_pays_nothing_more_and_shows_the_confirmation(shop, page):
    go_to_payment(page, shop)
    behind = page.context.new_page()
    behind.goto(shop.url + "/payment")
    pay(page)
    pay(behind)
    assert shop.door.count("POST /payment") == 2
    assert shop.books == ONE_ORDER


def test_two_tabs_that_pay_at_once_pay_once_and_both_show_the_confirmation(shop, page):
    go_to_payment(page, shop)
    other = page.context.new_page()
    other.goto(shop.url + "/payment")
    with shop.bank.slow():
        press(page, "Pay")
        press(other, "Pay")
        shop.door.wait_for("POST /payment", 2)
    for tab in (page, other):
        arrives(tab, "Thank you!")
    assert shop.books == ONE_ORDER


# --- pages that are asked for in advance -----------------------------------------------------------------------------

ASK = """([kind, path]) => {
    const element = document.createElement(kind == "link" ? "link" : "script");
    Object.assign(element, kind == "link" ? {rel: "prefetch", href: path} : {
        type: "speculationrules",
        textContent: JSON.stringify({[kind]: [{source: "list", urls: [path], eagerness: "immediate"}]}),
    });
    document.head.append(element);
}"""
PURPOSES = {"link": "prefetch", "prefetch": "prefetch", "prerender": "prefetch;prerender"}


def ask_in_advance(page: Any, shop: Place, kind: str, path: str) -> None:
    """Make *page* ask for another, and wait until the server has been asked."""
    page.evaluate(ASK, [kind, path])
    shop.door.wait_for(f"GET {path}", purpose=PURPOSES[kind])


@pytest.mark.parametrize("kind", PURPOSES)
def test_a_page_that_was_asked_for_in_advance_is_asked_for_again_when_the_visitor_goes_there(shop, page, kind):
    page.goto(shop.url + "/cart")
    ask_in_advance(page, shop, kind, "/shipping")
    page.get_by_role("link", name="To shipping").click()
    arrives(page, "Shipping")
    assert shop.door.count("GET /shipping") == 1
    order(page, shop)
    assert shop.books == ONE_ORDER


@pytest.mark.parametrize("kind", PURPOSES)
def test_what_is_asked_for_in_advance_moves_nobody(shop, page, kind):
    """Not to the confirmation before the payment, and not back to the start; nor is a page from before shown later."""
    go_to_payment(page, shop)
    for path in ("/done", "/cart"):
        ask_in_advance(page, shop, kind, path)
    assert shop.books == NOTHING
    pay(page)
    assert shop.door.count("GET /done") == 1
    assert shop.books == ONE_ORDER


# --- scripts, frames -------------------------------------------------------------------------------------------------

FETCH = """async ([method, path, headers]) => {
    const answer = await fetch(path, {method, headers});
    return [answer.status, answer.headers.get("Content-Type"), await answer.text()];
}"""


def test_a_script_that_goes_ahead_gets_a_problem_that_says_what_is_missing(shop, page):
    go_to_shipping(page, shop)
    status, kind, text = page.evaluate(FETCH, ["POST", "/payment", {}])
    assert (status, kind) == (409, "application/problem+json")
    problem = json.loads(text)
    assert (problem["reason"], problem["missing"], problem["target"]) == ("skipped", ["/shipping"], "/shipping")
    assert shop.books == NOTHING


def test_a_script_that_pays_twice_at_once_pays_once(shop, page):
    go_to_payment(page, shop)
    with shop.bank.slow():
        page.evaluate(f"void (window.both = Promise.all([1, 2].map(() => ({FETCH})(['POST', '/payment', {{}}]))))")
        shop.door.wait_for("POST /payment", 2)
    answers = page.evaluate("window.both")
    assert sorted(status for status, *_ in answers) == [200, 409]  # fetch() has followed the first one's redirect
    assert shop.books == ONE_ORDER


def test_a_beacon_pays_nothing_before_its_time_and_nothing_twice(shop, page):
    go_to_shipping(page, shop)
    send = "navigator.sendBeacon('/payment', new URLSearchParams({card: '4111'}))"
    assert page.evaluate(send)
    shop.door.wait_for("POST /payment")
    assert shop.door.came[-1].mode == "no-cors"
    give_address(page)
    assert shop.books == NOTHING
    pay(page)
    assert page.evaluate(send)
    shop.door.wait_for("POST /payment", 3)
    page.reload()
    arrives(page, "Thank you!")
    assert shop.books == ONE_ORDER


def test_a_checkout_in_a_frame_is_guarded_like_any_other(shop, page):
    page.goto(shop.url + "/about")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<iframe src=/cart></iframe>')")
    frame = page.frame_locator("iframe")
    for button in ("Add to cart", "To shipping", "Continue"):
        frame.get_by_text(button, exact=True).click()
        if button == "To shipping":
            frame.get_by_label("Address").fill("1 Long Lane")
    with shop.bank.slow():
        frame.get_by_role("button", name="Pay").click(click_count=2, delay=60, no_wait_after=True)
        shop.door.wait_for("POST /payment", 2)
    frame.get_by_role("heading", name="Thank you!").wait_for()
    assert page.title() == "About us"
    assert shop.books == ONE_ORDER


# What htmx 2 does with a form, as far as it matters here: it sends HX-Request, takes an HX-Redirect before it looks at
# the status, and puts nothing of a 4xx into the page.
HTMX = """async form => {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, {method: form.method, body, headers: {"HX-Request": "true"}});
    const target = answer.headers.get("HX-Redirect");
    if (target) location.href = target;
    else if (answer.ok) form.outerHTML = await answer.text();
}"""


def test_htmx_takes_the_whole_page_to_where_the_visitor_should_be(shop, page):
    go_to_shipping(page, shop)
    page.locator("form").evaluate("form => { form.action = '/payment' }")
    page.get_by_label("Address").fill("typed, and not sent")
    page.locator("form").evaluate(HTMX)
    page.wait_for_function("document.querySelector('[name=address]').value == ''")
    arrives(page, "Shipping")
    assert shop.books == NOTHING
    give_address(page)
    behind = page.context.new_page()
    behind.goto(shop.url + "/payment")
    pay(page)
    behind.locator("form").evaluate(HTMX)
    arrives(behind, "Thank you!")
    assert shop.books == ONE_ORDER


# --- cookies that don't come -----------------------------------------------------------------------------------------


def test_without_cookies_nothing_is_paid_and_a_page_says_why(shop, page):
    shop.door.forgetful = True
    page.goto(shop.url + "/cart")
    page.get_by_role("link", name="To shipping").click()
    arrives(page, "Your cart")
    page.locator("form").evaluate("form => { form.action = '/payment' }")
    press(page, "Add to cart")
    arrives(page, "Please start with the first step")
    assert page.get_by_text("your browser may have blocked the cookie").is_visible()
    page.get_by_role("link", name="Go to the first step").click()
    arrives(page, "Your cart")
    assert shop.books == NOTHING


def test_after_a_restart_of_the_browser_the_visitor_begins_anew_and_pays_once(shop, chromium, tmp_path):
    with profile(chromium, tmp_path / "profile") as page:
        go_to_payment(page, shop)
    with profile(chromium, tmp_path / "profile") as page:
        page.goto(shop.url + "/payment")
        arrives(page, "Your cart")
        order(page, shop)
    assert shop.books == ONE_ORDER


# --- other sites -----------------------------------------------------------------------------------------------------
# 127.0.0.1 and localhost are two sites for a browser; so are shop.test and bank.test, but not shop.test and
# evil.shop.test.


@contextlib.contextmanager
def other_site(body: str, at: str = "localhost", web: Web = HTTP) -> Iterator[str]:
    """A page on another site; its URL."""

    def application(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [b"<!doctype html><title>Another site</title><h1>Another site</h1>", body.encode()]

    with web.serve(application, at) as url:
        yield url + "/"


def test_a_form_of_another_site_pays_nothing_and_disturbs_no_run(shop, page):
    go_to_payment(page, shop)
    with other_site(f"<form method=post action={shop.url}/payment><button>Win</button></form>") as url:
        tab = page.context.new_page()
        tab.goto(url)
        press(tab, "Win")
        arrives(tab, "Please start with the first step")
    assert shop.books == NOTHING
    pay(page)
    assert shop.books == ONE_ORDER


def test_a_frame_on_another_site_disturbs_no_run(shop, page):
    go_to_payment(page, shop)
    with other_site(f"<iframe src={shop.url}/cart></iframe>") as url:
        tab = page.context.new_page()
        tab.goto(url)
        tab.frame_locator("iframe").get_by_role("heading", name="Your cart").wait_for()
    page.reload()
    arrives(page, "Payment")
    pay(page)
    assert shop.books == ONE_ORDER


class Merchant:
    """Sends its customers to a payment page on another site. `did`: the orders that it took, and who came back."""

    home = provider = ""

    def __init__(self) -> None:
        self.did: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        what = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        leads = {"POST /order": self.provider, "GET /paid": "/thanks", "POST /paid": "/thanks"}
        if what in leads:
            self.did.append(what)
            start_response("303 See Other", [("Location", leads[what])])
            return [b""]
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [f"<!doctype html><title>{what}</title><h1>{what}</h1><form method=post><button>Order</button>".encode()]


RETURN = {
    "/order": {"to": ["/paid"], "once": True, "accept": ["https://bank.test:*"]},
    "/paid": {"to": ["/thanks"], "submit": True},
    "/thanks": {},
}
# The payment page learns its way back from the address, as such pages do.
PROVIDER = """<form id=back><button>Return</button></form><script>
    const asked = new URLSearchParams(location.search), form = document.getElementById("back");
    form.method = asked.get("method"); form.action = asked.get("to");
</script>"""


@contextlib.contextmanager
def paying_elsewhere(page: Any, web: Web, method: str, **options: Any) -> Iterator[Merchant]:
    """A customer who has ordered, stands before the payment page's button, and comes back by *method*."""
    merchant = Merchant()
    guarded = FlowGuard(merchant, RETURN, secret_key=SECRET, **options)
    with other_site(PROVIDER, "bank.test", web) as provider, web.serve(guarded, "shop.test") as merchant.home:
        merchant.provider = f"{provider}?method={method}&to={merchant.home}/paid"
        page.goto(merchant.home + "/order")
        press(page, "Order")
        arrives(page, "Another site")
        yield merchant


def test_who_comes_back_from_a_payment_page_by_a_get_goes_on(person, https):
    with paying_elsewhere(person, https, "get") as merchant:
        press(person, "Return")
        arrives(person, "GET /thanks")
        assert merchant.did == ["POST /order", "GET /paid"]


def test_who_comes_back_from_a_payment_page_by_a_post_brings_no_lax_cookie_and_the_run_is_undisturbed(person, https):
    with paying_elsewhere(person, https, "post") as merchant:
        press(person, "Return")
        arrives(person, "Please start with the first step")
        person.get_by_role("link", name="Go to the first step").click()
        arrives(person, "GET /order")
        press(person, "Order")
        arrives(person, "Another site")  # where the order has led; it is not placed again
        assert merchant.did == ["POST /order"]
        person.goto(merchant.home + "/paid")
        arrives(person, "GET /thanks")
        assert merchant.did == ["POST /order", "GET /paid"]


def test_a_cookie_for_all_sites_comes_back_by_a_post(person, https):
    with paying_elsewhere(person, https, "post", cookie_samesite="None") as merchant:
        press(person, "Return")
        arrives(person, "GET /thanks")
        assert merchant.did == ["POST /order", "POST /paid"]


# --- https -----------------------------------------------------------------------------------------------------------

NAME = "flowguard-flow"


@pytest.fixture
def secure_shop(tmp_path: Path, https: Web) -> Iterator[Place]:
    with opened(tmp_path, at="shop.test", web=https) as place:
        yield place


def test_on_https_a_double_click_and_another_after_back_pay_once(secure_shop, keeper):
    go_to_payment(keeper, secure_shop)
    with secure_shop.bank.slow():
        press(keeper, "Pay", clicks=2)
        secure_shop.door.wait_for("POST /payment", 2)
    arrives(keeper, "Thank you!")
    go_back_to_a_kept_page(keeper, secure_shop, "Payment")
    pay(keeper)
    assert secure_shop.door.count("POST /payment") == 3
    assert secure_shop.books == ONE_ORDER


def test_on_https_the_cookie_is_for_this_host_alone_and_no_script_sees_it(secure_shop, person):
    person.goto(secure_shop.url + "/cart")
    (kept,) = (cookie for cookie in person.context.cookies() if NAME in cookie["name"])
    expected = {"name": f"__Host-{NAME}", "domain": "shop.test", "path": "/", "secure": True, "httpOnly": True}
    assert expected.items() <= kept.items()
    assert (kept["sameSite"], kept["expires"]) == ("Lax", -1)  # it goes when the browser is closed
    assert person.evaluate("document.cookie") == ""


def test_on_https_what_is_asked_for_in_advance_moves_nobody(secure_shop, person):
    go_to_payment(person, secure_shop)
    for kind, path in zip(PURPOSES, ("/cart", "/shipping", "/done")):
        ask_in_advance(person, secure_shop, kind, path)
    assert secure_shop.books == NOTHING
    pay(person)
    assert secure_shop.door.count("GET /done") == 1
    assert secure_shop.books == ONE_ORDER


@pytest.fixture(scope="module")
def paying(people: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cookie's value that a shop with the same secret gave to somebody who has come as far as the payment."""
    with opened(tmp_path_factory.mktemp("elsewhere")) as shop, visiting(people) as page:
        go_to_payment(page, shop)
        return str(next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == NAME))


def toss(page: Any, web: Web, host: str, *cookies: str) -> None:
    """Take *page* to *host*, which sets the *cookies*."""

    def application(_environ: Any, start_response: Any) -> list[bytes]:
        headers = [("Set-Cookie", cookie) for cookie in cookies]
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), *headers])
        return [b"<!doctype html><title>Have some cookies</title>"]

    with web.serve(application, host) as url:
        page.goto(url)


def test_on_http_a_neighbour_can_slip_a_run_under_the_guard(tmp_path, person, paying):
    """What the next tests rest on: the cookie is good, and the browser takes it. (http has no defence against it.)"""
    toss(person, HTTP, "evil.shop.test", f"{NAME}={paying}; Domain=shop.test; Path=/")
    with opened(tmp_path, at="shop.test") as shop:
        person.goto(shop.url + "/payment")
        arrives(person, "Payment")


def goes_on_undisturbed(page: Any, shop: Place) -> None:
    """A visitor who was at the shipping, and now has two cookies for the payment; one is of the guard's own name."""
    page.goto(shop.url + "/payment")
    arrives(page, "Shipping")
    names = [cookie["name"] for cookie in page.context.cookies(shop.url + "/payment")]
    assert sorted(name for name in names if NAME in name) == [f"__Host-{NAME}", NAME]
    give_address(page)
    pay(page)
    assert shop.books == ONE_ORDER


def test_on_https_what_a_neighbour_sets_changes_nothing(secure_shop, person, https, paying):
    go_to_shipping(person, secure_shop)
    attributes = "Domain=shop.test; Path=/; Secure"
    toss(person, https, "evil.shop.test", f"{NAME}={paying}; {attributes}", f"__Host-{NAME}={paying}; {attributes}")
    goes_on_undisturbed(person, secure_shop)


@pytest.mark.parametrize("path", ["/", "/payment"])
def test_on_https_what_somebody_on_the_way_sets_by_http_changes_nothing(secure_shop, person, paying, path):
    go_to_shipping(person, secure_shop)
    protected = f"__Host-{NAME}={paying}; Path=/"
    toss(person, HTTP, "shop.test", f"{NAME}={paying}; Path={path}", protected, f"{protected}; Secure")
    goes_on_undisturbed(person, secure_shop)
