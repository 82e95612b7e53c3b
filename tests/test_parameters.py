"""Keys with parameters (CONTRACT 2): which page a request is for, and that no parameter is left out or hidden."""

from __future__ import annotations

import io
import time
from typing import Any, Callable, Optional
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from old_apps import Order, Wizard
from visitor import PAGE, SECRET, Response, Visitor, guarded, led
from werkzeug.wrappers import Request

from flowguard import FlowGuard
from flowguard.config import Key
from flowguard.config.keys import parse
from flowguard.config.places import Place
from flowguard.parameters import Fork

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=X"


def fork(*written: str, **places: str) -> Fork:
    """Of a path whose keys are these, each the state of its own name."""
    keys = [(key, parse(key, Place("", []))) for key in written]
    return Fork([Key(key, read.rule, read.methods, key, parameters=read.parameters) for key, read in keys], places)


def request(query: str = "", body: bytes = b"", kind: str = FORM, **more: Any) -> dict[str, Any]:
    environ = {"REQUEST_METHOD": "POST", "QUERY_STRING": query, "wsgi.input": io.BytesIO(body), "CONTENT_TYPE": kind}
    return {**environ, "CONTENT_LENGTH": str(len(body)) if body else "", **more}


def keys_of(path: Fork, query: str = "", body: bytes = b"", kind: str = FORM, **more: Any) -> Optional[list[str]]:
    """The keys that match, the best first; None if that is doubtful."""
    found = path.of_request(request(query, body, kind, **more), 1 << 20)
    return None if found is None else [key.written for key in found.keys]


