"""Headers that a visitor writes: none switches the guard off or changes a verdict where it must not, none of ours leads
away from the site, and nothing that a visitor wrote becomes a header or markup of ours."""

from __future__ import annotations

import functools
import http.client
import itertools
import json
import os
import re
import socket
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Browser, Gunicorn, Server, Waitress
from visitor import HOST, NOON, PAGE, SCRIPT, SECRET, Application, Clock, Response, Visitor, guarded, led

from flowguard import FlowGuard

DEEP = 20 if os.environ.get("FLOWGUARD_DEEP") == "1" else 1
NAME = "flowguard-flow"
SHOP: dict[str, Any] = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/pay"], "submit": True},
    "/pay": {"to": ["/done"], "once": True},
    "/done": {},
    "/voucher": {"within": ["/pay"]},
}
ANSWERS = {"POST /shipping": led("/pay"), "POST /pay": led("/done")}

# --- the same verdicts -----------------------------------------------------------------------------------------------

# What an honest and what a dishonest visitor asks for, one after the other: every verdict that there is but for times.
STORY = (
    "GET /elsewhere", "POST /pay", "GET /done", "HEAD /pay", "GET /cart", "GET /pay", "POST /pay", "GET /shipping",
    "GET /shipping", "GET /pay", "GET /voucher", "POST /CART", "GET //pay", "GET /pay;x", "POST /shipping",
    "POST /shipping", "HEAD /done", "OPTIONS /done", "DELETE /done", "GET /done", "GET /pay", "GET /voucher",
    "GET /cart", "POST /cart", "POST /pay", "POST /pay", "PUT /pay", "GET /done", "GET /shipping", "GET /fenced/x",
    "GET /fenced/open", "GET /elsewhere", "GET /done", "POST /done",
)  # fmt: skip
REDIRECTED = (303, 308)


def heard(headers: dict[str, Any]) -> list[tuple[bool, Optional[str]]]:
    """The story, told with these headers from the first page on: what reached the application, and why the rest did
    not. What reaches it has the headers as they were sent."""
    app = Application()
    app.answers.update(ANSWERS)
    guard = FlowGuard(app, SHOP, secret_key=SECRET, clock=Clock(), fence=["/fenced/"], open=["/fenced/open"])
    visitor = Visitor(guard, check=False)
    visitor.get("/cart")
    told = []
    for step in STORY:
        method, path = step.split()
        app.seen.clear()
        environ = visitor.environ(method, path, **{**SCRIPT, **headers})
        sent = {key: value for key, value in environ.items() if key.startswith("HTTP_")}
        response = visitor.send(environ)
        assert response.status < 500, (headers, step, response)
        for seen in app.seen:
            kept = {key: value for key, value in seen.environ.items() if key.startswith("HTTP_")}
            taken = {key for key in sent if kept.get(key) != sent[key]}
            assert taken <= {"HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE"}, (headers, step)
        told.append((bool(app.seen), response.reason or ("path" if response.status in REDIRECTED else None)))
        visitor.jar.pop(f"{NAME}-note", None)  # three redirects in a row are another matter
    return told


