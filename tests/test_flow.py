"""`Flow`: declared piece by piece beside the views, and driven by hand."""

from __future__ import annotations

import doctest
from typing import Any, Optional

import pytest

import flowguard.flow
from flowguard.config import configure
from flowguard.core.outcome import Answer
from flowguard.core.passage import Kind
from flowguard.core.run import Run
from flowguard.errors import ConfigError, DuplicateTransition, InvalidTransition, SkippedTransition
from flowguard.flow import Flow

EDGES = [
    ("a", "b"), ("b", "c"), ("b", "d"), ("d", "b"), ("c", "e"), ("c", "f"), ("e", "d"), ("f", "a"),
]  # fmt: skip


def machine(edges=EDGES, start="a", **settings: Any) -> Flow:
    """A flow of these transitions; `settings` are every state's."""
    names = dict.fromkeys(name for edge in edges for name in edge)
    return Flow({
        f"/{name}": {"state": name, "start": name == start, "to": [to for source, to in edges if source == name],
                     **settings}
        for name in names
    })  # fmt: skip


def walk(flow: Flow, *names: str) -> Run:
    """A run that asked for these states, one after the other."""
    run = flow.begin()
    for name in names:
        run = flow.settle(run, flow.check(run, name))
    return run


def refused(flow: Flow, run: Optional[Run], to: str, **how: Any) -> InvalidTransition:
    with pytest.raises(InvalidTransition) as caught:
        flow.check(run, to, **how)
    return caught.value


def problems(flow: Flow) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        flow.definition  # noqa: B018  # asking is what reads it
    return [str(problem) for problem in caught.value.problems]


# --- declared piece by piece -----------------------------------------------------------------------------------------


def test_views_declare_the_same_flow_as_a_dict():
    flow = Flow(name="shop", back="edit")

    @flow.state("/cart", start=True, to=["/pay"])
    def cart() -> str:
        return "cart"

    @flow.state("/pay", once=True)
    def pay() -> str:
        return "pay"

    same = Flow({"/cart": {"start": True, "to": ["/pay"]}, "/pay": {"once": True}}, name="shop", back="edit")
    assert flow.plan == same.plan
    assert (cart(), pay()) == ("cart", "pay")


def test_a_decorator_returns_the_very_function():
    flow = Flow()

    def view() -> None: ...

    def agrees(_context: Any) -> bool:
        return True

    assert flow.state("/a")(view) is view
    assert flow.condition("/a")(agrees) is agrees


def test_views_may_be_declared_in_any_order():
    flow = Flow()
    flow.condition("/cart", "/pay")(always)
    flow.condition("/pay")(never)
    flow.state("/pay")
    flow.state("/cart", start=True, to=["/pay"])
    assert flow.definition.states["/cart"].to == {"/pay": always}
    assert flow.definition.states["/pay"].when is never
    assert flow.definition.starts == ("/cart",)


def always(_context: Any) -> bool:
    return True


def never(_context: Any) -> bool:
    return False


def test_a_condition_leaves_the_other_transitions_alone():
    flow = Flow({"/a": {"to": {"/b": True, "/c": never, "/d": True}}, "/b": {}, "/c": {}, "/d": {}})
    flow.condition("/a", "/b")(always)
    assert flow.definition.states["/a"].to == {"/b": always, "/c": never, "/d": None}


def test_the_dict_that_was_given_stays_as_it_is():
    paths = {"/a": {}}
    Flow(paths).state("/b")
    assert paths == {"/a": {}}


def test_a_flow_of_something_else_is_refused():
    with pytest.raises(ConfigError, match=r"^shop: is a list, not a dict of paths\. Write {'/cart': {…}}\.$"):
        Flow(["/a"], name="shop")  # type: ignore[arg-type]


def test_a_key_that_is_declared_twice_is_refused_there():
    flow = Flow({"/a": {}}, name="shop")
    with pytest.raises(ConfigError, match=r"^shop\['/a'\]: is declared already\. Remove one\.$"):
        flow.state("/a", to=["/b"])


@pytest.mark.parametrize(("declare", "where"), [
    pytest.param(lambda flow: flow.state("/b"), "flow['/b']", id="a state"),
    pytest.param(lambda flow: flow.condition("/a")(always), "flow.condition('/a')", id="a condition"),
    pytest.param(lambda flow: flow.condition("/a", "/b")(always), "flow.condition('/a', '/b')", id="of a transition"),
])  # fmt: skip
@pytest.mark.parametrize("use", [
    pytest.param(lambda flow: flow.definition, id="after it was driven by hand"),
    pytest.param(lambda flow: configure(
        flow, {}, secret_key="9f3c8a51d07e4b62", ledger=None, ledger_wait=2, ledger_lease=300, check_rules=lambda _: [],
    ), id="after a guard was made of it"),
])  # fmt: skip
def test_nothing_can_be_declared(declare, where, use):
    flow = Flow({"/a": {}})
    use(flow)
    with pytest.raises(ConfigError) as caught:
        declare(flow)
    assert str(caught.value) == (
        f"{where}: is declared too late: the flow is in use. Declare it before the guard is made."
    )


def test_a_condition_that_is_made_early_and_used_late_is_refused():
    flow = Flow({"/a": {}})
    decorate = flow.condition("/a")
    assert flow.definition.starts == ("/a",)
    with pytest.raises(ConfigError, match="declared too late"):
        decorate(always)


def test_what_is_wrong_is_named_on_first_use_and_again_on_the_next():
    flow = Flow({"/cart": {"to": ["/pya"], "onse": True}, "/pay": {"<": 1}}, name="shop")
    expected = [
        "shop['/cart'].onse: unknown key. Did you mean 'once'?",
        "shop['/cart'].to[0]: no state '/pya'. Did you mean '/pay'?",
        "shop['/pay'].<: unknown key.",
    ]
    assert problems(flow) == expected
    assert problems(flow) == expected


def test_rules_are_checked_by_hand_too():
    assert len(problems(Flow({"/a/<int:id": {}}))) == 1


@pytest.mark.parametrize(("source", "to", "expected"), [
    pytest.param("/crat", None, "flow.condition('/crat'): no state '/crat'. Did you mean '/cart'?",
                 id="a misspelt state"),
    pytest.param("/crat", "/pay", "flow.condition('/crat', '/pay'): no state '/crat'. Did you mean '/cart'?",
                 id="a misspelt source"),
    pytest.param("/cart", "/pya", "flow.condition('/cart', '/pya'): no state '/pya'. Did you mean '/pay'?",
                 id="a misspelt successor"),
    pytest.param("/pay", "/cart", "flow.condition('/pay', '/cart'): there is no transition from '/pay' to '/cart'. Add "
                 "'/cart' to the `to` of '/pay'.", id="a transition that is not there"),
    pytest.param("/cart", "/done", "flow.condition('/cart', '/done'): the transition has a condition already. Remove "
                 "one.", id="a second condition of a transition"),
    pytest.param("/done", None, "flow.condition('/done'): '/done' has a condition (`when`) already. Remove one.",
                 id="a second condition of a state"),
    pytest.param("/help", None, "flow.condition('/help'): '/help' is a companion (it has `within`), not a state.",
                 id="a companion"),
])  # fmt: skip
def test_a_condition_is_refused_for(source, to, expected):
    flow = Flow({
        "/cart": {"to": {"/pay": True, "/done": always}}, "/pay": {}, "/done": {"when": always},
        "/help": {"within": ["/cart"]},
    })  # fmt: skip
    flow.condition(source, to)(never)
    assert problems(flow) == [expected]


# --- driven by hand --------------------------------------------------------------------------------------------------


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(flowguard.flow).failed == 0


@pytest.mark.parametrize("way", ["abce", "abcf", "abced", "abdb", "abdbcf"])
def test_a_declared_way_is_walked(way):
    run = walk(machine(), *way)
    assert run.current == way[-1]
    assert run.history == tuple(zip(way, way[1:]))


def test_a_first_request_begins_a_run():
    flow = machine()
    assert flow.check(None, "a").kind is Kind.BEGIN
    assert flow.check(flow.begin(), "a") == flow.check(None, "a")


@pytest.mark.parametrize("to", ["b", "c", "d", "e", "f"])
def test_no_run_begins_in_the_middle(to):
    error = refused(machine(), None, to)
    assert type(error) is SkippedTransition
    assert (error.from_, error.to, error.reason) == (None, to, "not_started")


WAYS = {"a": "a", "b": "ab", "c": "abc", "d": "abd", "e": "abce", "f": "abcf"}
LEAPS = [(at, to) for at in WAYS for to in WAYS if at != to and (at, to) not in EDGES]


@pytest.mark.parametrize(("at", "to"), LEAPS)
def test_every_other_step_is_illegal(at, to):
    error = refused(machine(), walk(machine(), *WAYS[at]), to)
    assert type(error) is InvalidTransition
    assert (error.from_, getattr(error, "from"), error.to, error.reason) == (at, at, to, "illegal")


def test_a_step_is_not_taken_twice():
    flow = machine()
    error = refused(flow, walk(flow, *"abdb"), "d")
    assert type(error) is DuplicateTransition
    assert (error.from_, error.to, error.reason) == ("b", "d", "duplicate")


def test_the_way_back_to_the_start_begins_anew():
    flow = machine()
    run = walk(flow, *"abcfa")
    assert (run.trail, run.history) == (("a",), ())
    assert walk(flow, *"abcfab").history == (("a", "b"),)


def test_a_step_that_repeats_is_taken_any_number_of_times():
    flow = machine(repeat=True)
    assert walk(flow, *"abdbdbd").current == "d"


def test_a_state_that_must_be_submitted_is_not_skipped():
    flow = Flow({"/a": {"to": ["/b"], "submit": True}, "/b": {}})
    run = walk(flow, "/a")
    assert type(refused(flow, run, "/b")) is SkippedTransition
    run = flow.settle(run, flow.check(run, "/a", submission=True))
    assert flow.settle(run, flow.check(run, "/b")).trail == ("/a", "/b")


def test_a_submission_that_counted_is_a_duplicate():
    flow = Flow({"/a": {"to": ["/b"]}, "/b": {}})
    run = walk(flow, "/a")
    run = flow.settle(run, flow.check(run, "/a", submission=True))
    assert type(refused(flow, run, "/a", submission=True)) is DuplicateTransition


def test_an_answer_decides_whether_it_counted():
    flow = Flow({"/a": {"to": ["/b"], "once": True}, "/b": {}})
    run = walk(flow, "/a")
    asked = flow.check(run, "/a", submission=True)
    assert flow.settle(run, asked, Answer(422, html=True)) == run
    assert flow.settle(run, asked, Answer(500)).spent == {"/a"}


def test_times_are_left_aside_unless_they_are_given():
    flow = Flow({"/a": {"to": ["/b"], "min_seconds": 5}, "/b": {}})
    run = flow.settle(flow.begin(), flow.check(None, "/a"), now=1_000_000)
    assert flow.check(run, "/b").kind is Kind.ENTER
    assert refused(flow, run, "/b", now=1_004_999).reason == "too_fast"
    assert flow.check(run, "/b", now=1_005_000).kind is Kind.ENTER


def test_conditions_are_asked_with_the_context():
    flow = Flow({"/a": {"to": ["/b"]}, "/b": {}})
    flow.condition("/a", "/b")(lambda context: context)
    run = walk(flow, "/a")
    assert flow.check(run, "/b", context="paid").kind is Kind.ENTER
    error = refused(flow, run, "/b")
    assert (type(error), error.reason) == (InvalidTransition, "condition")


def test_a_finished_run_has_its_own_reason():
    flow = Flow({"/a": {"to": ["/b"]}, "/b": {}, "/c": {}})
    error = refused(flow, walk(flow, "/a", "/b"), "/c")
    assert (type(error), error.reason) == (InvalidTransition, "finished")


def test_a_companion_is_asked_for_beside_the_steps():
    flow = Flow({"/a": {"to": ["/b"]}, "/b": {}, "/help": {"within": ["/a"]}})
    assert flow.check(walk(flow, "/a"), "/help").kind is Kind.COMPANION
    assert refused(flow, walk(flow, "/a", "/b"), "/help").reason == "illegal"


def test_a_state_that_is_not_there_is_no_step():
    error = refused(machine(), walk(machine(), "a"), "nowhere")
    assert (type(error), error.from_, error.to, error.reason) == (InvalidTransition, "a", "nowhere", "illegal")


def test_a_run_has_the_id_that_it_was_given():
    assert machine().begin().id == "by hand"
    assert machine().begin("mine").id == "mine"
