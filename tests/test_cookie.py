"""A run as a signed text and as a cookie: CONTRACT 6."""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
import re
from typing import Any, Iterator, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import BadSignature, Signer
from visitor import (
    DONE,
    NOON,
    NOT_MODIFIED,
    SECRET,
    Application,
    Clock,
    Visitor,
    guarded,
    led,
)

from flowguard import Answer, Attempt, ConfigError, Destination, Flow, FlowGuard, Passage, decide, settle
from flowguard.codec import HEAD, Codec, Coded, apart, write_later
from flowguard.cookie import ABSENT, MAX_COOKIE, Attributes, Cookie, Seal, _shortened, _TextSigner, looks_signed
from flowguard.core.flow import Definition, State
from flowguard.core.run import Run
from flowguard.ledgers.memory import MemoryLedger

OTHER = "5f0d7cb1294e8a635f0d7cb1294e8a63"
THIRD = "c4e2a9168b3f570dc4e2a9168b3f570d"
NAME = "flowguard-flow"
SHOP: dict[str, Any] = {
    "/cart": {"to": ["/shipping"]},
    "/shipping": {"to": ["/pay"], "submit": True},
    "/pay": {"to": ["/done"], "once": True},
    "/done": {},
}


def definition(*names: str, to: str = "", **more: Any) -> Definition:
    """States that all lead to those of *to*."""
    states = {name: State(name, to=dict.fromkeys(one for one in to.split() if one != name), **more) for name in names}
    return Definition("flow", states)


ABC = definition("a", "b", "c", "d", to="a b c d")


def cookie(flow: Definition = ABC, *keys: Any, variables: tuple[str, ...] = ()) -> Cookie:
    return Cookie(NAME, Codec(flow, variables), Seal(keys or (SECRET,), flow.name), Attributes(), False)


def value_of(header: str) -> str:
    return header.partition("=")[2].partition(";")[0]


def sent(run: Run, jar: Optional[Cookie] = None) -> str:
    """The value of the cookie of *run*."""
    return value_of((jar or cookie()).write(run))


RUN = Run(
    "Zm9vYmFyYmF6cXV4", 300, 17, ("a", "c", "b"), (("a", "c"), ("c", "b")), frozenset("ac"), frozenset("d"), (),
    1_800_000_000_123, 1_800_000_009_000, 1_800_000_008_000,
)  # fmt: skip


# --- a run as a text -------------------------------------------------------------------------------------------------


@st.composite
def runs(draw: Any, names: tuple[str, ...], variables: tuple[str, ...] = ()) -> Run:
    trail = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=len(names))))
    pairs = list(itertools.permutations(trail, 2))[:400]
    history = tuple(draw(st.lists(st.sampled_from(pairs), unique=True, max_size=60))) if pairs else ()
    if draw(st.booleans()):
        history = tuple(zip(trail, trail[1:]))
    texts = st.text(min_size=1, max_size=30)
    first, more = draw(st.integers(0, 2**31)), draw(st.integers(0, 2**31))
    start = draw(st.integers(0, 2**41))
    later = st.integers(-60_000, 2**40)
    return Run(
        draw(st.from_regex(r"[A-Za-z0-9_-]{16}", fullmatch=True)), first + more, first, trail, history,
        frozenset(draw(st.sets(st.sampled_from(trail)))) if trail else frozenset(),
        frozenset(draw(st.sets(st.sampled_from(names)))),
        tuple((name, draw(texts)) for name in variables if draw(st.booleans())),
        start, start + draw(later), start + draw(later), draw(st.booleans()),
    )  # fmt: skip


FEW = ("/cart", "/caf\u00e9/<id>", "a state with spaces", "POST /x", ".", "~")
MANY = tuple(f"/step/{number}" for number in range(70))  # more than one letter can number


@pytest.mark.parametrize(("names", "variables"), [(FEW, ("id", "lang")), (MANY, ())], ids=["few", "many"])
def test_a_run_that_went_through_a_cookie_is_the_run_that_went_in(names: tuple[str, ...], variables: tuple[str, ...]):
    jar = cookie(definition(*names), variables=variables)

    @settings(max_examples=100, deadline=None)
    @given(runs(names, variables))
    def check(run: Run) -> None:
        found = jar.read(f"{NAME}={sent(run, jar)}")
        assert (found.run, found.present) == (run, True)

    check()


def test_a_trail_of_more_states_than_there_are_letters_keeps_its_history():
    codec = Codec(definition(*MANY))
    steps = (*zip(MANY, MANY[1:]), (MANY[69], MANY[0]), (MANY[0], MANY[64]))
    run = RUN._replace(trail=MANY, history=steps, done=frozenset(MANY[60:]), spent=frozenset())
    assert codec.decode(codec.encode(run)) == run


@pytest.mark.parametrize("enters", [True, False], ids=["and a state is entered", "in the same state"])
def test_the_same_run_is_written_later_as_if_it_had_been_read(enters: bool) -> None:
    codec, now = Codec(ABC), 900_000
    times = {"started": 100_000, "changed": 300_000, "entered": 200_000}
    run = Run("0123456789abcdef", 0x5F, 0x11, ("a", "b"), (("a", "b"),), **times)
    fields = apart(codec.encode(run))
    later = run._replace(seq=run.seq + 2, changed=now, entered=now if enters else run.entered)
    assert write_later(fields, 2, run.started, now, enters) + fields[HEAD] == codec.encode(later)