# Where proxies, frameworks and servers look for what a request is, beside where WSGI has it.
ELSEWHERE = [
    "X_ORIGINAL_URL", "X_REWRITE_URL", "X_ORIGINAL_URI", "X_REQUEST_URI", "X_FORWARDED_URI", "X_FORWARDED_PATH",
    "X_FORWARDED_PREFIX", "X_FORWARDED_SCRIPT_NAME", "X_SCRIPT_NAME", "X_ACCEL_REDIRECT", "X_SENDFILE", "X_PATH_INFO",
    "X_WEB_SCOPE_PREFIX", "X_ENVOY_ORIGINAL_PATH", "X_MS_ORIGINAL_URL", "X_HTTP_DESTINATIONURL", "BASE_URL",
    "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI", "REQUEST_METHOD", "DESTINATION", "REFERER",
    "REDIRECT_URL", "CONTENT_LENGTH", "X_ORIGINAL_METHOD", "X_REQUEST_METHOD", "METHOD", "X_METHOD",
]  # fmt: skip
PATHS = ["/elsewhere", "/fenced/open", "/done", "//evil", ""]
HEADERS: dict[str, dict[str, Any]] = {
    **{f"a path that stands elsewhere: {path}": {f"HTTP_{name}": path for name in ELSEWHERE} for path in PATHS},
    **{f"the server's own: {path}": dict.fromkeys(["REQUEST_URI", "RAW_URI"], path) for path in PATHS},
}
for key, *values in [
    ("FORWARDED", "for=127.0.0.1;host=evil;proto=https", "by=_x;path=/elsewhere"),
    ("X_FORWARDED_FOR", "127.0.0.1", "::1, 10.0.0.1"), ("X_REAL_IP", "127.0.0.1"), ("CLIENT_IP", "127.0.0.1"),
    ("X_FORWARDED_HOST", "evil.example", "shop.example, evil"), ("X_FORWARDED_PORT", "0"), ("X_FORWARDED_SSL", "on"),
    ("X_FORWARDED_PROTO", "https", "javascript"), ("X_FORWARDED_SCHEME", "https"), ("FRONT_END_HTTPS", "on"),
    ("X_HOST", "evil"), ("X_HTTP_HOST_OVERRIDE", "evil"), ("X_FORWARDED_SERVER", "evil"),
    ("FLOWGUARD", "success", "finish", "reset", "failed", "off"), ("FLOWGUARD_REASON", "path", "", "illegal"),
    ("FLOWGUARD_RUN", "x"), ("FLOWGUARD_CALLS", "()"), ("FLOWGUARD_MODE", "off"), ("FLOWGUARD.RUN", "x"),
    ("X_FLOWGUARD", "off"), ("X_FLOWGUARD_MODE", "report"), ("FLOWGUARD_FLOW", "x"), ("HX_REQUEST", "true", "false"),
    ("HX_BOOSTED", "true"), ("HX_CURRENT_URL", "http://evil/"), ("HX_TARGET", "<x>"),
    ("HX_HISTORY_RESTORE_REQUEST", "true"), ("X_INERTIA", "true"), ("X_INERTIA_VERSION", "1"), ("TURBO_FRAME", "x"),
    ("X_REQUESTED_WITH", "XMLHttpRequest", ""), ("X_PJAX", "true"), ("X_UP_VERSION", "1"),
    ("ACCEPT", "", "*/*", "text/html", "text/html;q=0", "application/json", "a" * 60_000, "text/html," * 9000, "\xff",
     "text/html;q=nan", "text/html;q=1e999", ";;;,,,"),
    ("ACCEPT_LANGUAGE", "", "de", "x" * 60_000, "de;q=-1", "*;q=0", "\xff\x00"), ("ACCEPT_ENCODING", "br", ""),
    ("ACCEPT_CHARSET", "utf-7"), ("SEC_FETCH_MODE", "", "navigate", "no-cors", "same-origin", "websocket", "x"),
    ("SEC_FETCH_SITE", "cross-site", "none", "same-site", "x"),
    ("SEC_FETCH_DEST", "document", "image",     "serviceworker"), ("SEC_FETCH_USER", "?1", "?0"),
    ("SEC_FETCH_STORAGE_ACCESS", "active"), ("SEC_GPC", "1"), ("DNT", "1"), ("SEC_PURPOSE", "", "x", "fetch"),
    ("PURPOSE", "x"), ("X_MOZ", "x"), ("X_PURPOSE", "preview"), ("X_PREFETCH", "1"), ("SERVICE_WORKER", "script"),
    ("SERVICE_WORKER_NAVIGATION_PRELOAD", "true"), ("ORIGIN", "null", "http://evil", "["),
    ("ACCESS_CONTROL_REQUEST_METHOD", "GET", "POST"), ("ACCESS_CONTROL_REQUEST_HEADERS", "cookie"),
    ("IF_NONE_MATCH", "*", 'W/"x"'), ("IF_MODIFIED_SINCE", "Thu, 01 Jan 2037 00:00:00 GMT"), ("IF_RANGE", '"x"'),
    ("IF_MATCH", "*"), ("RANGE", "bytes=0-0"), ("CACHE_CONTROL", "no-cache", "only-if-cached"), ("PRAGMA", "no-cache"),
    ("CONNECTION", "close, Cookie", "Cookie, X-HTTP-Method-Override"), ("UPGRADE", "websocket"), ("TE", "trailers"),
    ("EXPECT", "100-continue"), ("MAX_FORWARDS", "0"), ("VIA", "1.1 evil"), ("AUTHORIZATION", "Basic QQ=="),
    ("PROXY", "http://evil"), ("COOKIE2", "$Version=1"), ("SET_COOKIE", f"{NAME}=x"),
    ("USER_AGENT", "", "curl/8",     "\xff"), ("X_WSGI_URL_SCHEME", "https"), ("WSGI_URL_SCHEME", "https"),
    ("EARLY_DATA", "1"), ("", "x"),
]:  # fmt: skip
    HEADERS.update({f"{key}: {value[:30]!a}": {f"HTTP_{key}": value} for value in values})
ODD_HOSTS = [
    "", "evil.example", "shop.example:80", "shop.example:evil", "user@shop.example", "shop.example@evil", "evil:0",
    "[::1]", "[::1", "]", "a b", "shop.example\r\nX: y", "\x00", "\xff", "shop.example/pay", "http://shop.example",
    "shop.example,evil", "." * 300, "a" * 60_000, "127.0.0.1", "%73hop.example", "//",
]  # fmt: skip
for host in ODD_HOSTS:
    HEADERS[f"HOST: {host[:30]!a}"] = {"HTTP_HOST": host}


def test_the_story_has_every_verdict_in_it():
    told = heard({})
    assert {reason for reached, reason in told if not reached} == {
        "illegal", "skipped", "duplicate", "finished", "path",
    }  # fmt: skip
    assert len([reached for reached, _ in told if reached]) > 9


