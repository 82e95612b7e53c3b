"""Cookies that no honest browser brings, through the whole guard.

Whatever stands in a Cookie header opens nothing but what is open to somebody without a cookie or to whom the run
belongs; it is never an error; and the neighbours' cookies reach the application byte for byte. Every request of these
tests is looked at for that (`Shop.ask`).
"""

from __future__ import annotations

import base64
import functools
import itertools
import os
from typing import Any, Callable, NamedTuple, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from visitor import NOON, SECRET, Application, Clock, Visitor, led

from flowguard import Flow, FlowGuard

DEEP = 20 if os.environ.get("FLOWGUARD_DEEP") == "1" else 1
OTHER = "5f0d7cb1294e8a635f0d7cb1294e8a63"
NAME = "flowguard-flow"
HOST_NAME = f"__Host-{NAME}"
SHOP: dict[str, Any] = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/pay"], "submit": True},
    "/pay": {"to": ["/done"], "once": True},
    "/done": {},
    "/voucher": {"within": ["/pay"]},
}
ANSWERS = {"POST /shipping": led("/pay"), "POST /pay": led("/done")}
WALK = ("GET /cart", "GET /shipping", "POST /shipping", "GET /pay")
# Nothing of these changes the run of somebody who stands at /pay ...
SAFE = ("GET /pay", "HEAD /pay", "GET /voucher", "GET /elsewhere")
# ... and these must not pass with somebody's run that is not one's own; but for the first, with none at all.
PROBES = ("GET /cart", *SAFE, "POST /pay", "GET /done")


class Got(NamedTuple):
    """What a request came to. token: of the run's cookie, if one was set."""

    reached: bool
    status: int
    reason: Optional[str]
    token: Optional[str]


class Shop:
    """A guarded shop. `token` is the cookie of a visitor who stands at /pay, `older` the same visitor's at /shipping.

    options: the guard's. environ: what every request of this shop has beside the usual.
    """

    def __init__(self, flow: Any = SHOP, environ: Optional[dict[str, Any]] = None, **options: Any) -> None:
        self.app = Application()
        self.app.answers.update(ANSWERS)
        guard = FlowGuard(self.app, flow, **{"secret_key": SECRET, "clock": Clock(), **options})
        self.client = Visitor(guard, https=(environ or {}).get("wsgi.url_scheme") == "https", check=False)
        self._environ = environ or {}
        self.name = HOST_NAME if self.client.https else NAME
        self.ours = {self.name, f"{self.name}-note"}
        self.older = ""

    def walked(self, *steps: str) -> Shop:
        jar = ""
        for step in steps or WALK:
            self.older = jar.partition("=")[2] if step == "GET /pay" else self.older
            token = self.ask(jar or None, step).token
            jar = jar if token is None else f"{self.name}={token}"
        self.token = jar.partition("=")[2]
        self.nobody = {probe: self.ask(None, probe) for probe in PROBES}
        self.rightful = {probe: self.ask(jar, probe) for probe in SAFE}
        return self

    def ask(self, cookie: Optional[str], step: str, **more: Any) -> Got:
        method, path = step.split()
        self.app.seen.clear()
        response = self.client.send(
            self.client.environ(method, path, **{**self._environ, "HTTP_COOKIE": cookie, **more})
        )
        self.client.jar.clear()
        assert response.status < 500, (cookie, step, response)
        assert {header.partition("=")[0] for header in response.cookies} <= self.ours, (cookie, step, response.cookies)
        assert len(self.app.seen) <= 1
        for seen in self.app.seen:
            assert seen.environ.get("HTTP_COOKIE") == cookie, (cookie, step)
        mine = [header.partition("=")[2].partition(";")[0] for header in response.cookies]
        token = next((value for value in mine if value.count(".") > 2), None)
        return Got(bool(self.app.seen), *response.verdict, token)

    def is_worth_nothing(self, cookie: str, probes: tuple[str, ...] = PROBES) -> None:
        """Everything is as if there were no cookie; a run that begins is another than the rightful one."""
        for probe in probes:
            got, nobody = self.ask(cookie, probe), self.nobody[probe]
            assert (got.reached, got.status) == (nobody.reached, nobody.status), (cookie, probe, got)
            assert got.token is None or got.token.split(".")[1] != self.token.split(".")[1], (cookie, probe)

    def opens_no_more_than_the_token(self, cookie: str) -> None:
        for probe in SAFE:
            got = self.ask(cookie, probe)
            assert got.reached <= max(self.nobody[probe].reached, self.rightful[probe].reached), (cookie, probe, got)

    def is_as_good_as_the_token(self, cookie: str) -> None:
        for probe in SAFE:
            got, rightful = self.ask(cookie, probe), self.rightful[probe]
            assert (got.reached, got.status, got.reason) == (rightful.reached, rightful.status, rightful.reason), (
                cookie, probe, got,
            )  # fmt: skip


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop().walked()