@pytest.mark.parametrize("text", ["\ud800", "\x00", "~.=", "\u65e5\u672c", "a" * 128], ids=ascii)
def test_the_value_of_a_variable_survives_whatever_it_is(text: str):
    codec = Codec(ABC, ("id",))
    run = RUN._replace(values=(("id", text),))
    encoded = codec.encode(run)
    assert codec.decode(encoded) == run
    assert re.fullmatch(r"[A-Za-z0-9._~+-]*", encoded)


TEXT = Codec(ABC).encode(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "...........", TEXT + ".", TEXT.rpartition(".")[0], TEXT.replace(".", "", 1),
        TEXT.replace(RUN.id, f"{RUN.id}.x"), TEXT.replace(".5.", ".x."), TEXT.replace(".5.", ".0."),
        TEXT.replace(".5.", "."), TEXT.replace(".5.", ".."), TEXT.replace("..", ".-ZZ."), TEXT.replace("..", ".+ABC."),
        "\ud800",
    ],
)  # fmt: skip
def test_a_text_of_another_shape_is_none_of_ours(text: str):
    assert Codec(ABC).decode(text) is None


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789abcdefABZ_-.~+5f", max_size=80), st.integers(0, len(TEXT)))
def test_no_text_whatever_breaks_the_reader(noise: str, place: int):
    """Only signed texts get so far; another version of flowguard may have signed them."""
    run = Codec(ABC).decode(TEXT[:place] + noise + TEXT[place:])
    assert run is None or set(run.trail) | run.done | run.spent <= set("abcd")


# --- the signature ---------------------------------------------------------------------------------------------------


def stock(*keys: str, name: str = "flow") -> Signer:
    return Signer(list(keys), salt=f"flowguard.v1.{name}", key_derivation="hmac", digest_method=hashlib.sha256)


@pytest.mark.parametrize("keys", [(SECRET,), (OTHER, SECRET), (SECRET.encode(),)], ids=["one", "two", "bytes"])
def test_stock_itsdangerous_reads_our_cookies(keys: Any):
    token = sent(RUN, cookie(ABC, *keys))
    assert stock(SECRET).unsign(token).decode()[4:] == TEXT
    with pytest.raises(BadSignature):
        stock(OTHER).unsign(token)
    with pytest.raises(BadSignature):
        stock(SECRET, name="other").unsign(token)


def test_every_flipped_bit_makes_it_none_of_ours():
    jar, token = cookie(), sent(RUN)
    for place, bit in itertools.product(range(len(token)), range(8)):
        forged = token[:place] + chr(ord(token[place]) ^ 1 << bit) + token[place + 1 :]
        assert jar.read(f"{NAME}={forged}").run is None, forged


def test_every_cut_makes_it_none_of_ours():
    jar, token = cookie(), sent(RUN)
    assert [cut for cut in range(len(token)) if jar.read(f"{NAME}={token[:cut]}").run] == []
    assert [cut for cut in range(1, len(token)) if jar.read(f"{NAME}={token[cut:]}").run] == []