def test_no_header_changes_a_verdict():
    usual = heard({})
    for name, headers in HEADERS.items():
        assert heard(headers) == usual, name


@settings(max_examples=20 * DEEP, deadline=None)
@given(names=st.lists(st.sampled_from(list(HEADERS)), min_size=2, max_size=8))
def test_nor_do_several(names: list[str]):
    together: dict[str, Any] = {}
    for name in names:
        together.update(HEADERS[name])
    assert heard(together) == heard({})


@pytest.mark.parametrize("missing", ["HTTP_HOST", "QUERY_STRING", "SCRIPT_NAME", "CONTENT_LENGTH", "SERVER_PROTOCOL"])
def test_nor_does_one_that_is_not_there(missing: str):
    assert heard({missing: None}) == heard({})


SPECULATIONS = ["prefetch", "prerender", "PREFETCH", " prefetch ", "prefetch;prerender", "prefetch;anonymous-client-ip",
                "prerender, x", '"prefetch"', "x-prefetch-y"]  # fmt: skip


@pytest.mark.parametrize("key", ["HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_MOZ"])
def test_who_says_that_he_is_not_there_yet_gets_nothing_and_changes_nothing(key: str):
    visitor, app = guarded(SHOP)
    app.answers.update(ANSWERS)
    for step in ("/cart", "/shipping"):
        visitor.get(step)
    before = dict(visitor.jar)
    for value, (method, path) in itertools.product(SPECULATIONS, [("GET", "/shipping"), ("POST", "/shipping"),
                                                                  ("GET", "/cart"), ("HEAD", "/pay")]):  # fmt: skip
        response = visitor.call(method, path, **{key: value})
        assert (response.status, response.cookies, response.location) == (503, [], None)
    assert (app.calls, visitor.jar) == (["GET /cart", "GET /shipping"], before)
    assert visitor.post("/shipping").location == "/pay"


# --- a method in a header --------------------------------------------------------------------------------------------

OVERRIDES = ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE"]
VALUES = [
    "POST", "post", "PoSt", " POST ", "\tPOST", "POST\t", "POST,", ",POST", ",,POST,,", "GET,POST", "POST,GET",
    "GET, POST", "GET ,\tPOST", "POST, POST", "PUT", "DELETE", "PATCH", "BREW", "GET POST", "POST;GET", "GET;POST",
    '"POST"', "'POST'", "POST\x00", "\x00POST", "GET\x00POST", "\xa0POST", "\x85POST\x85", "P\xd6ST", "GET", "get",
    " Get ", "GET,GET", "HEAD", "OPTIONS", "", " ", ",", " , ", "GET," * 3000, "GET," * 3000 + "POST", "A" * 60_000,
    "PO\r\nST", "GET/POST", "TRACE", "CONNECT", "QUERY", "*", "0", "None", "null",
]  # fmt: skip
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "BREW", "TRACE", "CONNECT", "QUERY"}
# Who asks like this gets through with a GET and not with a POST; and the other way round.
BOTH_WAYS = {
    "GET /a": {"state": "first", "start": True, "to": ["form", "order"]},
    "GET /look": {"state": "form", "to": ["order"], "repeat": True},
    "POST /look": {"state": "late", "within": ["order"]},
    "POST /order": {"state": "order", "to": ["form"], "repeat": True},
    "GET /order": {"state": "receipt", "within": ["nobody"]},
    "/nobody": {"state": "nobody"},
}  # fmt: skip


class Asked(NamedTuple):
    method: str
    path: str


@pytest.fixture(scope="module")
def both_ways() -> tuple[Visitor, Application]:
    visitor, app = guarded(BOTH_WAYS, check=False)
    assert visitor.get("/a").status == 200
    return visitor, app


def reaches(both_ways: tuple[Visitor, Application], asked: Asked, **headers: str) -> bool:
    visitor, app = both_ways
    app.seen.clear()
    # Whatever the application makes of it, it changes nothing.
    app.answers = {f"{asked.method.upper()} {asked.path}": led("/elsewhere", "500 Oops")}
    response = visitor.twin().call(asked.method, asked.path, **headers)
    assert (response.status == 500) == bool(app.seen)
    return bool(app.seen)


def test_a_get_and_a_post_are_told_apart_there(both_ways: tuple[Visitor, Application]):
    found = {step: reaches(both_ways, Asked(*step.split()))
             for step in ("GET /look", "POST /look", "GET /order", "POST /order")}  # fmt: skip
    assert found == {"GET /look": True, "POST /look": False, "GET /order": False, "POST /order": True}