def test_the_visitor_of_these_tests_stands_before_the_payment(shop: Shop):
    """So that it shows if a cookie opens what it should not, or does not open what it should."""
    assert {probe: got.reached for probe, got in shop.rightful.items()} == dict.fromkeys(SAFE, True)
    open_to_nobody = [probe for probe, got in shop.nobody.items() if got.reached]
    assert open_to_nobody == ["GET /cart", "GET /elsewhere"]
    assert Shop().walked().ask(f"{NAME}={shop.token}", "POST /pay").reached


# --- a token that was touched ----------------------------------------------------------------------------------------


def test_every_flipped_bit_makes_it_worth_nothing(shop: Shop):
    token = shop.token
    for place, bit in itertools.product(range(len(token)), range(8)):
        shop.is_worth_nothing(f"{NAME}={token[:place]}{chr(ord(token[place]) ^ 1 << bit)}{token[place + 1 :]}")


def test_every_character_that_is_lost_doubled_or_swapped_makes_it_worth_nothing(shop: Shop):
    token = shop.token
    for place in range(len(token)):
        before, char, after = token[:place], token[place], token[place + 1 :]
        for touched in (before, after, before + after, before + char + char + after, after + char + before):
            if touched != token:
                shop.is_worth_nothing(f"{NAME}={touched}")
        if after and after[0] != char:
            shop.is_worth_nothing(f"{NAME}={before}{after[0]}{char}{after[1:]}")


def test_parts_in_another_order_or_of_another_token_are_worth_nothing(shop: Shop):
    parts, older = shop.token.split("."), shop.older.split(".")
    assert len(parts) == len(older) > 10
    places = range(len(parts))
    orders = [[*parts[:a], parts[b], *parts[a + 1 : b], parts[a], *parts[b + 1 :]]
              for a, b in itertools.combinations(places, 2)]  # fmt: skip
    orders += [[*parts[place:], *parts[:place]] for place in places]
    orders += [parts[::-1]]
    orders += [[*parts[:place], *parts[place + 1 :]] for place in places]
    orders += [[*parts[: place + 1], *parts[place:]] for place in places]
    orders += [[*one[:place], *other[place:]] for place in places for one, other in ((parts, older), (older, parts))]
    for order in orders:
        if order not in (parts, older):
            shop.is_worth_nothing(f"{NAME}={'.'.join(order)}")


# What somebody's decoder, parser or filter skips, ends at, or takes for something else.
INTRUDERS = "=!\"'%\\+/-_.~\x00\t\n\r\x0b\x0c\x1f\x7f\x85\xa0\xad\xff"