def respelled(token: str) -> dict[str, str]:
    """What stock itsdangerous takes for the same token."""
    value, _, signature = token.rpartition(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(signature[-1])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[last ^ 1]
    return {
        "padded": f"{token}=",
        "padded twice": f"{token}==",
        "padded, and more": f"{token}=AAAA",
        "another last letter": f"{value}.{signature[:-1]}{twin}",
        "a mark inside": f"{value}.{signature[:5]}!{signature[5:]}",
        "beyond ASCII": f"{value}.{signature}\xe9",
    }


@pytest.mark.parametrize("spelling", respelled("x.AAA"))
def test_a_signature_has_one_spelling(spelling: str):
    other = respelled(sent(RUN))[spelling]
    assert cookie().read(f"{NAME}={other}").run is None


def test_standard_base64_is_no_spelling_of_ours():
    jar = cookie()
    tokens = [sent(RUN._replace(seq=count, first=0)) for count in range(300)]
    chosen = [token for token in tokens if "-" in token.rpartition(".")[2] or "_" in token.rpartition(".")[2]]
    assert len(chosen) > 100
    for token in chosen:
        value, _, signature = token.rpartition(".")
        standard = base64.b64encode(base64.urlsafe_b64decode(signature + "=")).decode().rstrip("=")
        assert jar.read(f"{NAME}={value}.{standard}").run is None


FORGERIES = {
    "nothing": "",
    "dots": "....",
    "a word": "x",
    "NUL": "1aa.\x00",
    "another version": "2" + sent(RUN)[1:],
    "a version to come, rightly signed": stock(SECRET).sign(f"2{sent(RUN)[1:3]}.{TEXT}").decode(),
    "another key's mark": "1zz" + sent(RUN)[3:],
    "no mark, rightly signed": stock(SECRET).sign(f"1{TEXT}").decode(),
    "no run, rightly signed": stock(SECRET).sign(f"{sent(RUN)[:4]}nonsense").decode(),
    "another flow's": sent(RUN, cookie(Definition("other", ABC.states))),
    "another key's": sent(RUN, cookie(ABC, OTHER)),
    "beyond ASCII": sent(RUN) + "\xff",
    "raw UTF-8": "caf\xc3\xa9",
    "200 kB": "1" * 200_000,
    "200 kB with a right head": sent(RUN)[:4] + "A" * 200_000,
    "its text alone": TEXT,
    "the signature alone": sent(RUN).rpartition(".")[2],
}


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_whatever_is_no_cookie_of_ours_is_as_if_there_were_none(forged: str):
    assert cookie().read(f"{NAME}={forged}").run is None


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_a_bad_cookie_is_never_an_error_page_and_a_start_begins_anew(forged: str):
    visitor, _ = guarded(SHOP, check=False)
    assert visitor.get("/pay", HTTP_COOKIE=f"{NAME}={forged}").reason == "bad_cookie"
    response = visitor.get("/cart", HTTP_COOKIE=f"{NAME}={forged}")
    assert (response.status, len(response.cookies)) == (200, 1)
    assert visitor.get("/shipping").status == 200


def test_no_cookie_is_another_thing_than_a_bad_one():
    visitor, _ = guarded(SHOP)
    assert [visitor.get("/pay").reason, visitor.get("/pay", HTTP_COOKIE="a=1").reason] == ["not_started"] * 2


# --- in a Cookie header ----------------------------------------------------------------------------------------------

OLDER, NEWER = (sent(RUN._replace(seq=seq)) for seq in (300, 301))
JOINTS = {"gunicorn, werkzeug, wsgiref": ",", "waitress, uWSGI": ", ", "gevent, browsers": "; ", "granian": ";"}


@pytest.mark.parametrize("joint", JOINTS.values(), ids=JOINTS)
@pytest.mark.parametrize(
    "values",
    list(itertools.permutations([OLDER, NEWER, "forged"])),
    ids=[" ".join(order) for order in itertools.permutations(["older", "newer", "forged"])],
)
def test_of_several_cookies_that_verify_the_newest_counts_however_a_server_joins_them(values: Any, joint: str):
    header = joint.join(["a=1", *(f"{NAME}={value}" for value in values), "b=2"])
    found = cookie().read(header)
    assert found.run is not None
    assert found.run.seq == 301


def test_of_two_of_the_same_number_the_first_counts_which_is_of_the_nearest_path():
    mine, yours = RUN._replace(done=frozenset()), RUN._replace(done=frozenset("b"))
    assert cookie().read(f"{NAME}={sent(mine)}; {NAME}={sent(yours)}").run == mine
    assert cookie().read(f"{NAME}={sent(yours)}; {NAME}={sent(mine)}").run == yours


def test_every_run_is_told_and_nothing_that_is_none():
    assert [found.run for found in cookie().every(f"{NAME}={OLDER}")] == [RUN]
    assert cookie().every(f"{NAME}=forged") == cookie().every("") == []


@pytest.mark.parametrize(
    ("token", "ours"), [("1ab.x", True), ("2ab.x", False), ("1abcx", False), ("1", False), ("", False)]
)
def test_what_looks_signed_begins_with_the_version_and_the_mark(token: str, ours: bool):
    assert looks_signed(token) is ours
    assert looks_signed(sent(RUN))


def test_a_cookie_may_fill_all_the_room_that_a_browser_has():
    seal = Seal((SECRET,), "flow")
    text = "a" * (MAX_COOKIE - len(seal.sign("")))
    assert len(seal.sign(text)) == MAX_COOKIE
    assert seal.verify(seal.sign(text)) == text
    assert seal.verify(seal.sign(text + "a")) is None


def test_a_header_that_a_browser_just_keeps_loses_nothing():
    def written(padding: int) -> str:
        attributes = Attributes(path="/" + "a" * padding)
        return Cookie(NAME, Codec(ABC), Seal((SECRET,), ABC.name), attributes, False).write(RUN)

    room = MAX_COOKIE - len(written(0))
    assert len(written(room)) == MAX_COOKIE
    assert cookie().read(f"{NAME}={value_of(written(room))}").run == RUN
    assert cookie().read(f"{NAME}={value_of(written(room + 1))}").run != RUN


@pytest.mark.parametrize("text", ["text", b"text"])
def test_it_signs_as_a_stock_signer_does(text: Any):
    stock = Signer(b"key", key_derivation="none", digest_method=hashlib.sha256)
    signed = _TextSigner(b"key").sign(text)
    assert signed == stock.sign(text)
    assert _TextSigner(b"key").unsign(signed) == b"text"
    assert _TextSigner(b"key", b"te").get_signature(b"xt") == stock.get_signature("text")


HEADERS = {
    "alone": "{}",
    "after another": "a=1; {}",
    "before another": "{}; a=1",
    "without a space": "a=1;{};b=2",
    "spaces and tabs around": " \t{} \t; a=1",
    "a neighbour with our name in its value": 'a="x flowguard-flow"; {}',
    "a neighbour with a longer name": "flowguard-flow-note=1; x-flowguard-flow=2; {}",
    "JSON in a neighbour": 'a={{"x":1}}; {}',
    "a byte that is not UTF-8 in a neighbour": "a=\xff; {}",
    "a neighbour without a value": "a; =; ;; {}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_neighbours_in_the_header_are_in_nobodys_way(header: str):
    assert cookie().read(header.format(f"{NAME}={OLDER}")).run == RUN


ELSEWHERE = {
    "joined by nothing, as bjoern does": "a=1" + f"{NAME}={OLDER}",
    "a longer name": f"x-{NAME}={OLDER}",
    "another case": f"{NAME.upper()}={OLDER}",
    "the prefix of a secure one": f"__Host-{NAME}={OLDER}",
    "a no-break space before it": f"\xa0{NAME}={OLDER}",
    "nothing": "",
}


@pytest.mark.parametrize("header", ELSEWHERE.values(), ids=ELSEWHERE)
def test_only_the_name_that_we_would_set_is_read(header: str):
    assert cookie().read(header) == ABSENT


def test_a_flood_of_tossed_cookies_is_looked_at_for_a_few_only():
    header = "; ".join([f"{NAME}=forged"] * 8 + [f"{NAME}={OLDER}"])
    assert cookie().read(header) == ABSENT._replace(present=True)


@pytest.mark.parametrize("seconds", [-1, 0, 59, 60, 61, 3600])
def test_a_clock_that_runs_ahead_is_forgiven_a_minute(seconds: int):
    clock = Clock(NOON + seconds)
    visitor, _ = guarded(SHOP, clock=clock)
    visitor.get("/cart")
    clock.now = NOON
    assert visitor.get("/pay").reason == ("illegal" if seconds <= 60 else "bad_cookie")


@pytest.mark.parametrize(
    ("options", "seconds", "reason"),
    [
        ({}, 14_460, "illegal"),
        ({}, 14_461, "expired"),
        ({"ttl": 100}, 160, "illegal"),
        ({"ttl": 100}, 160.001, "expired"),
        ({"idle": 10}, 70, "illegal"),
        ({"idle": 10}, 70.001, "expired"),
        ({"ttl": 0.001, "idle": 5}, 60.002, "expired"),
    ],
)
def test_a_run_ends_a_minute_after_its_time(options: dict[str, Any], seconds: float, reason: str):
    clock = Clock()
    visitor, _ = guarded(SHOP, clock=clock, **options)
    visitor.get("/cart")
    clock.now += seconds
    assert visitor.get("/pay").reason == reason
    assert visitor.get("/cart").status == 200


def test_an_expired_run_begins_anew_under_its_old_id_and_counts_on():
    clock = Clock()
    visitor, _ = guarded(SHOP, clock=clock)
    visitor.get("/cart")
    before = told(visitor)
    clock.now += 20_000
    visitor.get("/cart")
    after = told(visitor)
    assert (after.id, after.seq, after.first) == (before.id, before.seq + 1, before.seq + 1)


def told(visitor: Visitor, name: str = NAME, flow: Any = SHOP) -> Run:
    """The run in the visitor's jar."""
    text = visitor.jar[name].rpartition(".")[0][4:]
    run = Codec(Flow(flow).definition).decode(text)
    assert run is not None
    return run


# --- keys ------------------------------------------------------------------------------------------------------------


def walk(keys: Any, jar: Optional[dict[str, str]] = None) -> Visitor:
    visitor, _ = guarded(SHOP, secret_key=keys)
    visitor.jar = dict(jar or {})
    return visitor


def signed_by(token: str) -> str:
    return next(key for key in (SECRET, OTHER, THIRD) if stock(key).validate(token))


def test_the_last_key_signs_and_all_of_them_verify():
    old = walk(SECRET)
    old.get("/cart")
    visitor = walk([SECRET, OTHER], old.jar)
    assert visitor.get("/cart").cookies == []  # nothing has changed, so nothing is written
    assert signed_by(visitor.jar[NAME]) == SECRET
    visitor.get("/shipping")
    assert signed_by(visitor.jar[NAME]) == OTHER
    assert walk([OTHER], visitor.jar).get("/shipping").status == 200


def test_a_retired_key_is_a_bad_cookie():
    visitor = walk([SECRET, OTHER])
    visitor.get("/cart")
    assert walk([THIRD], visitor.jar).get("/pay").reason == "bad_cookie"
    assert walk([THIRD, OTHER], visitor.jar).get("/pay").reason == "illegal"
    assert walk([OTHER, THIRD], visitor.jar).get("/pay").reason == "illegal"


def test_keys_that_share_their_mark_both_verify():
    """A mark has two hexadecimal digits: of 257 keys two share one."""
    keys = [f"key number {number:05}, of many" for number in range(300)]
    by_mark: dict[str, list[str]] = {}
    for key in keys:
        by_mark.setdefault(sent(RUN, cookie(ABC, key))[1:3], []).append(key)
    first, second = next(shared for shared in by_mark.values() if len(shared) > 1)[:2]
    both = cookie(ABC, first, second)
    for key in (first, second):
        assert both.read(f"{NAME}={sent(RUN, cookie(ABC, key))}").run == RUN
    assert stock(second).validate(sent(RUN, both))


def test_another_flow_of_the_same_guard_does_not_take_it():
    flows = [Flow({"/a": {"to": ["/b"]}, "/b": {}}, name="one"), Flow({"/x": {"to": ["/y"]}, "/y": {}}, name="two")]
    visitor, _ = guarded(flows)
    visitor.get("/a")
    token = visitor.jar["flowguard-one"]
    assert visitor.get("/y", HTTP_COOKIE=f"flowguard-two={token}").reason == "bad_cookie"
    assert visitor.get("/y").reason == "not_started"


# --- its name and its attributes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("https", "options", "header"),
    [
        (False, {}, "flowguard-flow=VALUE; HttpOnly; Path=/; SameSite=Lax"),
        (True, {}, "__Host-flowguard-flow=VALUE; Secure; HttpOnly; Path=/; SameSite=Lax"),
        (False, {"name": "shop"}, "flowguard-shop=VALUE; HttpOnly; Path=/; SameSite=Lax"),
        (True, {"cookie_name": "c"}, "__Host-c=VALUE; Secure; HttpOnly; Path=/; SameSite=Lax"),
        (False, {"cookie_secure": True}, "__Host-flowguard-flow=VALUE; Secure; HttpOnly; Path=/; SameSite=Lax"),
        (True, {"cookie_secure": False}, "flowguard-flow=VALUE; HttpOnly; Path=/; SameSite=Lax"),
        (True, {"cookie_samesite": "Strict"}, "__Host-flowguard-flow=VALUE; Secure; HttpOnly; Path=/; SameSite=Strict"),
        (True, {"cookie_samesite": "None"}, "__Host-flowguard-flow=VALUE; Secure; HttpOnly; Path=/; SameSite=None"),
        (True, {"cookie_path": "/shop"}, "flowguard-flow=VALUE; Secure; HttpOnly; Path=/shop; SameSite=Lax"),
        (
            True, {"cookie_domain": "shop.example"},
            "flowguard-flow=VALUE; Domain=shop.example; Secure; HttpOnly; Path=/; SameSite=Lax",
        ),
        (
            False, {"cookie_domain": "shop.example"},
            "flowguard-flow=VALUE; Domain=shop.example; HttpOnly; Path=/; SameSite=Lax",
        ),
    ],
)  # fmt: skip
def test_the_cookie_is_for_the_whole_host_and_for_nobody_else(https: bool, options: dict[str, Any], header: str):
    visitor, _ = guarded(SHOP, **options)
    visitor.https = https
    (got,) = visitor.get("/cart").cookies
    assert re.sub(r"=1[0-9a-f]{2}\.[^;]*", "=VALUE", got, count=1) == header
    assert visitor.get("/shipping").status == 200  # and it is read again


@pytest.mark.parametrize(("name", "path"), [("VALUE", "/"), ("shop", "/VALUE"), ("shop", "/a=VALUE")])
def test_a_flow_and_its_path_may_have_any_name(name: str, path: str):
    jar = Cookie(f"flowguard-{name}", Codec(ABC), Seal((SECRET,), name), Attributes(path=path), False)
    header = jar.write(RUN)
    assert header.endswith(f"; HttpOnly; Path={path}; SameSite=Lax")
    assert jar.read(header.partition(";")[0]).run == RUN


def test_on_https_the_plain_name_is_not_read():
    """A neighbour domain can set the plain name, and never the prefixed one."""
    visitor, _ = guarded(SHOP)
    visitor.get("/cart")
    visitor.https = True
    assert visitor.get("/shipping").reason == "not_started"
    assert visitor.get("/shipping", HTTP_COOKIE=f"__Host-{NAME}={visitor.jar[NAME]}").status == 200


def test_the_guard_sets_no_cookie_but_its_own():
    visitor, _ = guarded(SHOP, reset="/reset")
    visitor.jar = {"session": "1", "flowguard-other": "2", f"{NAME}2": "3"}
    walks = [visitor.get(path) for path in ("/cart", "/pay", "/pay", "/cart", "/shipping", "/reset", "/reset", "/done")]
    names = {header.partition("=")[0] for response in walks for header in response.cookies}
    assert names == {NAME, f"{NAME}-note"}


def test_on_https_every_cookie_of_the_guard_is_the_hosts_alone():
    """The run's and that beside it; and no other part of an answer holds the run's."""
    visitor, _ = guarded(SHOP, reset="/reset")
    visitor.https = True
    walk = [visitor.get(path) for path in ("/done", "/cart", "/done", "/shipping")]
    walk += [visitor.post("/pay"), visitor.call("POST", "/pay"), visitor.get("/reset")]
    cookies = [header for response in walk for header in response.cookies]
    assert {header.partition("=")[0] for header in cookies} == {f"__Host-{NAME}", f"__Host-{NAME}-note"}
    for header in cookies:
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(header.split("; ")), header
    values = {value_of(header) for header in cookies if header.startswith(f"__Host-{NAME}=")}
    elsewhere = [str(pair) for response in walk for pair in response.headers if pair[0] != "Set-Cookie"]
    elsewhere += [response.body.decode() for response in walk]
    assert not any(value in text for value in values for text in elsewhere)


# --- when it is written ----------------------------------------------------------------------------------------------

CROSS = {"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_DEST": "document"}
FRAME = {**CROSS, "HTTP_SEC_FETCH_DEST": "iframe"}
IMAGE = {**CROSS, "HTTP_SEC_FETCH_MODE": "no-cors", "HTTP_SEC_FETCH_DEST": "image"}


@pytest.mark.parametrize(
    ("method", "headers", "with_cookie", "written"),
    [
        ("GET", {}, False, True),
        ("POST", {}, False, True),
        ("HEAD", {}, False, False),
        ("OPTIONS", {}, False, False),
        ("GET", CROSS, False, True),
        ("POST", CROSS, False, False),
        ("get", CROSS, False, True),
        ("GET", FRAME, False, False),
        ("GET", IMAGE, False, False),
        ("GET", {"HTTP_SEC_FETCH_SITE": "cross-site"}, False, False),
        ("GET", {**IMAGE, "HTTP_SEC_FETCH_SITE": "same-site"}, False, True),
        ("POST", CROSS, True, True),
        ("GET", IMAGE, True, True),
    ],
)
def test_a_cross_site_request_without_a_cookie_gets_none_but_on_a_visit(
    method: str, headers: dict[str, str], with_cookie: bool, written: bool
):
    """The return from a payment page comes without a Lax cookie: a new run there would destroy the real one."""
    visitor, _ = guarded({"/a": {"to": ["/b"]}, "/b": {}}, check=False)
    if with_cookie:
        visitor.get("/a")
    response = visitor.send(visitor.environ(method, "/b" if with_cookie else "/a", **headers))
    assert (response.status, bool(response.cookies)) == (200, written)


@pytest.mark.parametrize("headers", [CROSS, IMAGE], ids=["POST visit", "POST image"])
def test_a_refused_cross_site_return_gets_no_cookie_of_any_kind(headers: dict[str, str]):
    visitor, _ = guarded(SHOP, on_refusal="redirect")
    response = visitor.send(visitor.environ("POST", "/pay", **headers))
    assert (response.reason, response.cookies) == ("not_started", [])


def test_a_reload_writes_nothing():
    visitor, _ = guarded(SHOP)
    assert [len(visitor.get("/cart").cookies), len(visitor.get("/cart").cookies)] == [1, 0]


def test_a_look_and_a_companion_write_nothing():
    flow = {"/a": {"to": ["/b"], "back": "view"}, "/b": {"to": ["/c"]}, "/c": {}, "/img": {"within": ["/b"]}}
    visitor, _ = guarded(flow)
    visitor.get("/a")
    visitor.get("/b")
    assert [visitor.get(path).cookies for path in ("/a", "/img")] == [[], []]


def test_a_304_writes_nothing():
    visitor, app = guarded(SHOP)
    app.answers["GET /cart"] = NOT_MODIFIED
    assert visitor.get("/cart").cookies == []


def test_an_answer_that_counts_for_nothing_begins_no_run():
    visitor, app = guarded(SHOP)
    app.answers["GET /cart"] = led("/elsewhere")
    assert visitor.get("/cart").cookies == []
    assert visitor.get("/shipping").reason == "not_started"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "GET"])