@pytest.mark.parametrize("key", OVERRIDES)
@pytest.mark.parametrize("wire", ["GET", "POST", "HEAD", "OPTIONS", "get", "post", "BREW"])
def test_a_request_passes_only_if_it_would_by_every_method_that_is_written_on_it(
    both_ways: tuple[Visitor, Application], wire: str, key: str
):
    """Whatever of them an application, or a middleware within, may take for the method."""
    for value, path in itertools.product(VALUES, ["/look", "/order"]):
        if reaches(both_ways, Asked(wire, path), **{key: value}):
            assert reaches(both_ways, Asked(wire, path)), (value, path)
            for word in value.upper().split(","):
                if word.strip() in METHODS:
                    assert reaches(both_ways, Asked(word.strip(), path)), (value, path)


def test_what_no_word_of_is_a_method_of_another_kind_is_no_obstacle(both_ways: tuple[Visitor, Application]):
    for key, value in itertools.product(OVERRIDES, ["GET", "get", " Get ", "GET,GET", "", " ", ",", " , "]):
        assert reaches(both_ways, Asked("GET", "/look"), **{key: value}), value


def test_two_headers_are_as_good_as_one_with_two_methods(both_ways: tuple[Visitor, Application]):
    for one, other in itertools.permutations(OVERRIDES, 2):
        assert not reaches(both_ways, Asked("GET", "/look"), **{one: "GET", other: "POST"})
        assert not reaches(both_ways, Asked("POST", "/order"), **{one: "GET", other: "POST"})


@pytest.mark.parametrize("path", ["/look", "/order", "/reset"])
@pytest.mark.parametrize("wire", ["GET", "POST", "OPTIONS"])
def test_more_methods_than_can_be_judged_are_refused(path: str, wire: str):
    flow = {"GET /look": {}, "BREW /order": {"repeat": True}}
    visitor, app = guarded(flow, reset="/reset", check=False)
    visitor.call("GET", "/look")
    for headers in ({OVERRIDES[0]: "GET," * 65}, {OVERRIDES[1]: "GET" + " " * 200, OVERRIDES[2]: "GET" + "," * 200}):
        assert visitor.call(wire, path, **headers).reason == "path"
    assert app.calls == ["GET /look"]
    assert visitor.call("GET", "/look", **{OVERRIDES[0]: "GET," * 64}).reason is None


# --- where we lead ---------------------------------------------------------------------------------------------------

# The only headers that an answer of ours ever has.
OURS = {
    "allow", "cache-control", "content-language", "content-length", "content-security-policy", "content-type",
    "flowguard-reason", "hx-redirect", "location", "referrer-policy", "refresh", "retry-after", "set-cookie", "vary",
    "x-content-type-options", "x-inertia-location",
}  # fmt: skip
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "p", "a"}
MARK = "zq!7"  # stands in whatever the visitor writes; and never in ours, nor in any base64
LOCAL = re.compile(r"/(?![/\\])[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*")


class Document(HTMLParser):
    """What a page is made of, and every text that may name the visitor's."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.rest = ""
        self.feed(body.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.rest += "".join(f"{name}={value}\n" for name, value in attrs if name != "href")

    def handle_data(self, data: str) -> None:
        self.rest += data

    handle_comment = handle_decl = handle_pi = unknown_decl = handle_data


def stays_here(url: str) -> None:
    """A browser that is here goes nowhere else by it, and nothing in it ends a header."""
    assert LOCAL.fullmatch(url), url
    as_browsers_do = re.sub(r"[\t\r\n]", "", url).replace("\\", "/")
    assert urlsplit(urljoin(f"http://{HOST}/deep/er/", as_browsers_do)).netloc == HOST, url


def is_ours_alone(response: Response) -> None:
    """An answer of ours: known headers, links that stay here, and the visitor's mark in them alone, quoted."""
    names = [name.lower() for name, _ in response.headers]
    assert set(names) <= OURS, names
    assert sorted(set(names) - {"set-cookie"}) == sorted(name for name in names if name != "set-cookie")
    for name, value in response.headers:
        assert re.fullmatch(r"[\x20-\x7e]*", value), (name, value)
        if name.lower() in ("location", "hx-redirect", "x-inertia-location"):
            stays_here(value)
        elif name.lower() == "refresh":
            stays_here(value.partition("; url=")[2])
        else:
            assert MARK not in value.lower(), (name, value)
    assert MARK not in response.line.lower()
    says_nothing_of_the_visitors(response)


def says_nothing_of_the_visitors(response: Response) -> None:
    kind = response.header("Content-Type") or ""
    assert response.header("X-Content-Type-Options") == "nosniff" or kind == "application/problem+json"
    if kind.startswith("text/html"):
        page = Document(response.body)
        assert page.tags <= TAGS, page.tags
        assert MARK not in page.rest.lower(), page.rest
        for link in page.links:
            stays_here(link)
    elif kind == "application/problem+json" and response.body:
        problem = json.loads(response.body)
        target = problem.pop("target")
        assert target is None or stays_here(target) is None
        assert MARK not in json.dumps(problem).lower(), problem
    else:
        plain = response.body.decode("ascii").replace(response.location or "\0", "")
        assert MARK not in plain.lower(), plain