def parts(*fields: tuple[str, str], filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    texts = [f'--X\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{value}\r\n' for name, value in fields]
    return "".join([*texts, "--X--\r\n"]).encode("utf-8", "surrogateescape")


STEPS = fork("/p", "/p?step=3", "/p?step=4", "/p?step=4&save", "/p?action=place_order&step=3")


@pytest.mark.parametrize(("query", "body", "expected"), [
    pytest.param("", b"", ["/p"], id="without parameters, the plain key"),
    pytest.param("step=3", b"", ["/p?step=3", "/p"], id="in the query"),
    pytest.param("", b"step=3", ["/p?step=3", "/p"], id="in the form"),
    pytest.param("step=3", b"step=3", ["/p?step=3", "/p"], id="in both, alike"),
    pytest.param("step=3&step=3", b"", ["/p?step=3", "/p"], id="twice, alike"),
    pytest.param("%73te%70=%33", b"", ["/p?step=3", "/p"], id="encoded"),
    pytest.param("x=1&step=3&y", b"z=2", ["/p?step=3", "/p"], id="among others"),
    pytest.param("step=4", b"save=", ["/p?step=4&save", "/p?step=4", "/p"], id="the most of them first"),
    pytest.param("save=x&step=4", b"", ["/p?step=4&save", "/p?step=4", "/p"], id="of any value"),
    pytest.param("action=place%5forder&step=3", b"", ["/p?action=place_order&step=3", "/p?step=3", "/p"], id="two"),
    pytest.param("step=9", b"", ["/p"], id="another value is that of no key"),
    pytest.param("save", b"", ["/p"], id="some are not enough"),
    pytest.param("sTEPs=3&steps=3&laststep=3", b"", ["/p"], id="longer names are other names"),
    pytest.param("next=/p?step=3", b"url=%26step%3D3", ["/p"], id="what stands in a value is a value"),
])  # fmt: skip
def test_a_request_is_for_the_keys_whose_parameters_all_match(query, body, expected):
    assert keys_of(STEPS, query, body) == expected
    if body:
        fields = parse_qsl(body.decode(), keep_blank_values=True)
        assert keys_of(STEPS, query, parts(*fields), MULTIPART) == expected


def test_without_a_plain_key_other_requests_are_for_none():
    assert keys_of(fork("/p?step=3"), "step=2") == []


@pytest.mark.parametrize("name", [
    "Step", "STEP", "step%20", "+step", "step%00", "step%00x", "%2573tep", "step%09", "st%C2%ADep", "st%FFep",
    "step%5B%5D", "step[]", "step[0]", "step%5Bx", "%EF%BD%93tep", "step%EF%BC%BBx", "%25%32%35%37%33tep",
])  # fmt: skip
def test_another_spelling_of_a_name_is_doubtful(name):
    assert keys_of(STEPS, f"{name}=3") is None
    assert keys_of(STEPS, f"step=3&{name}=3") is None
    assert keys_of(STEPS, "step=3", f"{name}=3".encode()) is None


@pytest.mark.parametrize(("declared", "sent"), [
    ("a_b", "a.b"), ("a_b", "a+b"), ("a_b", "a[b"), ("@action", ":action"), ("gr%C3%B6%C3%9Fe", "GR%C3%96SSE"),
])  # fmt: skip
def test_so_is_one_that_some_languages_make_of_it(declared, sent):
    path = fork(f"/p?{declared}", "/p")
    assert keys_of(path, f"{sent}=1") is None
    assert keys_of(path, f"{declared}=1") == [f"/p?{declared}", "/p"]


def test_items_of_a_list_are_told_apart_where_one_is_named():
    path = fork("/p?do[save]", "/p")
    assert keys_of(path, "do[save]=1") == ["/p?do[save]", "/p"]
    assert keys_of(path, "do[delete]=1") == ["/p"]
    assert keys_of(path, "DO[save]=1") is None


@pytest.mark.parametrize("value", [
    "03", "%2B3", "+3", "3+", "3.0", "3e0", "30e-1", "3x", "3%00", "0x3", "0_3", "%EF%BC%93", "%D9%A3", "%2533", "3%20",
    "0" * 300 + "3", "%FF3", "3#", "3;x=1", "3;",
])  # fmt: skip
def test_another_spelling_of_a_number_is_doubtful(value):
    assert keys_of(STEPS, f"step={value}") is None


@pytest.mark.parametrize("value", ["13", "30", "9", "x3", "-3", "2.9", "", "1e999", "nan", "1_3", "0x"])
def test_another_number_is_another_value(value):
    assert keys_of(STEPS, f"step={value}") == ["/p"]


@pytest.mark.parametrize("value", ["0x", "none", "", "-", "00"])
def test_what_is_no_number_is_zero_to_some(value):
    assert keys_of(fork("/p?step=0"), f"step={value}") is None


@pytest.mark.parametrize("value", ["Place_Order", "place-order", "place+order", "place_order+", "place%FF_order",
                                   "place_order%00x", "place%255Forder", "x" * 300])  # fmt: skip
def test_another_spelling_of_a_fixed_value_is_doubtful(value):
    assert keys_of(STEPS, f"step=3&action={value}") is None


def test_a_value_in_the_applications_own_charset_is_declared_in_its_bytes():
    path = fork("/p?do=gr%FC%DFen")
    assert keys_of(path, "do=gr%FC%DFen") == ["/p?do=gr%FC%DFen"]
    assert keys_of(path, "do=gr%FC%DFe") is None


@pytest.mark.parametrize("query", ["step=3&step=4", "step=3&step=", "step=4&save=1&save=2", "x=1;step=3", "amp;step=3",
                                   "step=3&x=\xff"])
def test_two_values_are_doubtful_and_so_are_other_separators_and_raw_bytes(query):
    assert keys_of(STEPS, query) is None
    assert keys_of(STEPS, "", query.encode("latin-1")) is None


def test_two_values_are_doubtful_in_query_and_form_together():
    assert keys_of(STEPS, "step=3", b"step=4") is None
    assert keys_of(STEPS, "step=3", parts(("step", "4")), MULTIPART) is None


@pytest.mark.parametrize("more", [
    pytest.param({"kind": "application/json", "body": b'{"step": 3}'}, id="of another kind"),
    pytest.param({"kind": "", "body": b"step=3"}, id="of no kind"),
    pytest.param({"kind": f"text/plain, {FORM}", "body": b"step=3"}, id="of two kinds"),
    pytest.param({"kind": "multipart/form-data", "body": parts(("step", "3"))}, id="without a boundary"),
    pytest.param({"kind": MULTIPART, "body": parts(("step", "3"), filename="x")}, id="with a file of that name"),
    pytest.param({"kind": MULTIPART, "body": parts(("Step", "3"), filename="x")}, id="with a file of such a name"),
    pytest.param({"body": b"x=" + b"x" * (1 << 20)}, id="larger than max_body"),
    pytest.param({"body": b"x=1", "CONTENT_LENGTH": "4"}, id="shorter than it says"),
    pytest.param({"body": b"x=1", "CONTENT_LENGTH": "+3"}, id="of a length that some understand"),
    pytest.param({"body": b"x=1", "HTTP_TRANSFER_ENCODING": "chunked"}, id="with a length and an encoding"),
    pytest.param({"body": b"x=1", "HTTP_CONTENT_ENCODING": "gzip"}, id="compressed"),
])  # fmt: skip
def test_a_body_is_doubtful(more):
    assert keys_of(STEPS, **more) is None


def test_a_form_does_not_hide_behind_a_length_with_many_zeros():
    """Gunicorn hands it over as it came, and int() understands it."""
    assert keys_of(STEPS, body=b"step=3", CONTENT_LENGTH="0" * 30 + "6") == ["/p?step=3", "/p"]


def test_no_body_is_none_of_another_kind():
    assert keys_of(STEPS, "step=3", kind="application/json") == ["/p?step=3", "/p"]


def test_a_body_without_a_length_is_read_to_its_end():
    chunked = {"CONTENT_LENGTH": None, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert keys_of(STEPS, body=b"step=3", **chunked) == ["/p?step=3", "/p"]
    assert keys_of(STEPS, body=b"step=3", **{**chunked, "CONTENT_LENGTH": "0"}) is None


def test_a_visitor_who_is_gone_is_no_error():
    class Gone:
        def read(self, size: int) -> bytes:
            raise OSError("gone")

    assert keys_of(STEPS, CONTENT_LENGTH="5", **{"wsgi.input": Gone()}) is None


def test_a_server_that_decodes_the_query_is_understood():
    assert keys_of(fork("/p?do=\u20ac"), "do=\u20ac") == ["/p?do=\u20ac"]


BIG = 1 << 20  # bytes
HUGE = {
    "ten thousand parameters": b"&".join(b"p%d=%d" % (number, number) for number in range(10_000)),
    "empty ones": b"&" * BIG,
    "one again and again": b"a=&" * (BIG // 3),
    "semicolons": b"a;" * (BIG // 2),
    "odd names": b"&".join(b"%%C3%%A4%x[]" % number for number in range(70_000)),
    "nested encoding": b"%" + b"25" * (BIG // 2 - 10) + b"41=1",
    "combining marks": b"\xcc\x81" * (BIG // 2),
    "brackets": b"[" * BIG,
    "spaces": b"+" * (BIG - 1) + b"x",
    "a long value": b"step=" + b"0" * (BIG - 6) + b"3",
}


@pytest.mark.timed
@pytest.mark.parametrize("body", HUGE.values(), ids=HUGE)
def test_a_huge_form_costs_little(body):
    begun = time.process_time()
    assert keys_of(STEPS, "", body) in (["/p"], None)
    assert time.process_time() - begun < 3  # seconds; ten times what it takes on a slow machine


@pytest.mark.timed
def test_a_huge_multipart_form_costs_little():
    begun = time.process_time()
    assert keys_of(STEPS, "", parts(*((f"p{number}", "1") for number in range(15_000))), MULTIPART) is None
    assert time.process_time() - begun < 3  # seconds


# --- whatever the encoding, the application sees no other step -------------------------------------------------------

NAMES, VALUES = ("step", "a_b", "save"), ("1", "3", "place_order", "")
SPELLED_NAMES = (*NAMES, "Step", " step", "step[]", "step[0", "a.b", "a b", "a[b", "st\0ep", "step\0x", "x",
                 "\uff53tep", "%73tep")  # fmt: skip
SPELLED_VALUES = (*VALUES, "03", "3 ", "Place_order", "3;step=1", "9", "3\0", "place_order\0x")


def views(environ: Callable[[], dict[str, Any]]) -> dict[str, dict[str, str]]:
    """What applications of several kinds see of the named parameters."""
    made = Request(environ())
    raw = environ()
    query, body = raw["QUERY_STRING"], raw["wsgi.input"].read().decode("latin-1")
    urlencoded = raw["CONTENT_TYPE"] == FORM
    both = "&".join(text for text in (query, body if urlencoded else "") if text)
    pairs = parse_qsl(both, keep_blank_values=True)
    split = [pair for text in both.replace(";", "&").split("&") for pair in parse_qsl(text, keep_blank_values=True)]
    return {
        "werkzeug": {name: made.values[name] for name in NAMES if name in made.values},
        "werkzeug's query": {name: made.args[name] for name in NAMES if name in made.args},
        "werkzeug's form": {name: made.form[name] for name in NAMES if name in made.form},
        "the first": {name: value for name, value in reversed(pairs) if name in NAMES},
        "the last": {name: value for name, value in pairs if name in NAMES},
        "semicolons": {name: value for name, value in split if name in NAMES},
        "PHP": {folded: value for name, value in pairs if (folded := php(name)) in NAMES},
        "C": {name.partition("\0")[0]: value.partition("\0")[0] for name, value in pairs
              if name.partition("\0")[0] in NAMES},
    }  # fmt: skip


def php(name: str) -> str:
    name = name.lstrip(" ")
    head, bracket, tail = name.partition("[")
    if bracket and "]" in tail:
        return head.replace(".", "_").replace(" ", "_")
    return name.replace(".", "_").replace(" ", "_").replace("[", "_")


def percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def quiet(text: str) -> str:
    return quote(text, "[]; ").replace(" ", "+")


encodings = st.sampled_from([quote, quote_plus, percent, quiet])
spelled = st.tuples(st.sampled_from(SPELLED_NAMES), st.sampled_from(SPELLED_VALUES))
keys = st.sampled_from([f"/p?{text}" for text in (
    "step=3", "step=1", "step=3&save", "step=1&a_b=place_order", "a_b=place_order&save&step=3")])  # fmt: skip


@st.composite
def texts(draw: Any) -> str:
    pairs = draw(st.lists(st.tuples(spelled, encodings, encodings), max_size=4))
    separators = draw(st.lists(st.sampled_from("&&&;"), min_size=4, max_size=4))
    return "".join(f"{separator}{name(pair[0])}={value(pair[1])}"
                   for separator, (pair, name, value) in zip(separators, pairs))[1:]  # fmt: skip


@st.composite
def bodies(draw: Any) -> tuple[bytes, str]:
    if draw(st.booleans()):
        return draw(texts()).encode(), FORM
    pairs = draw(st.lists(spelled, max_size=3))
    return (parts(*pairs) if pairs else b""), MULTIPART


@settings(max_examples=600, deadline=None)
@given(st.sets(keys, min_size=1), texts(), bodies())
def test_what_an_application_sees_as_a_step_is_judged_as_it_or_never_passed_on(written, query, body):
    def environ() -> dict[str, Any]:
        return request(query, *body)

    path = fork(*sorted(written))
    matching = path.of_request(environ(), 1 << 20)
    if matching is None:
        return
    names = [key.written for key in matching.keys]
    taken_for = [[key.written for key in keys] for keys in (matching.keys, *matching.others)]
    for view, seen in views(environ).items():
        visible = [key for key in written if is_seen_in(seen, key)]
        assert set(visible) <= set(names), view
        most = [key for key in visible if key.count("=") == max(other.count("=") for other in visible)]
        assert not most or any(set(most) <= set(keys[: len(most)]) for keys in taken_for), view


def is_seen_in(seen: dict[str, str], key: str) -> bool:
    wanted = dict(parse_qsl(key.partition("?")[2], keep_blank_values=True))
    return all(name in seen and value in ("", seen[name]) for name, value in wanted.items())


# --- in front of an application --------------------------------------------------------------------------------------

FLOW: dict[str, Any] = {
    "/p?step=1": {"state": "one", "to": ["two"]},
    "GET /p?step=2": {"state": "two", "to": ["three"]},
    "POST /p?step=2": "three",
    "GET /p?step=3": {"state": "three", "to": ["/end?a=x+y&b"]},
    "/end?a=x+y&b": {},
}


def test_targets_carry_their_query_and_a_get_of_one_passes():
    visitor, app = guarded(FLOW)
    answer = visitor.get("/p?step=3")
    assert (answer.status, answer.reason, answer.location) == (303, "not_started", "/p?step=1")
    assert visitor.get("/p?step=1").reason is None
    assert visitor.get("/p?step=2").reason is None
    assert visitor.post("/p?step=2").reason is None
    assert visitor.get("/p?step=3").reason is None
    assert visitor.get("/end?b=7&a=x%20y").reason is None
    answer = visitor.get("/p?step=2")
    assert (answer.reason, answer.location) == ("finished", "/end?a=x%20y&b=")
    assert visitor.get("/end?a=x%20y&b=").reason is None
    assert app.calls == ["GET /p", "GET /p", "POST /p", "GET /p", "GET /end", "GET /end"]


def test_a_request_whose_parameters_match_no_key_passes_untouched():
    visitor, app = guarded(FLOW)
    body = b"x=%00%ff\r\n" * 8
    answer = visitor.post("/p?step=9", body)
    assert (answer.cookies, answer.header("Vary"), answer.header("Cache-Control")) == ([], None, None)
    assert (app.seen[-1].body, app.seen[-1].run) == (body, None)
    assert "flowguard.judged" not in app.seen[-1].environ
    assert visitor.get("/p", HTTP_SEC_PURPOSE="prefetch").status == 200
    assert visitor.get("/p?step=1", HTTP_SEC_PURPOSE="prefetch").status == 503


def test_keys_of_one_state_may_match_a_request_equally_well():
    visitor, app = guarded({
        "/user?@template=register": {"state": "form", "to": ["done"]},
        "/user?:template=register": "form",
        "/done": {"state": "done"},
    })  # fmt: skip
    assert visitor.get("/user?@template=register&:template=register").reason is None
    assert app.seen[-1].run.state == "form"


# --- where an application looks --------------------------------------------------------------------------------------

BUTTONS: dict[str, Any] = {
    "/order": {"state": "cart", "to": ["address"]},
    "/order?step=2": {"state": "address", "to": ["preview"], "submit": True},
    "/order?step=3": {"state": "preview", "to": ["pay"]},
    "POST /order?pay": {"state": "pay", "once": True, "accept": [200]},
    "POST /order?back": "cart",
    "POST /order?back&pay": "cart",
    "POST /order?back&step=3": "cart",
    "POST /order?pay&step=3": "pay",
    "POST /order?back&pay&step=3": "cart",
    "POST /order?pay&step=2": "pay",
    "POST /order?back&step=2": "cart",
    "POST /order?back&pay&step=2": "cart",
}


@pytest.mark.parametrize(("query", "body"), [("back", b"pay=1"), ("pay", b"back=1"), ("step=2&back", b"pay=1&step=2"),
                                              ("pay", b"back=1&pay=1"), ("back&pay", b"pay=")])  # fmt: skip
def test_what_is_done_once_is_not_hidden_behind_a_parameter_in_another_place(query, body):
    visitor, app = guarded(BUTTONS, back="edit")
    visitor.get("/order")
    assert visitor.post(f"/order?{query}", body).reason == "path"
    assert app.calls == ["GET /order"]


def test_a_step_that_may_be_another_to_an_application_must_pass_as_that_too():
    visitor, app = guarded({
        "/wizard": {"state": "one", "to": ["two"], "repeat": True},
        "POST /wizard?finish": {"state": "two", "requires": ["one"], "to": ["three"]},
        "POST /wizard?agree": {"state": "three"},
        "POST /wizard?finish&agree": "two",
    })  # fmt: skip
    visitor.get("/wizard")
    assert visitor.post("/wizard?finish", b"agree=1").reason == "illegal"
    assert visitor.post("/wizard", b"finish=1&agree=1").reason is None
    assert app.calls == ["GET /wizard", "POST /wizard"]


def test_a_button_on_a_page_that_stands_in_the_query_is_what_it_says():
    visitor, app = guarded({
        "/order": {"state": "cart", "to": ["preview"]},
        "/order?step=3": {"state": "preview", "to": ["pay"]},
        "POST /order?step=3&pay": {"state": "pay", "once": True, "to": ["done"]},
        "/done": {"state": "done"},
    })  # fmt: skip
    visitor.get("/order")
    visitor.get("/order?step=3")
    assert visitor.post("/order?step=3", b"pay=1").reason is None  # the form, with a mistake in it
    app.answers["POST /order"] = led("/done")
    assert visitor.post("/order?step=3", b"pay=1").reason is None
    assert len(app.calls) == 4


PLACED = fork("/p", "/p?step=3", "POST /p?step=3&save", "POST /p?save", step="query", save="form")


@pytest.mark.parametrize(("query", "body", "expected"), [
    pytest.param("step=3", b"save=", ["POST /p?step=3&save", "/p?step=3", "POST /p?save", "/p"], id="where it looks"),
    pytest.param("step=3&save", b"", None, id="a button in the query"),
    pytest.param("", b"save=&step=3", None, id="a step in the form"),
    pytest.param("step=3", b"step=3", None, id="a step in both"),
])  # fmt: skip
def test_a_parameter_is_looked_for_where_the_application_looks_alone(query, body, expected):
    assert keys_of(PLACED, query, body) == expected
    matching = PLACED.of_request(request(query, body), 1 << 20)
    assert matching is None or not matching.others


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
def test_a_doubtful_request_never_reaches_the_application(method):
    visitor, app = guarded(FLOW)
    assert visitor.call(method, "/p?step=1&step=3").verdict == (409, "path")
    assert visitor.call(method, "/p?STEP=3").verdict == (409, "path")
    assert visitor.call(method, "/p", b"x=1", CONTENT_TYPE="text/plain").verdict == (409, "path")
    assert app.calls == []
    assert visitor.get("/p?Step=3").location == "/p?step=1"


def test_a_form_that_comes_with_a_get_is_read_too():
    """Flask parses the form of any request."""
    visitor, app = guarded(FLOW)
    assert visitor.send(visitor.environ("GET", "/p", b"step=3", **PAGE)).reason == "not_started"
    assert visitor.send(visitor.environ("GET", "/p?step=1", b"step=3", **PAGE)).reason == "path"
    assert app.calls == []


def test_the_form_is_handed_to_conditions_and_to_the_application_whole():
    def says_yes(context: Any) -> bool:
        return bool(context.request.form["sure"] == "yes")

    flow = {"/p?step=1": {"to": {"/p?step=2": says_yes}}, "/p?step=2": {}}
    visitor, app = guarded(flow)
    visitor.get("/p?step=1")
    assert visitor.post("/p", b"step=2&sure=no").reason == "condition"
    body = b"step=2&sure=yes&filler=" + b"%00%ff\r\n" * 100_000
    assert visitor.post("/p", body).reason is None
    assert app.seen[-1].body == body


@pytest.mark.parametrize("size", [100, 101])
def test_a_body_larger_than_max_body_is_refused_by_the_path(size):
    visitor, app = guarded(FLOW, max_body=100)
    visitor.get("/p?step=1")
    for more in ({}, {"CONTENT_LENGTH": None, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}):
        answer = visitor.post("/p?step=1", b"x" * size, **more)
        assert answer.reason == (None if size == 100 else "path")
    assert app.calls == ["GET /p"] + ["POST /p"] * 2 * (size == 100)


@pytest.mark.parametrize(("method", "query", "name"), [
    pytest.param("GET", "", "a", id="a method of the plain key"),
    pytest.param("GET", "x=1", "c", id="the key with more parameters"),
    pytest.param("HEAD", "x=1", "c", id="HEAD with GET"),
    pytest.param("POST", "x=1", "b", id="one with fewer that takes the method"),
    pytest.param("PUT", "x=1", "d", id="the best key that takes an unsafe method, where none takes this one"),
    pytest.param("PUT", "", "b", id="the same without parameters"),
    pytest.param("PUT", "x=1&y", "e", id="the best key, where it takes no unsafe one"),
])  # fmt: skip
def test_a_method_selects_among_the_keys_that_match(method, query, name):
    seen: list[str] = []
    flow = {"GET /p": {"state": "a"}, "POST /p": {"state": "b"}, "GET /p?x": {"state": "c"},
            "PATCH /p?x": {"state": "d"}, "GET /p?x&y": {"state": "e"}}  # fmt: skip
    visitor, app = guarded(flow, refused=lambda event: seen.append(event.state))
    visitor.call("GET", "/p")
    if visitor.call(method, f"/p?{query}").reason is None:
        seen.append(app.seen[-1].run.state)
    assert seen == [name]


def test_where_override_headers_select_other_keys_all_must_pass():
    flow = {"GET /p?x": {"state": "a", "repeat": True}, "DELETE /p?x": {"state": "b", "start": False}}
    visitor, app = guarded(flow)
    assert visitor.call("GET", "/p?x").reason is None
    assert visitor.call("POST", "/p?x", HTTP_X_HTTP_METHOD_OVERRIDE="DELETE").reason is not None
    assert app.calls == ["GET /p"]


@pytest.mark.parametrize(("location", "state"), [
    ("/p?step=3", "three"), ("?step=3", "three"), ("p?x=1&step=3#top", "three"), ("/p?step=%33", "three"),
    ("/p", "two"), ("/p?step=9", "two"), ("/p?step=3&step=1", "two"), ("", "two"), ("#top", "two"),
])  # fmt: skip
def test_a_redirect_is_read_with_its_query(location, state):
    flow = {"/p?step=1": {"state": "one", "to": ["two"]}, "/p?step=2": {"state": "two", "to": ["three"], "once": True},
            "/p?step=3": {"state": "three"}}  # fmt: skip
    visitor, app = guarded(flow)
    visitor.get("/p?step=1")
    visitor.get("/p?step=2")
    app.answers["POST /p"] = led(location)
    visitor.post("/p?step=2")
    visitor.get("/p?step=3")
    assert app.seen[-1].environ["QUERY_STRING"] == ("step=3" if state == "three" else "step=2")


def test_a_redirect_to_the_states_own_address_is_a_failure_by_its_query():
    flow = {"/p?step=2": {"state": "two", "to": ["three"], "submit": True}, "/p?step=3": {"state": "three"}}
    visitor, app = guarded(flow)
    visitor.get("/p?step=2")
    for location in ("?step=2", "#error", ""):
        app.answers["POST /p"] = led(location)
        visitor.post("/p?step=2")
        assert visitor.call("GET", "/p?step=3").reason == "skipped"


def test_another_spelling_of_the_path_keeps_its_query():
    visitor, app = guarded(FLOW)
    answer = visitor.get("/P/?step=2&x=%26+")
    assert (answer.status, answer.location) == (308, "/p?step=2&x=%26+")
    assert visitor.post("/P", b"step=9").reason == "path"
    assert app.calls == []


def test_a_target_that_takes_no_get_names_its_query():
    visitor, _ = guarded({"POST /p?do=a": {"to": ["POST /p?do=b"]}, "POST /p?do=b": {}})
    assert b'"target": "/p?do=a", "target_method": "POST"' in visitor.call("POST", "/p?do=b").body


# --- two old applications --------------------------------------------------------------------------------------------

WIZARD: dict[str, Any] = {
    "/index.php": {"state": "name", "to": ["address"], "submit": True},
    "/index.php?step=1": "name",
    "/index.php?step=2": {"state": "address", "to": ["payment"], "submit": True},
    "/index.php?step=3": {"state": "payment", "to": ["thanks"], "once": True},
    "/index.php?step=4": {"state": "thanks"},
}
ORDER: dict[str, Any] = {
    "/order": {"state": "form", "to": ["preview"], "repeat": True},
    "POST /order?preview": {"state": "preview", "to": ["order"], "repeat": True},
    "POST /order?action=place_order": {"state": "order", "once": True, "accept": [200]},
    "POST /order?action=place_order&preview": "order",
}


def in_front_of(app: Any, flow: Any) -> Visitor:
    return Visitor(FlowGuard(app, flow, secret_key=SECRET, back="edit"))


def follow(visitor: Visitor, path: str, body: bytes) -> Response:
    """Post a form, and follow the redirect of its answer."""
    answer = visitor.post(path, body)
    assert answer.location is not None
    return visitor.get("/" + answer.location.lstrip("/"))


def test_an_honest_visitor_of_the_wizard_never_meets_the_guard():
    wizard = Wizard()
    visitor = in_front_of(wizard, WIZARD)
    for order in (1, 2):
        assert b"Step 1" in visitor.get("/index.php").body
        assert b"Step 1" in visitor.post("/index.php", b"value=").body  # a failing form
        assert b"Step 2" in follow(visitor, "/index.php", b"value=Ann").body
        assert b"Step 2" in visitor.get("/index.php?step=2").body  # a reload
        assert b"Step 3" in follow(visitor, "/index.php?step=2", b"value=Main+St").body
        assert b"Step 2" in visitor.get("/index.php?step=2").body  # Back, and a correction
        assert b"Step 3" in follow(visitor, "/index.php?step=2", b"value=High+St").body
        assert b"Step 4" in follow(visitor, "/index.php?step=3", b"value=4111").body
        assert b"Step 4" in follow(visitor, "/index.php?step=3", b"value=4111").body  # a double click
        assert b"Step 4" in visitor.get("/index.php?step=4").body
        assert wizard.accounts == ["4111"] * order


PAY = b"value=4111"
WIZARD_ABUSES = {
    "the payment alone": ("/index.php?step=3", PAY),
    "encoded": ("/index.php?%73tep=%33", PAY),
    "after another step": ("/index.php?step=2&step=3", PAY),
    "beside another step in the form": ("/index.php?step=3", b"step=2&value=4111"),
    "in a form that is too large": ("/index.php?step=3", PAY + b"&x=" + b"x" * (1 << 20)),
    "by another spelling of the path": ("/INDEX.php?step=3", PAY),
}


@pytest.mark.parametrize(("path", "body"), WIZARD_ABUSES.values(), ids=WIZARD_ABUSES)
def test_the_wizard_is_paid_out_of_order_only_when_it_is_bare(path, body):
    bare = Wizard()
    assert Visitor(bare).post(path, body).status == 302
    assert bare.accounts == ["4111"]
    wizard = Wizard()
    visitor = in_front_of(wizard, WIZARD)
    visitor.get("/index.php")
    follow(visitor, "/index.php", b"value=Ann")
    assert visitor.post(path, body).reason in ("path", "skipped")
    assert wizard.accounts == []


def test_the_wizard_is_paid_twice_only_when_it_is_bare():
    bare = Wizard()
    for _ in range(2):
        Visitor(bare).post("/index.php?step=3", PAY)
    assert bare.accounts == ["4111"] * 2
    wizard = Wizard()
    visitor = in_front_of(wizard, WIZARD)
    visitor.get("/index.php")
    follow(visitor, "/index.php", b"value=Ann")
    follow(visitor, "/index.php?step=2", b"value=Main+St")
    thief = visitor.twin()
    follow(visitor, "/index.php?step=3", PAY)
    assert visitor.post("/index.php?step=3", PAY).reason == "finished"
    assert visitor.post("/index.php", b"step=3&value=4111").reason == "finished"
    assert thief.post("/index.php?step=3", PAY).reason == "finished"
    assert wizard.accounts == ["4111"]


def test_an_honest_visitor_of_the_order_never_meets_the_guard():
    shop = Order()
    visitor = in_front_of(shop, ORDER)
    for order in (1, 2):
        assert b"Preview" in visitor.get("/order").body
        assert b"Preview" in visitor.post("/order", b"card=x&preview=").body  # a failing form
        assert b"Preview" in visitor.get("/order").body  # Back
        assert b"Pay" in visitor.post("/order", b"card=4111&preview=").body
        assert b"Pay" in visitor.post("/order", b"card=4111&preview=").body  # a reload
        assert b"Thank you" in visitor.post("/order", b"card=4111&action=place_order").body
        assert visitor.post("/order", b"card=4111&action=place_order").reason == "duplicate"  # a double click
        assert shop.charged == ["4111"] * order


ORDER_ABUSES = {
    "the order alone": ("/order", b"card=1&action=place_order", FORM),
    "with another value before it": ("/order", b"card=1&action=x&action=place_order", FORM),
    "with the preview's button in the query": ("/order?preview", b"card=1&action=place_order", FORM),
    "with another action in the query": ("/order?action=help", b"card=1&action=place_order", FORM),
    "as text": ("/order", b"card=1&action=place_order", "text/plain"),
    "encoded": ("/order", b"card=1&%61ction=place%5Forder", FORM),
}


@pytest.mark.parametrize(("path", "body", "kind"), ORDER_ABUSES.values(), ids=ORDER_ABUSES)
def test_an_order_without_a_preview_is_charged_only_when_the_application_is_bare(path, body, kind):
    bare = Order()
    Visitor(bare).post(path, body, CONTENT_TYPE=kind)
    assert bare.charged == ["1"]
    shop = Order()
    visitor = in_front_of(shop, ORDER)
    visitor.get("/order")
    assert visitor.post(path, body, CONTENT_TYPE=kind).reason in ("illegal", "path")
    assert shop.charged == []


def test_an_order_is_charged_twice_only_when_the_application_is_bare():
    bare = Order()
    for _ in range(2):
        Visitor(bare).post("/order", b"card=1&action=place_order")
    assert bare.charged == ["1"] * 2
    shop = Order()
    visitor = in_front_of(shop, ORDER)
    visitor.get("/order")
    visitor.post("/order", b"card=1&preview=")
    thief = visitor.twin()
    visitor.post("/order", b"card=1&action=place_order")
    for who in (visitor, thief):
        assert who.post("/order", b"card=1&action=place_order").reason == "duplicate"
        assert who.post("/order", b"card=1&preview=&action=place_order").reason == "duplicate"
        assert who.post("/order", b"card=1&Preview=&action=place_order").reason == "path"
    assert shop.charged == ["1"]
