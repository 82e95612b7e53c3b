"""The pages that answer a refusal, in a real browser: readable by anybody, and doing what they say.

FLOWGUARD_SCREENSHOTS=directory keeps a picture of each, to be looked at.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterable, Iterator

import browser
import pytest
from browser import serving, violations, visiting

from flowguard import refusals, replies
from flowguard.core.passage import Reason
from flowguard.refusals import Form, Refused, answer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SENT = Refused(
    flow="shop", reason="skipped", state="/pay", current="/cart", target="/shop/cart", redirects=True,
    start="/shop/start", submission=True, form=Form.FORM,
)  # fmt: skip
VISIT = SENT._replace(reason="illegal", submission=False, form=Form.PAGE)

PAGES = {
    **{reason.value: (SENT._replace(reason=reason.value, retry_after=600), "conflict") for reason in Reason},
    "first-step": (VISIT._replace(reason="not_started", current=None), "conflict"),
    "result": (SENT._replace(reason="duplicate", led="https://pay.example/thanks"), "conflict"),
    "stuck": (VISIT._replace(stuck=True), "auto"),
    "uncertain": (SENT._replace(reason="duplicate", stuck=True, uncertain=True), "conflict"),
    "looping": (VISIT._replace(looping=True), "auto"),
    "only-a-form": (SENT._replace(redirects=False, target_method="POST"), "auto"),
    "nowhere": (SENT._replace(reason="condition", target=None), "auto"),
}
MOVING = {
    "short-work": (SENT._replace(reason="busy", retry_after=1), "auto"),
    "again": (SENT._replace(reason="duplicate", led="thanks?id=7"), "auto"),
    "visit": (VISIT, "auto"),
}
ARABIC = {"ar": {"skipped": {"title": "خطوة سابقة لم تكتمل", "text": "يرجى إكمال الخطوة السابقة أولاً."}}}


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answers /shop/NAME as the guard would answer that refusal; every other page is the application's own."""
    name = environ["PATH_INFO"].rpartition("/")[2]
    if name in PAGES or name in MOVING:
        replies.drain(environ)
        refused, how = {**PAGES, **MOVING}[name]
        return replies.send(answer(refused, environ, how, ARABIC), environ, start_response)
    if name == "too-large":
        return replies.send(refusals.too_large(environ), environ, start_response)
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    body = f"<title>{environ['REQUEST_METHOD']} {name}</title><form method=post action=/shop/{name}><button>"
    return [body.encode()]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(application) as served:
        yield served + "/shop/"


def look(page: Any, name: str) -> None:
    directory = os.environ.get("FLOWGUARD_SCREENSHOTS")
    if directory:
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)


def fits(page: Any) -> bool:
    """Nobody has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


SIZES = {"phone": {"width": 320, "height": 640}, "desktop": {"width": 1280, "height": 800}}
# Every two of them meet in one of these.
LOOKS = [("phone", "light", "de"), ("phone", "dark", "en"), ("desktop", "light", "en"), ("desktop", "dark", "de")]


@pytest.mark.parametrize(("size", "scheme", "lang"), LOOKS, ids=["-".join(look) for look in LOOKS])
def test_every_page_is_accessible_and_fits(chromium, url, size, scheme, lang):
    with visiting(chromium, viewport=SIZES[size], color_scheme=scheme, locale=lang) as page:
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        for name in [*PAGES, "too-large"]:
            response = page.goto(url + name)
            look(page, f"{name}-{lang}-{scheme}-{size}")
            assert response.status in (409, 413, 503)
            assert page.locator("html").get_attribute("lang") == lang
            assert page.locator("main h1").inner_text() == page.title()
            assert fits(page), name
            assert violations(page) == [], name
        # Chromium reports the status itself; a style sheet that the policy keeps out would be a complaint too.
        assert [text for text in complaints if "Failed to load resource" not in text] == []


def test_what_looks_for_faults_finds_one(chromium):
    with visiting(chromium) as page:
        page.set_content("<title>x</title><main><h1>x</h1><p style='color:#aaa'>x</p><img src=''></main>")
        found = {line.partition(":")[0] for line in violations(page)}
        assert {"html-has-lang", "color-contrast", "image-alt"} <= found


def test_letters_of_twice_the_size_fit_on_a_phone(chromium, url):
    with visiting(chromium, viewport=SIZES["phone"], locale="de", bypass_csp=True) as page:
        for name in PAGES:
            page.goto(url + name)
            page.add_style_tag(content="html{font-size:200%}")
            look(page, f"{name}-enlarged")
            assert fits(page), name


def test_a_page_is_in_the_visitors_own_direction(chromium, url):
    with visiting(chromium, viewport=SIZES["phone"], locale="ar") as page:
        page.goto(url + "skipped")
        look(page, "skipped-ar")
        assert page.locator("h1").evaluate("e => getComputedStyle(e).direction") == "rtl"
        assert page.locator(".note").evaluate("e => getComputedStyle(e).direction") == "ltr"
        assert violations(page) == []


def test_a_page_on_paper_is_black_on_white(chromium, url):
    with visiting(chromium, color_scheme="dark") as page:
        page.goto(url + "stuck")
        page.emulate_media(media="print")
        look(page, "stuck-print")
        colours = "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
        assert page.locator("main").evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
        assert page.locator("a").first.evaluate(colours) == ["rgb(0, 0, 0)", "rgba(0, 0, 0, 0)"]


def test_the_way_on_is_the_first_thing_that_the_tab_key_finds(chromium, url):
    with visiting(chromium) as page:
        page.goto(url + "stuck")
        page.keyboard.press("Tab")
        look(page, "stuck-focus")
        assert page.locator("a:focus-visible").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.wait_for_url("**/shop/cart")
        assert page.title() == "GET cart"


def test_a_busy_page_goes_on_by_itself_without_scripts(chromium, url):
    with visiting(chromium, java_script_enabled=False) as page:
        page.goto(url + "short-work")
        assert page.title() == "We are still working on it"
        page.wait_for_url("**/shop/cart", timeout=10_000)
        assert page.title() == "GET cart"


@pytest.mark.parametrize(("name", "title"), [("visit", "GET cart"), ("again", "GET thanks")])
def test_a_redirect_is_followed_by_a_get(chromium, url, name, title):
    with visiting(chromium) as page:
        page.goto(url + "form")
        page.locator("form").evaluate("(form, action) => { form.action = action }", name)
        page.locator("button").click()
        page.wait_for_function("document.title.startsWith('GET ') && document.title != 'GET form'")
        assert page.title() == title


def test_a_form_that_is_refused_shows_that_it_was_not_taken(chromium, url):
    with visiting(chromium) as page:
        page.goto(url + "form")
        page.locator("form").evaluate("form => { form.action = 'skipped' }")
        page.locator("button").click()
        page.get_by_text("What you typed was not taken.").wait_for()
        page.get_by_role("link", name="Go on to where you were").click()
        page.wait_for_url("**/shop/cart")


# --- the helper itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["CI", "FLOWGUARD_STRICT"])
def test_what_is_missing_where_nothing_may_be_missing_is_a_failure(monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(pytest.fail.Exception, match="a browser is missing: install one"):
        browser.missing("a browser", "install one")


def test_what_is_missing_elsewhere_is_skipped_with_a_hint(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("FLOWGUARD_STRICT", raising=False)
    with pytest.raises(pytest.skip.Exception, match="a browser is missing: install one"):
        browser.missing("a browser", "install one")
