"""What `check` warns of: every finding with a flow that has it, and the same flow once it is mended."""

from __future__ import annotations

import random
from typing import Any, Mapping, NamedTuple

import pytest
from test_passage import flow, run, state
from visitor import SECRET
from werkzeug.exceptions import NotFound

import flowguard
from flowguard import ConfigError, Flow, FlowGuard
from flowguard.core.lints import Lint, lints
from flowguard.core.outcome import Answer, settle
from flowguard.core.passage import NO_RUN, Attempt, Passage, decide
from flowguard.core.survey import Survey
from flowguard.core.walks import PAGE, SUCCESS, Walks, essence, walks
from flowguard.findings import FINDINGS
from flowguard.inspector import Deployment, bare_guard, inspect

SHOP = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}
END: Mapping[str, Any] = {}


class Slip(NamedTuple):
    """A flow in which *id* is found at *where*, and nothing else; and the options of `check`."""

    id: str
    where: str
    paths: Mapping[str, Any]
    mended: Mapping[str, Any]
    options: Mapping[str, Any] = {}
    mended_options: Any = None


def variables(count: int) -> dict[str, Any]:
    """A path whose values fill a cookie."""
    return {"".join(f"/<v{n}>" for n in range(count)): END}


CARD = {"/cart": {"to": ["/pay"]}, "/pay": {"to": ["/done"], "once": True, "accept": ["https://pay.example/*"]},
        "/done": END}  # fmt: skip

