"""A cookie wizard of django-formtools behind examples/formtools.toml, and without it."""

from __future__ import annotations

import json

import pytest
from applications import Site
from person import Person

pytestmark = pytest.mark.slow
APPLICATION = "formtools"

BUTTON = "submit"  # the step's own; the others lead back
STEP = "order_wizard-current_step"
CARD = {"payment-card": "4111"}


def step(person: Person) -> str:
    """The step whose form is shown; "thanks" behind the last."""
    if "Thank you" in person.page.text:
        return "thanks"
    return dict(person.page.form(STEP).fields)[STEP]


def fill(person: Person, **typed: str) -> str:
    """Fill the form that is shown, and click its button. Returns the step that follows."""
    person.submit(person.page.form(STEP), BUTTON, **typed)
    return step(person)


def at_payment(site: Site, street: str) -> Person:
    """Somebody who has come to the last step."""
    person = site.person()
    person.open("/order/")
    assert fill(person, **{"contact-email": "ann@mail.example"}) == "delivery"
    assert fill(person, **{"delivery-street": street}) == "payment"
    return person


def orders(site: Site, street: str) -> int:
    """How many orders were taken for that street."""
    return sum(order["street"] == street for order in json.loads(site.person().open("/orders/").text))


# --- honest ----------------------------------------------------------------------------------------------------------


def test_an_order_with_mistakes_in_every_step_is_taken_once(site: Site, request: pytest.FixtureRequest):
    street = request.node.name
    ann = site.person()
    ann.open("/order/")
    assert fill(ann, **{"contact-email": "no address"}) == "contact"
    assert fill(ann, **{"contact-email": "ann@mail.example"}) == "delivery"
    assert fill(ann, **{"delivery-street": ""}) == "delivery"
    assert fill(ann, **{"delivery-street": street}) == "payment"
    assert fill(ann, **{"payment-card": "1"}) == "payment"
    assert fill(ann, **CARD) == "thanks"
    ann.reload()
    assert step(ann) == "thanks"
    assert (orders(site, street), ann.refused) == (1, [])


def test_the_same_browser_orders_twice(site: Site, request: pytest.FixtureRequest):
    street = request.node.name
    ann = at_payment(site, street)
    assert fill(ann, **CARD) == "thanks"
    ann.open("/order/")
    assert fill(ann, **{"contact-email": "ann@mail.example"}) == "delivery"
    assert fill(ann, **{"delivery-street": street}) == "payment"
    assert fill(ann, **CARD) == "thanks"
    assert (orders(site, street), ann.refused) == (2, [])


def test_the_wizards_own_buttons_lead_back(site: Site, request: pytest.FixtureRequest):
    street = request.node.name
    ann = at_payment(site, "a street that was mistyped")
    ann.submit(ann.page.form(STEP), "delivery")  # "prev step"
    assert step(ann) == "delivery"
    assert fill(ann, **{"delivery-street": street}) == "payment"
    ann.submit(ann.page.form(STEP), "contact")  # "first step"
    assert fill(ann, **{"contact-email": "ann@elsewhere.example"}) == "delivery"
    assert fill(ann) == "payment"  # the street is still there
    assert fill(ann, **CARD) == "thanks"
    assert (orders(site, street), ann.refused) == (1, [])


def test_enter_in_the_second_step_is_a_click_on_first_step(site: Site, request: pytest.FixtureRequest):
    ann = at_payment(site, request.node.name)
    ann.submit(ann.page.form(STEP))  # Enter clicks a form's first button
    assert step(ann) == "contact"
    assert fill(ann) == "delivery"
    assert fill(ann) == "payment"
    assert fill(ann, **CARD) == "thanks"
    assert ann.refused == []


def test_back_and_another_street(site: Site, request: pytest.FixtureRequest):
    street = request.node.name
    ann = at_payment(site, "a street that was mistyped")
    ann.back()
    assert step(ann) == "delivery"
    assert fill(ann, **{"delivery-street": street}) == "payment"
    assert fill(ann, **CARD) == "thanks"
    assert (orders(site, street), ann.refused) == (1, [])


def test_a_page_that_answered_a_form_is_reloaded(site: Site, request: pytest.FixtureRequest):
    ann = site.person()
    ann.open("/order/")
    contact = ann.page.form(STEP)
    assert fill(ann, **{"contact-email": "ann@mail.example"}) == "delivery"
    ann.submit(contact, BUTTON, **{"contact-email": "ann@mail.example"})  # the dialog of the browser was confirmed
    assert step(ann) == "delivery"
    assert fill(ann, **{"delivery-street": request.node.name}) == "payment"
    assert ann.refused == []