def test_the_newest_cookie_is_sent_again_to_whoever_brings_an_older_one(method: str):
    visitor, app = guarded(SHOP)
    visitor.get("/cart")
    visitor.get("/shipping")
    app.answers["POST /shipping"] = DONE
    older = visitor.twin()
    visitor.post("/shipping")
    response = older.call(method, "/shipping")
    assert response.status == 200
    assert [value_of(header) for header in response.cookies] == ([] if method == "HEAD" else [visitor.jar[NAME]])


# --- deployments -----------------------------------------------------------------------------------------------------

BEFORE = {"/a": {"to": ["/b"]}, "/b": {"to": ["/c"]}, "/c": {"to": ["/d"]}, "/d": {}}


def at_c(flow: Any = None) -> tuple[dict[str, str], MemoryLedger]:
    ledger = MemoryLedger()
    visitor, _ = guarded(BEFORE if flow is None else flow, ledger=ledger)
    for path in ("/a", "/b", "/c"):
        assert visitor.get(path).status == 200
    visitor.post("/c")  # so that the ledger holds it, too
    return visitor.jar, ledger


@pytest.mark.parametrize("remembered", [True, False], ids=["with the ledger", "by the cookie alone"])
@pytest.mark.parametrize(
    ("after", "path", "verdict"),
    [
        ({**BEFORE, "/e": {}}, "/d", (200, None)),
        ({"/e": {"to": ["/a"], "start": True}, **BEFORE}, "/d", (200, None)),
        ({**dict(reversed(BEFORE.items())), "/a": {"start": True, "to": ["/b"]}}, "/d", (200, None)),
        ({**BEFORE, "/c": {"to": ["/d", "/e"]}, "/e": {}}, "/e", (200, None)),
        ({"/a": {"to": ["/b"]}, "/b": {"to": ["/d"]}, "/d": {}}, "/d", (200, None)),
        ({"/a": {"to": ["/d"]}, "/d": {}}, "/d", (200, None)),
        ({"/a": {"to": ["/b"]}, "/b": {"to": ["/new"]}, "/new": {"to": ["/d"]}, "/d": {}}, "/d", (303, "illegal")),
        ({"/a": {"to": ["/b"]}, "/b": {"to": ["/new"]}, "/new": {"to": ["/d"]}, "/d": {}}, "/new", (200, None)),
        ({"/x": {"to": ["/d"]}, "/d": {}}, "/d", (303, "not_started")),
        ({"/x": {"to": ["/d"]}, "/d": {}}, "/x", (200, None)),
    ],
    ids=[
        "a state is added", "a start is added in front", "states change places", "a transition is added",
        "the current state is removed", "the two latest are removed", "the current state is renamed: not ahead",
        "the current state is renamed: to its heir", "all are removed: not ahead", "all are removed: a new start",
    ],
)  # fmt: skip
def test_a_deployment_meets_runs_that_are_alive(after: Any, path: str, verdict: Any, remembered: bool):
    jar, ledger = at_c()
    visitor, _ = guarded(after, ledger=ledger if remembered else "memory://")
    visitor.jar = dict(jar)
    assert visitor.get(path).verdict == verdict