SLIPS = [
    Slip("unreachable", "flow['/c']", {"/a": {"to": ["/b"]}, "/b": END, "/c": {"to": ["/b"]}},
         {"/a": {"to": ["/b", "/c"]}, "/b": END, "/c": {"to": ["/b"]}}),
    Slip("never-within", "flow['/help'].within",
         {"/a": {"to": ["/b"]}, "/b": {"min_seconds": 10}, "/c": {"requires": ["/b"]}, "/help": {"within": ["/c"]}},
         {"/a": {"to": ["/b"]}, "/b": {"min_seconds": 10}, "/help": {"within": ["/b"]}}),
    Slip("no-end", "flow", {"/a": {"to": ["/b"]}, "/b": {"to": ["/a"]}}, {"/a": {"to": ["/b"]}, "/b": END}),
    Slip("dead-end", "flow['/c'].to",
         {"/a": {"to": ["/b", "/c"]}, "/b": END, "/c": {"to": ["/d"], "repeat": True}, "/d": {"to": ["/c"]}},
         {"/a": {"to": ["/b", "/c"]}, "/b": END, "/c": {"to": ["/d"], "repeat": True}, "/d": {"to": ["/b"]}}),
    Slip("stuck", "flow['/a'].to",
         {"/start": {"to": ["/a", "/b"]}, "/a": {"to": ["/c"]}, "/b": {"to": ["/a"]}, "/c": {"requires": ["/b"]}},
         {"/start": {"to": ["/a", "/b"]}, "/a": {"to": ["/c", "/b"]}, "/b": {"to": ["/a", "/c"]},
          "/c": {"requires": ["/b"]}}),
    Slip("exits-used-up", "flow['/result'].to",
         {"/": {"to": ["/search"]}, "/search": {"to": ["/result", "/done"]},
          "/result": {"to": ["/search"], "repeat": True}, "/done": END},
         {"/": {"to": ["/search"]}, "/search": {"to": ["/result", "/done"], "repeat": True},
          "/result": {"to": ["/search"], "repeat": True}, "/done": END}),
    Slip("requires-unmet", "flow['/b'].requires",
         {"/a": {"to": ["/b", "/c"]}, "/b": {"requires": ["/c"]}, "/c": END},
         {"/a": {"to": ["/b", "/c"]}, "/b": {"requires": ["/c"]}, "/c": {"to": ["/b"]}}),
    Slip("requires-redundant", "flow['/c'].requires",
         {"/a": {"to": ["/b"]}, "/b": {"to": ["/c"]}, "/c": {"requires": [["/a", "/b"]]}},
         {"/a": {"to": ["/b", "/x"]}, "/b": {"to": ["/x", "/c"]}, "/x": {"to": ["/c", "/b"]},
          "/c": {"requires": ["/b"]}}),
    Slip("never-in-time", "flow['/b'].min_seconds", {"/a": {"to": ["/b"]}, "/b": {"min_seconds": 100}},
         {"/a": {"to": ["/b"]}, "/b": {"min_seconds": 20}}, {"idle": 30}),
    Slip("once-without-accept", "flow['/pay'].once", {"/cart": {"to": ["/pay"]}, "/pay": {"once": True}},
         {"/cart": {"to": ["/pay"]}, "/pay": {"once": True, "accept": [200]}}, {"pages": True}),
    Slip("accept-rejected", "flow['/pay'].accept",
         {"/cart": {"to": ["/pay"]}, "/pay": {"once": True, "accept": ["https://pay.example/login/*"]}},
         {"/cart": {"to": ["/pay"]}, "/pay": {"once": True, "accept": ["https://pay.example/*"]}}),
    Slip("post-only", "flow['POST /b']", {"/a": {"to": ["POST /b"]}, "POST /b": {"to": ["/c"]}, "/c": END},
         {"/a": {"to": ["b"]}, "POST /b": {"state": "b", "to": ["/c"]}, "GET /b": "b", "/c": END}),
    Slip("submit-without-post", "flow['GET /pay']",
         {"/cart": {"to": ["pay"]}, "GET /pay": {"state": "pay", "once": True}},
         {"/cart": {"to": ["pay"]}, "GET /pay": {"state": "pay", "once": True}, "POST /charge": "pay"}),
    Slip("overlap", "flow['/orders/<id>']", {"/orders/new": {"to": ["/orders/<id>"]}, "/orders/<id>": END},
         {"/orders/new": {"to": ["/orders/<int:id>"]}, "/orders/<int:id>": END}),
    Slip("loose-rule", "flow['/shop/<path:page>']", {"/shop/<path:page>": END}, {"/shop/<path:page>": END}, {},
         {"fence": ["/shop/"]}),
    Slip("parameters-only", "flow['/p?step=2']", {"/cart": {"to": ["/p?step=2"]}, "/p?step=2": END},
         {"/cart": {"to": ["/p?step=2"]}, "/p?step=2": END, "/p": "/cart"}),
    Slip("by-absence", "flow['/p']",
         {"/p?step=1": {"state": "form", "to": ["pay"]}, "/p": {"state": "pay", "once": True, "accept": [200]}},
         {"/p?step=1": {"state": "form", "to": ["pay"]}, "/p": "form", "/p?pay": {"state": "pay", "once": True},
          "/p?pay&step=1": "pay"}),
    Slip("by-absence", "flow['POST /p']",
         {"GET /p": {"state": "form", "to": ["pay"]}, "POST /p?look": "form",
          "POST /p": {"state": "pay", "once": True, "accept": [200]}},
         {"GET /p": {"state": "form", "to": ["pay"]}, "POST /p?look": "form",
          "POST /p": {"state": "pay", "once": True, "accept": [200]}, "GET /p?x": "pay"},
         {}, {"parameters": {"look": "form", "x": "query"}}),
    Slip("foreign-syntax", "flow['/orders/{id}']", {"/cart": {"to": ["/orders/{id}"]}, "/orders/{id}": END},
         {"/cart": {"to": ["/orders/<id>"]}, "/orders/<id>": END}),
    Slip("foreign-syntax", "flow['/orders/:id']", {"/cart": {"to": ["/orders/:id"]}, "/orders/:id": END},
         {"/cart:1": {"to": ["/or*ders"]}, "/or*ders": END}),
    Slip("odd-method", "flow['GETT,POST /b']", {"/a": {"to": ["GETT,POST /b"]}, "GETT,POST /b": END},
         {"/a": {"to": ["GET,POST /b"]}, "GET,POST /b": END}),
    Slip("idle-without-effect", "flow(idle)", SHOP, SHOP, {"idle": 600, "ttl": 600}, {"idle": 599, "ttl": 600}),
    Slip("large-cookie", "flow", variables(12), variables(9)),
    Slip("strict-cookie", "flow(cookie_samesite)", CARD, CARD, {"cookie_samesite": "Strict"}, {}),
    Slip("insecure-cookie", "flow(cookie_secure)", SHOP, SHOP, {"cookie_secure": False}, {}),
    Slip("memory-ledger", "ledger", SHOP, SHOP, {"workers": 4}, {"workers": 4, "ledger": "sqlite:///flow.db"}),
]  # fmt: skip