ORDERS: dict[str, Any] = {
    "/<lang>/orders/<id>": {"to": ["/<lang>/orders/<id>/address"], "start": True},
    "/<lang>/orders/<id>/address": {"to": ["pay"], "submit": True, "min_seconds": 5},
    "POST /<lang>/orders/<id>/pay": {"state": "pay", "to": ["done"], "once": True},
    "/<lang>/orders/<id>/done": {"state": "done", "on_refusal": "conflict"},
    "/<lang>/track?@order=7": {"within": ["done"]},
    "/<lang>/mail/<token>": {"within": ["done"]},
    "/confirm": {"effects": True, "to": ["done"], "once": True, "start": True},
}  # fmt: skip
EVIL = [
    f"<{MARK}>", f'"><{MARK} onload=alert(1)>', f"'{MARK}", f"\r\n{MARK}: 1", f"\r\n\r\n<{MARK}>", f"//{MARK}.example",
    f"/\\{MARK}.example", f"\\\\{MARK}", f"\t//{MARK}", f"%0d%0a{MARK}:1", f"%2f%2f{MARK}", f"{MARK}\x00",
    f"javascript:{MARK}", f"http://{MARK}.example/", f"\xe2\x80\xa8{MARK}", f"{MARK}\xff", f"/../{MARK}", f";{MARK}",
    f"?{MARK}", f"#{MARK}", f"@{MARK}.example", f":80{MARK}", f"&lt;{MARK}&gt;", f"{{{MARK}}}", f"%({MARK})s",
    f"\u20ac{MARK}", MARK, "", "/", "//", "\\", "..", ".", "en", "7", "orders", "pay",
]  # fmt: skip
evil = st.one_of(
    st.sampled_from(EVIL), st.lists(st.sampled_from(EVIL), max_size=3).map("".join),
    st.text(st.characters(max_codepoint=255), max_size=8).map(lambda text: f"{text}{MARK}"),
)  # fmt: skip
templates = st.sampled_from([
    "/{0}/orders/{1}", "/{0}/orders/{1}/address", "/{0}/orders/{1}/pay", "/{0}/orders/{1}/done", "/{0}/ORDERS/{1}/pay",
    "//{0}/orders/{1}/pay", "/{0}//orders/{1}/pay", "{0}/orders/{1}/pay", "/{0}/orders/{1}/pay;{0}", "/confirm",
    "/CONFIRM{0}", "/confirm/{0}", "/{0}/track", "/{0}/mail/{1}", "/{0}/mail/x{1}y", "/fenced/{0}", "/Fenced/{0}/{1}",
    "/again", "/AGAIN", "/{0}/orders/7/../{1}/pay", "http://{0}/en/orders/7/pay", "/en/orders/7/pay?{0}",
    "/en/orders/{1}%2f{0}/pay",
])  # fmt: skip
methods = st.sampled_from(["GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", f"{MARK}", f"<{MARK}>", f"GET\r\n{MARK}: 1"])
clients = st.sampled_from(
    [PAGE, SCRIPT, {"HTTP_ACCEPT": "text/html"}, {"HTTP_HX_REQUEST": "true", "HTTP_X_INERTIA": "true"}, {}]
)
WRITTEN = [
    "HTTP_HOST", "HTTP_REFERER", "HTTP_ACCEPT_LANGUAGE", "HTTP_ACCEPT", "HTTP_USER_AGENT", "HTTP_ORIGIN", "SERVER_NAME",
    "HTTP_X_FORWARDED_HOST", "HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_FLOWGUARD_REASON", "HTTP_X_ORIGINAL_URL",
    "REQUEST_URI", "CONTENT_TYPE",
]  # fmt: skip
extra = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(WRITTEN, evil), "HTTP_SEC_PURPOSE": st.just("prefetch")}
)  # fmt: skip
WALK = ("GET ", "GET /address", "POST /address", "POST /pay", "GET /done")


class Desk:
    """Orders in two languages, and visitors who have come to the address, to the receipt, or nowhere."""

    def __init__(self) -> None:
        self.app = Application()
        self.app.answers["POST /en/orders/7/address"] = led("/en/orders/7/pay")
        self.app.answers["POST /en/orders/7/pay"] = led("done")
        self.open()

    def open(self) -> None:
        """As if nobody had ever been here; and then those visitors."""
        clock = Clock()
        guard = FlowGuard(
            self.app, ORDERS, secret_key=SECRET, clock=clock, vary=["lang"], reset="/again", fence=["/fenced/"],
            ledger_wait=0,
        )  # fmt: skip
        self.visitor = Visitor(guard, check=False)
        self.cookies: list[str] = ["a=1", f"{NAME}=forged"]
        for step in WALK:
            method, path = step.split(" ")
            clock.now += 6
            response = self.visitor.send(self.visitor.environ(method, f"/en/orders/7{path}", **PAGE))
            assert response.reason is None, (step, response)
            self.cookies.append(f"{NAME}={self.visitor.jar[NAME]}")
        self.visitor.jar.clear()

    def ask(self, method: str, path: str, **more: Any) -> tuple[Response, bool]:
        """The answer, and whether it is ours alone. It is looked at, and what it has changed is undone."""
        self.app.seen.clear()
        response = self.visitor.send(self.visitor.environ(method, "", b"a=1", **{"PATH_INFO": path, **more}))
        self.visitor.jar.clear()
        ours = not self.app.seen
        if ours:
            is_ours_alone(response)
        for header in response.cookies:
            assert MARK not in header.lower()
        if not ours or response.reason is None:
            self.open()
        return response, ours