def test_what_is_spent_stays_spent_through_a_deployment_that_moves_states():
    flow = {"/a": {"to": ["/b"]}, "/b": {"once": True, "to": ["/c"]}, "/c": {}}
    visitor, app = guarded(flow)
    visitor.get("/a")
    visitor.get("/b")
    app.answers["POST /b"] = DONE
    visitor.post("/b")
    later, _ = guarded({"/new": {}, "/c": {}, "/b": flow["/b"], "/a": {"start": True, **flow["/a"]}})
    later.jar = visitor.jar
    assert later.post("/b").reason == "duplicate"


def test_a_path_that_loses_its_variable_keeps_the_run():
    visitor, _ = guarded({"/<lang>/a": {"state": "a", "to": ["b"]}, "/<lang>/b": {"state": "b"}})
    visitor.get("/en/a")
    later, _ = guarded({"/a": {"state": "a", "to": ["b"]}, "/b": {"state": "b"}})
    later.jar = visitor.jar
    assert later.get("/b").status == 200


def colliding() -> tuple[str, str]:
    """Two names whose codes are the same in the usual width, and differ in the next."""
    seen: dict[str, str] = {}
    for number in itertools.count():
        name = f"/{number}"
        code = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest())[:5].decode()
        if code in seen:
            return seen[code], name
        seen[code] = name
    raise AssertionError


