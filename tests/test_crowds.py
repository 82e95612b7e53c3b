"""States that are alike are asked about together, and get the answers that each would have got by itself."""

from __future__ import annotations

import random
from typing import Any, Callable, Iterable, Optional

import pytest

from flowguard.core.crowds import Crowd
from flowguard.core.flow import EDIT, REFUSE, VIEW, Definition, State
from flowguard.core.guidance import MOST_ALLOWED, allowed, beginning, guidance, passes, target
from flowguard.core.passage import Agrees, Attempt, Kind, Passage, decide, enterable, methods_of, stuck
from flowguard.core.run import Run, finished


def asked_of(crowd: Crowd, yes: Iterable[str], **more: Any) -> tuple[list[str], list[str]]:
    """Those of which the answer is yes, and of whom was asked."""
    asked: list[str] = []

    def says(name: str) -> bool:
        asked.append(name)
        return name in yes

    return list(crowd.those(says, more.pop("met", {}), **more)), asked


ANIMALS = Crowd([("cat", 4), ("hen", 2), ("dog", 4), ("emu", 2), ("cow", 4)])


def test_one_of_a_kind_answers_for_all_of_it():
    assert asked_of(ANIMALS, ["cat"]) == (["cat", "dog", "cow"], ["cat", "hen"])


def test_who_is_known_is_like_those_of_whom_the_same_is_known():
    met = {"cat": "tame", "dog": "tame", "whale": "tame"}
    assert asked_of(ANIMALS, ["cat", "hen"], met=met) == (["cat", "hen", "dog", "emu"], ["cat", "hen", "cow"])


def test_who_is_left_out_is_not_asked():
    assert asked_of(ANIMALS, ["dog"], but={"cat": None, "hen": None}) == (["dog", "cow"], ["dog", "emu"])


def test_nobody_is_asked_any_more_when_all_kinds_have_said_no():
    crowd = Crowd((f"name {number}", number % 2) for number in range(10))
    assert asked_of(crowd, []) == ([], ["name 0", "name 1"])


def test_it_is_asked_no_further_than_somebody_wants_to_know():
    asked: list[str] = []
    first = ANIMALS.those(lambda name: not asked.append(name), {})
    assert (next(first), asked) == ("cat", ["cat"])


# --- in flows ---------------------------------------------------------------------------------------------------------

CONDITIONS: tuple[Callable[[Any], bool], ...] = (lambda context: True, lambda context: False)


def some(dice: random.Random, names: list[str], share: float) -> list[str]:
    return [name for name in names if dice.random() < share]


FIELDS: dict[str, list[Any]] = {
    "start": [False, False, True], "submit": [False, True], "once": [False, True], "repeat": [False, True],
    "back": [REFUSE, REFUSE, VIEW, EDIT], "when": [None, None, *CONDITIONS], "get": [True, False],
    "unsafe": [True, False], "min_time": [None, None, 5], "max_time": [None, None, 50],
    "requires": [(), (), (("s1",),), (("s1", "s2"), ("s3",))],
}  # fmt: skip


def random_flow(dice: random.Random) -> Definition:
    """Ten states of few kinds, which differ in one respect."""
    names, kind = [f"s{number}" for number in range(10)], {name: dice.choice(FIELDS[name]) for name in FIELDS}
    kinds = [{**kind, name: dice.choice(FIELDS[name])} for name in some(dice, list(FIELDS), 0.3)] + [kind]
    states = {}
    for name in names:
        to = {to: dice.choice([None, None, None, *CONDITIONS]) for to in some(dice, names, 0.5) if to != name}
        states[name] = State(name, to=to, **dice.choice(kinds))
    return Definition("flow", states, restart=dice.random() < 0.3)


def random_run(dice: random.Random, flow: Definition) -> Optional[Run]:
    names = list(flow.states)
    trail = some(dice, names, 0.4)
    dice.shuffle(trail)
    if not trail:
        return None
    steps = [(before, after) for before in trail for after in flow.states[before].to if dice.random() < 0.4]
    done, spent = some(dice, trail, 0.7), some(dice, names, 0.4)
    return Run("id", 1, 1, tuple(trail), tuple(steps), frozenset(done), frozenset(spent))


def agrees(condition: Callable[[Any], bool]) -> bool:
    return condition(None)


def one_by_one(flow: Definition, run: Optional[Run], now: int, agrees: Agrees) -> tuple[Any, ...]:
    """What would be allowed, the successors to go on to, the first start to go to, and whether the run is stuck."""
    current = None if run is None else flow.states[run.trail[-1]]
    successors = [] if current is None else list(current.to)
    entered = []
    for name in dict.fromkeys((*successors, *flow.starts)):
        verdict = decide(flow, run, Attempt(name, False, now, agrees=agrees))
        if flow.states[name].get and isinstance(verdict, Passage) and verdict.kind in (Kind.ENTER, Kind.BEGIN):
            entered.append(name)
    start = next((name for name in flow.starts if passes(flow, run, name, now, agrees)), None)
    if run is None or current is None:
        return tuple(entered), start, flow.starts[:1], False
    open_now = [name for name in successors
                if flow.states[name].get and enterable(flow, run, flow.states[name], False, now, agrees)]  # fmt: skip
    goal = open_now[0] if len(open_now) == 1 and current.name in run.done and not finished(flow, run) else current.name
    leads = any(enterable(flow, run, flow.states[name], submission, None, agrees)
                for name in successors for submission in methods_of(flow.states[name]))  # fmt: skip
    sent = current.name in run.done or current.name in run.spent or finished(flow, run)
    return tuple(entered), start, (goal,), not leads and not (current.unsafe and (current.repeat or not sent))


@pytest.mark.parametrize("seed", range(0, 1500, 500))
def test_all_get_the_answers_that_they_would_get_by_themselves(seed: int):
    reached = set()
    for number in range(seed, seed + 500):
        dice = random.Random(number)
        flow = random_flow(dice)
        run, now = random_run(dice, flow), dice.choice([0, 10, 100_000])
        found = allowed(flow, run, now, agrees), beginning(flow, run, now, agrees)
        goal = (target(flow, run, now, agrees),) if run is not None or flow.starts else ()
        expected = one_by_one(flow, run, now, agrees)
        assert (*found, goal, run is not None and stuck(flow, run, agrees)) == expected, number
        reached.add(expected[-1])
    assert reached == {True, False}


def test_a_refusal_lists_the_first_thousand():
    ends = [f"end {number}" for number in range(MOST_ALLOWED + 1)]
    start = State("start", True, dict.fromkeys(ends))
    flow = Definition("flow", {"start": start, **{name: State(name) for name in ends}})
    run = Run("id", trail=("start",))
    assert guidance(flow, run, Attempt("nowhere", False, 0)).allowed == tuple(ends[:MOST_ALLOWED])
    assert allowed(flow, run, 0) == tuple(ends)
