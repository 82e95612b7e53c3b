"""A configuration as a TOML file: the same as the dict of paths, and every problem with file and key path."""

from __future__ import annotations

import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from visitor import Visitor

from flowguard import ConfigError, Flow, FlowGuard
from flowguard.config import FLOW_OPTIONS, GUARD_OPTIONS, STATE_KEYS
from flowguard.files import read_file

EXAMPLES = Path(__file__).parent.parent / "examples"
SECRET = "9f3c8a51d07e4b62"
SHOP = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}
TINY = '[paths."/a"]\nto = ["/b"]\n[paths."/b"]\n'
TWO = '[[flow]]\nname = "one"\n[flow.paths."/a"]\n[[flow]]\nname = "two"\nback = "view"\n[flow.paths."/b"]\n'


def agrees(_anything: Any) -> bool:
    return True


def responder(_refusal: Any, _environ: Any) -> Any: ...


@pytest.fixture(autouse=True)
def module_of_the_deployer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For dotted names; and the tests' files are named without a directory."""
    module = types.ModuleType("shop_rules")
    module.agrees = agrees  # type: ignore[attr-defined]
    module.responder = responder  # type: ignore[attr-defined]
    module.now = lambda: 5e9  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_rules", module)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> str:
    Path("flow.toml").write_text(text, "utf-8")
    return "flow.toml"


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"a page"]


def guard(text: str, **more: Any) -> FlowGuard:
    return FlowGuard.from_file(app, write(text), **{"secret_key": SECRET, **more})


def wrong(text: str, **more: Any) -> list[str]:
    """The problems of a guard that is made from that text, as they are shown."""
    with pytest.raises(ConfigError) as caught:
        guard(text, **more)
    return [str(problem) for problem in caught.value.problems]


# --- the same as the dict ---------------------------------------------------------------------------------------------


def test_the_example_is_the_quick_start():
    found = read_file(EXAMPLES / "checkout.toml")
    assert [flow.plan for flow in found.flows] == [Flow(SHOP, back="edit").plan]
    assert (found.guard["ledger"], found.problems) == ("sqlite:///flow.db", ())


def test_every_kind_of_value_is_read_as_in_the_dict():
    text = """
        name = "order"
        ttl = 60.5
        reject = []
        on_refusal = "shop_rules:responder"
        entered = "shop_rules:agrees"
        [texts.en]
        go_on = "On"
        [paths]
        "GET /start" = "first"
        [paths."POST /start"]
        state = "first"
        to = { "/pay/<int:id>" = "shop_rules:agrees", "/ask" = true }
        [paths."/pay/<int:id>"]
        when = "shop_rules:agrees"
        requires = ["/ask", ["first", "/ask"]]
        accept = [200, "/ok*"]
        on_refusal = "shop_rules:responder"
        [paths."/ask"]
        min_seconds = 0.5
        [paths."/help"]
        within = ["/ask"]
    """
    paths = {
        "GET /start": "first",
        "POST /start": {"state": "first", "to": {"/pay/<int:id>": agrees, "/ask": True}},
        "/pay/<int:id>": {"when": agrees, "requires": ["/ask", ["first", "/ask"]], "accept": [200, "/ok*"],
                          "on_refusal": responder},
        "/ask": {"min_seconds": 0.5},
        "/help": {"within": ["/ask"]},
    }  # fmt: skip
    options = {"ttl": 60.5, "reject": [], "on_refusal": responder, "entered": agrees, "texts": {"en": {"go_on": "On"}}}
    [flow] = read_file(write(text)).flows
    assert flow.plan == Flow(paths, name="order", **options).plan


def test_paths_count_in_the_order_of_the_file():
    [flow] = read_file(write('[paths."/z"]\n[paths]\n"/y" = "/z"\n[paths."/a"]\n[paths."/m"]\n')).flows
    assert [key.written for key in flow.plan.keys] == ["/z", "/y", "/a", "/m"]


def test_several_flows_are_read_in_order_each_with_its_options():
    one, two = read_file(write(TWO)).flows
    assert (one.plan, two.plan) == (Flow({"/a": {}}, name="one").plan, Flow({"/b": {}}, name="two", back="view").plan)


def test_a_guard_from_a_file_guards():
    visitor = Visitor(guard(TINY))
    assert visitor.get("/b").reason == "not_started"
    assert visitor.get("/a").status == 200
    assert visitor.get("/b").status == 200


def test_a_clock_may_have_a_dotted_name_in_a_file_and_in_code():
    in_code = FlowGuard(app, {"/a": {"to": ["/b"]}, "/b": {}}, secret_key=SECRET, clock="shop_rules:now")
    for made in (guard(f'{TINY}[guard]\nclock = "shop_rules:now"'), in_code):
        visitor = Visitor(made)
        visitor.get("/a")
        assert Visitor(guard(TINY), jar=visitor.jar).get("/b").reason == "bad_cookie"  # from the future


