"""A dict of paths becomes a plan, or an error that names everything that is wrong with it (CONTRACT 2)."""

from __future__ import annotations

import dataclasses
import pickle
import sys
import types
from pathlib import Path
from typing import Any, Sequence

import pytest

from flowguard import paths
from flowguard.config import (
    FLOW_OPTIONS,
    GUARD_OPTIONS,
    STATE_KEYS,
    Key,
    Options,
    Plan,
    configure,
    read_flow,
    signing_keys,
)
from flowguard.config.places import Place, kind
from flowguard.config.settings import COMPANION_KEYS, REQUIRED, UNDOING_KEYS
from flowguard.core.flow import Answers, Companion, Glob, State
from flowguard.errors import ConfigError, Problem
from flowguard.flow import Flow

SECRET = "9f3c8a51d07e4b62"
SHOP = {
    "/cart": {"start": True, "to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}


def any_rule(_rules: Sequence[str]) -> list[tuple[int, str]]:
    return []


def guard(flow: Any, options: Any = None, **own: Any) -> tuple[Plan, ...]:
    """The plans of a guard that is right but for what a test says."""
    right = {"secret_key": SECRET, "ledger": "memory://", "ledger_wait": 2, "ledger_lease": 300}
    return configure(flow, options or {}, **{**right, "check_rules": any_rule, **own})[0]


def plan(declared: Any, **options: Any) -> Plan:
    return guard(declared, options)[0]


def wrong(flow: Any, options: Any = None, **own: Any) -> list[str]:
    """The problems of a guard, as they are shown."""
    with pytest.raises(ConfigError) as caught:
        guard(flow, options, **own)
    return [str(problem) for problem in caught.value.problems]


def in_stock(_context: Any) -> bool:
    return True


NO_CONDITION = 5


@pytest.fixture(autouse=True)
def rules_of_the_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the deployer's, for dotted names."""
    module = types.ModuleType("shop_rules")
    module.in_stock = in_stock  # type: ignore[attr-defined]
    module.Rules = type("Rules", (), {"paid": staticmethod(in_stock)})  # type: ignore[attr-defined]
    module.number = 5  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_rules", module)


# --- what loads ------------------------------------------------------------------------------------------------------


def test_the_contracts_example_loads_as_it_reads():
    read = plan(SHOP, back="edit")
    assert read.definition.states == {
        "/cart": State("/cart", start=True, to={"/shipping": None}, repeat=True, back="edit"),
        "/shipping": State("/shipping", to={"/payment": None}, submit=True, back="edit"),
        "/payment": State("/payment", to={"/done": None}, submit=True, once=True, back="edit"),
        "/done": State("/done", back="edit"),
    }
    assert read.definition.starts == ("/cart",)
    assert read.definition.companions == {}
    assert [key.written for key in read.keys] == list(SHOP)


def test_what_is_left_out_is_as_the_contract_says():
    read = plan({"/a": {}})
    assert read.definition.name == "flow"
    assert read.definition.ttl == 14_400_000
    assert read.definition.idle is None
    assert read.definition.restart is False
    assert read.definition.reject == Answers(globs=(Glob.of("*/login*"), Glob.of("*/signin*")))
    assert read.definition.states == {"/a": State("/a", start=True)}
    assert read.options == Options(
        ordered=False, on_refusal="auto", reset=None, bind=None, fence=(), open=(), mode="enforce", exempt=None,
        cookie_name="flowguard-flow", cookie_samesite="Lax", cookie_secure="auto", cookie_domain=None, cookie_path="/",
        preflight=False, max_body=1_048_576, parameters={}, entered=None, refused=None, finished=None, texts=None,
    )  # fmt: skip


def test_every_option_of_a_flow_arrives():
    def hook(_event: Any) -> None: ...

    def responder(_refusal: Any, _environ: Any) -> Any: ...

    options = {
        "ordered": True, "on_refusal": responder, "reset": "/again", "bind": "REMOTE_USER", "fence": ("/a/",),
        "open": ("/a/b",), "mode": "report", "exempt": hook,
        "cookie_name": "shop", "cookie_samesite": "None",
        "cookie_secure": True, "cookie_domain": "example.org", "cookie_path": "/shop", "preflight": True,
        "max_body": 1, "parameters": {"step": "query"}, "entered": hook, "refused": hook, "finished": hook,
        "texts": {"de": {"duplicate": {"title": "Schon bezahlt"}}},
    }  # fmt: skip
    rest = {"name": "shop", "restart": True, "ttl": 60, "idle": 0.5, "reject": ["/no"]}
    read = plan({"/a?step": {}}, **options, **rest)
    assert read.options == Options(**options)
    assert read.definition == dataclasses.replace(
        read.definition, name="shop", restart=True, ttl=60_000, idle=500, reject=Answers(globs=(Glob.of("/no"),))
    )


def test_a_file_can_hold_the_mode(tmp_path: Path):
    (tmp_path / "mode").write_text("report\n")
    mode = plan({"/a": {}}, mode=f"file:{tmp_path / 'mode'}").options.mode
    assert mode() == "report"
    assert plan({"/a": {}}, mode=mode).options.mode is mode
    (tmp_path / "mode").write_text("on\n")
    assert wrong({"/a": {}}, {"mode": f"file:{tmp_path / 'mode'}"}) == [
        f"flow(mode): '{tmp_path / 'mode'}' holds 'on'. Write 'enforce', 'report' or 'off' into it.",
    ]


def test_every_key_of_a_state_arrives():
    read = plan({
        "/first": {"state": "first", "start": True, "to": {"second": True}},
        "/second": {
            "state": "second", "to": {"first": "shop_rules:in_stock", "last": in_stock}, "requires": ["first"],
            "submit": True, "repeat": True, "back": "view", "when": "shop_rules:Rules.paid",
            "accept": [200, "/ok*", "body:Thank you"],
            "reject": ("https://pay.example/*", 302), "min_seconds": 1.5, "max_seconds": 20, "on_refusal": "conflict",
        },
        "/last": {"state": "last", "end": True, "requires": ["first", ["second", "first"]]},
    })  # fmt: skip
    assert read.definition.states["second"] == State(
        "second", to={"first": in_stock, "last": in_stock}, requires=(("first",),), submit=True, repeat=True,
        back="view", when=in_stock, accept=Answers(frozenset({200}), (Glob.of("/ok*"),), frozenset({"Thank you"})),
        reject=Answers(frozenset({302}), (Glob.of("https://pay.example/*"),)), min_time=1500, max_time=20_000,
        on_refusal="conflict",
    )  # fmt: skip
    assert read.definition.states["last"] == State("last", requires=(("first",), ("second", "first")))


def test_none_may_be_written_where_it_is_the_default():
    unsaid = {name: None for name, row in STATE_KEYS.items() if row.default is None}
    options = {name: None for name, row in FLOW_OPTIONS.items() if row.default is None}
    assert plan({"/a": unsaid}, **options) == plan({"/a": {}})


def test_once_implies_submit():
    assert plan({"/a": {"to": ["/b"]}, "/b": {"once": True}}).definition.states["/b"].submit is True


def test_an_explicit_start_replaces_the_first_state():
    assert plan({"/a": {"to": ["/b"]}, "/b": {"start": True}}).definition.starts == ("/b",)


def test_several_starts_stay_in_order():
    assert plan({"/a": {"start": True}, "/b": {"start": True}, "/c": {}}).definition.starts == ("/a", "/b")


def test_the_first_state_is_a_start_though_a_companion_stands_before_it():
    assert plan({"/help": {"within": ["/a"]}, "/a": {}}).definition.starts == ("/a",)


def test_an_end_may_say_so_and_a_state_with_successors_that_it_is_none():
    states = plan({"/a": {"to": ["/b"], "end": False}, "/b": {"end": True}}).definition.states
    assert [state.end for state in states.values()] == [False, True]


def test_in_an_ordered_flow_every_state_requires_those_before_it():
    states = plan({
        "/help": {"within": ["/a"]}, "/a": {}, "/also": "/a", "/b": {}, "/c": {"requires": ["/b", ["/a", "/b"]]},
    }, ordered=True).definition.states  # fmt: skip
    assert {name: state.requires for name, state in states.items()} == {
        "/a": (), "/b": (("/a",),), "/c": (("/a",), ("/b",), ("/a", "/b")),
    }  # fmt: skip


def test_a_time_is_never_rounded_to_none():
    assert plan({"/a": {"min_seconds": 0.0001}}).definition.states["/a"].min_time == 1


def test_a_companion_belongs_to_states_and_has_a_name_and_a_refusal():
    help_page = {"state": "help", "within": ["/a", "/b"], "on_refusal": "auto"}
    read = plan({"/a": {"to": ["/b"]}, "/b": {}, "/help": help_page})
    assert read.definition.companions == {"help": Companion("help", frozenset({"/a", "/b"}), "auto")}
    assert list(read.definition.states) == ["/a", "/b"]


def test_what_undoes_arrives():
    basket = {"undoes": ["/b", "/a"], "within": ["/b"], "accept": [422], "reject": ["/no*"], "effects": True}
    read = plan({"/a": {"to": ["/b"]}, "/b": {}, "/basket": basket, "/other": {"undoes": ["/b"]}})
    assert read.definition.companions == {
        "/basket": Companion("/basket", frozenset({"/b"}), None, frozenset({"/a", "/b"}),
                             Answers(frozenset({422})), Answers(globs=(Glob.of("/no*"),)), True),
        "/other": Companion("/other", None, None, frozenset({"/b"})),
    }  # fmt: skip


def test_several_paths_belong_to_one_state_wherever_they_stand():
    read = plan({"/old": "pay", "POST /pay": {"state": "pay"}, "/help": {"within": ["pay"]}, "/hilfe": "/help"})
    assert read.keys == (
        Key("/old", "/old", None, "pay", alias=True), Key("POST /pay", "/pay", frozenset({"POST"}), "pay"),
        Key("/help", "/help", None, "/help"), Key("/hilfe", "/hilfe", None, "/help", alias=True),
    )  # fmt: skip
    assert read.paths == {"pay": (0, 1), "/help": (2, 3)}


@pytest.mark.parametrize(("written", "rule", "methods"), [
    pytest.param("/a", "/a", None, id="takes all methods if it names none"),
    pytest.param("POST /a", "/a", {"POST"}, id="may name a method"),
    pytest.param("post /a", "/a", {"POST"}, id="may name it in any case"),
    pytest.param("PUT,delete /a", "/a", {"PUT", "DELETE"}, id="may name several"),
    pytest.param("PUT, DELETE  /a", "/a", {"PUT", "DELETE"}, id="may have spaces between them"),
    pytest.param("BREW /a", "/a", {"BREW"}, id="may name a method that nobody knows"),
    pytest.param("GET /a", "/a", {"GET", "HEAD", "OPTIONS"}, id="takes HEAD and OPTIONS with GET"),
    pytest.param("HEAD,GET /a", "/a", {"GET", "HEAD", "OPTIONS"}, id="takes them with GET once"),
    pytest.param("PUT /o/<int:id>/a b", "/o/<int:id>/a b", {"PUT"}, id="may have variables and spaces"),
])  # fmt: skip
def test_a_key(written, rule, methods):
    methods = methods and frozenset(methods)
    assert plan({written: {}}).keys == (Key(written, rule, methods, written),)


@pytest.mark.parametrize(("written", "rule", "parameters", "query"), [
    pytest.param("/a?x=1", "/a", (("x", "1"),), "?x=1", id="names a parameter and its value"),
    pytest.param("/a?x", "/a", (("x", None),), "?x=", id="leaves its value open"),
    pytest.param("/a?x=", "/a", (("x", ""),), "?x=", id="names an empty value"),
    pytest.param("POST /a?z=1&x=2", "/a", (("x", "2"), ("z", "1")), "?x=2&z=1", id="names several, in any order"),
    pytest.param("/a?@t=re+g/i%2Bs%26t", "/a", (("@t", "re g/i+s&t"),), "?@t=re%20g/i%2Bs%26t", id="encodes them"),
    pytest.param("/a?x=\u00e4&y=%E4", "/a", (("x", "\u00e4"), ("y", "\udce4")), "?x=%C3%A4&y=%E4",
                 id="says in which bytes it is sent"),
    pytest.param("/a/?x=/b?c=d", "/a/", (("x", "/b?c=d"),), "?x=/b%3Fc%3Dd", id="holds a path in a value"),
    pytest.param('/<any("a?"):y>?x=1', '/<any("a?"):y>', (("x", "1"),), "?x=1", id="has a ? in a variable"),
])  # fmt: skip
def test_a_key_with_parameters(written, rule, parameters, query):
    (key,) = plan({written: {}}).keys
    assert (key.written, key.name, key.rule, key.parameters) == (written, written, rule, parameters)
    assert key.query == query


@pytest.mark.parametrize("declared", [
    pytest.param({"/a?x=1": {}, "/a?x=2": {}, "/a": {}}, id="values that exclude each other"),
    pytest.param({"/a?x=1": {}, "/a?x=2&y": {}, "/a": {}}, id="more or fewer of them"),
    pytest.param({"GET /a?x": {}, "POST /a?y": {}}, id="other methods"),
    pytest.param({"/a?x": {}, "/a?y": {}, "/a?x&y": {}}, id="a third key with the parameters of both"),
    pytest.param({"/a?x=1": {}, "/a?y": {}, "/a?x&y": {}}, id="a third key that both imply"),
    pytest.param({"GET,POST /a?x": {}, "POST,PUT /a?y": {}, "POST /a?x&y": {}}, id="a third key for what they share"),
    pytest.param({"/a?x": {}, "POST,PUT /a?y": {}, "POST /a?x&y": {}, "PUT /a?x&y": {}}, id="a key for each of these"),
])  # fmt: skip
def test_keys_with_parameters_may_share_a_path_that_have(declared):
    assert [key.written for key in plan(declared).keys] == list(declared)


@pytest.mark.parametrize(("declared", "get", "unsafe"), [
    pytest.param({"/a": {"state": "s"}}, True, True, id="all methods"),
    pytest.param({"GET /a": {"state": "s"}}, True, False, id="only a GET"),
    pytest.param({"POST /a": {"state": "s"}}, False, True, id="only a submission"),
    pytest.param({"HEAD /a": {"state": "s"}}, False, False, id="neither"),
    pytest.param({"GET /a": {"state": "s"}, "PUT /b": "s"}, True, True, id="what its other paths take"),
])  # fmt: skip
def test_a_state_takes(declared, get, unsafe):
    state = plan(declared).definition.states["s"]
    assert (state.get, state.unsafe) == (get, unsafe)


def test_two_keys_may_share_a_path_if_their_methods_differ():
    read = plan({"GET /a": {"to": ["POST /a"]}, "POST /a": {}})
    assert read.paths == {"GET /a": (0,), "POST /a": (1,)}


def test_several_flows_stay_in_order():
    plans = guard([Flow({"/a": {}}, name="one"), Flow({"/b": {}}, name="two", reset="/again")])
    assert [(one.definition.name, one.options.cookie_name) for one in plans] == [
        ("one", "flowguard-one"), ("two", "flowguard-two"),
    ]  # fmt: skip


def test_a_flow_alone_is_as_good_as_its_dict():
    assert guard(Flow(SHOP, back="edit")) == guard(SHOP, {"back": "edit"})


def test_any_ledger_will_do_for_once():
    assert len(guard(SHOP, ledger=object())) == 1


@pytest.mark.parametrize("secret", [
    pytest.param(SECRET, id="a text"),
    pytest.param("a-secret-for-the-tests-of-the-shop", id="words and more than a placeholder's"),
    pytest.param(bytes(range(200, 216)), id="bytes that are no text"),
    pytest.param("éàüöñ€éàü", id="a text of sixteen bytes, though not of sixteen characters"),
    pytest.param("!#$%&'()*+,-./:;<", id="signs alone"),
    pytest.param([SECRET, b"0123456789abcdef"], id="a list"),
    pytest.param((SECRET,), id="a tuple"),
])  # fmt: skip
def test_a_good_secret_is(secret):
    assert len(guard({"/a": {}}, secret_key=secret)) == 1


def test_keys_are_a_tuple_oldest_first():
    assert signing_keys("new") == ("new",)
    assert signing_keys(b"new") == (b"new",)
    assert signing_keys(["old", b"new"]) == ("old", b"new")


def test_problems_are_appended_and_there_is_no_plan():
    problems = [Problem("before", "was wrong.")]
    assert read_flow({"/a": {"onse": True}}, {}, problems, any_rule) is None
    assert [problem.where for problem in problems] == ["before", "flow['/a'].onse"]


def test_a_flow_that_is_right_appends_nothing():
    problems: list[Problem] = []
    assert read_flow(SHOP, {"back": "edit"}, problems, any_rule) == plan(SHOP, back="edit")
    assert problems == []


def never() -> bool:
    return False


# --- what does not ---------------------------------------------------------------------------------------------------

KEY_FORM = "Write a path that begins with '/', after methods if need be: 'GET,POST /charge'."
METHODS = "Name different methods in each, or remove one."
PARAMETER = "Write '?name=value', or '?name' for any value."
NAME = "Write 1 to 64 letters, digits, '-' or '_'."
COOKIE_PATH = "Write a path that begins with '/', in printable ASCII without ';'."
STATUS = "Write a status from 100 to 599, or a Location glob such as '/thanks*'."
SECONDS = "Write a number of seconds, more than 0 and at most 3,155,760,000."

OF_A_FLOW = [
    pytest.param({}, ["flow: has no states. Declare at least one path, such as '/cart'."], id="no states"),
    pytest.param({"/a": "/a"}, ["flow: has no states: all its paths are companions or belong to others.",
                                "flow['/a']: no state '/a'."], id="a path that belongs to itself"),
    pytest.param({"/a": {"start": False}, "/b": {}}, [
        "flow: has no start: '/a', its first state, says that it is none. Mark a state as start.",
    ], id="no start"),
    pytest.param({"POST /a": {"once": True, "to": ["/b"]}, "/b": {}}, [
        "flow['POST /a']: nobody could begin: no start takes a GET (without `effects`), and a state that is `once` "
        "or has `min_seconds` is not submitted before a run has begun. Let a start take GET.",
    ], id="a start that no first request can reach"),
    pytest.param({"/a": {}, "/b": 5}, [
        "flow['/b']: is 5. Write a dict, or the name of the state that this path belongs to.",
    ], id="a value that is neither dict nor name"),
    pytest.param({5: {}}, [f"flow[5]: is no path. {KEY_FORM}"], id="a key that is no text"),
    pytest.param({"cart": {}}, [f"flow['cart']: is no path. {KEY_FORM}"], id="a key without a path"),
    pytest.param({"shop/cart": {}}, [f"flow['shop/cart']: is no path. {KEY_FORM}"], id="a key that starts otherwise"),
    pytest.param({"h:80/cart": {}}, [f"flow['h:80/cart']: is no path. {KEY_FORM}"], id="a key with a host"),
    pytest.param({"GET, /a": {}}, [f"flow['GET, /a']: '' is no method. {KEY_FORM}"], id="an empty method"),
    pytest.param({" /a": {}}, [f"flow[' /a']: '' is no method. {KEY_FORM}"], id="a space in front"),
    pytest.param({"GET;POST /a": {}}, [f"flow['GET;POST /a']: 'GET;POST' is no method. {KEY_FORM}"], id="odd methods"),
    pytest.param({"PUT,put /a": {}}, ["flow['PUT,put /a']: names PUT twice. Remove one."], id="a method twice"),
    pytest.param({"/a?": {}}, [
        f"flow['/a?']: has a parameter without a name. {PARAMETER}",
    ], id="a question mark without parameters"),
    pytest.param({"/a?x&=2": {}}, [
        f"flow['/a?x&=2']: has a parameter without a name. {PARAMETER}",
    ], id="a parameter without a name"),
    pytest.param({"/a?+=2": {}}, [
        f"flow['/a?+=2']: has a parameter without a name. {PARAMETER}",
    ], id="a parameter whose name is a space"),
    pytest.param({"/a?order=<id>": {}}, [
        "flow['/a?order=<id>']: has a variable in its parameters; variables stand in paths alone. Write '?name' for "
        "any value, or '%3C' for a '<'.",
    ], id="a variable in its parameters"),
    pytest.param({"/a?x=1&%78": {}}, [
        "flow['/a?x=1&%78']: names the parameter 'x' twice. Remove one.",
    ], id="a parameter twice"),
    pytest.param({"/a?x#top": {}}, [
        "flow['/a?x#top']: holds '#' in its parameters. Write it percent-encoded: '%23'.",
    ], id="a fragment"),
    pytest.param({"/a?x=1;y=2": {}}, [
        "flow['/a?x=1;y=2']: holds ';' in its parameters. Write it percent-encoded: '%3B'.",
    ], id="a semicolon between parameters"),
    pytest.param({"/a?x=a b": {}}, [
        "flow['/a?x=a b']: holds ' ' in its parameters. Write it percent-encoded: '%20'.",
    ], id="a space in a value"),
    pytest.param({"/a?x=50%": {}}, [
        "flow['/a?x=50%']: holds '%' in its parameters. Write it percent-encoded: '%25'.",
    ], id="a percent sign that encodes nothing"),
    pytest.param({"/a?x=%00": {}}, [
        "flow['/a?x=%00']: has a control character in its parameter 'x=%00'. Remove it.",
    ], id="a control character in a value"),
    pytest.param({"/a?x=1": {}, "POST /a?x=1": {}}, [
        f"flow['POST /a?x=1']: is the path of '/a?x=1' too, and '/a?x=1' takes every method. {METHODS}",
    ], id="the same parameters and a method of them all"),
    pytest.param({"/a?x=1": {}, "/a?y": {}}, [
        "flow['/a?y']: could match a request as well as '/a?x=1': one with ?x=1&y=. Declare that, too, or name "
        "different methods in each.",
    ], id="parameters that one request may have"),
    pytest.param({"/a?x": {}, "/a?x=": {}}, [
        "flow['/a?x=']: could match a request as well as '/a?x': one with ?x=. Declare that, too, or name "
        "different methods in each.",
    ], id="any value and a value"),
    pytest.param({"GET,POST /a?x": {}, "POST,PUT /a?y": {}, "PUT /a?x&y": {}}, [
        "flow['POST,PUT /a?y']: could match a request as well as 'GET,POST /a?x': one with ?x=&y=. Declare that, too, "
        "or name different methods in each.",
    ], id="parameters that one request may have, and a third key that does not take its method"),
    pytest.param({"/a?x": {}, "/a?y": {}, "POST /a?x&y": {}}, [
        "flow['/a?y']: could match a request as well as '/a?x': one with ?x=&y=. Declare that, too, or name "
        "different methods in each.",
    ], id="parameters that one request may have, and a third key that takes not all methods"),
    pytest.param({"/order?step=1": {"to": ["/order"]}}, [
        "flow['/order?step=1'].to[0]: no state '/order'. Did you mean '/order?step=1'?",
    ], id="a path for a name that has parameters, too"),
    pytest.param({"/a": {}, "POST /a": {}}, [
        f"flow['POST /a']: is the path of '/a' too, and '/a' takes every method. {METHODS}",
    ], id="a method of a path that takes all"),
    pytest.param({"POST /a": {}, "/a": {}}, [
        f"flow['/a']: is the path of 'POST /a' too, and this key takes every method. {METHODS}",
    ], id="all methods of a path of which some are taken"),
    pytest.param({"GET /a": {}, "OPTIONS,PUT,HEAD /a": {}}, [
        "flow['OPTIONS,PUT,HEAD /a']: 'GET /a' takes HEAD, OPTIONS too. Name different methods in each.",
    ], id="methods that go with GET"),
    pytest.param({"/a": {"onse": True}}, ["flow['/a'].onse: unknown key. Did you mean 'once'?"], id="a misspelt key"),
    pytest.param({"/a": {"zzz": True, 5: 1}}, ["flow['/a'].zzz: unknown key.", "flow['/a'][5]: unknown key."],
                 id="keys like no other"),
    pytest.param({"/a": {"state": ""}}, [
        "flow['/a'].state: is the string ''. Write a name: a string, not empty, of printable characters.",
    ], id="an empty name"),
    pytest.param({"/a": {"state": "a\n"}}, [
        "flow['/a'].state: is the string 'a\\n'. Write a name: a string, not empty, of printable characters.",
    ], id="a name with a line break"),
    pytest.param({"/a": {"state": "s"}, "/b": {"state": "s"}}, [
        "flow['/b'].state: 's' is the name of '/a' already. For one state of two paths write '/b': 's'.",
    ], id="a name twice"),
    pytest.param({"/a": {"state": "/b"}, "/b": {}}, [
        "flow['/b']: '/b' is the name of '/a' already. For one state of two paths write '/b': '/b'.",
    ], id="a name that is another's path"),
    pytest.param({"/a": {"start": "yes"}}, ["flow['/a'].start: is the string 'yes'. Write True or False."],
                 id="a word for a truth"),
    pytest.param({"/a": {"repeat": 1}}, ["flow['/a'].repeat: is 1. Write True or False."], id="a number for a truth"),
    pytest.param({"/a": {"end": True, "to": ["/b"]}, "/b": {}}, [
        "flow['/a'].end: is True, but `to` names successors. Remove one of the two.",
    ], id="an end that goes on"),
    pytest.param({"/a": {"end": False}}, [
        "flow['/a'].end: is False, but `to` is empty: nothing can follow. Name a successor, or remove it.",
    ], id="no end, and nothing after it"),
    pytest.param({"/cart": {"to": ["/pya"]}, "/pay": {}}, [
        "flow['/cart'].to[0]: no state '/pya'. Did you mean '/pay'?",
    ], id="a misspelt successor"),
    pytest.param({"/cart": {"to": {"/pya": True}}, "/pay": {}}, [
        "flow['/cart'].to['/pya']: no state '/pya'. Did you mean '/pay'?",
    ], id="a misspelt successor in a mapping"),
    pytest.param({"/a": {"to": ["/a"]}}, ["flow['/a'].to[0]: '/a' is the state itself. Remove it."],
                 id="a loop of one"),
    pytest.param({"/a": {"to": ["/b", "/b"]}, "/b": {}}, ["flow['/a'].to[1]: '/b' stands here twice. Remove one."],
                 id="a successor twice"),
    pytest.param({"/cart": {}, "/pay": {"to": "/cart"}}, [
        "flow['/pay'].to: is a string, not a list. Write ['/cart'].",
    ], id="a string for a list"),
    pytest.param({"/a": {"to": {"/b"}}, "/b": {}}, ["flow['/a'].to: is a set, not a list. Write ['/cart']."],
                 id="a set for a list"),
    pytest.param({"/a": {"to": None}}, ["flow['/a'].to: is None, not a list. Write ['/cart']."], id="none for a list"),
    pytest.param({"/a": {"to": [5]}}, ["flow['/a'].to[0]: is 5. Write the name of a state."], id="a number for a name"),
    pytest.param({"/a": {"to": {5: True}}}, ["flow['/a'].to[5]: is 5. Write the name of a state."],
                 id="a number for a name in a mapping"),
    pytest.param({"/a": {"to": {"/b": False, "/c": None}}, "/b": {}, "/c": {}}, [
        "flow['/a'].to['/b']: is False. Give a condition, or write True for none.",
        "flow['/a'].to['/c']: is None. Give a condition, or write True for none.",
    ], id="a condition that says never"),
    pytest.param({"/cart": {"state": "cart", "to": ["/pay"]}, "/pay": {"state": "pay"}}, [
        "flow['/cart'].to[0]: '/pay' is a path of the state 'pay'. Write 'pay'.",
    ], id="a path for a name"),
    pytest.param({"/cart": {"to": ["/charge"]}, "POST /charge": {}}, [
        "flow['/cart'].to[0]: '/charge' is a path of the state 'POST /charge'. Write 'POST /charge'.",
    ], id="a path without its methods"),
    pytest.param({"/cart": {"to": ["/bezahlen"]}, "/pay": {}, "/bezahlen": "/pay"}, [
        "flow['/cart'].to[0]: '/bezahlen' is a path of the state '/pay'. Write '/pay'.",
    ], id="another path of a state"),
    pytest.param({"/a": {}, "/b": "/a", "/c": "/b"}, [
        "flow['/c']: '/b' is a path of the state '/a'. Write '/a'.",
    ], id="a path that belongs to another path"),
    pytest.param({"/cart": {}, "/basket": "/crat"}, ["flow['/basket']: no state '/crat'. Did you mean '/cart'?"],
                 id="a path that belongs to nobody"),
    pytest.param({"/a": {}, "/help": {"state": "help", "within": ["/a"]}, "/hilfe": "/help"}, [
        "flow['/hilfe']: '/help' is a path of the state 'help'. Write 'help'.",
    ], id="a path that belongs to a companion's path"),
    pytest.param({"/a": {}, "/b": {"requires": ["/b"]}}, [
        "flow['/b'].requires[0]: '/b' is the state itself. Remove it.",
    ], id="a state that requires itself"),
    pytest.param({"/cart": {}, "/b": {"requires": [["/cart", "/crat"]]}}, [
        "flow['/b'].requires[0][1]: no state '/crat'. Did you mean '/cart'?",
    ], id="a misspelt requirement in a group"),
    pytest.param({"/a": {}, "/b": {"requires": [[], "/a", "/a", ["/a", "/a"], 5]}}, [
        "flow['/b'].requires[0]: is empty: nothing could meet it. Remove it.",
        "flow['/b'].requires[3][1]: '/a' stands here twice. Remove one.",
        "flow['/b'].requires[4]: is 5. Write the name of a state.",
        "flow['/b'].requires[2]: '/a' stands here twice. Remove one.",
    ], id="odd requirements"),
    pytest.param({"/a": {"once": True, "repeat": True, "submit": False}}, [
        "flow['/a'].submit: is False, but `once` implies it. Remove one of the two.",
        "flow['/a'].once: can't stand beside `repeat`. Remove one of the two.",
    ], id="once and repeat"),
    pytest.param({"/a": {"back": "edti"}}, [
        "flow['/a'].back: is the string 'edti'. Write 'refuse', 'view' or 'edit'. Did you mean 'edit'?",
    ], id="a misspelt back"),
    pytest.param({"/a": {"back": True}}, ["flow['/a'].back: is True. Write 'refuse', 'view' or 'edit'."],
                 id="a truth for a word"),
    pytest.param({"/a": {"when": 5}}, [
        "flow['/a'].when: is 5. Give a callable, or its dotted name such as 'shop.rules:in_stock'.",
    ], id="a condition that can't be called"),
    pytest.param({"/a": {"when": str.isupper, "on_refusal": never}, "/b": {"when": never}}, [
        "flow['/a'].on_refusal: never can't be called with a refusal and the environ, as it is.",
        "flow['/b'].when: never can't be called with a context, as it is.",
    ], id="callables that take other arguments"),
    pytest.param({"/a": {"when": "shop.rules.in_stock"}}, [
        "flow['/a'].when: is the string 'shop.rules.in_stock'. Write a dotted name with a colon, such as "
        "'shop.rules:in_stock'.",
    ], id="a dotted name without a colon"),
    pytest.param({"/a": {"when": "no_shop:in_stock"}}, [
        "flow['/a'].when: 'no_shop:in_stock' can't be imported: ModuleNotFoundError: No module named 'no_shop'",
    ], id="a module that is not there"),
    pytest.param({"/a": {"to": {"/b": "shop_rules:in_stok"}}, "/b": {}}, [
        "flow['/a'].to['/b']: 'shop_rules:in_stok' can't be imported: AttributeError: module 'shop_rules' has no "
        "attribute 'in_stok'",
    ], id="an attribute that is not there"),
    pytest.param({"/a": {"when": "shop_rules:number"}}, ["flow['/a'].when: 'shop_rules:number' is 5, not a callable."],
                 id="an attribute that can't be called"),
    pytest.param({"/a": {"accept": 200}}, ["flow['/a'].accept: is 200, not a list. Write [200]."],
                 id="a status for a list"),
    pytest.param({"/a": {"accept": [99, 600, True, None]}}, [
        f"flow['/a'].accept[{number}]: is {what}. {STATUS}"
        for number, what in enumerate(["99", "600", "True", "None"])
    ], id="numbers that are no statuses"),
    pytest.param({"/a": {"reject": ["thanks", "200", ""]}}, [
        "flow['/a'].reject[0]: is the string 'thanks', and no Location begins so. Write '/thanks'.",
        "flow['/a'].reject[1]: is the string '200', and no Location begins so. Write 200.",
        "flow['/a'].reject[2]: is the string '', and no Location begins so. Write '/'.",
    ], id="globs that match nothing"),
    pytest.param({"/a": {"accept": ["body:", "body: Thank you"]}}, [
        "flow['/a'].accept[0]: is the string 'body:': a text is not empty, and neither begins nor ends with white "
        "space. Write 'body:Thank you'.",
        "flow['/a'].accept[1]: is the string 'body: Thank you': a text is not empty, and neither begins nor ends with "
        "white space. Write 'body:Thank you'.",
    ], id="texts that nobody means"),
    pytest.param({"/a": {"accept": [200, "/x", "body:x", 200, "/x", "body:x"]}}, [
        "flow['/a'].accept[3]: 200 stands here twice. Remove one.",
        "flow['/a'].accept[4]: '/x' stands here twice. Remove one.",
        "flow['/a'].accept[5]: 'body:x' stands here twice. Remove one.",
    ], id="answers twice"),
    pytest.param({"/a": {"min_seconds": 0, "max_seconds": -1}}, [
        f"flow['/a'].min_seconds: is 0. {SECONDS}", f"flow['/a'].max_seconds: is -1. {SECONDS}",
    ], id="no time at all"),
    pytest.param({"/a": {"min_seconds": float("nan"), "max_seconds": float("inf")}}, [
        f"flow['/a'].min_seconds: is nan. {SECONDS}", f"flow['/a'].max_seconds: is inf. {SECONDS}",
    ], id="times that are no numbers"),
    pytest.param({"/a": {"min_seconds": "5", "max_seconds": True}}, [
        f"flow['/a'].min_seconds: is the string '5'. {SECONDS}", f"flow['/a'].max_seconds: is True. {SECONDS}",
    ], id="times of other types"),
    pytest.param({"/a": {"to": ["POST /b"]}, "POST /b": {"effects": True}}, [
        "flow['POST /b'].effects: is True, but no path of it takes GET. Let one take it, or remove `effects`.",
    ], id="effects of a GET that is not taken"),
    pytest.param({"/a": {"to": ["/b"]}, "/b": {"effects": True, "min_seconds": 5}}, [
        "flow['/b'].min_seconds: can't stand beside `effects`: whatever enters the state is a submission, and so "
        "always too fast. Write it for the state before.",
    ], id="effects that would always come too soon"),
    pytest.param({"/a": {"effects": True, "once": True}}, [
        "flow['/a']: nobody could begin: no start takes a GET (without `effects`), and a state that is `once` or has "
        "`min_seconds` is not submitted before a run has begun. Let a start take GET.",
    ], id="a start that would be submitted before there is a run"),
    pytest.param({"/a": {"min_seconds": 20, "max_seconds": 10}}, [
        "flow['/a'].min_seconds: is 20, more than max_seconds (10): nobody could leave in time.",
    ], id="more than there is time"),
    pytest.param({"/a": {"on_refusal": "rediret"}}, [
        "flow['/a'].on_refusal: is the string 'rediret'. Write 'auto', 'redirect' or 'conflict', or give a callable "
        "or its dotted name. Did you mean 'redirect'?",
    ], id="a misspelt form of refusal"),
    pytest.param({"/a": {"on_refusal": 409}}, [
        "flow['/a'].on_refusal: is 409. Write 'auto', 'redirect' or 'conflict', or give a callable or its dotted name.",
    ], id="a status for a form of refusal"),
    pytest.param({"/a": {}, "/help": {"within": []}}, [
        "flow['/help'].within: is empty: the path would always be refused. Name a state.",
    ], id="a companion of nobody"),
    pytest.param({"/a": {}, "/help": {"within": "/a"}}, [
        "flow['/help'].within: is a string, not a list. Write ['/a'].",
    ], id="a string for a companion's states"),
    pytest.param({"/cart": {}, "/help": {"within": ["/crat"], "to": ["/cart"], "onse": True, "submit": False}}, [
        "flow['/help'].onse: unknown key. Did you mean 'once'?",
        "flow['/help'].within[0]: no state '/crat'. Did you mean '/cart'?",
        "flow['/help'].to: can't stand beside `within`: a companion is no step. Remove one of the two.",
        "flow['/help'].submit: can't stand beside `within`: a companion is no step. Remove one of the two.",
    ], id="a companion with a state's keys"),
    pytest.param({"/a": {"to": ["/help"], "requires": ["/help"]}, "/help": {"within": ["/a"]}}, [
        "flow['/a'].to[0]: '/help' is a companion (it has `within`), not a state.",
        "flow['/a'].requires[0]: '/help' is a companion (it has `within`), not a state.",
    ], id="a companion for a state"),
    pytest.param({"/a": {}, "/help": {"within": ["/a"], "effects": True, "accept": [200]}}, [
        "flow['/help'].effects: can't stand beside `within` alone: such a path never changes a run. Remove it.",
        "flow['/help'].accept: can't stand beside `within` alone: such a path never changes a run. Remove it.",
    ], id="a companion that has effects on nothing"),
    pytest.param({"/review": {}, "/basket": {"undoes": ["/reveiw"], "submit": True}}, [
        "flow['/basket'].undoes[0]: no state '/reveiw'. Did you mean '/review'?",
        "flow['/basket'].submit: can't stand beside `undoes`: a companion is no step. Remove one of the two.",
    ], id="a companion that undoes what is not there"),
    pytest.param({"/a": {}, "/basket": {"undoes": []}}, [
        "flow['/basket'].undoes: is empty: nothing would be undone. Name a state.",
    ], id="a companion that undoes nothing"),
    pytest.param({"/a": {}, "/basket": {"undoes": "/a"}}, [
        "flow['/basket'].undoes: is a string, not a list. Write ['/a'].",
    ], id="a string of what is undone"),
    pytest.param({"/a": {}, "/basket": {"undoes": ["/basket"]}}, [
        "flow['/basket'].undoes[0]: '/basket' is a companion (it has `undoes`), not a state.",
    ], id="a companion that undoes itself"),
    pytest.param({"/a": {}, "POST /basket": {"undoes": ["/a"], "effects": True}}, [
        "flow['POST /basket'].effects: is True, but no path of it takes GET. Let one take it, or remove `effects`.",
    ], id="a companion whose GET is not taken"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "expected"), OF_A_FLOW)
def test_a_flow_is_refused_with(declared, expected):
    assert wrong(declared) == expected


OF_OPTIONS = [
    pytest.param({"name": "my shop"}, [f"flow(name): is the string 'my shop'. {NAME}"],
                 id="a name with a space"),
    pytest.param({"name": "x" * 65}, [
        f"flow(name): is the string '{'x' * 56}.... {NAME}",
    ], id="a name too long"),
    pytest.param({"name": 5}, [f"flow(name): is 5. {NAME}"], id="a number for a name"),
    pytest.param({"odrered": True}, ["flow(odrered): unknown option. Did you mean 'ordered'?"], id="a misspelt option"),
    pytest.param({"legder": None}, ["flow(legder): unknown option. Did you mean 'ledger'?"],
                 id="a misspelt option of the guard"),
    pytest.param({"zzz": 1}, ["flow(zzz): unknown option."], id="an option like no other"),
    pytest.param({"ledger": None}, ["flow(ledger): is an option of the guard. Write FlowGuard(…, ledger=…)."],
                 id="an option of the guard"),
    pytest.param({"vary": "lang"}, ["flow(vary): is a string, not a list. Write ['lang']."], id="a string to vary"),
    pytest.param({"vary": ["la ng", 5]}, [
        f"flow(vary)[{place}]: is {what}. Write the name of a rule's variable, such as 'lang' of '/<lang>/cart'."
        for place, what in enumerate(["the string 'la ng'", "5"])
    ], id="what is no variable's name"),
    pytest.param({"bind": 7}, [
        "flow(bind): is 7. Write an environ key such as 'REMOTE_USER', or 'cookie:NAME', or give a callable.",
    ], id="a number for who asks"),
    pytest.param({"bind": any_rule.__get__(())}, ["flow(bind): any_rule can't be called with the environ, as it is."],
                 id="a callable that takes no environ"),
    pytest.param({"bind": "REMOTE USER"}, [
        "flow(bind): is the string 'REMOTE USER'. Write an environ key such as 'REMOTE_USER', or 'cookie:NAME', or "
        "give a callable.",
    ], id="what is no environ key"),
    pytest.param({"bind": "cookie:"}, [
        "flow(bind): is the string 'cookie:'. Write the cookie's name behind it, such as 'cookie:customer'.",
    ], id="a cookie without a name"),
    pytest.param({"bind": "cokie:customer"}, [
        "flow(bind): 'cokie:customer' can't be imported: ModuleNotFoundError: No module named 'cokie'",
    ], id="a module for a cookie"),
    pytest.param({"fence": "/checkout/", "open": ["/x?y"]}, [
        "flow(fence): is a string, not a list. Write ['/checkout/'].",
        "flow(open)[0]: is the string '/x?y'. Write a path that begins with '/', without variables or a query.",
    ], id="a fence that is no list, an opening that is no path"),
    pytest.param({"fence": ["/checkout", "//x/", "/x/", "/x/", 5]}, [
        "flow(fence)[1]: is the string '//x/', and no path is spelled so. Write '/x/'.",
        "flow(fence)[3]: '/x/' stands here twice. Remove one.",
        "flow(fence)[4]: is 5. Write a path that begins with '/', without variables or a query.",
        "flow(fence)[0]: is the string '/checkout'. Write '/checkout/': all that is below, and '/checkout' itself.",
    ], id="fences that are none"),
    pytest.param({"fence": ["/x/"], "open": ["/x/", "/x", "/x/y/", "/xy", "/y/"]}, [
        "flow(open)[0]: is the whole fence. Write '/x' for that page alone.",
        "flow(open)[3]: is under no fence of this flow, so it is open anyway. Remove it.",
        "flow(open)[4]: is under no fence of this flow, so it is open anyway. Remove it.",
    ], id="openings under no fence"),
    pytest.param({"open": ["/x/"]}, [
        "flow(open)[0]: is under no fence of this flow, so it is open anyway. Remove it.",
    ], id="an opening without a fence"),
    pytest.param({"mode": "enfroce"}, [
        "flow(mode): is the string 'enfroce'. Write 'enforce', 'report' or 'off'. Did you mean 'enforce'?",
    ], id="a misspelt mode"),
    pytest.param({"mode": False}, ["flow(mode): is False. Write 'enforce', 'report' or 'off'."], id="no mode at all"),
    pytest.param({"mode": "file:/nowhere/mode"}, [
        "flow(mode): '/nowhere/mode' can't be read: No such file or directory.",
    ], id="a file of the mode that is not there"),
    pytest.param({"exempt": "staff"}, [
        "flow(exempt): is the string 'staff'. Write a dotted name with a colon, such as 'shop.rules:in_stock'.",
    ], id="nobody who could exempt"),
    pytest.param({"ordered": 1}, ["flow(ordered): is 1. Write True or False."], id="a number for a truth"),
    pytest.param({"restart": None}, ["flow(restart): is None. Write True or False."], id="none for a truth"),
    pytest.param({"reset": "again"}, [
        "flow(reset): is the string 'again'. Write a path that begins with '/', without variables or a query.",
    ], id="a reset that is no path"),
    pytest.param({"reset": "/o/<id>"}, [
        "flow(reset): is the string '/o/<id>'. Write a path that begins with '/', without variables or a query.",
    ], id="a reset with variables"),
    pytest.param({"reset": "/a"}, ["flow(reset): is the path of '/a'. Use another: the guard answers it itself."],
                 id="a reset that is a state's path"),
    pytest.param({"ttl": None, "idle": 0}, [f"flow(ttl): is None. {SECONDS}", f"flow(idle): is 0. {SECONDS}"],
                 id="times that are none"),
    pytest.param({"reject": [401, "login*"]}, [
        "flow(reject)[1]: is the string 'login*', and no Location begins so. Write '/login*'.",
        "flow(reject)[0]: is 401. Of a flow, write Location globs only; a status belongs to a state's reject.",
    ], id="a status that fails everywhere"),
    pytest.param({"reject": ["body:Sorry"]}, [
        "flow(reject)[0]: is 'body:Sorry'. Of a flow, write Location globs only; a text belongs to a state's reject.",
    ], id="a text that fails everywhere"),
    pytest.param({"cookie_name": "my;cookie"}, [
        "flow(cookie_name): is the string 'my;cookie'. Write a token: letters, digits, '-', '_' or '.'.",
    ], id="a cookie's name with a semicolon"),
    pytest.param({"cookie_name": "__hOst-shop"}, [
        "flow(cookie_name): is the string '__hOst-shop'. Leave the prefix out: '__Host-' is set in front where it is "
        "possible.",
    ], id="a cookie's name with a prefix"),
    pytest.param({"cookie_samesite": None}, [
        "flow(cookie_samesite): is None. Write 'None', in quotes, or leave it out for 'Lax'.",
    ], id="none for 'None'"),
    pytest.param({"cookie_samesite": "lax"}, [
        "flow(cookie_samesite): is the string 'lax'. Write 'Lax', 'Strict' or 'None'. Did you mean 'Lax'?",
    ], id="a word in another case"),
    pytest.param({"cookie_samesite": "None", "cookie_secure": False}, [
        "flow(cookie_secure): is False, but browsers drop a SameSite=None cookie that is not Secure. "
        "Write 'auto' or True.",
    ], id="a cookie that browsers drop"),
    pytest.param({"cookie_secure": "yes"}, ["flow(cookie_secure): is the string 'yes'. Write 'auto', True or False."],
                 id="another word for secure"),
    pytest.param({"cookie_domain": "example.org; Path=/"}, [
        "flow(cookie_domain): is the string 'example.org; Path=/'. Write a host name such as 'example.org'.",
    ], id="a domain with an attribute"),
    pytest.param({"cookie_path": "/\r\nX: y"}, [
        f"flow(cookie_path): is the string '/\\r\\nX: y'. {COOKIE_PATH}",
    ], id="a path with a header"),
    pytest.param({"cookie_path": "/;x"}, [
        f"flow(cookie_path): is the string '/;x'. {COOKIE_PATH}",
    ], id="a path with an attribute"),
    pytest.param({"max_body": 1.5}, ["flow(max_body): is 1.5. Write a whole number of bytes, more than 0."],
                 id="half a byte"),
    pytest.param({"max_body": 0}, ["flow(max_body): is 0. Write a whole number of bytes, more than 0."], id="no byte"),
    pytest.param({"entered": "shop.entered"}, [
        "flow(entered): is the string 'shop.entered'. Write a dotted name with a colon, such as 'shop.rules:in_stock'.",
    ],
                 id="a hook that can't be called"),
    pytest.param({"texts": {"de": {"duplicat": "x"}}}, [
        "flow(texts)['de']['duplicat']: unknown key. Did you mean 'duplicate'?",
    ], id="words for nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), OF_OPTIONS)
def test_options_are_refused_with(options, expected):
    assert wrong({"/a": {}}, options) == expected


LANGUAGES = {"/<lang>/cart": {"to": ["/pay/<int:id>"]}, "/pay/<int:id>": {}}

STEPS = {"/p": {"to": ["/p?step=2"]}, "/p?step=2": {}}

OF_PARAMETERS = [
    pytest.param("query", ["flow(parameters): is the string 'query', not a dict. Write {'step': 'query'}."],
                 id="no dict"),
    pytest.param({"step": "post"}, ["flow(parameters)['step']: is the string 'post'. Write 'query' or 'form'."],
                 id="another place"),
    pytest.param({"stpe": "query"}, ["flow(parameters)['stpe']: no key has a parameter 'stpe'. Did you mean 'step'?"],
                 id="a name that no key has"),
    pytest.param({"step": "form"}, [
        "flow['/p?step=2']: has 'step', which stands in forms alone (`parameters`), and takes GET, which has no form. "
        "Name its methods: 'POST /…'.",
    ], id="a form in a GET"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), OF_PARAMETERS)
def test_places_of_parameters_are_refused_with(given, expected):
    assert wrong(STEPS, {"parameters": given}) == expected


OF_VARIABLES = [
    pytest.param({"vary": ["lnag", "sku"]}, [
        "flow(vary)[0]: no path has a variable 'lnag'. Did you mean 'lang'?",
        "flow(vary)[1]: no path has a variable 'sku'.",
    ], id="names that no path has"),
    pytest.param({"instance": "id"}, [
        "flow['/<lang>/cart']: has no variable 'id', by which the flow's runs are told apart (`instance`). Put it into "
        "the path, or the path into another flow.",
    ], id="an instance that a path lacks"),
    pytest.param({"instance": "lnag"}, ["flow(instance): no path has a variable 'lnag'. Did you mean 'lang'?"],
                 id="an instance that no path has"),
    pytest.param({"instance": "lang", "vary": ["lang"]}, [
        "flow(instance): 'lang' stands in `vary`, too: what changes in a run can't tell it. Remove one of the two.",
        "flow['/pay/<int:id>']: has no variable 'lang', by which the flow's runs are told apart (`instance`). Put it "
        "into the path, or the path into another flow.",
    ], id="an instance that varies"),
    pytest.param({"instance": ["id"]}, [
        "flow(instance): is a list. Write the name of a rule's variable, such as 'lang' of '/<lang>/cart'.",
    ], id="a list for an instance"),
    pytest.param({"vary": ["lang", "lang"]}, ["flow(vary)[1]: 'lang' stands here twice. Remove one."],
                 id="a name twice"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), OF_VARIABLES)
def test_variables_are_refused_with(options, expected):
    assert wrong(LANGUAGES, options) == expected


@pytest.mark.parametrize(("bind", "arrives"), [
    ("REMOTE_USER", "REMOTE_USER"), ("shop.user", "shop.user"), ("cookie:sid", "cookie:sid"), (in_stock, in_stock),
    ("shop_rules:in_stock", in_stock),
])  # fmt: skip
def test_whose_a_run_is_may_be_told_by(bind, arrives):
    read = plan({"/a": {}}, bind=bind)
    assert (read.options.bind, read.definition.bind) == (arrives, True)
    assert plan({"/a": {}}).definition.bind is False


def test_variables_that_vary_arrive():
    assert plan(LANGUAGES, vary=["lang"]).definition.vary == {"lang"}


def test_a_variable_that_tells_runs_apart_arrives():
    declared = {"/o/<id>": {"to": ["pay"]}, "/o/<id>/pay": {"state": "pay"}, "/p/<id>": "pay", "no path": {}}
    assert wrong(declared, {"instance": "id"}) == [f"flow['no path']: is no path. {KEY_FORM}"]
    del declared["no path"]
    assert plan(declared, instance="id").definition.instance == "id"
    assert plan(declared).definition.instance is None


REMEDY = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'."

OF_THE_GUARD = [
    pytest.param({"secret_key": None}, [f"secret_key: is missing. {REMEDY}"], id="no secret"),
    pytest.param({"secret_key": []}, [f"secret_key: is an empty list. {REMEDY}"], id="an empty list of secrets"),
    pytest.param({"secret_key": 5}, [
        "secret_key: is of type int. Give text, bytes, or a list of them, oldest first.",
    ], id="a number for a secret"),
    pytest.param({"secret_key": [SECRET, 5, "short"]}, [
        "secret_key[1]: is of type int. Give text or bytes.",
        f"secret_key[2]: has 5 bytes, and needs at least 16. {REMEDY}",
    ], id="a list with weak secrets"),
    pytest.param({"secret_key": "x\ud800" * 9}, ["secret_key: has characters that UTF-8 can't write."],
                 id="a secret that is no text"),
    pytest.param({"secret_key": b"9f3c8a51d07e4b6"}, [f"secret_key: has 15 bytes, and needs at least 16. {REMEDY}"],
                 id="a short secret"),
    pytest.param({"secret_key": "x" * 40}, [f"secret_key: has only 1 different bytes. {REMEDY}"],
                 id="a secret of one character"),
    pytest.param({"secret_key": "01230123012301230123"}, [f"secret_key: has only 4 different bytes. {REMEDY}"],
                 id="a secret of few characters"),
    *(
        pytest.param({"secret_key": word}, [f"secret_key: is a placeholder that anybody can guess. {REMEDY}"],
                     id=f"the placeholder {word!r}")
        for word in ["changeme", "secret", "dev", b"changemechangeme", "change-me-in-production",
                     "your-secret-key-here", "MY SUPER SECRET KEY", "replace_this_with_a_random_string",
                     "<insert your secret key>"]
    ),
    pytest.param({"ledger_wait": 61}, ["ledger_wait: is 61. Write a number of seconds from 0 to 60."],
                 id="a long wait"),
    pytest.param({"ledger_wait": None}, ["ledger_wait: is None. Write a number of seconds from 0 to 60."],
                 id="none for a wait"),
    pytest.param({"ledger_lease": 0}, [f"ledger_lease: is 0. {SECONDS}"], id="no lease"),
    pytest.param({"clock": 5}, [
        "clock: is 5. Give a callable, or its dotted name such as 'shop.rules:in_stock'.",
    ], id="a clock that can't be asked"),
    pytest.param({"known": [Problem("ledger", "unknown kind 'mysql://'.")]}, ["ledger: unknown kind 'mysql://'."],
                 id="what was found elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize(("own", "expected"), OF_THE_GUARD)
def test_a_guard_is_refused_with(own, expected):
    assert wrong({"/a": {}}, **own) == expected


OF_FLOWS = [
    pytest.param(5, {}, ["flow: is 5. Give a dict of paths, a Flow, or a list of Flows."], id="no flow"),
    pytest.param([], {}, ["flow: is an empty list. Give a dict of paths, a Flow, or a list of Flows."], id="no flows"),
    pytest.param([{"/a": {}}], {}, ["flow[0]: is a dict. In a list, write Flow({…}, name='…')."],
                 id="a dict in a list"),
    pytest.param(Flow({"/a": {}}), {"back": "edit", "bcak": "edit"}, [
        "back: is an option of a flow. Write Flow({…}, back=…).",
        "bcak: unknown option. Did you mean 'back'?",
    ], id="options beside a Flow"),
    pytest.param([Flow({"/a": {}}), Flow({"/b": {}})], {}, [
        "flow(name): two flows are named 'flow'. Give each a name of its own.",
    ], id="a name twice"),
    pytest.param([Flow({"/a": {}}), Flow({"/b": {}}, name="two", cookie_name="flowguard-flow")], {}, [
        "two(cookie_name): 'flowguard-flow' is, or makes, a cookie of the flow 'flow'. Choose another.",
    ], id="a cookie twice"),
    pytest.param([Flow({"GET /o/<int:id>": {}}), Flow({"POST /o/<int:id>": {}}, name="two")], {}, [
        "two['POST /o/<int:id>']: is a path of the flow 'flow' too. A path belongs to one flow.",
    ], id="a path twice"),
    pytest.param([Flow({"/a": {}}, reset="/again"), Flow({"/b": {}}, name="two", reset="/again")], {}, [
        "two(reset): is a path of the flow 'flow' too. A path belongs to one flow.",
    ], id="a reset twice"),
    pytest.param([Flow({"/a": {}}, fence=["/", "/a/"]), Flow({"/b": {}}, name="two", fence=["/b/", "/a/"])], {}, [
        "two(fence)[1]: is a fence of the flow 'flow' too. Remove one.",
    ], id="a fence twice"),
    pytest.param([Flow({"/a": {"onse": 1}}), Flow({"/b": {"twise": 1}}, name="two")], {}, [
        "flow['/a'].onse: unknown key. Did you mean 'once'?", "two['/b'].twise: unknown key.",
    ], id="problems in each"),
]  # fmt: skip


@pytest.mark.parametrize(("flow", "options", "expected"), OF_FLOWS)
def test_flows_are_refused_with(flow, options, expected):
    assert wrong(flow, options) == expected


def test_the_same_flow_twice_is_refused_once():
    flow = Flow({"/a": {}})
    assert wrong([flow, flow]) == ["flow[1]: is the same Flow again. Remove it."]


def test_paths_that_are_no_dict_are_refused():
    problems: list[Problem] = []
    assert read_flow(["/a"], {}, problems, any_rule) is None
    assert problems == [("flow", "is a list, not a dict of paths. Write {'/cart': {…}}.")]


def test_once_without_a_ledger_is_refused():
    assert wrong(SHOP, ledger=None) == [
        "flow['/payment'].once: needs a ledger, and `ledger` is None. Give the guard a ledger, or write `submit`."
    ]


def test_rules_are_checked_once_each_and_told_where_they_were_first_written():
    asked: list[Sequence[str]] = []

    def second_and_last(rules: Sequence[str]) -> list[tuple[int, str]]:
        asked.append(tuple(rules))
        return [(1, "is odd."), (2, "is odder.")]

    declared = {"no path": {}, "/a": {}, "GET /<b": {}, "POST /<b": {}}
    assert wrong(declared, {"reset": "/again"}, check_rules=second_and_last) == [
        "flow(reset): is odder.", f"flow['no path']: is no path. {KEY_FORM}", "flow['GET /<b']: is odd.",
    ]  # fmt: skip
    assert asked == [("/a", "/<b", "/again")]


def test_rules_of_all_flows_are_checked_together():
    flows = [Flow({"/o/<int:id>": {}}), Flow({"/o/<int:order>/": {}}, name="two", reset="/again")]
    with pytest.raises(ConfigError) as caught:
        guard(flows, check_rules=paths.problems)
    assert [problem.where for problem in caught.value.problems] == ["two['/o/<int:order>/']"]


def test_everything_is_named_at_once_in_the_order_of_declaration():
    declared = {
        "/cart": {"to": ["/pya"], "start": "yes"},
        "/pay": {"onse": True, "to": "/cart", "min_seconds": "3", "effects": 1},
        "basket": "/crat",
        "GET /pay": {"once": True, "repeat": True},
    }
    options = {"name": "checkout", "ttl": 0, "odrered": True}
    assert wrong(declared, options, secret_key="changeme", ledger=None, ledger_wait=-1) == [
        f"secret_key: is a placeholder that anybody can guess. {REMEDY}",
        "ledger_wait: is -1. Write a number of seconds from 0 to 60.",
        f"checkout(ttl): is 0. {SECONDS}",
        "checkout(odrered): unknown option. Did you mean 'ordered'?",
        "checkout['/cart'].start: is the string 'yes'. Write True or False.",
        "checkout['/cart'].to[0]: no state '/pya'. Did you mean '/pay'?",
        "checkout['/pay'].onse: unknown key. Did you mean 'once'?",
        "checkout['/pay'].to: is a string, not a list. Write ['/cart'].",
        f"checkout['/pay'].min_seconds: is the string '3'. {SECONDS}",
        "checkout['/pay'].effects: is 1. Write True or False.",
        f"checkout['basket']: is no path. {KEY_FORM}",
        "checkout['basket']: no state '/crat'. Did you mean '/cart'?",
        "checkout['GET /pay'].once: can't stand beside `repeat`. Remove one of the two.",
        "checkout['GET /pay'].once: needs a ledger, and `ledger` is None. Give the guard a ledger, or write `submit`.",
        f"checkout['GET /pay']: is the path of '/pay' too, and '/pay' takes every method. {METHODS}",
    ]


@pytest.mark.parametrize(("value", "text"), [
    pytest.param(None, "None", id="itself if it is short"),
    pytest.param("x", "the string 'x'", id="a string"),
    pytest.param(b"x", "the bytes b'x'", id="bytes"),
    pytest.param("x" * 99, f"the string '{'x' * 56}...", id="the beginning of a long string"),
    pytest.param({}, "a dict", id="a dict"),
    pytest.param(object(), "an object", id="an object"),
])  # fmt: skip
def test_a_message_shows(value, text):
    assert kind(value) == text


def test_no_message_shows_a_secret():
    assert "hunter2" not in "".join(wrong({"/a": {}}, secret_key=["hunter2", "hunter2" * 9, ["hunter2"]]))


# --- the error and the tables ----------------------------------------------------------------------------------------


def test_a_config_error_survives_pickling():
    error = ConfigError([Problem("flow['/a'].to", "is odd."), Problem("secret_key", "is missing.")])
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems
    assert str(again) == "flow['/a'].to: is odd.\nsecret_key: is missing."
    assert repr(again) == repr(error)
    assert "is odd" in repr(error)


def test_a_table_is_keyed_by_the_names_of_its_rows():
    for table in (STATE_KEYS, FLOW_OPTIONS, GUARD_OPTIONS):
        assert list(table) == [row.name for row in table.values()]


def test_every_field_of_a_state_has_its_key():
    renamed = {"min_time": "min_seconds", "max_time": "max_seconds", "name": "state"}
    worked_out = {"get", "unsafe"}
    fields = {renamed.get(field.name, field.name) for field in dataclasses.fields(State)} - worked_out
    assert set(STATE_KEYS) == fields | {"end", "within", "undoes"}
    of_a_companion = {renamed.get(field.name, field.name) for field in dataclasses.fields(Companion)}
    assert {*COMPANION_KEYS, *UNDOING_KEYS} == of_a_companion


def test_every_option_has_its_place():
    of_the_definition = {"name", "restart", "ttl", "idle", "instance", "vary", "reject"}
    of_the_states = {"ordered", "back"}
    fields = {field.name for field in dataclasses.fields(Options)}
    assert set(FLOW_OPTIONS) == fields | of_the_definition | of_the_states


def test_the_guards_options_are_the_contracts():
    assert set(GUARD_OPTIONS) == {"secret_key", "ledger", "ledger_wait", "ledger_lease", "clock"}
    assert GUARD_OPTIONS["secret_key"].default is REQUIRED
    assert repr(REQUIRED) == "(required)"


def test_every_default_passes_its_own_check():
    for row in [*STATE_KEYS.values(), *FLOW_OPTIONS.values(), *GUARD_OPTIONS.values()]:
        if row.default is not None and row.default is not REQUIRED:
            place = Place(row.name, [])
            assert row.check(row.default, place) == row.value
            assert place.problems == []
