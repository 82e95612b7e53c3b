"""Registration in Roundup behind examples/roundup.toml, and without it."""

from __future__ import annotations

import itertools
from urllib.parse import urlencode

import pytest
from applications import Site
from person import Form, Page, Person

pytestmark = pytest.mark.slow
APPLICATION = "roundup"

FORM = "/user?@template=register"
PASSWORD = "a password of the tests"
numbers = itertools.count(1)


def someone() -> dict[str, str]:
    """What nobody before has typed into the form."""
    name = f"user{next(numbers)}"
    return {"username": name, "address": f"{name}@mail.example", "password": PASSWORD, "@confirm@password": PASSWORD}


def registration(page: Page) -> Form:
    return page.form("opaqueregister")


def registered(person: Person, typed: dict[str, str]) -> Person:
    """Somebody who has filled the form, and waits for the mail."""
    person.open(FORM)
    person.submit(registration(person.page), **typed)
    assert waits_for_mail(person)
    return person


def waits_for_mail(person: Person) -> bool:
    return person.page.url.endswith("@template=rego_progress")


def welcomed(person: Person) -> bool:
    """A script of the page leads on a second later; without JavaScript, its link does."""
    links = [href for href, _ in person.page.links if "@ok_message" in href]
    return bool(links) and person.open(links[0]).status == 200


# --- honest ----------------------------------------------------------------------------------------------------------


def test_a_registration_with_mistakes_makes_an_account(site: Site):
    ann, typed = site.person(), someone()
    ann.open("/")
    ann.follow("Register")
    ann.submit(registration(ann.page), **{**typed, "@confirm@password": "another"})
    assert "do not match" in ann.page.text
    ann.submit(registration(ann.page), **typed)
    assert waits_for_mail(ann)
    ann.reload()
    assert waits_for_mail(ann)
    ann.open(site.mailed_link(typed["address"]))
    assert welcomed(ann)
    assert (len(site.mailed(typed["address"])), ann.refused) == (1, [])


def test_a_mistyped_address_is_corrected_by_back(site: Site):
    ann, typed = site.person(), someone()
    registered(ann, {**typed, "address": "nobody@mail.example"})
    ann.back()
    ann.reload()
    ann.submit(registration(ann.page), **typed)
    assert waits_for_mail(ann)
    ann.open(site.mailed_link(typed["address"]))
    assert welcomed(ann)
    assert ann.refused == []


def test_the_mail_is_opened_on_the_phone(site: Site):
    ann, phone, typed = site.person(), site.person(), someone()
    registered(ann, typed)
    phone.open(site.mailed_link(typed["address"]))
    assert welcomed(phone)
    assert ann.refused + phone.refused == []


def test_the_link_is_clicked_again(site: Site):
    ann, typed = site.person(), someone()
    registered(ann, typed)
    ann.open(site.mailed_link(typed["address"]))
    ann.reload()
    assert "No such otk" in ann.page.text
    ann.open(FORM)
    ann.open(site.mailed_link(typed["address"]))
    assert "No such otk" in ann.page.text  # Roundup's own answer
    assert ann.refused == []


def test_the_same_browser_registers_a_second_person(site: Site):
    ann = site.person()
    for typed in (someone(), someone()):
        registered(ann, typed)
        ann.open(site.mailed_link(typed["address"]))
        assert welcomed(ann)
        ann.follow("Logout")
    assert ann.refused == []


def test_two_tabs_register_two_people_by_turns(site: Site):
    one, other = someone(), someone()
    ann = site.person()
    tab = ann.open(FORM)
    registered(ann, one)
    ann.show(tab)
    ann.reload()
    ann.submit(registration(ann.page), **other)
    assert waits_for_mail(ann)
    for typed in (one, other):
        ann.open(site.mailed_link(typed["address"]))
        assert welcomed(ann)
    assert ann.refused == []