def test_a_double_click_in_an_early_step_leads_on(site: Site, request: pytest.FixtureRequest):
    ann = site.person()
    ann.open("/order/")
    ann.double_click(ann.page.form(STEP), BUTTON, **{"contact-email": "ann@mail.example"})
    assert step(ann) == "delivery"
    assert fill(ann, **{"delivery-street": request.node.name}) == "payment"
    assert ann.refused == []


def test_the_order_is_begun_anew_in_the_middle(site: Site, request: pytest.FixtureRequest):
    street = request.node.name
    ann = at_payment(site, "a street that was given up")
    ann.open("/order/")
    assert step(ann) == "contact"
    assert fill(ann, **{"contact-email": "ann@mail.example"}) == "delivery"
    assert fill(ann, **{"delivery-street": street}) == "payment"
    assert fill(ann, **CARD) == "thanks"
    assert (orders(site, street), ann.refused) == (1, [])


def test_the_language_changes_in_the_middle(site: Site, request: pytest.FixtureRequest):
    street = request.node.name
    ann = site.person("fr")
    ann.open("/order/")
    assert fill(ann, **{"contact-email": "ann@mail.example"}) == "delivery"
    ann.language = "en"
    assert fill(ann, **{"delivery-street": street}) == "payment"
    assert "first step" in ann.page.text
    assert fill(ann, **CARD) == "thanks"
    assert (orders(site, street), ann.refused) == (1, [])


def test_two_tabs_order_one_after_the_other(site: Site, request: pytest.FixtureRequest):
    street = request.node.name
    ann = site.person()
    ann.open("/order/")
    tab = ann.page
    ann.open("/order/")
    assert fill(ann, **{"contact-email": "ann@mail.example"}) == "delivery"
    ann.show(tab)
    assert fill(ann, **{"contact-email": "ann@elsewhere.example"}) == "delivery"
    assert fill(ann, **{"delivery-street": street}) == "payment"
    assert fill(ann, **CARD) == "thanks"
    assert (orders(site, street), ann.refused) == (1, [])


# --- not so honest: first without the guard, then with it ------------------------------------------------------------


def test_a_double_click_on_the_last_button_orders_once(bare: Site, guarded: Site):
    assert [double_click(site) for site in (bare, guarded)] == [2, 1]


def double_click(site: Site) -> int:
    ann = at_payment(site, "Double Click Street")
    ann.double_click(ann.page.form(STEP), BUTTON, **CARD)
    assert step(ann) == "thanks"
    return orders(site, "Double Click Street")


def test_cookies_from_before_the_payment_order_nothing_again(bare: Site, guarded: Site):
    assert [replay(site) for site in (bare, guarded)] == [3, 1]


def replay(site: Site) -> int:
    ann = at_payment(site, "Replay Street")
    copies = ann.twin(), ann.twin()
    for person in (ann, *copies):
        person.submit(person.page.form(STEP), BUTTON, **CARD)
        assert step(person) == "thanks"  # a copy is led to where the payment led
    return orders(site, "Replay Street")


def test_the_wizards_cookie_alone_is_no_order(bare: Site, guarded: Site):
    assert [with_the_wizards_cookie_alone(site) for site in (bare, guarded)] == [1, 0]


def with_the_wizards_cookie_alone(site: Site) -> int:
    ann = at_payment(site, "Stolen Street")
    ann.cookies.pop("flowguard-order", None)
    ann.submit(ann.page.form(STEP), BUTTON, **CARD)
    return orders(site, "Stolen Street")


DISGUISES = {
    "twice in the form": lambda form: form.filled(**{STEP: ["contact", "payment"]}),
    "in the query as well": lambda form: form._replace(action=f"?{STEP}=contact"),
    "as what is in the query": lambda form: form._replace(action="?wizard_goto_step=delivery"),
    "under a longer name": lambda form: form._replace(action=f"?{STEP}[]=contact"),
    "with a button that leads nowhere": lambda form: form.filled(wizard_goto_step="nowhere"),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_payment_in_disguise_orders_nothing_again(bare: Site, guarded: Site, disguise: str):
    assert [in_disguise(site, disguise) for site in (bare, guarded)] == [2, 1]


def in_disguise(site: Site, disguise: str) -> int:
    ann = at_payment(site, disguise)
    copy = ann.twin()
    assert fill(ann, **CARD) == "thanks"
    form = DISGUISES[disguise](copy.page.form(STEP).filled(**CARD))
    copy.submit(form, BUTTON)
    return orders(site, disguise)


def test_a_prefetch_forgets_nothing(bare: Site, guarded: Site):
    assert [after_a_prefetch(site) for site in (bare, guarded)] == ["contact", "thanks"]


def after_a_prefetch(site: Site) -> str:
    ann = at_payment(site, "Prefetch Street")
    ann.prefetch("/order/")  # opening the wizard empties it
    return fill(ann, **CARD)