def test_names_whose_codes_collide_get_longer_codes_and_runs_that_are_alive_lose_only_those():
    one, two = colliding()
    small, large = Codec(definition("a", one)), Codec(definition("a", one, two))
    run = RUN._replace(trail=("a", one), history=(("a", one),), done=frozenset({one}), spent=frozenset({one}))
    assert large.decode(large.encode(run)) == run
    assert small.decode(large.encode(run)) == run
    lost = run._replace(trail=("a",), history=(), done=frozenset(), spent=frozenset())
    assert large.decode(small.encode(run)) == lost
    assert large.decode(small.encode(run._replace(trail=(), history=(), done=frozenset()))) == lost._replace(trail=())


def test_a_run_that_grew_under_a_larger_flow_is_cut_to_what_a_browser_keeps():
    names = tuple(f"s{number}" for number in range(60))
    large = cookie(definition(*names))
    history = tuple(itertools.permutations(names, 2))
    grown = RUN._replace(trail=names, history=history, done=frozenset(), spent=frozenset())
    header = large.write(grown)
    assert large._written(grown, "its-own=").startswith("its-own=")  # as an instance's is called
    assert MAX_COOKIE * 0.5 < len(header) <= MAX_COOKIE  # no more than need be is forgotten
    found = large.read(f"{NAME}={value_of(header)}").run
    assert found is not None
    assert found.trail == names[-len(found.trail) :]
    assert set(found.history) == set(itertools.permutations(found.trail, 2))