def test_the_language_changes_and_the_session_is_renewed_in_the_middle(site: Site):
    ann, typed = site.person("fr"), someone()
    registered(ann, typed)
    ann.language = "de"
    ann.open("/")
    ann.submit(ann.page.form("__login_name"), __login_name="admin", __login_password="the password of admin")
    ann.open(site.mailed_link(typed["address"]))  # from here on, she is somebody else
    assert welcomed(ann)
    assert ann.refused == []


def test_an_old_bookmark_has_colons(site: Site):
    ann = site.person()
    ann.open("/user?:template=register")
    ann.submit(registration(ann.page), **someone())
    assert waits_for_mail(ann)
    assert ann.refused == []


def test_the_rest_of_the_tracker_is_as_it_was(site: Site):
    ann = site.person()
    ann.open("/")
    ann.submit(ann.page.form("__login_name"), __login_name="admin", __login_password="the password of admin")
    for page in ("/user", "/user?@template=index", "/user?@template=item", "/issue?@template=item", "/user1", "/home"):
        assert ann.open(page).status == 200
    assert ann.submit(ann.open("/user?@template=forgotten").form("address"), address="a@b.example").status == 200
    assert ann.ask("HEAD", FORM).status == 200
    assert (ann.refused, "flowguard-registration" in ann.cookies) == ([], False)


# --- not so honest: first without the guard, then with it ------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "prefetch"])
def test_a_mail_scanner_does_not_use_the_link_up(bare: Site, guarded: Site, method: str):
    assert [after_a_scanner(site, method) for site in (bare, guarded)] == [False, True]


def after_a_scanner(site: Site, method: str) -> bool:
    ann, scanner, typed = site.person(), site.person(), someone()
    registered(ann, typed)
    link = site.mailed_link(typed["address"])
    if method == "HEAD":
        scanner.ask("HEAD", link)
    else:
        scanner.prefetch(link)
    ann.open(link)
    return welcomed(ann)


def test_a_double_click_without_the_forms_nonce_sends_one_mail(bare: Site, guarded: Site):
    assert [mails_after_a_double_click(site) for site in (bare, guarded)] == [2, 1]


def mails_after_a_double_click(site: Site) -> int:
    ann, typed = site.person(), someone()
    ann.open(FORM)
    ann.double_click(registration(ann.page), **typed, **{"@csrf": None})
    assert waits_for_mail(ann)
    return len(site.mailed(typed["address"]))


def test_who_pressed_stop_and_clicked_again_is_told_to_wait_for_the_mail(bare: Site, guarded: Site):
    assert [is_told_to_wait(site) for site in (bare, guarded)] == [False, True]


def is_told_to_wait(site: Site) -> bool:
    """Or is the nonce of the form complained of, which the first click has used up?"""
    ann, typed = site.person(), someone()
    ann.open(FORM)
    ann.stop_and_submit(registration(ann.page), **typed)
    assert len(site.mailed(typed["address"])) == 1
    return waits_for_mail(ann)


# A bot posts what it once saw in a form, without a session, a form or its nonce.
SPELLINGS = {
    "as the form does": ("/user", {"@action": "register"}),
    "with a colon": ("/user", {":action": "register"}),
    "with both": ("/user", {"@action": "register", ":action": "register"}),
    "with a colon that wins": ("/user", {"@action": "show", ":action": "register"}),
    "in capitals": ("/user", {"@action": "REGISTER"}),
    "in the query": ("/user?@action=register", {}),
    "with another template": ("/user", {"@action": "register", "@template": "item"}),
    "encoded": ("/%75ser?%40action=register", {}),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_bot_that_saw_no_form_registers_nobody(bare: Site, guarded: Site, spelling: str):
    url, fields = SPELLINGS[spelling]
    assert [by_a_bot(site, url, fields) for site in (bare, guarded)] == [1, 0]


def by_a_bot(site: Site, url: str, fields: dict[str, str]) -> int:
    """The mails that it causes."""
    typed = someone()
    body = urlencode({**typed, **fields}).encode()
    bot = site.person()
    bot.answer(bot.start("POST", url, body, {"Content-Type": "application/x-www-form-urlencoded"}))
    return len(site.mailed(typed["address"]))