@functools.lru_cache
def desk() -> Desk:
    """One for all examples."""
    return Desk()


@settings(max_examples=250 * DEEP, deadline=None)
@given(
    template=templates, fill=st.tuples(evil, evil), query=evil, mount=st.one_of(st.just(""), evil), method=methods,
    client=clients, more=extra, visitor=st.integers(0, len(WALK) + 1), note=st.one_of(st.just("path"), evil),
)  # fmt: skip
def test_nothing_that_a_visitor_writes_becomes_a_header_or_markup_of_ours_or_leads_away(
    template: str, fill: tuple[str, str], query: str, mount: str, method: str, client: Any, more: Any, visitor: int,
    note: str,
):  # fmt: skip
    cookie = f"{desk().cookies[visitor]}; {NAME}-note={int(NOON)}~{note}"
    written = {**client, "QUERY_STRING": query, "SCRIPT_NAME": mount, "HTTP_COOKIE": cookie, **more}
    desk().ask(method, template.format(*fill), **written)


def test_all_kinds_of_answers_of_ours_are_among_those():
    """So that the test above has something to look at."""
    kinds = set()
    paths = ["/en/orders/{}/pay", "/en/ORDERS/{}", "/again", "/confirm", "/en/orders/7/address"]
    for visitor, path, method, client in itertools.product(
        range(0, len(WALK) + 2, 2), paths, ["GET", "POST", "HEAD"], [PAGE, SCRIPT]
    ):
        for mark in EVIL[::6]:
            cookie = desk().cookies[visitor]
            response, ours = desk().ask(method, path.format(mark), **{**client, "HTTP_COOKIE": cookie})
            if ours:
                kinds.add((response.status, response.header("Content-Type")))
    assert {status for status, _ in kinds} == {303, 308, 405, 409}
    assert {str(kind).partition(";")[0] for _, kind in kinds} == {"text/html", "text/plain", "application/problem+json"}


HOSTS = ["evil.example", "shop.example:8080", "user@evil", "evil\r\nX: y", "[::1]", "", None, "evil.example/x", "\xff"]


@pytest.mark.parametrize("mount", ["", "/shop"])
@pytest.mark.parametrize("host", HOSTS, ids=ascii)
def test_no_location_of_ours_is_built_from_the_host(host: Optional[str], mount: str):
    usual, asked = [], []
    for given_host, found in ((HOST, usual), (host, asked)):
        visitor, app = guarded(SHOP, reset="/again", check=False)
        app.answers.update({"POST /shipping": led(f"{mount}/pay"), "POST /pay": led(f"{mount}/done")})
        visitor.mount = mount
        for step in ("GET /pay", "GET /CART", "GET /again", "GET /cart", "GET /shipping", "GET /done", "POST /shipping",
                     "POST /pay", "POST /pay", "GET /cart?x=1", "GET /SHIPPING?x=1"):  # fmt: skip
            method, path = step.split()
            environ = visitor.environ(method, path, **{**PAGE, "HTTP_HOST": given_host,
            "HTTP_X_FORWARDED_HOST": given_host})
            response = visitor.send(environ)
            found.append((response.verdict, response.location))
    assert asked == usual
    assert len([location for _, location in usual if location]) >= 8


# --- where a submission led ------------------------------------------------------------------------------------------

# What the application says, and where the second click goes: there, or where the guard would send it anyway.
LED = [
    ("/done", "/done"), ("/done?order=7#top", "/done?order=7#top"), (f"http://{HOST}/done", f"http://{HOST}/done"),
    ("https://pay.example/x?y=1", "https://pay.example/x?y=1"), ("//pay.example/x", "//pay.example/x"),
    ("/caf\xc3\xa9", "/caf%C3%A9"), ("https://pay.example/\u20ac", "https://pay.example/%E2%82%AC"),
    ("/a b<c>\"d'", "/a%20b%3Cc%3E%22d'"),
    ("javascript:alert(1)", "/pay"), ("data:text/html,x", "/pay"), ("JAVASCRIPT:x", "/pay"), (" javascript:x", "/pay"),
    ("java\tscript:x", "/pay"), ("vbscript:x", "/pay"), ("/x\r\nSet-Cookie: a=b", "/pay"), ("/x\x00", "/pay"),
    ("\x7f//evil", "/pay"), ("/" + "x" * 2000, "/pay"), ("", "/pay"),
]  # fmt: skip


