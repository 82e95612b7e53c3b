"""Fences: what no flow declares and `open` does not list is refused, however it is spelled (CONTRACT 2 and 8)."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from routers import traversal
from test_recorded_paths import RECORDED
from visitor import SECRET, Application, Visitor, guarded, led

from flowguard import ConfigError, Flow, FlowGuard
from flowguard.fences import Fence, Fenced, Fences

SHOP: dict[str, Any] = {
    "/checkout/cart": {"to": ["/checkout/pay"]},
    "/checkout/pay": {"to": ["/checkout/done"], "once": True},
    "/checkout/done": {},
}
FENCE = ["/checkout/"]


def at(prefix: str, path: str, *opened: str) -> bool:
    """Does the fence keep the path out?"""
    return Fences([Fence(prefix, opened)]).find(path) is not None


# --- what is under a fence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/checkout/", "/checkout", "/checkout/x", "/checkout/pay/anything", "/checkout/@@pay", "/checkout/a/b/c/d/e/f"],
)
def test_a_fence_covers_its_own_path_and_all_below(path: str):
    assert at("/checkout/", path)


@pytest.mark.parametrize(
    "path",
    [
        "/Checkout/x", "//checkout/x", "/checkout//x", "/./checkout/x", "/a/../checkout/x", "/a/..//checkout/x",
        "/checkout/x/../y", "/checkout;a=1/x", "/checkout\\x", "\\checkout\\x", "/check%6fut/x", "/%2563heckout/x",
        "/checkout%2fx", "/check\xffout/x", "/checkout\0/x", " /checkout/x", "/checkout /x", "checkout/x",
        "http://h/checkout/x", "//h/checkout/x", "/\xef\xbd\x83heckout/x", "/check\xe2\x80\x8bout/x",
        "/checkout\xef\xbc\x8fx", "/CHECKOUT", "/checkout%00", "/checkout/..%2fcheckout/x", "/x/%2e%2e/checkout",
        "/checkout/" + "y/" * 4000, "/a/" + "../" * 2000 + "checkout/x", "/%63heckout/" + "y" * 8000,
    ],
    ids=lambda path: repr(path[:40]),
)  # fmt: skip
def test_no_other_spelling_of_such_a_path_escapes(path: str):
    assert at("/checkout/", path)


@pytest.mark.parametrize(
    "path",
    ["/", "/checkou", "/checkouts", "/checkout-old/x", "/x/checkout/", "/a//b", "/%zz", "*", "/check/out", "/\xff"],
)  # fmt: skip
def test_what_is_beside_a_fence_is_left_alone(path: str):
    assert not at("/checkout/", path)


@pytest.mark.parametrize("path", ["/", "*", "x", "/x", "//", "/%00", "/\xff", "/a/b/c", "http://h", ""])
def test_a_fence_around_the_root_covers_everything(path: str):
    assert at("/", path)


def test_a_server_that_hands_over_text_is_understood():
    assert at("/für/", "/f\xc3\xbcr/x")
    assert at("/checkout/", "/checkout/\u20ac")
    assert not at("/checkout/", "/\u20ac")


@pytest.mark.parametrize("path", ["/a/b/c/x", "/A/B/C/x", "/a//b/./c"])
def test_of_fences_in_each_other_the_innermost_decides(path: str):
    fences = Fences([Fence("/a/"), Fence("/a/b/c/", ("/a/b/c/help",)), Fence("/a/b/")], first=5)
    assert fences.find(path) == Fenced(6)
    assert fences.find("/a/b/c/help") is None
    assert (fences.find("/a/b/x"), fences.find("/a/x"), fences.find("/x")) == (Fenced(7), Fenced(5), None)


# --- what is open ----------------------------------------------------------------------------------------------------

OPEN = ("/checkout/help", "/checkout/static/", "/checkout/für")


@pytest.mark.parametrize(
    "path",
    ["/checkout/help", "/checkout/help/", "/checkout/static/", "/checkout/static", "/checkout/static/Logo.PNG",
     "/checkout/static/a b/c-d_e.css", "/checkout/static/f\xc3\xbcr.js", "/checkout/f\xc3\xbcr",
     "/checkout/static/100%.png"],
)  # fmt: skip
def test_an_open_path_passes_as_it_is_spelled(path: str):
    assert not at("/checkout/", path, *OPEN)


@pytest.mark.parametrize(
    "path",
    [
        "/checkout/help/more", "/checkout/helper", "/checkout/Help", "/checkout//help", "/checkout/./help",
        "/checkout/help;x", "/checkout/%68elp", "/checkout/help%2f", "/checkout/Static/x", "//checkout/static/x",
        "/checkout/static/../pay", "/checkout/static/%2e%2e/pay", "/checkout/static/..;/pay", "/checkout/static//x",
        "/checkout/static/..\\pay", "/checkout/static/\xff", "/checkout/static/\0", "/checkout/static/ x",
        "/checkout/static/x;y", "/checkout/static/..%252fpay", "/checkout/staticx", "/checkout/static/\u20ac",
    ],
    ids=repr,
)  # fmt: skip
def test_another_spelling_of_an_open_path_does_not(path: str):
    assert at("/checkout/", path, *OPEN)


def test_the_root_can_be_opened_alone():
    assert not at("/", "/", "/")
    assert at("/", "/x", "/")


# --- in front of an application --------------------------------------------------------------------------------------


def test_a_path_that_nobody_named_is_refused_and_a_visit_is_led_back():
    visitor, app = guarded(SHOP, fence=FENCE)
    visitor.get("/checkout/cart")
    assert visitor.get("/checkout/pay/anything")[:1] == ("303 See Other",)
    response = visitor.get("/checkout/pay/anything")
    assert (response.verdict, response.location) == ((303, "path"), "/checkout/cart")
    problem = json.loads(visitor.call("POST", "/checkout/@@pay", b"card=1").body)
    assert (problem["reason"], problem["state"], problem["current"], problem["target"]) == (
        "path", "/checkout/*", "/checkout/cart", "/checkout/cart",
    )  # fmt: skip
    assert app.calls == ["GET /checkout/cart"]


@pytest.mark.parametrize("behind", ["/checkout/receipt", "/checkout/receipt/../x", "/checkout/look?tab=a&tab=b"])
def test_a_second_click_goes_not_where_the_first_led_if_nobody_gets_there(behind: str):
    flow = {"/checkout/cart": {"to": ["/checkout/pay"]}, "/checkout/pay": {"once": True, "accept": [303]},
            "/checkout/look?tab=a": {"within": ["/checkout/pay"]}}  # fmt: skip
    visitor, app = guarded(flow, fence=FENCE)
    visitor.get("/checkout/cart")
    visitor.get("/checkout/pay")
    app.answers["POST /checkout/pay"] = led(behind)
    visitor.post("/checkout/pay")
    second = visitor.post("/checkout/pay")
    assert (second.reason, second.location) == ("duplicate", "/checkout/pay")
    assert visitor.get("/checkout/pay").status == 200


def test_without_a_run_it_is_the_start_that_a_visit_is_led_to():
    visitor, app = guarded(SHOP, fence=FENCE)
    assert visitor.get("/checkout").location == "/checkout/cart"
    assert app.calls == []


@pytest.mark.parametrize("path", ["/", "/about", "/checkouts", "/checkout/help", "/checkout/img/a.png"])
def test_what_is_outside_or_open_passes_untouched(path: str):
    visitor, app = guarded(SHOP, fence=FENCE, open=["/checkout/help", "/checkout/img/"])
    assert (visitor.get(path).headers, app.calls) == ([("Content-Type", "text/html")], [f"GET {path}"])


def test_declared_paths_and_their_spellings_are_as_without_a_fence():
    visitor, app = guarded(SHOP, fence=FENCE)
    assert visitor.get("/checkout/cart/").status == 200
    assert (visitor.get("//checkout/cart").status, visitor.get("/checkout/CART").location) == (308, "/checkout/cart")
    assert app.calls == ["GET /checkout/cart/"]


def test_the_paths_of_another_flow_are_guarded_by_that_flow():
    flows = [Flow(SHOP, name="shop", fence=["/"]), Flow({"/register": {}}, name="two")]
    app = Application()
    visitor = Visitor(FlowGuard(app, flows, secret_key=SECRET))
    assert visitor.get("/register").cookies[0].startswith("flowguard-two=")
    assert (visitor.call("GET", "/elsewhere").verdict, app.calls) == ((409, "path"), ["GET /register"])


def test_a_fence_speaks_for_its_flow():
    flows = [Flow(SHOP, name="shop", fence=FENCE), Flow({"/r/a": {}}, name="two", fence=["/r/"], on_refusal="conflict")]
    visitor = Visitor(FlowGuard(Application(), flows, secret_key=SECRET))
    answers = [json.loads(visitor.call("GET", path).body) for path in ("/checkout/x", "/r/x")]
    assert [(answer["flow"], answer["target"]) for answer in answers] == [("shop", "/checkout/cart"), ("two", "/r/a")]
    assert (visitor.get("/checkout/x").status, visitor.get("/r/x").status) == (303, 409)


def test_a_refusal_at_a_fence_is_told_to_hook_and_log(caplog: Any):
    events: list[Any] = []
    visitor, _ = guarded(SHOP, fence=FENCE, refused=events.append)
    with caplog.at_level(logging.INFO, "flowguard.decision"):
        visitor.get("/checkout/secret-token")
    assert [(event.kind, event.reason, event.state) for event in events] == [("refused", "path", "/checkout/*")]
    assert "secret-token" not in caplog.text


def test_a_redirect_to_a_path_under_the_fence_leads_out_of_the_flow():
    visitor, app = guarded(SHOP, fence=FENCE)
    visitor.get("/checkout/cart")
    visitor.get("/checkout/pay")
    app.answers["POST /checkout/pay"] = led("/checkout/elsewhere")
    assert visitor.post("/checkout/pay").status == 303
    assert visitor.post("/checkout/pay").reason == "duplicate"  # its outcome is unknown


def test_an_opening_that_is_guarded_all_the_same_is_an_error():
    with pytest.raises(ConfigError) as caught:
        guarded({"/c/<step>": {}, "/c/für/x": {}}, fence=["/c/"], open=["/c/help", "/c/x/y", "/c/für/x", "/c/z/"])
    assert [str(problem) for problem in caught.value.problems] == [
        "flow(open)[0]: is a path of a flow, which stays guarded. Remove it.",
        "flow(open)[2]: is a path of a flow, which stays guarded. Remove it.",
    ]


# --- routers that serve more than they were told ---------------------------------------------------------------------


TRAVERSED = [path or "/" for path, served in RECORDED if "pyramid trav" in served]


@pytest.mark.slow  # Pyramid takes a second to import
@pytest.mark.filterwarnings("ignore")  # Pyramid 2.0 imports pkg_resources, which warns of itself and of all it finds
@pytest.mark.parametrize("path", TRAVERSED, ids=repr)
def test_pyramids_traversal_serves_no_page_beside_the_flow(path: str):
    ran: list[str] = []
    bare, flow = traversal(ran.append), {"/start": {"to": ["/checkout/pay"]}, "/checkout/pay": {"once": True}}
    fenced = FlowGuard(bare, flow, fence=["/checkout/"], secret_key=SECRET)
    Visitor(bare, check=False).call("POST", path)
    assert Visitor(fenced, check=False).call("POST", path).status == 409
    assert ran == ["pay"]


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.timed
@pytest.mark.parametrize(
    "path",
    ["/" + "%25" * 2700 + "41", "/" + "../" * 2700, "/" * 8190, "/" + "a;" * 4000, "/" + "\xcc\x81" * 4000,
     "/shop/" + "a/" * 4000, "/" + "%" * 8000, "http://" * 1100, "\\" * 8000, "/checkout/static/" + "a/" * 4000],
    ids=["percent signs", "dots", "slashes", "parameters", "combining", "deep", "percent", "schemes", "backslashes",
         "below an open prefix"],
)  # fmt: skip
def test_no_shape_of_a_path_costs_much(path: str):
    fences = Fences([Fence("/checkout/", OPEN), Fence("/checkout/deep/down/", OPEN)])
    fences.find(path)
    begun = time.process_time()
    for _ in range(20):
        fences.find(path)
    assert (time.process_time() - begun) / 20 < 0.02  # seconds; far above what it takes on a slow machine
