"""Those who come to the small shop: honest customers, and others. examples/demo.py sends them to both shops.

Everything goes out byte by byte as it stands here: a client that tidies addresses would hide half of what is tried.
"""

import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, TypeVar
from urllib.parse import urlencode

if TYPE_CHECKING:
    from demo import Stand

PATIENCE = 10  # seconds; a shop on the same machine that takes longer is broken
Cookies = dict[str, str]
Act = TypeVar("Act", bound=Callable)

# What it is → what does it. An honest customer who does not get through raises Refused; of what others try, the answers
# are returned.
HONEST: dict[str, Callable[["Stand"], None]] = {}
ABUSES: dict[str, Callable[["Stand"], list["Answer"]]] = {}


def listed(table: dict[str, Callable], title: str) -> Callable[[Act], Act]:
    def enter(act: Act) -> Act:
        table[title] = act
        return act
    return enter


class Answer(NamedTuple):
    status: int
    location: str
    reason: str  # the guard's, if it was the guard who answered
    text: str

    def __str__(self) -> str:
        return f"{self.status} {self.reason or self.location}".strip()


class Refused(Exception):
    """An honest customer did not get where he should have got."""


class Visitor:
    """A browser, as far as the shop can tell."""

    def __init__(self, stand: "Stand", cookies: Optional[Cookies] = None) -> None:
        self.stand = stand
        self.cookies = dict(cookies or {})

    def send(self, method: str, target: str, form: Optional[dict[str, str]] = None, **headers: str) -> Answer:
        """One request, exactly as it is written; no redirect is followed."""
        with socket.create_connection(("127.0.0.1", self.stand.port), PATIENCE) as connection:
            connection.sendall(self.request(method, target, urlencode(form or {}), headers))
            response = HTTPResponse(connection, method=method)
            response.begin()
            text = response.read().decode("utf-8", "replace")
        self.keep(response.headers.get_all("Set-Cookie", []))
        return Answer(response.status, response.headers.get("Location", ""),
                      response.headers.get("Flowguard-Reason", ""), text)

    def request(self, method: str, target: str, body: str, headers: dict[str, str]) -> bytes:
        lines = {"Host": f"127.0.0.1:{self.stand.port}", "Accept": "text/html", "Content-Length": str(len(body)),
                 "Content-Type": "application/x-www-form-urlencoded",
                 "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
        return f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}".encode("latin-1")

    def keep(self, lines: list[str]) -> None:
        for morsel in (morsel for line in lines for morsel in SimpleCookie(line).values()):
            self.cookies[morsel.key] = morsel.value
            if morsel["max-age"] == "0" or not morsel.value:
                del self.cookies[morsel.key]

    def visit(self, target: str) -> Answer:
        return self.follow(self.send("GET", target))

    def submit(self, target: str, **form: str) -> Answer:
        return self.follow(self.send("POST", target, form))

    def follow(self, answer: Answer) -> Answer:
        for _ in range(5):
            if answer.status == 303:
                answer = self.send("GET", answer.location)
        return answer

    def pay(self) -> Answer:
        """One POST, and no look at where it leads."""
        return self.send("POST", "/payment", {"card": "4111"})

    def pay_twice_at_once(self) -> list[Answer]:
        """Two payments with the same cookies, the second while the bank has not yet answered the first."""
        with self.stand.bank.slow(), ThreadPoolExecutor(1) as pool:
            first = pool.submit(Visitor(self.stand, self.cookies).pay)
            self.stand.bank.called.wait(PATIENCE)
            second = self.pay()
            return [first.result(), second]

    def flow_cookies(self) -> Cookies:
        """Those that are not the shop's own."""
        return {name: value for name, value in self.cookies.items() if name != "visitor"}


# How far a customer goes before something is tried, all of it honest.

def expect(answer: Answer, title: str) -> Answer:
    if answer.status != 200 or f"<h1>{title}</h1>" not in answer.text:
        raise Refused(f"no {title!r}, but {answer}")
    return answer


def shopper(stand: "Stand") -> Visitor:
    """Has a book in the cart."""
    visitor = Visitor(stand)
    expect(visitor.visit("/"), "A small shop")
    expect(visitor.visit("/cart"), "Your cart")
    expect(visitor.submit("/cart", books="1"), "Your cart")
    return visitor


def ready(stand: "Stand", visitor: Optional[Visitor] = None) -> Visitor:
    """Has given the address, and means to pay."""
    visitor = visitor or shopper(stand)
    expect(visitor.visit("/shipping"), "Shipping")
    expect(visitor.submit("/shipping", address="1 Long Lane"), "Payment")
    stand.orders += 1
    return visitor


def charged(stand: "Stand", visitor: Optional[Visitor] = None) -> Visitor:
    """Has paid, and has not yet looked at the confirmation."""
    visitor = visitor or ready(stand)
    answer = visitor.pay()
    if answer.location != "/done":
        raise Refused(f"the payment was not taken, but {answer}")
    return visitor


def customer(stand: "Stand", visitor: Optional[Visitor] = None) -> Visitor:
    """Has paid, and seen the confirmation."""
    visitor = charged(stand, visitor)
    expect(visitor.visit("/done"), "Thank you!")
    return visitor


# Honest customers.

@listed(HONEST, "orders a book")
def order(stand: "Stand") -> None:
    customer(stand)


@listed(HONEST, "forgets the address, is asked again")
def forget_the_address(stand: "Stand") -> None:
    visitor = shopper(stand)
    expect(visitor.visit("/shipping"), "Shipping")
    if "Where shall it go?" not in expect(visitor.submit("/shipping", address=""), "Shipping").text:
        raise Refused("the form came back without its error")
    customer(stand, ready(stand, visitor))