@pytest.mark.parametrize(("long", "left"), [(1, 0), (2, 1), (8, 5), (11, 8), (12, 8)])
def test_what_is_forgotten_at_a_time_is_the_oldest_quarter_of_the_trail_and_one_state(long: int, left: int):
    names = tuple(f"s{number}" for number in range(long))
    steps = tuple(zip(names, names[1:]))
    cut = _shortened(RUN._replace(trail=names, history=steps, done=frozenset(names)))
    kept = names[long - left :]
    assert cut == RUN._replace(trail=kept, history=tuple(zip(kept, kept[1:])), done=frozenset(kept))


def test_a_run_whose_flow_is_not_at_hand_is_read_and_written_with_all_that_is_in_it():
    codec = Codec(definition("a", "b"), ("id",))
    run = Run("i" * 16, 3, 1, ("a", "b"), (("a", "b"),), frozenset("a"), frozenset("b"), (("id", "7"),), 1, 3, 2, True)
    coded = Coded.decode(codec.encode(run))
    assert coded is not None
    assert coded.run.trail == (coded.code("a"), coded.code("b"))
    assert (coded.run.values, coded.run.spent, coded.width) == (run.values, {coded.code("b")}, 5)
    assert codec.decode(coded.encode()) == run
    assert Coded.decode("no text of ours") is None


# --- its size --------------------------------------------------------------------------------------------------------


