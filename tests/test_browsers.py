"""A real Chromium before a real server: what people do to a checkout, what its books say then, and what they see.

The shop is the small one of examples/: it charges whenever something is posted to /payment, and sends a parcel whenever
somebody with a filled cart looks at /done. The server is waitress, in this process, so that a test can keep the bank
waiting until the browser has sent what it sends; one test asks gunicorn's processes.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import pytest
from browser import another, profile, visiting
from servers import Gunicorn, waitress_here

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


@contextlib.contextmanager
def opened(directory: Path, guard: Any = FlowGuard, **options: Any) -> Iterator[Place]:
    """The shop behind a guard with *options*, as long as the block runs."""
    bank, database = Bank(), directory / "shop.db"
    door = Door(guard(Shop(database, bank), FLOW, **{"back": "edit", "secret_key": SECRET, **options}))
    with waitress_here(door) as port:
        yield Place(f"http://127.0.0.1:{port}", door, bank, database)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Place]:
    with opened(tmp_path) as place:
        yield place


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    with visiting(chromium) as visited:
        visited.context.set_default_timeout(1000 * PATIENCE)
        yield visited


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
    with opened(tmp_path, guard=lambda application, *_flow, **_options: application) as bare:
        go_to_payment(page, bare)
        with bare.bank.slow():
            press(page, "Pay", clicks=2)
            bare.door.wait_for("POST /payment", 2)
        arrives(page, "Thank you!")
        assert bare.books == Books(charges=2, parcels=1)


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


def test_who_goes_back_after_the_order_and_pays_again_pays_once(shop, chromium):
    """A full Chromium has kept the page alive (bfcache), and shows it without asking; its small sister for machines
    asks again, and is led to the confirmation."""
    with another(chromium, ignore_default_args=["--disable-back-forward-cache"]) as keeping, visiting(keeping) as page:
        order(page, shop)
        asked = len(shop.door.came)
        go_back(page)
        was_kept = page.title() == "Payment"
        assert was_kept == (len(shop.door.came) == asked)
        if was_kept:
            pay(page)
        arrives(page, "Thank you!")
        assert shop.door.count("POST /payment") == 1 + was_kept
        assert shop.books == ONE_ORDER


@pytest.mark.parametrize("back", ["refuse", "view", "edit"])
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


@pytest.fixture(params=PURPOSES)
def ask(request, shop):
    """Makes the page ask for another in advance, and waits until the server has been asked."""

    def advance(page: Any, path: str) -> None:
        page.evaluate(ASK, [request.param, path])
        shop.door.wait_for(f"GET {path}", purpose=PURPOSES[request.param])

    return advance


def test_a_page_that_was_asked_for_in_advance_is_asked_for_again_when_the_visitor_goes_there(shop, page, ask):
    page.goto(shop.url + "/cart")
    ask(page, "/shipping")
    page.get_by_role("link", name="To shipping").click()
    arrives(page, "Shipping")
    assert shop.door.count("GET /shipping") == 1
    order(page, shop)
    assert shop.books == ONE_ORDER


def test_what_is_asked_for_in_advance_moves_nobody(shop, page, ask):
    """Not to the confirmation before the payment, and not back to the start; nor is a page from before shown later."""
    go_to_payment(page, shop)
    ask(page, "/done")
    ask(page, "/cart")
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
# 127.0.0.1 and localhost are two sites for a browser.


@contextlib.contextmanager
def other_site(body: str) -> Iterator[str]:
    """A page on another site; its URL."""

    def application(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [b"<!doctype html><title>Another site</title><h1>Another site</h1>", body.encode()]

    with waitress_here(application, threads=2) as port:
        yield f"http://localhost:{port}/"


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
    "/order": {"to": ["/paid"], "once": True, "accept": ["http://localhost:*"]},
    "/paid": {"to": ["/thanks"], "submit": True},
    "/thanks": {},
}
# The payment page learns its way back from the address, as such pages do.
PROVIDER = """<form id=back><button>Return</button></form><script>
    const asked = new URLSearchParams(location.search), form = document.getElementById("back");
    form.method = asked.get("method"); form.action = asked.get("to");
</script>"""


@contextlib.contextmanager
def paying_elsewhere(page: Any, method: str, **options: Any) -> Iterator[Merchant]:
    """A customer who has ordered, stands before the payment page's button, and comes back by *method*."""
    merchant = Merchant()
    with other_site(PROVIDER) as provider, \
            waitress_here(FlowGuard(merchant, RETURN, secret_key=SECRET, **options)) as port:  # fmt: skip
        merchant.home = f"http://127.0.0.1:{port}"
        merchant.provider = f"{provider}?method={method}&to={merchant.home}/paid"
        page.goto(merchant.home + "/order")
        press(page, "Order")
        arrives(page, "Another site")
        yield merchant


def test_who_comes_back_from_a_payment_page_by_a_get_goes_on(page):
    with paying_elsewhere(page, "get") as merchant:
        press(page, "Return")
        arrives(page, "GET /thanks")
        assert merchant.did == ["POST /order", "GET /paid"]


def test_who_comes_back_from_a_payment_page_by_a_post_brings_no_lax_cookie_and_the_run_is_undisturbed(page):
    with paying_elsewhere(page, "post") as merchant:
        press(page, "Return")
        arrives(page, "Please start with the first step")
        page.get_by_role("link", name="Go to the first step").click()
        arrives(page, "GET /order")
        press(page, "Order")
        arrives(page, "Another site")  # where the order has led; it is not placed again
        assert merchant.did == ["POST /order"]
        page.goto(merchant.home + "/paid")
        arrives(page, "GET /thanks")
        assert merchant.did == ["POST /order", "GET /paid"]


def test_a_cookie_for_all_sites_comes_back_by_a_post(page):
    with paying_elsewhere(page, "post", cookie_samesite="None", cookie_secure=True) as merchant:
        press(page, "Return")
        arrives(page, "GET /thanks")
        assert merchant.did == ["POST /order", "POST /paid"]