@pytest.mark.parametrize(("location", "to"), LED, ids=[ascii(row[0][:30]) for row in LED])
@pytest.mark.parametrize("host", [HOST, "evil.example"])
def test_a_second_click_goes_only_where_the_application_itself_has_sent_the_first(location: str, to: str, host: str):
    visitor, app = guarded({**SHOP, "/pay": {**SHOP["/pay"], "accept": [303]}}, check=False)
    app.answers.update({"POST /shipping": led("/pay"), "POST /pay": led(location)})
    for step in ("/cart", "/shipping"):
        visitor.get(step)
    visitor.post("/shipping")
    visitor.get("/pay")
    assert visitor.post("/pay").status == 303
    second = visitor.post("/pay", HTTP_HOST=host)
    if to == "/pay":
        assert second.location in ("/pay", "/done"), second.location
    else:
        assert second.location == to
    assert second.reason == "duplicate"


# What an application that fails may say, as it is or with the host that it was asked at; and hosts that would make of
# that the way to the next step, if one took them for more than a host.
FAILURES = ["?error=1", "", "#error", "shipping?error=1", "http://{}/shipping?error=1", "//{}/shipping?error=1"]
PATHLIKE = ["x/pay?", "x/pay#", "x:/pay?", "x:80/pay#", "/pay?", "/pay#", ":80/pay?", "@/pay?", "[::1]/pay?",
            "x\\/pay?", "shop.example/pay?", "shop.example:80/pay#"]  # fmt: skip


@pytest.mark.parametrize("host", PATHLIKE)
@pytest.mark.parametrize("failure", FAILURES)
def test_no_host_makes_a_failure_a_success(failure: str, host: str):
    visitor, app = guarded(SHOP, check=False)
    app.answers["POST /shipping"] = led(failure.format(host))
    visitor.get("/cart")
    visitor.get("/shipping")
    assert visitor.post("/shipping", HTTP_HOST=host).status == 303
    assert visitor.get("/pay").reason == "skipped"


@pytest.mark.parametrize("host", [
    "login.example", "login", "login:1", "login:x", "login@x", "x@login", "signin.example:80", "x/login", "x/login?",
    "x:80/login#", "shop.example/login", "x, y/login",
])  # fmt: skip
@pytest.mark.parametrize("header", ["HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_SERVER"])
@pytest.mark.parametrize("mount", ["", "/mounted"])
def test_no_host_makes_a_payment_free_again(header: str, host: str, mount: str):
    """Bottle, WebOb and many an application copy one of these into a Location; a login there would be a failure."""
    visitor, app = guarded(SHOP, check=False)

    def paying(environ: Any, start_response: Any) -> list[bytes]:
        location = "/done" if mount else f"http://{environ[header]}/done"
        start_response("303 See Other", [("Location", location), ("Content-Type", "text/html")])
        return [b""]

    app.answers["POST /pay"] = paying
    app.answers["POST /shipping"] = led(f"{mount}/pay")
    for step in ("GET /cart", "GET /shipping", "POST /shipping", "GET /pay"):
        visitor.call(*step.split(), SCRIPT_NAME=mount)
    for _ in range(3):
        visitor.post("/pay", **{"SCRIPT_NAME": mount, header: host})
    assert app.calls.count("POST /pay") == 1


def test_a_login_on_another_host_is_a_failure_by_its_path():
    visitor, app = guarded(SHOP, check=False)
    app.answers["POST /pay"] = led("https://sso.example/login?next=/pay")
    app.answers["POST /shipping"] = led("/pay")
    for step in ("GET /cart", "GET /shipping", "POST /shipping", "GET /pay", "POST /pay", "POST /pay"):
        visitor.call(*step.split())
    assert app.calls.count("POST /pay") == 2


@pytest.mark.parametrize(("says", "reason"), [(None, None), ("failed", "skipped")], ids=["in silence", "by a word"])
def test_an_application_that_sends_its_visitors_where_they_say_they_came_from_must_say_that_it_failed(
    says: Optional[str], reason: Optional[str]
):
    """It leads to the next step, as a success does: nobody but the application can tell. The README says so."""
    visitor, app = guarded(SHOP)

    def back(environ: Any, start_response: Any) -> list[bytes]:
        words = [] if says is None else [("Flowguard", says)]
        start_response("303 See Other", [("Location", environ["HTTP_REFERER"]), ("Content-Type", "text/html"), *words])
        return [b""]

    app.answers["POST /shipping"] = back
    visitor.get("/cart")
    visitor.get("/shipping")
    visitor.post("/shipping", HTTP_REFERER=f"http://{HOST}/pay")
    assert visitor.get("/pay").reason == reason