def ids_of(paths: Any, **options: Any) -> list[str]:
    return [found.id for found in flowguard.check(paths, **options)]


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.id)
def test_each_finding_is_seen_where_it_is_and_gone_where_it_is_mended(slip):
    found = flowguard.check(slip.paths, **slip.options)
    assert (slip.id, slip.where) in [(one.id, one.where) for one in found]
    mended = slip.options if slip.mended_options is None else slip.mended_options
    assert flowguard.check(slip.mended, **mended) == ()


def test_each_finding_of_the_table_has_such_an_example():
    assert {slip.id for slip in SLIPS} == set(FINDINGS)


def test_a_finding_says_what_is_where_and_what_to_do():
    (found,) = flowguard.check({"/a": {"to": ["/b"]}, "/b": END, "/c": {"to": ["/b"]}}, name="shop")
    assert str(found) == (
        "shop['/c']: no run can enter this state, whatever a visitor does: its pages are always refused. "
        "Name it in the `to` of a state that can be entered, or remove it. [unreachable]"
    )


# --- what is looked at ------------------------------------------------------------------------------------------------


def test_a_guard_a_flow_and_a_list_of_flows_are_looked_at_as_they_are():
    odd = {"/a": {"to": ["/b"]}, "/b": {"to": ["/a"]}}
    assert ids_of(FlowGuard(NotFound(), odd, secret_key=SECRET)) == ["no-end"]
    assert ids_of(Flow(odd)) == ["no-end"]
    assert ids_of([Flow(SHOP, name="shop"), Flow(odd, name="odd")]) == ["no-end"]


def test_what_is_wrong_is_an_error_and_no_finding():
    with pytest.raises(ConfigError, match="no state '/pya'"):
        flowguard.check({"/cart": {"to": ["/pya"]}})


def test_findings_come_in_the_order_of_the_paths():
    found = flowguard.check({
        "/a": {"to": ["/b"], "requires": ["/b"]},
        "/b": {"accept": ["/login"], "min_seconds": 1000},
        "/c": {"to": ["/b"]},
    }, ttl=10)  # fmt: skip
    assert [one.where for one in found] == [
        "flow['/a'].requires", "flow['/b'].min_seconds", "flow['/b'].accept", "flow['/c']",
    ]  # fmt: skip


def test_a_state_is_named_by_the_key_that_declares_it():
    found = flowguard.check({"/a": {"to": ["/b"]}, "/b": END, "/other": "lost", "/lost": {"state": "lost"}})
    assert [one.where for one in found] == ["flow['/lost']"]


# --- false alarms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {}, {"back": "edit"}, {"back": "view", "restart": True}, {"ordered": True, "reset": "/again"}, {"idle": 600},
], ids=str)  # fmt: skip
def test_an_ordinary_shop_has_none(options):
    assert flowguard.check(SHOP, **options) == ()


HUB = {"/hub": {"to": ["/name", "/photo", "/finish"]}, "/name": {"to": ["/hub"], "submit": True},
       "/photo": {"to": ["/hub"]}, "/finish": {"requires": ["/name"]}}  # fmt: skip


@pytest.mark.parametrize("back", ["refuse", "view"])
def test_a_hub_whose_parts_may_come_in_any_order_has_none(back):
    assert flowguard.check(HUB, back=back) == ()
    assert flowguard.check({"/intro": {"to": ["/hub"]}, **HUB}, back=back) == ()


def test_a_hub_whose_parts_may_be_edited_and_entered_again_needs_repeat():
    """Edited from the hub, then opened from it again, then left: that way is taken, and the run is over."""
    assert ids_of(HUB, back="edit") == ["exits-used-up"] * 2
    assert ids_of({**HUB, "/hub": {**HUB["/hub"], "repeat": True}}, back="edit") == []


def test_what_the_option_ordered_requires_is_not_called_redundant_but_what_is_written_is():
    assert ids_of({**SHOP, "/done": {"requires": ["/cart", ["/shipping", "/payment"]]}}, ordered=True) == [
        "requires-redundant"
    ]


def test_a_strict_cookie_is_fine_where_nobody_leaves_the_site():
    assert flowguard.check({"/pay": {"once": True, "accept": ["/thanks*", "*/paid"]}}, cookie_samesite="Strict") == ()


def test_two_paths_of_one_state_may_overlap():
    assert flowguard.check({"/orders/new": {"state": "order"}, "/orders/<id>": "order"}) == ()


def test_a_page_of_the_reset_that_a_rule_takes_is_told():
    (found,) = flowguard.check({"/shop/<step>": {}}, reset="/shop/again")
    assert (found.id, found.where) == ("overlap", "flow['/shop/<step>']")
    assert "'/shop/again'" in found.what


@pytest.mark.parametrize(("accept", "reject", "found"), [
    ([200], [200], ["accept-rejected"]), ([200], [422], []), (["/thanks"], ["/thanks"], ["accept-rejected"]),
    (["/pay/ok"], ["/pay/*"], ["accept-rejected"]), (["/pay/*"], ["/pay/failed*"], []),
    (["body:Paid"], ["body:Not paid"], []), (["body:Not paid"], ["body:Not"], ["accept-rejected"]),
    (["/pay?ok=1"], ["/pay"], ["accept-rejected"]), (["/pay?ok=1"], ["/pay*"], ["accept-rejected"]),
    (["/pay"], ["/pay?ok=0"], []), (["/pay?ok=1"], ["*ok=1"], []), (["/pay?ok=1"], ["*?ok*"], ["accept-rejected"]),
    (["https://x.example/?a"], ["https://x.example/"], []),
    (["https://x.example/?a"], ["https://*"], ["accept-rejected"]),
], ids=str)  # fmt: skip
def test_what_is_accepted_is_in_vain_only_where_all_of_it_is_rejected(accept, reject, found):
    assert ids_of({"/a": {"to": ["/b"], "accept": accept, "reject": reject}, "/b": END}) == found


def test_one_state_that_is_accepted_by_a_page_tells_that_others_are_answered_so():
    flow = {"/details": {"to": ["/pay"], "accept": [200]}, "/pay": {"once": True}}
    assert ids_of(flow) == ["once-without-accept"]
    assert ids_of({**flow, "/pay": {"once": True, "accept": ["/thanks"]}}) == []
    assert ids_of({**flow, "/details": {"to": ["/pay"], "accept": ["body:Saved"]}}) == ["once-without-accept"]


def test_a_link_with_effects_takes_a_get_and_a_page_of_it_is_success():
    assert flowguard.check({"/form": {"to": ["/confirm"]}, "GET /confirm": {"state": "/confirm", "once": True,
                            "effects": True}}, pages=True) == ()  # fmt: skip


def test_what_undoes_a_step_makes_it_worth_requiring_and_may_be_asked_for_anywhere():
    flow = {"/cart": {"to": ["/hub"]}, "/hub": {"to": ["/review", "/pay"], "repeat": True},
            "/review": {"to": ["/hub"]}, "/pay": {"requires": ["/cart"]}}  # fmt: skip
    assert ids_of(flow) == ["requires-redundant"]
    assert ids_of({**flow, "/basket": {"undoes": ["/hub"]}}) == ["requires-redundant"]
    assert ids_of({**flow, "/pay": {"requires": ["/review"]}, "/basket": {"undoes": ["/review"]}}) == []


def test_where_the_way_back_is_editable_nobody_is_caught():
    odd = next(slip for slip in SLIPS if slip.id == "stuck").paths
    assert ids_of(odd) == ["stuck"]
    assert ids_of(odd, back="edit") == []


# --- the runs ---------------------------------------------------------------------------------------------------------


def test_the_way_to_a_run_that_is_caught_is_told():
    odd = next(slip for slip in SLIPS if slip.id == "exits-used-up").paths
    (found,) = flowguard.check(odd)
    assert found.what.startswith("after / -> /search -> /result -> /search -> /result, every way out is taken")


def found_in(*states: Any, **options: Any) -> list[tuple[str, Any]]:
    return [(lint.id, lint.state) for lint in lints(Survey(flow(*states), **options))]


UNMET = (state("a", "b", start=True), state("b", requires="x|y"), state("x"), state("y"))


def test_a_state_that_is_unreachable_for_what_it_requires_is_told_once():
    assert found_in(*UNMET) == [("unreachable", "x"), ("unreachable", "y"), ("requires-unmet", "b")]
    assert Lint("requires-unmet", "b", "requires", {"group": "'x' or 'y'"}) in lints(Survey(flow(*UNMET)))


def test_unless_it_is_known_nothing_is_said_of_pages_as_answers():
    paying = (state("a", "pay", start=True), state("pay", once=True, submit=True))
    assert found_in(*paying) == []
    assert found_in(*paying, pages=True) == [("once-without-accept", "pay")]


def test_nothing_is_said_of_what_is_required_where_not_every_run_was_tried():
    assert found_in(*UNMET, most=1) == [("unreachable", "x"), ("unreachable", "y")]


def test_of_the_runs_that_are_caught_the_one_that_cannot_move_stands_for_all():
    assert found_in(
        state("a", "search", start=True), state("search", "result done"), state("result", "mid", repeat=True),
        state("mid", "search", repeat=True), state("done"),
    ) == [("exits-used-up", "mid")]  # fmt: skip


def test_of_the_runs_that_are_caught_and_go_round_in_circles_the_nearest_stands_for_all():
    assert found_in(
        state("a", "key c", start=True), state("key", "c"), state("c", "d end", repeat=True),
        state("d", "c", repeat=True), state("end", requires="key"),
    ) == [("stuck", "c")]  # fmt: skip


def test_a_state_with_effects_keeps_no_other_from_being_told():
    assert ("post-only", "c") in found_in(
        state("a", "b", start=True), state("b", "c", effects=True, get=False), state("c", "d", get=False), state("d")
    )


def test_a_state_behind_a_start_that_only_a_submission_could_begin_too_fast_is_unreachable():
    flow = {"/a": {"to": ["/b"], "start": True}, "/b": END,
            "POST /c": {"start": True, "min_seconds": 5, "to": ["/d"]}, "/d": END}  # fmt: skip
    assert [one.where for one in flowguard.check(flow) if one.id == "unreachable"] == ["flow['POST /c']", "flow['/d']"]


def forks(count: int, **more: Any) -> dict[str, Any]:
    """A chain of forks: 2 to the power of *count* ways."""
    made: dict[str, Any] = {}
    for n in range(count):
        made[f"/{n}"] = {"to": [f"/{n}a", f"/{n}b"]}
        made[f"/{n}a"] = made[f"/{n}b"] = {"to": [f"/{n + 1}"]}
    return {**made, f"/{count}": more}


def test_where_ways_are_too_many_only_what_is_certain_is_said():
    assert inspect(bare_guard(forks(40, requires=["/39a"])), Deployment()) == ((), ("flow",))
    ways = forks(40)
    for name in "/0", "/39a":  # the second of which is in no run that is tried
        ways[name]["to"].append("/far")
    assert few_tries({**ways, "/far": {"requires": ["/39a"]}}) == []


def few_tries(paths: Any, **options: Any) -> list[Any]:
    return [(lint.id, lint.state) for lint in lints(Survey(Flow(paths, **options).definition, most=500))]


def test_what_the_transitions_alone_make_certain_is_said_even_then():
    trap = {"/0a": {"to": ["/trap"]}, "/trap": {"to": ["/trap2"]}, "/trap2": {"to": ["/trap"]}, "/lost": {}}
    dead_ends = [("dead-end", "/0a"), ("dead-end", "/trap"), ("dead-end", "/trap2")]
    assert few_tries({**forks(40), **trap}) == [("unreachable", "/lost"), *dead_ends]
    assert few_tries({**forks(40), **trap}, back="edit") == [("unreachable", "/lost"), ("exits-used-up", "/trap")]


def test_where_a_run_is_over_and_the_next_begins_nobody_is_caught():
    assert found_in(
        state("a", "end", start=True), state("end"), state("b", "c", start=True), state("c", "b")
    ) == []  # fmt: skip


def test_whoever_tries_is_patient_enough_for_every_minimal_stay():
    assert found_in(state("a", "b", start=True, submit=True, min_time=60_000), state("b")) == []


def test_an_application_may_lead_back_to_any_earlier_state():
    machine = flow(
        state("a", "b", start=True), state("b", "c", submit=True), state("c", "d", submit=True, once=True), state("d")
    )  # fmt: skip
    paid = {each.trail for each in walks(machine, leading_back=True).steps if "c" in each.spent}
    assert {("a",), ("a", "b"), ("a", "b", "c")} <= paid
    assert {each.trail for each in walks(machine).steps if "c" in each.spent} == {("a", "b", "c"), ("a", "b", "c", "d")}


def test_it_may_lead_back_to_where_something_stays_done():
    machine = flow(state("a", "b", start=True), state("b", "c", submit=True, once=True),
                   state("c", submit=True, once=True))  # fmt: skip
    paid = {(each.trail, each.done) for each in walks(machine, leading_back=True).steps if "c" in each.spent}
    assert {(("a", "b"), frozenset()), (("a", "b"), frozenset("b")), (("a", "b", "c"), frozenset("bc"))} <= paid


def test_the_essence_of_a_run_is_what_a_rule_looks_at():
    here = run("a b", "a b", "b", closed=True, values=(("id", "7"),), started=1, changed=2, entered=3, user="ann")
    assert essence(flow(*UNMET), here) == run("a b", "b", "b", closed=True)._replace(id="", seq=0, first=0)


def test_a_run_is_tried_as_long_as_an_answer_is_left():
    assert walks(flow(*UNMET), most=0) == Walks({}, False)
    assert set(walks(flow(*UNMET), most=1).steps) == {NO_RUN}


def test_a_few_forks_are_tried_to_the_end():
    report = inspect(bare_guard(forks(4, requires=["/0a"])), Deployment())
    assert [(one.id, one.where) for one in report.findings] == [("dead-end", "flow['/0b'].to")]
    assert report.cut_short == ()


def some_flow(dice: random.Random) -> Flow:
    names = [f"/{letter}" for letter in "abcd"[: dice.randint(2, 4)]]

    def state(name: str) -> dict[str, Any]:
        others = [other for other in names if other != name]
        made: dict[str, Any] = {"to": [other for other in others if dice.random() < 0.4]}
        made["back"] = dice.choice(["refuse", "view", "edit"])
        made[dice.choice(["submit", "once", "repeat", "start"])] = True
        if dice.random() < 0.2:
            made["requires"] = [dice.choice(others)]
        return made

    return Flow({name: state(name) for name in names}, restart=dice.random() < 0.3)


def by_hand(flow: Flow, tries: int, dice: random.Random) -> set[Any]:
    """Runs that visitors come to who do anything at all, before an application that answers a page or a success."""
    definition, found = flow.definition, set()
    for _ in range(tries):
        run = NO_RUN
        for _ in range(10):
            attempt = Attempt(dice.choice(list(definition.states)), dice.random() < 0.5, 0)
            verdict = decide(definition, run, attempt)
            if isinstance(verdict, Passage):
                run = settle(definition, run, verdict, dice.choice([PAGE, SUCCESS]), 0).run
                found.add(essence(definition, run))
    return found


def test_nobody_comes_to_a_run_that_was_not_found():
    dice = random.Random(3)
    for _ in range(60):
        flow = some_flow(dice)
        assert by_hand(flow, 60, dice) <= set(walks(flow.definition, leading_back=True).steps)


def test_runs_of_one_essence_are_judged_alike():
    dice = random.Random(5)
    for _ in range(40):
        flow = some_flow(dice).definition
        run = NO_RUN
        for _ in range(12):
            name, submission = dice.choice(list(flow.states)), dice.random() < 0.5
            verdicts = [decide(flow, one, Attempt(name, submission, 0)) for one in (run, essence(flow, run))]
            assert verdicts[0] == verdicts[1]
            if isinstance(verdicts[0], Passage):
                answer = dice.choice([PAGE, SUCCESS, Answer(422), Answer(500)])
                after = [settle(flow, one, verdicts[0], answer, 0).run for one in (run, essence(flow, run))]
                assert essence(flow, after[0]) == essence(flow, after[1])
                run = after[0]


def test_what_is_called_unreachable_hopeless_or_redundant_is():
    """Against every run of small flows, told apart in more than their essence, and without the graph's shortcuts."""
    dice = random.Random(7)
    seen: set[str] = set()
    for _ in range(150):
        flow = some_flow(dice)
        found = lints(Survey(flow.definition))
        seen |= {lint.id for lint in found}
        runs = by_hand(flow, 40, dice)
        for lint in found:
            if lint.id == "unreachable":
                assert all(lint.state not in run.trail for run in runs)
            elif lint.id == "requires-redundant":
                without = _without_requires(flow, lint.state)
                assert by_hand(without, 40, dice) <= set(walks(flow.definition, leading_back=True).steps)
    assert {"unreachable", "requires-redundant", "requires-unmet", "dead-end", "exits-used-up"} <= seen


def _without_requires(flow: Flow, name: Any) -> Flow:
    paths = {key: {**value, "requires": []} if key == name else value for key, value in flow.paths.items()}
    return Flow(paths, **flow.options)


def test_the_graph_alone_claims_nothing_that_the_runs_deny():
    dice = random.Random(9)
    for _ in range(150):
        flow = some_flow(dice).definition
        whole, graph = Survey(flow), Survey(flow, most=0)
        assert not graph.complete
        assert graph.entered >= whole.entered
        assert graph.hopeless & whole.entered <= whole.hopeless