@listed(HONEST, "goes back to give another address")
def go_back(stand: "Stand") -> None:
    visitor = ready(stand)
    expect(visitor.visit("/shipping"), "Shipping")
    expect(visitor.submit("/shipping", address="2 Short Street"), "Payment")
    customer(stand, visitor)
    if stand.rows("SELECT address FROM parcels ORDER BY rowid DESC")[0] != ("2 Short Street",):
        raise Refused("the parcel went to the first address")


@listed(HONEST, "reloads every page")
def reload(stand: "Stand") -> None:
    visitor = Visitor(stand)
    pages = (("/cart", "Your cart"), ("/shipping", "Shipping"), ("/payment", "Payment"), ("/done", "Thank you!"))
    forms = {"/cart": {"books": "1"}, "/shipping": {"address": "1 Long Lane"}, "/payment": {"card": "4111"}}
    for target, title in pages:
        if expect(visitor.visit(target), title) != expect(visitor.visit(target), title):
            raise Refused(f"{target} is another page the second time")
        visitor.submit(target, **forms[target]) if target in forms else None
    stand.orders += 1


@listed(HONEST, "double-clicks on Pay")
def double_click(stand: "Stand") -> None:
    """A browser throws the first answer away: the customer sees what the second click brought."""
    visitor = ready(stand)
    _, second = visitor.pay_twice_at_once()
    expect(visitor.follow(second), "Thank you!")


@listed(HONEST, "orders again")
def order_again(stand: "Stand") -> None:
    visitor = customer(stand)
    expect(visitor.visit("/cart"), "Your cart")
    expect(visitor.submit("/cart", books="2"), "Your cart")
    customer(stand, ready(stand, visitor))


# Others. None of what they do after their honest steps is due a charge or a parcel.

@listed(ABUSES, "skips to the payment, from nowhere")
def skip_all(stand: "Stand") -> list[Answer]:
    return [Visitor(stand).pay()]


@listed(ABUSES, "skips to the payment, past shipping")
def skip_shipping(stand: "Stand") -> list[Answer]:
    return [shopper(stand).pay()]


@listed(ABUSES, "skips to the confirmation")
def skip_payment(stand: "Stand") -> list[Answer]:
    return [shopper(stand).send("GET", "/done")]


@listed(ABUSES, "pays twice")
def pay_twice(stand: "Stand") -> list[Answer]:
    return [charged(stand).pay()]


@listed(ABUSES, "pays twice, in parallel")
def pay_in_parallel(stand: "Stand") -> list[Answer]:
    return ready(stand).pay_twice_at_once()[1:]


@listed(ABUSES, "goes back after paying, pays again")
def pay_after_the_end(stand: "Stand") -> list[Answer]:
    visitor = customer(stand)
    visitor.send("GET", "/shipping")
    visitor.send("POST", "/shipping", {"address": "3 Other Road"})
    visitor.send("GET", "/payment")
    return [visitor.pay()]


@listed(ABUSES, "replays a cookie from before paying")
def replay(stand: "Stand") -> list[Answer]:
    visitor = ready(stand)
    old = Visitor(stand, visitor.cookies)
    customer(stand, visitor)
    return [old.pay()]


@listed(ABUSES, "forges a cookie: other key, altered, made up")
def forge(stand: "Stand") -> list[Answer]:
    with stand.elsewhere() as elsewhere:
        foreign = ready(elsewhere).flow_cookies()
    visitor = shopper(stand)
    genuine = visitor.flow_cookies()
    altered = {name: value[:5] + ("A" if value[5] != "A" else "B") + value[6:] for name, value in genuine.items()}
    forgeries = [foreign, altered, dict.fromkeys(foreign, "made-up")]
    return [Visitor(stand, {**visitor.cookies, **forgery}).pay() for forgery in forgeries]


@listed(ABUSES, "uses the cookies of another, who has paid *")
def borrow(stand: "Stand") -> list[Answer]:
    other = ready(stand)
    before = other.flow_cookies()
    customer(stand, other)
    visitor = shopper(stand)
    return [Visitor(stand, {**visitor.cookies, **copy}).pay() for copy in (before, other.flow_cookies())]


SPELLINGS = ("/payment/", "//payment", "/./payment", "/x/../payment", "/PAYMENT", "/%70ayment", "/%2570ayment",
             "/payment;a=b", "/payment%20", "/payment%00", "\\payment", "payment", "http://127.0.0.1/payment")


@listed(ABUSES, f"pays again by {len(SPELLINGS)} other spellings")
def spell(stand: "Stand") -> list[Answer]:
    visitor = charged(stand)
    return [visitor.send("POST", spelling, {"card": "4111"}) for spelling in SPELLINGS]


@listed(ABUSES, "skips to the confirmation by a HEAD")
def head(stand: "Stand") -> list[Answer]:
    return [shopper(stand).send("HEAD", "/done")]


@listed(ABUSES, "pays again by post, PoSt, PUT, PAY")
def methods(stand: "Stand") -> list[Answer]:
    visitor = charged(stand)
    return [visitor.send(method, "/payment", {"card": "4111"}) for method in ("post", "PoSt", "PUT", "PAY")]


@listed(ABUSES, "pays again by a GET with an override")
def override(stand: "Stand") -> list[Answer]:
    visitor = charged(stand)
    return [visitor.send("GET", "/payment", {"card": "4111"}, X_HTTP_Method_Override="POST")]