@pytest.mark.parametrize("location", ["done", "./done", "../shop/done"])
@pytest.mark.parametrize("again", ["/shop/pay", "/shop/pay/", "/quick"])
def test_a_second_click_on_another_path_of_the_step_goes_where_the_first_led(location: str, again: str):
    flow = {"/cart": {"to": ["pay"]}, "/shop/pay": {"state": "pay", "to": ["/shop/done"], "once": True},
            "/quick": "pay", "/shop/done": {}}  # fmt: skip
    visitor, app = guarded(flow)
    app.answers["POST /shop/pay"] = led(location)
    visitor.get("/cart")
    visitor.get("/shop/pay")
    assert visitor.post("/shop/pay").location == location
    second = visitor.post(again)
    assert (second.reason, second.location) == ("duplicate", "/shop/done")


# --- through real servers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def charges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fleet") / "charges.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE charges (name TEXT, pid INTEGER)")
    return path


@pytest.fixture(scope="module", params=[Gunicorn, Waitress], ids=["gunicorn", "waitress"])
def server(request: pytest.FixtureRequest, charges: Path) -> Iterator[Server]:
    with request.param("fleet_app:application", FLEET_LEDGER="memory://", FLEET_DATABASE=charges) as started:
        yield started


def charged(charges: Path) -> int:
    with closing(sqlite3.connect(charges)) as database:
        return int(database.execute("SELECT count(*) FROM charges").fetchone()[0])


def sent(port: int, lines: bytes) -> bytes:
    """What a server answers to these bytes; nothing if it just closes."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(lines)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            try:
                chunk = client.recv(65536)
            except ConnectionResetError:
                return answer
            if not chunk:
                return answer
            answer += chunk


WIRE = [
    b"POST /payment HTTP/1.1\r\nHost: x\r\n",
    b"post /payment HTTP/1.1\r\nHost: x\r\n",
    b"GET /payment HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: POST\r\n",
    b"GET /payment HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: GET\r\nX-HTTP-Method-Override: POST\r\n",
    b"GET /payment HTTP/1.1\r\nHost: x\r\nx_http_method_override: POST\r\n",
    b"GET /elsewhere HTTP/1.1\r\nHost: x\r\nX-Original-URL: /payment\r\nX-Rewrite-URL: /payment\r\n",
    b"GET /payment HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /payment\r\nPATH_INFO: /cart\r\n",
    b"GET /x/payment HTTP/1.1\r\nHost: x\r\nSCRIPT-NAME: /x\r\nSCRIPT_NAME: /x\r\n",
    b"POST http://evil.example/payment HTTP/1.1\r\nHost: x\r\n",
    b"POST http://evil.example/payment HTTP/1.1\r\nHost: evil.example\r\n",
    b"POST //payment HTTP/1.1\r\nHost: x\r\n",
    b"POST /payment HTTP/1.1\r\nHost: x\r\nHost: evil.example\r\n",
    b"POST /payment HTTP/1.1\r\nHost:\r\n",
    b"POST /payment HTTP/1.0\r\n",
    b"POST /payment HTTP/1.1\r\nHost: x\r\nCookie: flowguard-flow=1aa.x\r\nCookie: flowguard-flow=1bb.y\r\n",
    b"POST /payment HTTP/1.1\r\nHost: x\r\nFlowguard: success\r\nflowguard.run: x\r\nFLOWGUARD_CALLS: ()\r\n",
    b"POST /payment HTTP/1.1\r\nHost: x\r\nX-Fold: a\r\n b\r\n",
    b"POST /payment HTTP/1.1\r\nHost: x\r\nCookie: a=\x00\xff\xfe\r\n",
    b"POST /payment HTTP/1.1\r\nHost: x\r\nConnection: close, cookie\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    b"GET /shipping%0d%0a?X-Evil:%201 HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n",
    b"GET /SHIPPING?x=%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\n",
]  # fmt: skip


@pytest.mark.slow
def test_no_header_of_a_stranger_charges_anything_through_a_real_server(server: Server, charges: Path):
    before = charged(charges)
    for lines in WIRE:
        answer = sent(server.port, lines + b"\r\n")
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert not re.match(rb"http/1\.[01] 5", head), (lines, answer)
        assert b"x-page: /payment" not in head, (lines, answer)
        assert b"\nx-evil" not in head, (lines, answer)
        assert b"evil.example" not in head, (lines, answer)
    assert charged(charges) == before


@pytest.mark.slow
def test_the_honest_visitor_of_that_server_is_charged_once(server: Server, charges: Path):
    before = charged(charges)
    browser = Browser(server.port, {"order": "7", "session": '"a;b, c"'})
    assert browser.walk("GET /cart", "GET /shipping", "POST /shipping", "POST /payment", "POST /payment") == "/done"
    # Two Cookie headers, as no browser sends them: each server joins them in its own way.
    lines = "".join(f"Cookie: {name}={value}\r\n" for name, value in browser.cookies.items())
    answer = sent(server.port, f"GET /done HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
    assert b"x-page: /done" in answer.lower(), answer
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with closing(connection):
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        connection.request("GET", "/payment", headers={"Cookie": cookie, "X-HTTP-Method-Override": "POST"})
        assert connection.getresponse().headers["Flowguard-Reason"] == "finished"
    assert charged(charges) == before + 1