def random_flow(dice: random.Random) -> Definition:
    names = [f"s{number}" for number in range(dice.randint(1, 9))]
    states = {}
    for name in names:
        onward = [other for other in names if other != name and dice.random() < 0.4]
        once = dice.random() < 0.3
        states[name] = State(
            name, start=name == "s0" or dice.random() < 0.2, to=dict.fromkeys(onward), once=once,
            submit=once or dice.random() < 0.3, repeat=not once and dice.random() < 0.3,
            back=dice.choice(["refuse", "view", "edit"]),
        )  # fmt: skip
    return Definition("flow", states, restart=dice.random() < 0.3)


def random_walk(dice: random.Random, flow: Definition, steps: int) -> Iterator[Run]:
    run, now = Run("x" * 16), int(NOON * 1000)
    for _ in range(steps):
        name = dice.choice(list(flow.states))
        values = (("id", "\U0001f40d" * 32),)
        passage = decide(flow, run, Attempt(name, dice.random() < 0.5, None, values=values))
        if isinstance(passage, Passage):
            to = Destination(dice.choice(list(flow.states)), "/x", "/x")
            answers = [Answer(200, html=True), Answer(204), Answer(500), Answer(303, to=to)]
            now += dice.randint(0, 100_000)
            run = settle(flow, run, passage, dice.choice(answers), now).run
            yield run


def test_no_walk_through_any_flow_makes_a_cookie_longer_than_its_bound():
    dice = random.Random(6)
    longest = 0.0
    for _ in range(150):
        flow = random_flow(dice)
        jar = cookie(flow, variables=("id",))
        for run in random_walk(dice, flow, 120):
            size = len(jar.write(run))
            assert size <= jar.longest
            longest = max(longest, size / jar.longest)
    assert longest > 0.85  # so that it turns down few flows that would fit


def eulerian(names: tuple[str, ...]) -> list[str]:
    """A walk that takes every transition of a complete graph once (Hierholzer)."""
    left = {name: [other for other in names if other != name] for name in names}
    stack, walk = [names[0]], []
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            walk.append(stack.pop())
    return walk[::-1]


def longest_run(names: tuple[str, ...], walk: list[str]) -> Run:
    run = Run("x" * 16).begun(walk[0], (), int(NOON * 1000))
    for name in walk[1:]:
        run = run.entering(name, int(NOON * 1000) + 9_999_999)
    return run._replace(seq=900, done=frozenset(names), spent=frozenset(names))


SHAPES = {
    "a chain": (tuple("abcdefghijklmnopqrst"), False),
    "every state leads to every other": (tuple("abcdefghijkl"), True),
    "one state": (("a",), False),
}


@pytest.mark.parametrize(("names", "complete"), SHAPES.values(), ids=SHAPES)
def test_the_bound_is_not_far_above_what_a_walk_can_reach(names: tuple[str, ...], complete: bool):
    if complete:
        flow, walk = definition(*names, to=" ".join(names), once=True), eulerian(names)
    else:
        links = dict(zip(names, names[1:]))
        states = {one: State(one, to=dict.fromkeys(links.get(one, "")), once=True) for one in names}
        flow, walk = Definition("flow", states), list(names)
    jar = cookie(flow)
    size = len(jar.write(longest_run(names, walk)))
    assert jar.longest - 48 <= size <= jar.longest  # the rest: counters and times that may still grow


def all_to_all(count: int, below: str = "") -> dict[str, Any]:
    names = [f"{below}/s{number}" for number in range(count)]
    return {name: {"to": [other for other in names if other != name]} for name in names}


def test_a_flow_whose_cookie_could_grow_too_large_does_not_load():
    FlowGuard(Application(), all_to_all(40), secret_key=SECRET)
    with pytest.raises(ConfigError) as caught:
        FlowGuard(Application(), all_to_all(46), secret_key=SECRET)
    (problem,) = caught.value.problems
    assert problem.where == "flow"
    assert re.fullmatch(
        r"its cookie could grow to 4[0-9]{3} bytes, and browsers keep 4096\. "
        r"Split the flow, or leave out transitions that lead back\.",
        problem.what,
    )


def test_the_bound_of_a_cookie_is_that_of_its_text_and_what_stands_around_it():
    jar, codec = cookie(), Codec(ABC)
    assert jar.longest - codec.longest == len(jar.write(RUN)) - len(codec.encode(RUN))


def test_the_attributes_count_for_the_size():
    longest = max(count for count in range(40, 46) if loads(all_to_all(count)))
    assert not loads(all_to_all(longest), cookie_domain=".".join(["x" * 60] * 4))


def test_a_domain_that_no_name_server_knows_does_not_load():
    assert not loads(SHOP, cookie_domain="x" * 64 + ".example")


def test_every_flow_that_is_too_large_is_named():
    flows = [Flow(all_to_all(46, f"/{name}"), name=name) for name in ("one", "two")]
    with pytest.raises(ConfigError) as caught:
        FlowGuard(Application(), flows, secret_key=SECRET)
    assert [problem.where for problem in caught.value.problems] == ["one", "two"]


def loads(flow: Any, **options: Any) -> bool:
    try:
        FlowGuard(Application(), flow, secret_key=SECRET, **options)
    except ConfigError:
        return False
    return True


def test_a_long_flow_without_ways_back_is_no_trouble():
    names = [f"/step/{number}" for number in range(300)]
    flow = {name: {"to": names[place + 1 : place + 2], "once": True} for place, name in enumerate(names)}
    assert loads(flow)