def test_a_character_that_slips_in_makes_it_worth_nothing(shop: Shop):
    for place, char in itertools.product(range(len(shop.token) + 1), INTRUDERS):
        touched = f"{shop.token[:place]}{char}{shop.token[place:]}"
        if not (char == "\t" and place == len(shop.token)):  # that ends the value, and is no part of it
            shop.is_worth_nothing(f"{NAME}={touched}", ("GET /cart", "POST /pay"))


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_every_other_spelling_of_the_same_signature_is_worth_nothing(shop: Shop):
    """The last of 43 characters holds four bits: four letters mean the same bytes to a lax decoder."""
    value, _, signature = shop.token.rpartition(".")
    wanted = base64.urlsafe_b64decode(f"{signature}=")
    twins = [f"{signature[:-1]}{letter}" for letter in ALPHABET]
    same = [twin for twin in twins if base64.urlsafe_b64decode(f"{twin}=") == wanted]
    assert len(same) == 4
    spellings = [*same, f"{signature}=", f"{signature}==", f"{signature}=AAAA", signature.replace("-", "+"),
                 signature.replace("_", "/"), wanted.hex(), base64.b32encode(wanted).decode()]  # fmt: skip
    for spelling in {*spellings} - {signature}:
        shop.is_worth_nothing(f"{NAME}={value}.{spelling}")