def test_every_key_and_option_but_the_secret_is_known_to_a_file():
    """The reader has no list of its own: what is added to the tables can be written in a file."""
    for name in STATE_KEYS:
        assert not any("unknown" in problem for problem in wrong(f'{TINY}{name} = {{ a = 1 }}\n'))
    for name in FLOW_OPTIONS:
        assert not any("unknown" in problem for problem in wrong(f"{name} = [[]]\n{TINY}"))
    for name in GUARD_OPTIONS:
        assert not any("unknown" in problem for problem in wrong(f"{TINY}[guard]\n{name} = true\n"))


def test_none_is_how_a_file_says_that_there_is_no_ledger():
    text = f'{TINY}once = true\n[guard]\nledger = "none"'
    assert wrong(text) == [
        "flow.toml: flow['/b'].once: needs a ledger, and `ledger` is None. Give the guard a ledger, or write `submit`.",
    ]


# --- overrides --------------------------------------------------------------------------------------------------------


def test_an_override_counts_in_every_flow():
    assert [flow.options for flow in read_file(write(TWO)).override({"back": "edit"}).flows] == [
        {"name": "one", "back": "edit"}, {"name": "two", "back": "edit"},
    ]  # fmt: skip


def test_an_override_of_the_guard_counts_in_place_of_the_files():
    found = read_file(write(f"{TINY}[guard]\nledger_wait = 1\nledger_lease = 7")).override({"ledger_wait": 9})
    assert (found.guard["ledger_wait"], found.guard["ledger_lease"]) == (9, 7)
    assert "needs a ledger" in wrong(f"{TINY}once = true\n", ledger=None)[0]


def test_what_is_wrong_with_an_override_is_not_laid_at_the_files_door():
    assert wrong("ttl = 0\n" + TINY, bakc="edit", back="edti", ledger_wait=-1, secret_key=None) == [
        "bakc: unknown option. Did you mean 'back'?",
        "back: is the string 'edti'. Write 'refuse', 'view' or 'edit'. Did you mean 'edit'?",
        "ledger_wait: is -1. Write a number of seconds from 0 to 60.",
        "secret_key: is missing. Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
        "flow.toml: flow(ttl): is 0. Write a number of seconds, more than 0 and at most 3,155,760,000.",
    ]


# --- what is wrong ----------------------------------------------------------------------------------------------------

NO_SECRET = (
    "is a secret, and a configuration file is shown around. Give it in the environment, FLOWGUARD_SECRET or "
    "FLOWGUARD_SECRET_FILE, or in the code, secret_key=…."
)


