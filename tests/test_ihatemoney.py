"""I Hate Money behind examples/ihatemoney.toml, and without it."""

from __future__ import annotations

import itertools
import json
import sys

import pytest
from applications import Site
from person import Form, Page, Person

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info < (3, 11), reason="I Hate Money 7 needs Python 3.11"),
]
APPLICATION = "ihatemoney"

CODE = "a code of the tests"
numbers = itertools.count(1)


# --- what people do --------------------------------------------------------------------------------------------------


def project() -> dict[str, str]:
    return {"name": f"trip{next(numbers)}", "password": CODE, "contact_email": "ann@mail.example"}


def creation(page: Page) -> Form:
    return page.form("contact_email")


def founder(site: Site) -> tuple[Person, str]:
    """Ann, who has a project with herself and Ben in it, and the address of that."""
    ann = site.person()
    ann.open("/create")
    home = ann.submit(creation(ann.page), **project()).url
    for name in ("Ann", "Ben"):
        ann.submit(ann.page.form("name", action="members/add"), name=name)
    assert ann.page.url == home
    return ann, home


def bill(page: Page, amount: str = "30", what: str = "Pizza") -> Form:
    """The form for a bill that Ann paid for both."""
    form = page.form("payed_for")
    paid_by = min(value for name, value in form.fields if name == "payed_for")
    return form.filled(what=what, amount=amount, payer=paid_by, date="2026-11-01")


def correct(person: Person, home: str, amount: str) -> None:
    """The latest bill."""
    person.open(home)
    person.follow("/edit/")
    person.submit(bill(person.page, amount), "submit")


def enter(person: Person, home: str, amount: str = "30") -> None:
    person.open(home + "add")
    person.submit(bill(person.page, amount), "submit")


def debt(page: Page) -> Form:
    """The button that settles the first debt of the list."""
    return page.form("sender_id")


def amounts(person: Person, home: str) -> list[float]:
    """Of all bills, settlements among them, oldest first."""
    bills = json.loads(person.ask("GET", home + "export/bills.json").text)
    return sorted(one["amount"] for one in bills)


def is_settled(person: Person, home: str) -> bool:
    return "sender_id" not in person.ask("GET", home + "settle_bills").text


# --- honest ----------------------------------------------------------------------------------------------------------


def test_a_project_from_the_first_bill_to_the_last_debt(site: Site):
    ann = site.person()
    ann.open("/create")
    trip = project()
    ann.submit(creation(ann.page), **{**trip, "password": ""})
    assert ann.page.url == "/create"  # the form again
    home = ann.submit(creation(ann.page), **trip).url
    assert home == f"/{trip['name']}/"
    for name in ("Ann", "Ben"):
        ann.submit(ann.page.form("name", action="members/add"), name=name)
    ann.open(home + "add")
    ann.submit(bill(ann.page, "much"), "submit")
    assert ann.page.url == home + "add"  # the form again
    ann.submit(bill(ann.page, "30"), "submit")
    ann.reload()
    assert ann.page.url == home
    ann.open(home + "settle_bills")
    ann.submit(debt(ann.page))
    ann.reload()
    assert amounts(ann, home) == [15, 30]
    assert is_settled(ann, home)
    assert ann.refused == []


def test_a_project_is_made_from_the_first_page_and_another_after_it(site: Site):
    ann = site.person()
    for trip in (project(), project()):
        ann.open("/")
        assert ann.submit(creation(ann.page), **trip).url == f"/{trip['name']}/"
    ann.back()
    trip = project()
    assert ann.submit(creation(ann.page), **trip).url == f"/{trip['name']}/"
    assert ann.refused == []


def test_several_bills_one_after_the_other(site: Site):
    ann, home = founder(site)
    ann.open(home)
    ann.submit(bill(ann.page, "1"), "submit")  # the form of the list, which a script shows
    ann.submit(bill(ann.page, "2"), "submit2")  # "and add a new one"
    ann.submit(bill(ann.page, "3"), "submit2")
    ann.back()
    ann.submit(bill(ann.page, "4"), "submit")
    enter(ann, home, "4")  # the same again
    assert amounts(ann, home) == [1, 2, 3, 4, 4]
    assert ann.refused == []


def test_a_bill_is_given_up_and_corrected_and_taken_out(site: Site):
    ann, home = founder(site)
    ann.open(home + "add")
    ann.open(home)
    enter(ann, home, "30")
    edit = ann.follow("/edit/").url
    ann.submit(bill(ann.page, "many"), "submit")
    assert ann.page.url == edit
    ann.submit(bill(ann.page, "40"), "submit")
    assert amounts(ann, home) == [40]
    ann.submit(ann.page.form("csrf_token", action="/delete/"))
    assert amounts(ann, home) == []
    assert ann.refused == []


def test_a_debt_that_was_looked_at_long_ago_is_settled(site: Site):
    ann, home = founder(site)
    enter(ann, home)
    settling = ann.open(home + "settle_bills")
    for page in ("", "statistics", "add", "history", "edit"):
        assert ann.open(home + page).status == 200
    ann.back()
    ann.show(settling)
    ann.submit(debt(ann.page))
    assert is_settled(ann, home)
    assert ann.refused == []


def test_many_projects_in_many_tabs(site: Site):
    ann, first = founder(site)
    homes = [first]
    for _ in range(2):
        ann.open("/create")
        homes.append(ann.submit(creation(ann.page), **project()).url)
        for name in ("Ann", "Ben"):
            ann.submit(ann.page.form("name", action="members/add"), name=name)
    for home in homes:
        enter(ann, home)
    tabs = [ann.open(home + "settle_bills") for home in homes]
    for tab in tabs:
        ann.show(tab)
        ann.submit(debt(ann.page))
    assert all(is_settled(ann, home) for home in homes)
    assert ann.refused == []


def test_the_language_changes_in_the_middle_of_a_bill(site: Site):
    ann, home = founder(site)
    ann.open(home + "add")
    ann.follow("/lang/fr")
    assert (ann.page.url, "Qui a payé" in ann.page.text) == (home + "add", True)
    ann.submit(bill(ann.page), "submit")
    assert amounts(ann, home) == [30]
    assert ann.refused == []


def test_the_session_is_over_and_a_login_renews_it(site: Site):
    ann, home = founder(site)
    enter(ann, home)
    ann.open(home + "settle_bills")
    stale = debt(ann.page)
    ann.cookies.pop("session")
    ann.submit(stale)
    assert ann.page.url.startswith("/authenticate")
    ann.submit(ann.page.form("password", action=""), password="another code")
    ann.submit(ann.page.form("password"), password=CODE)
    assert ann.page.url == home
    ann.open(home + "settle_bills")
    ann.submit(debt(ann.page))
    assert is_settled(ann, home)
    assert ann.refused == []


def test_a_friend_comes_by_an_invitation(site: Site):
    ann, home = founder(site)
    ann.open(home + "invite")
    invitation = next(href for href, _ in ann.page.links if "/join/" in href)
    ben = site.person("fr")
    ben.open(invitation)
    assert ben.page.url == home
    ben.submit(bill(ben.page), "submit")
    ben.open(home + "settle_bills")
    ben.submit(debt(ben.page))
    assert is_settled(ann, home)
    assert ann.refused + ben.refused == []


def test_probes_and_prefetches_change_nothing(site: Site):
    ann, home = founder(site)
    enter(ann, home)
    ann.open(home + "settle_bills")
    for page in ("/", "/favicon.ico", home, home + "add", home + "settle_bills"):
        assert ann.ask("HEAD", page).status == 200
        ann.prefetch(page)
    ann.submit(debt(ann.page))
    assert is_settled(ann, home)
    assert ann.refused == []


# --- not so honest: first without the guard, then with it ------------------------------------------------------------


def test_a_bill_is_entered_once_by_a_double_click(bare: Site, guarded: Site):
    assert [double_bill(site) for site in (bare, guarded)] == [[30, 30], [30]]


def double_bill(site: Site) -> list[float]:
    ann, home = founder(site)
    ann.open(home)
    ann.double_click(bill(ann.page), "submit")
    assert ann.page.url == home
    return amounts(ann, home)


def test_a_debt_is_settled_once_by_a_double_click(bare: Site, guarded: Site):
    assert [double_settlement(site) for site in (bare, guarded)] == [[15, 15, 30], [15, 30]]


def double_settlement(site: Site) -> list[float]:
    ann, home = founder(site)
    enter(ann, home)
    ann.open(home + "settle_bills")
    ann.double_click(debt(ann.page))
    assert ann.page.url == home + "settle_bills"
    return amounts(ann, home)


def test_who_pressed_stop_and_clicked_again_is_led_to_the_project_that_was_made(bare: Site, guarded: Site):
    assert [is_led_to_the_project(site) for site in (bare, guarded)] == [False, True]


def is_led_to_the_project(site: Site) -> bool:
    """Or to the complaint that it exists? The session is lost with the first answer, so the code is asked for."""
    ann, trip = site.person(), project()
    ann.open("/create")
    ann.stop_and_submit(creation(ann.page), **trip)
    if ann.page.url == "/create":
        return False
    return ann.submit(ann.page.form("password"), password=CODE).url == f"/{trip['name']}/"


CHANGES = {
    "another bill": lambda ann, home: enter(ann, home, "10"),
    "a bill that was corrected": lambda ann, home: correct(ann, home, "40"),
    "a bill that was taken out": lambda ann, home: ann.submit(ann.open(home).form("csrf_token", action="/delete/")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_debt_is_not_settled_as_it_was_before_the_bills_changed(bare: Site, guarded: Site, change: str):
    assert [settled_too_late(site, change) for site in (bare, guarded)] == [False, True]


def settled_too_late(site: Site, change: str) -> bool:
    """Is all settled in the end? In one tab, the debts are shown; in another, the bills change."""
    ann, home = founder(site)
    enter(ann, home)
    shown = ann.open(home + "settle_bills")
    CHANGES[change](ann, home)
    ann.show(shown)
    ann.submit(debt(ann.page))
    if ann.page.reason is not None and not is_settled(ann, home):
        ann.submit(debt(ann.open(home + "settle_bills")))
    return is_settled(ann, home)


def test_a_debt_is_not_settled_unseen(bare: Site, guarded: Site):
    assert [settled_unseen(site) for site in (bare, guarded)] == [[15, 15, 30], [15, 30]]


def settled_unseen(site: Site) -> list[float]:
    """A form that was kept, sent again in a later visit."""
    ann, home = founder(site)
    enter(ann, home)
    ann.open(home + "settle_bills")
    kept = debt(ann.page)
    ann.submit(kept)
    later = ann.twin()
    later.cookies = {"session": ann.cookies["session"]}
    later.submit(kept)
    return amounts(ann, home)