WRAPPINGS: dict[str, Callable[[str], str]] = {
    "quoted": '"{}"'.format,
    "quoted on one side": '"{}'.format,
    "single quotes": "'{}'".format,
    "percent-encoded": lambda token: token.replace(".", "%2E"),
    "octal escapes in quotes": lambda token: '"' + token.replace(".", "\\056") + '"',
    "an array of PHP's": "[0]={}".format,
    "doubled": lambda token: token * 2,
    "another case": str.swapcase,
    "reversed": lambda token: token[::-1],
    "after a NUL": "\0{}".format,
    "before a NUL": "{}\0".format,
    "before a NUL and an attribute": "{}\0; Path=/".format,
    "as UTF-16": lambda token: token.encode("utf-16").decode("latin-1"),
    "in full-width letters": lambda token: "".join(chr(ord(char) + 0xFEE0) for char in token),
    "with a lone surrogate": "{}\udcff".format,
    "beyond Latin-1": "{}\u20ac".format,
    "200 kB after it": lambda token: token + "A" * 200_000,
    "200 kB before it": lambda token: "A" * 200_000 + token,
    "200 kB of dots": lambda token: token[:4] + "." * 200_000,
    "200 kB within": lambda token: token[:60] + "A" * 200_000 + token[60:],
    "4 kB with a right head": lambda token: token[:4] + "A" * 4000,
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_a_token_in_a_wrapping_is_worth_nothing(shop: Shop, wrap: Callable[[str], str]):
    shop.is_worth_nothing(f"{NAME}={wrap(shop.token)}")


# --- a token that is somebody else's, or of another time -------------------------------------------------------------

OTHERS: dict[str, Callable[[], tuple[Shop, str]]] = {}


def of_another(function: Callable[[], tuple[Shop, str]]) -> Callable[[], tuple[Shop, str]]:
    OTHERS[function.__name__.replace("_", " ")] = function
    return function


@of_another
def a_key_that_is_none_of_ours() -> tuple[Shop, str]:
    return Shop().walked(), Shop(secret_key=OTHER).walked().token


@of_another
def a_key_that_was_retired() -> tuple[Shop, str]:
    old = Shop(secret_key=[OTHER, SECRET]).walked().token
    return Shop(secret_key="0e1d2c3b4a5968778695a4b3c2d1e0f0").walked(), old


@of_another
def a_key_that_was_retired_and_signs_no_more() -> tuple[Shop, str]:
    return Shop(secret_key=[SECRET, "0e1d2c3b4a5968778695a4b3c2d1e0f0"]).walked(), Shop(secret_key=OTHER).walked().token


@of_another
def another_flow_with_the_same_paths() -> tuple[Shop, str]:
    return Shop().walked(), Shop(name="other", cookie_name=NAME).walked().token


@of_another
def another_flow_of_the_same_guard() -> tuple[Shop, str]:
    def shops() -> Shop:
        other = {f"/other{path}": {**state, "to": [f"/other{to}" for to in state.get("to", [])]}
                 for path, state in SHOP.items() if path != "/voucher"}  # fmt: skip
        shop = Shop([Flow(SHOP), Flow(other, name="other")])
        shop.ours |= {"flowguard-other", "flowguard-other-note"}
        shop.app.answers["POST /other/shipping"] = led("/other/pay")
        return shop

    return shops().walked(), shops().walked("GET /other/cart", "GET /other/shipping", "POST /other/shipping").token


@of_another
def another_user() -> tuple[Shop, str]:
    ann = Shop(environ={"REMOTE_USER": "ann"}, bind="REMOTE_USER").walked()
    return Shop(environ={"REMOTE_USER": "bob"}, bind="REMOTE_USER").walked(), ann.token


@of_another
def a_user_and_nobody_is_there() -> tuple[Shop, str]:
    ann = Shop(environ={"REMOTE_USER": "ann"}, bind="REMOTE_USER").walked()
    return Shop(bind="REMOTE_USER").walked(), ann.token


@of_another
def a_clock_that_was_ahead() -> tuple[Shop, str]:
    return Shop().walked(), Shop(clock=Clock(NOON + 61)).walked().token


@of_another
def a_clock_that_was_far_ahead() -> tuple[Shop, str]:
    return Shop().walked(), Shop(clock=Clock(NOON * 1000)).walked().token


@of_another
def a_clock_that_was_behind() -> tuple[Shop, str]:
    return Shop().walked(), Shop(clock=Clock(NOON - 14_461)).walked().token


@of_another
def a_clock_that_stood_still() -> tuple[Shop, str]:
    return Shop().walked(), Shop(clock=Clock(0)).walked().token


@of_another
def a_clock_before_all_time() -> tuple[Shop, str]:
    return Shop().walked(), Shop(clock=Clock(-1e9)).walked().token


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_token_of(other: Callable[[], tuple[Shop, str]]):
    """… is worth nothing, and beside the rightful one it opens nothing more."""
    shop, token = other()
    assert token
    shop.is_worth_nothing(f"{shop.name}={token}")
    for pair in itertools.permutations([token, shop.token]):
        shop.opens_no_more_than_the_token("; ".join(f"{shop.name}={one}" for one in pair))


ORDERS: dict[str, Any] = {
    "/orders/<id>": {"to": ["/orders/<id>/pay"], "submit": True},
    "/orders/<id>/pay": {"to": ["/orders/<id>/done"], "once": True},
    "/orders/<id>/done": {},
}


def test_a_token_of_another_order_opens_nothing_under_whichever_name_it_comes():
    visitor = Visitor(FlowGuard(Application(), ORDERS, secret_key=SECRET, clock=Clock(), instance="id"), check=False)
    app: Any = visitor.app
    app.app.answers.update({"POST /orders/7": led("/orders/7/pay"), "POST /orders/8": led("/orders/8/pay")})
    visitor.get("/orders/8")
    (eight,) = visitor.jar.items()
    visitor.jar.clear()
    visitor.get("/orders/7")
    visitor.post("/orders/7")
    (seven,) = visitor.jar.items()
    for names in itertools.product([seven[0], eight[0], NAME, f"{NAME}-", f"{NAME}-{'A' * 8}"], repeat=2):
        for tokens in itertools.permutations([seven[1], eight[1]]):
            visitor.jar.clear()
            header = "; ".join(f"{name}={token}" for name, token in zip(names, tokens))
            assert not visitor.call("GET", "/orders/8/pay", HTTP_COOKIE=header).status < 300, header
            assert not visitor.call("POST", "/orders/8/pay", HTTP_COOKIE=header).status < 300, header
            pay = visitor.call("GET", "/orders/7/pay", HTTP_COOKIE=header)
            assert (pay.status == 200) == (seven in list(zip(names, tokens))), header


# --- several, and how servers join them ------------------------------------------------------------------------------

JOINTS = {"gunicorn, werkzeug, wsgiref": ",", "waitress, uWSGI": ", ", "gevent, browsers": "; ", "granian": ";"}
ODD_JOINTS = ["", " ", "\t", " , ", ",,", "; ,", "&", "|", "\n", "\r\n", "\0", "\x0b", "\xa0", "; $Path=/; "]


@pytest.mark.parametrize("joint", JOINTS.values(), ids=JOINTS)
def test_among_others_of_its_name_the_rightful_one_counts_however_a_server_joins_them(shop: Shop, joint: str):
    others = [shop.older, shop.token[:-1], "forged", "", f'"{shop.token}"', f"{shop.token}=", "a=b", "\xff\x00"]
    for chosen in itertools.permutations([shop.token, *others], 3):
        header = joint.join(f"{NAME}={value}" for value in chosen)
        if shop.token in chosen or shop.older in chosen:  # the ledger knows what is newest
            shop.is_as_good_as_the_token(header)
        else:
            shop.is_worth_nothing(header, SAFE)


@pytest.mark.parametrize("joint", ODD_JOINTS, ids=ascii)
def test_what_nobody_joins_by_opens_nothing_more(shop: Shop, joint: str):
    for chosen in itertools.permutations([shop.token, shop.older, "forged"]):
        shop.opens_no_more_than_the_token(joint.join(f"{NAME}={value}" for value in chosen))


@pytest.mark.parametrize("joint", JOINTS.values(), ids=JOINTS)
def test_without_a_ledger_the_newest_of_them_counts_all_the_same(joint: str):
    flow = {path: {**state, "once": False, "submit": "once" in state or "submit" in state} if "to" in state else state
            for path, state in SHOP.items()}  # fmt: skip
    shop = Shop(flow, ledger=None).walked()
    assert not shop.ask(f"{NAME}={shop.token[:-1]}", "GET /pay").reached
    for order in itertools.permutations([shop.token, shop.older, "forged"]):
        shop.is_as_good_as_the_token(joint.join(f"{NAME}={value}" for value in order))


@pytest.mark.parametrize("joint", [*JOINTS.values(), "\t"], ids=ascii)
def test_a_flood_of_tossed_cookies_opens_nothing(shop: Shop, joint: str):
    for count in (7, 8, 9, 500):
        forged = [f"{NAME}=1zz.{number}.x" for number in range(count)]
        shop.is_worth_nothing(joint.join(forged))
        shop.opens_no_more_than_the_token(joint.join([*forged, f"{NAME}={shop.token}"]))


# --- under our name, or nearly ---------------------------------------------------------------------------------------

SEPARATORS = ";, \t"


def test_every_byte_around_the_name_and_the_value_opens_nothing_more(shop: Shop):
    """Only what parts cookies in a header may stand there, and then they are two."""
    for byte in map(chr, range(256)):
        forms = [f"{byte}{NAME}={shop.token}", f"x{byte}{NAME}={shop.token}", f"{NAME}={shop.token}{byte}",
                 f"{NAME}={shop.token}{byte}x=1"]  # fmt: skip
        for header in forms:
            if byte in SEPARATORS:
                shop.opens_no_more_than_the_token(header)
            else:
                shop.is_worth_nothing(header, SAFE)
        if byte != "=":
            shop.is_worth_nothing(f"{NAME}{byte}={shop.token}", SAFE)
        shop.is_worth_nothing(f"{NAME}={byte}{shop.token}", SAFE)


NEARLY = [
    NAME.upper(), NAME.title(), f"__Host-{NAME}", f"__Secure-{NAME}", f"{NAME}-note", f"{NAME}2", f"{NAME}[0]",
    f"${NAME}", f"{NAME[:-1]}%77", NAME.replace("-", "_"), NAME.replace("-", "."), NAME.replace("l", "\xcc"),
    f'"{NAME}"', "",
]  # fmt: skip


@pytest.mark.parametrize("name", NEARLY)
def test_a_name_that_is_nearly_ours_is_not_ours(shop: Shop, name: str):
    shop.is_worth_nothing(f"{name}={shop.token}")


# What a neighbour domain can set for this host too: any name that does not begin with the prefix, any value.
TOSSED = [
    ("{}", "{1}"), ("x {}", "{1}"), ("x\t{}", "{1}"), ("x,{}", "{1}"), ("x, {}", "{1}"), ("\xa0{}", "{1}"),
    ("\x0b{}", "{1}"),
    ("{} ", "{1}"), ("{}\t", "{1}"), ('"{}"', "{1}"), ("", "{0}={1}"), ("x", "1 {0}={1}"), ("x", "1,{0}={1}"),
    ("x", "1, {0}={1}"), ("x", "1\t{0}={1}"), ("x", '"1, {0}={1}"'), ("x", '"{0}={1}"'), ("x", "{0}={1}"),
    ("x", "1,  {0}={1},"), ("x", "1 , {0}={1} , y=2"),
]  # fmt: skip
IDS = [f"{name}={value}" for name, value in TOSSED]


@pytest.fixture(scope="module")
def secure_shop() -> Shop:
    return Shop(environ={"wsgi.url_scheme": "https"}).walked()


@pytest.mark.parametrize(("name", "value"), TOSSED[1:], ids=IDS[1:])
def test_on_https_no_neighbour_can_slip_a_run_of_his_own_under_the_name_that_browsers_protect(
    secure_shop: Shop, name: str, value: str
):
    """He walked through the flow himself, so his token is a right one."""
    tossed = name.format(HOST_NAME) + "=" + value.format(HOST_NAME, secure_shop.token)
    for header in (tossed, f"a=1; {tossed}", f"{tossed}; b=2"):
        secure_shop.is_worth_nothing(header, SAFE)


@pytest.mark.parametrize("header", ["{}", "a=1; {}", "a=1;{}", "{}; b=2", "{};b=2", "a; =; ;; {};"])
def test_on_https_the_protected_name_is_read_where_browsers_and_servers_put_it(secure_shop: Shop, header: str):
    secure_shop.is_as_good_as_the_token(header.format(f"{HOST_NAME}={secure_shop.token}"))


@pytest.mark.parametrize(
    "name", [NAME, f"__Secure-{NAME}", HOST_NAME.lower(), HOST_NAME.upper(), f"__Host-{HOST_NAME}"]
)
def test_on_https_no_other_name_is_read(secure_shop: Shop, name: str):
    secure_shop.is_worth_nothing(f"{name}={secure_shop.token}")


@pytest.mark.parametrize("options", [{"cookie_domain": "shop.example"}, {"cookie_path": "/shop"}], ids=str)
def test_where_the_cookie_can_not_have_the_prefix_only_the_plain_name_is_read(options: Any):
    shop = Shop(environ={"wsgi.url_scheme": "https"}, **options)
    shop.name, shop.ours = NAME, {NAME, f"{NAME}-note"}
    shop.walked().is_as_good_as_the_token(f"{NAME}={shop.token}")
    for name in (HOST_NAME, f"__Secure-{NAME}"):
        shop.is_worth_nothing(f"{name}={shop.token}")


def test_orders_on_https_are_protected_as_well():
    visitor = Visitor(FlowGuard(Application(), ORDERS, secret_key=SECRET, clock=Clock(), instance="id"), check=False)
    visitor.https = True
    visitor.get("/orders/7")
    ((name, token),) = visitor.jar.items()
    assert name.startswith(f"{HOST_NAME}-")
    for tossed, value in TOSSED:
        visitor.jar.clear()
        header = tossed.format(name) + "=" + value.format(name, token)
        response = visitor.call("PUT", "/orders/7/done", HTTP_COOKIE=f"a=1; {header}; b=2")
        assert response.reason == ("illegal" if (tossed, value) == ("{}", "{1}") else "not_started"), header


# --- the neighbours' -------------------------------------------------------------------------------------------------

# What frameworks, trackers and accidents leave in a header. None of it is ours to understand.
NEIGHBOURS = {
    "a session": "session=eyJhIjoxfQ.ZxYw.abc-_",
    "JSON": 'cart={"id":7,"items":["a, b","c;d"]}',
    "quotes with a semicolon": 'note="a;b, c\\"d"',
    "a quote that never ends": 'x="abc',
    "bytes that are no UTF-8": "name=caf\xe9\xff\xfe",
    "UTF-8": "name=caf\xc3\xa9",
    "no value": "flag",
    "no name": "=orphan",
    "nothing between": ";; ; ,",
    "many equals": "a=b=c==",
    "an old version": '$Version="1"; a="b"; $Path="/"',
    "spaces": "  a  =  b  ",
    "control characters": "a=\x01\x02\x7f\x00b",
    "our name in its name": f"x{NAME}=1; {NAME}x=2; X-{NAME}-Y=3",
    "our name in its value": f'x="{NAME}"',
    "our name in its value, forged": f"x={NAME}=1aa.b.c",
    "4 kB": "big=" + "x" * 4000,
    "a hundred": "; ".join(f"c{number}={number}" for number in range(100)),
    "expired": "a=; Max-Age=0; Path=/",
    "one of ours, another flow's": "flowguard-other=1aa.b.c",
    "__Host- of its own": "__Host-session=1",
}
PLACES: dict[str, str] = {
    "before": "{neighbour}; {ours}",
    "after": "{ours}; {neighbour}",
    "on both sides": "{neighbour}; {ours}; {neighbour}",
    "before, close": "{neighbour};{ours}",
    "after, close": "{ours};{neighbour}",
    "after, by a comma": "{ours},{neighbour}",
}


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("neighbour", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_a_neighbours_cookie_is_in_nobodys_way_and_reaches_the_application_as_it_is(neighbour: str, https: bool):
    shop = Shop(environ={"wsgi.url_scheme": "https" if https else "http"}).walked()
    for place in PLACES.values():
        header = place.format(neighbour=neighbour, ours=f"{shop.name}={shop.token}")
        shop.is_as_good_as_the_token(header)
        assert shop.ask(header, "GET /done").reason == "skipped"
    shop.is_worth_nothing(neighbour)
    assert shop.ask(header, "POST /pay").reached


@pytest.mark.parametrize("neighbour", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_a_neighbours_cookie_that_is_glued_to_ours_opens_nothing_more(shop: Shop, neighbour: str):
    """As bjoern does with two Cookie headers; still it reaches the application."""
    for header in (f"{neighbour}{NAME}={shop.token}", f"{NAME}={shop.token}{neighbour}"):
        shop.opens_no_more_than_the_token(header)


@pytest.mark.parametrize("mode", ["report", "off"])
@pytest.mark.parametrize("neighbour", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_a_neighbours_cookie_is_left_alone_where_nobody_is_refused(neighbour: str, mode: str):
    shop = Shop(mode=mode)
    for place, probe in itertools.product(PLACES.values(), PROBES):
        assert shop.ask(place.format(neighbour=neighbour, ours=f"{NAME}=forged"), probe).reached


# --- anything at all -------------------------------------------------------------------------------------------------

fragments = st.sampled_from(
    [NAME, "=", f"{NAME}=", "; ", ", ", ";", ",", " ", "\t", '"', ".", "1", "a=1", f"{NAME}-note=", "\0"]
)
pieces = st.one_of(
    fragments, st.sampled_from(["TOKEN", "OLDER", "TOKEN-CUT"]), st.text(st.characters(max_codepoint=255), max_size=12),
    st.sampled_from(list(NEIGHBOURS.values())),
)  # fmt: skip


@functools.lru_cache
def walked_shop() -> Shop:
    """One for all examples."""
    return Shop().walked()


@settings(max_examples=250 * DEEP, deadline=None)
@given(made=st.lists(pieces, max_size=14), step=st.sampled_from(SAFE), seed=st.integers(0, 200))
def test_no_header_whatever_opens_more_than_the_token_in_it(made: list[str], step: str, seed: int):
    shop = walked_shop()
    tokens = {"TOKEN": shop.token, "OLDER": shop.older, "TOKEN-CUT": shop.token[: seed % len(shop.token)]}
    header = "".join(tokens.get(piece, piece) for piece in made)
    got = shop.ask(header, step)
    brought = f"{NAME}={shop.token}" in header or f"{NAME}={shop.older}" in header
    assert got.reached <= (shop.rightful if brought else shop.nobody)[step].reached, (header, step, got)