@pytest.mark.parametrize(("text", "expected"), [
    pytest.param('name = "checkout"\n[paths."/cart"]\nto = ["/pya"]\n[paths."/pay"]\nonse = true\n', [
        "flow.toml: checkout['/cart'].to[0]: no state '/pya'. Did you mean '/pay'?",
        "flow.toml: checkout['/pay'].onse: unknown key. Did you mean 'once'?",
    ], id="states and keys"),
    pytest.param('bakc = "edit"\n[gaurd]\n' + TINY, [
        "flow.toml: bakc: unknown key. Did you mean 'back'?", "flow.toml: gaurd: unknown key. Did you mean 'guard'?",
    ], id="keys and tables at the top"),
    pytest.param('[[flow]]\nname = "one"\nbakc = 1\n[flow.paths."/a"]\n[flow.guard]\n', [
        "flow.toml: one(bakc): unknown key. Did you mean 'back'?", "flow.toml: one(guard): unknown key.",
    ], id="keys of one of several"),
    pytest.param('[[flow]]\nbakc = 1\n[flow.paths."/a"]\n', [
        "flow.toml: flow[0](bakc): unknown key. Did you mean 'back'?",
    ], id="keys of one without a name"),
    pytest.param(TINY + "[guard]\nledger_wiat = 1\nledger_lease = true\nback = 'edit'\n", [
        "flow.toml: guard.ledger_wiat: unknown key. Did you mean 'ledger_wait'?",
        "flow.toml: guard.ledger_lease: is True. Write a number of seconds, more than 0 and at most 3,155,760,000.",
        "flow.toml: guard.back: is an option of a flow. "
        "Write it at the top of the file, or below the [[flow]] that it is for.",
    ], id="options of the guard"),
    pytest.param(TINY + '[guard]\nledger = "sqlit:///flow.db"\n', [
        "flow.toml: guard.ledger: unknown kind 'sqlit://'. Did you mean 'sqlite://'? Write 'memory://', "
        "'sqlite:///PATH', 'redis://HOST:PORT/DB', an object with the four verbs, or None.",
    ], id="a ledger"),
    pytest.param(f'secret_key = "{SECRET}"\n{TINY}[guard]\nsecret_key = "{SECRET}"', [
        f"flow.toml: guard.secret_key: {NO_SECRET}", f"flow.toml: secret_key: {NO_SECRET}",
    ], id="a secret"),
    pytest.param('ledger = "memory://"\n' + TINY, [
        "flow.toml: ledger: is an option of the guard. Write it below [guard].",
    ], id="an option of the guard at the top"),
    pytest.param('"/c" = "/a"\n' + TINY, [
        "flow.toml: /c: is a path. Write it below [paths]; or below [flow.paths], where there are several flows.",
    ], id="a path at the top"),
    pytest.param('guard = 1\npaths = "/a"', [
        "flow.toml: guard: is 1, not a table. Write [guard].",
        "flow.toml: paths: is the string '/a'. Write a table for each path, such as [paths.\"/cart\"].",
    ], id="values where tables should be"),
    pytest.param("", ["flow.toml: flow: has no states. Declare at least one path, such as '/cart'."], id="nothing"),
    pytest.param("back = 'edit'\ngaurd = 1\n" + TWO, [
        "flow.toml: back: stands beside [[flow]]. Write it below the [[flow]] that it is for.",
        "flow.toml: gaurd: unknown key. Did you mean 'guard'?",
    ], id="keys beside several flows"),
    pytest.param('[flow.paths."/a"]\nonse = true', [
        "flow.toml: flow: is a single table. Write [[flow]], in double brackets, above the first of each flow.",
        "flow.toml: flow['/a'].onse: unknown key. Did you mean 'once'?",
    ], id="a flow in single brackets"),
    pytest.param("flow = 5", ["flow.toml: flow: is 5. Write a [[flow]] for each flow."], id="a flow that is none"),
    pytest.param("flow = [5]", ["flow.toml: flow: is a list. Write a [[flow]] for each flow."], id="a list of others"),
    pytest.param('[[flow]]\n[flow.paths."/a"]\n[[flow]]\n[flow.paths."/a"]\n', [
        "flow.toml: flow(name): two flows are named 'flow'. Give each a name of its own.",
        "flow.toml: flow['/a']: is a path of the flow 'flow' too. A path belongs to one flow.",
    ], id="flows that share what they may not"),
    pytest.param('[paths."/a"]\nwhen = "shop_rules:disagrees"', [
        "flow.toml: flow['/a'].when: 'shop_rules:disagrees' can't be imported: "
        "AttributeError: module 'shop_rules' has no attribute 'disagrees'",
    ], id="a dotted name"),
    pytest.param('[paths."/a"]\nwhen = 2020-01-01', [
        "flow.toml: flow['/a'].when: is a date. Give a callable, or its dotted name such as 'shop.rules:in_stock'.",
    ], id="a date"),
])  # fmt: skip
def test_every_problem_is_named_with_file_and_key_path(text, expected):
    assert wrong(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    pytest.param('back = "edit"\n[paths./cart]\n', "flow.toml: line 2, column 8: Invalid initial character for a "
                 'key part. A path is written in quotes: [paths."/cart"].', id="a path without quotes"),
    pytest.param("[paths.'/a']\nonce = True", "flow.toml: line 2, column 8: Invalid value. "
                 "Strings are written in quotes; TOML's words are true and false, and it has no None.", id="True"),
    pytest.param('back = "edit', "flow.toml: end of document: Unterminated string.", id="half a string"),
])  # fmt: skip
def test_a_syntax_error_says_where_it_is(text, expected):
    assert wrong(text) == [expected]


def test_a_path_that_stands_twice_is_told_so():
    [problem] = wrong(TINY + '[paths."/a"]')
    assert re.fullmatch(r"flow\.toml: line 4, column 12: Can ?not declare .* twice\.", problem)


def test_a_file_that_is_no_text_is_told_so():
    Path("flow.toml").write_bytes(b'back = "\xff"')
    with pytest.raises(ConfigError, match=r"^flow\.toml: is not UTF-8: byte 0xff at position 8\.$"):
        read_file("flow.toml")


def test_a_file_that_is_not_there_is_told_so():
    with pytest.raises(ConfigError, match=r"^nowhere\.toml: can't be read: No such file .*, seen from /.*\.$"):
        FlowGuard.from_file(app, "nowhere.toml", secret_key=SECRET)
    with pytest.raises(ConfigError, match=r"^/nowhere\.toml: can't be read: No such file or directory\.$"):
        FlowGuard.from_file(app, "/nowhere.toml", secret_key=SECRET)


def test_a_flow_whose_cookie_could_grow_too_large_is_named_with_its_file():
    states = "".join(f'[paths."/a{number}"]\nto = {[f"/a{other}" for other in range(60) if other != number]}\n'
                     for number in range(60))  # fmt: skip
    [problem] = wrong(states)
    assert problem.startswith("flow.toml: flow: its cookie could grow to ")


def test_a_flow_of_a_file_names_it_wherever_it_is_used():
    flow = read_file(write('[paths."/a"]\n')).flows[0]
    flow.condition("/b")(agrees)
    with pytest.raises(ConfigError, match=r"^flow\.toml: flow\.condition\('/b'\): no state '/b'"):
        FlowGuard(app, flow, secret_key=SECRET)


def test_the_error_can_be_pickled():
    with pytest.raises(ConfigError) as caught:
        guard("a = ")
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems
