"""No spelling that a router would serve as a guarded page passes as an unguarded one (CONTRACT 8).

data/recorded_paths.json: what 18 server set-ups made of spellings of /checkout/pay, and which routers of 16 ran its
handler for them.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from flowguard.fences import Fence, Fences
from flowguard.paths import Found, Misspelt, PathTable, TooLong, problems

RECORDED = json.loads((Path(__file__).parent / "data" / "recorded_paths.json").read_text(encoding="utf-8"))
TABLE = PathTable(["/checkout/pay", "/cart", "/orders/<int:id>/pay", "/shop/<path:rest>/end"])
# Pyramid's traversal serves what lies below a page, too: that is no matter of spellings, and needs a fence.
TRAVERSAL = {"pyramid trav"}
FENCES = Fences([Fence("/checkout/", ("/checkout/help", "/checkout/static/"))])


@pytest.mark.parametrize(("path", "served"), RECORDED, ids=[repr(path) for path, _ in RECORDED])
def test_what_a_router_served_is_judged_or_never_passed_on(path, served):
    if set(served) - TRAVERSAL:
        assert TABLE.find(path or "/") is not None


@pytest.mark.parametrize("path", [path or "/" for path, served in RECORDED if served], ids=repr)
def test_with_a_fence_nothing_that_any_router_served_passes(path):
    assert TABLE.find(path) or FENCES.find(path)


@pytest.mark.parametrize(
    "path",
    [
        "checkout/pay", "//checkout/pay", "/checkout//pay", "/./checkout/pay", "/x/../checkout/pay", "/../checkout/pay",
        "/checkout/pay;x=1", "/checkout;x/pay", "/checkout\\pay", "/check%6fut/pay", "/check%256fut/pay",
        "/checkout%2fpay", "/checkout/pay\xff", "/check\xffout/pay", "/checkout/pay\n", "/checkout/pay ",
        "/Checkout/Pay",
        "/checkout/pay\0", "http://shop.example/checkout/pay", "http:/checkout/pay", "http:checkout/pay",
        "/\xef\xbd\x83heckout/pay", "/checkout\xef\xbc\x8fpay", "/checkout/%2e/pay", "/checkout/\xe2\x80\x8bpay",
        "/Orders/7/pay", "/orders//7/pay", "/orders/7/PAY",
    ],
    ids=repr,
)  # fmt: skip
def test_another_spelling_never_reaches_the_application_and_is_told_the_declared_one(path):
    found = TABLE.find(path)
    assert isinstance(found, Misspelt)
    assert found.path in ("/checkout/pay", "/orders/7/pay")


@pytest.mark.parametrize(
    "path",
    ["/", "*", "/checkout", "/checkout/payment", "/checkout/pay/more", "/static/Logo.PNG", "/a//b/../c", "/%zz", "/pay",
     "/orders/x/pay", "/\xff\xfe", "/checkoutpay", "/ orders", "/checkout/pa"],
    ids=repr,
)  # fmt: skip
def test_every_other_path_is_left_alone_however_odd(path):
    assert TABLE.find(path) is None


@pytest.mark.parametrize(
    ("path", "index", "values"),
    [
        ("/checkout/pay", 0, ()), ("/checkout/pay/", 0, ()), ("/cart", 1, ()),
        ("/orders/7/pay", 2, (("id", "7"),)), ("/orders/7/pay/", 2, (("id", "7"),)),
        ("/shop/a/b/end", 3, (("rest", "a/b"),)),
    ],
)  # fmt: skip
def test_a_path_as_declared_or_its_twin_is_found(path, index, values):
    found = TABLE.find(path)
    assert isinstance(found, Found)
    assert (found.index, found.values) == (index, values)


def test_a_value_has_a_bound():
    assert isinstance(PathTable(["/x/<name>"]).find("/x/" + "a" * 128), Found)
    assert isinstance(PathTable(["/x/<name>"]).find("/x/" + "a" * 129), TooLong)


def test_a_path_is_built_from_its_values_and_quoted():
    table = PathTable(["/x/<name>/y", "/plain"])
    assert table.build(0, {"name": "ä b"}) == "/x/%C3%A4%20b/y"
    assert table.build(0, {}) is None
    assert table.build(1, {}) == "/plain"
    assert table.variables(0) == ("name",)


CONVERTERS = ["<v>", "<int:v>", "<float:v>", "<uuid:v>", "<any(a,b):v>", "<string(length=2):v>", "<path:v>",
              "x-<int:v>"]  # fmt: skip
SEGMENTS = ["a", "b", "ab", "7", "07", "1.5", "x-7", "e", "9e3b8f0a-6a5e-4a52-8f39-3a1f0f6f1c11"]


@pytest.mark.parametrize("seed", range(20))
def test_rules_are_matched_as_werkzeug_matches_them(seed):
    rng = random.Random(seed)
    rules = sorted({"/" + "/".join(rng.choice(SEGMENTS[:3] + CONVERTERS) for _ in range(rng.randint(1, 3)))
                    for _ in range(rng.randint(1, 4))})  # fmt: skip
    rules = [rule for rule in rules if rule.count(":v>") + rule.count("<v>") < 2]
    if problems(rules) or not rules:
        rules = ["/a/<int:v>", "/a/<v>"]
    adapter = Map([Rule(rule, endpoint=str(index)) for index, rule in enumerate(rules)]).bind("h")
    table = PathTable(rules)
    for _ in range(200):
        path = "/" + "/".join(rng.choice(SEGMENTS) for _ in range(rng.randint(1, 3)))
        try:
            endpoint, args = adapter.match(path)
        except HTTPException:
            continue
        found = table.find(path)
        assert isinstance(found, Found), (rules, path)
        assert (found.index, found.args) == (int(endpoint), args)


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        (["cart"], 0), (["/a", "/<nope:x>"], 1), (["/a b"], 0), (["/a?x"], 0), (["//a"], 0), (["/a/../b"], 0),
        (["/a/<x>", "/a/<y>"], 1), (["/a", "/a/"], 1), (["/<path:a>/x/<path:b>"], 0), (["/<"], 0),
    ],
    ids=["no slash", "no such converter", "a space", "a query", "two slashes", "dots", "equal but for a name", "a twin",
         "two path variables", "a syntax error"],
)  # fmt: skip
def test_rules_that_cannot_be_used_are_named(rules, place):
    assert place in {position for position, _ in problems(rules)}


@pytest.mark.timed
@pytest.mark.parametrize(
    "path",
    ["/" + "%25" * 2700 + "41", "/" + "../" * 2700, "/" * 8190, "/" + "a;" * 4000, "/" + "\xcc\x81" * 4000,
     "/shop/" + "a/" * 4000, "/" + "%" * 8000, "/orders/" + "9" * 8000 + "/pay", "http://" * 1100, "\\" * 8000],
    ids=["percent signs", "dots", "slashes", "parameters", "combining", "deep", "percent", "digits", "schemes",
         "backslashes"],
)  # fmt: skip
def test_no_shape_of_a_path_costs_much(path):
    TABLE.find(path)
    begun = time.process_time()
    for _ in range(20):
        TABLE.find(path)
    assert (time.process_time() - begun) / 20 < 0.02  # seconds; far above what it takes on a slow machine
