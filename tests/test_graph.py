"""What can be said of a flow without running it."""

from __future__ import annotations

import itertools
import random

import pytest

from flowguard.core.flow import Definition, State
from flowguard.core.graph import Bound, Graph, bound, parts


def graph(text: str) -> dict[str, tuple[str, ...]]:
    """``"a>bc b>a c>"``: of one letter each."""
    return {name: tuple(to) for name, _, to in (word.partition(">") for word in text.split())}


def flow(of: Graph) -> Definition:
    return Definition("flow", {name: State(name, to=dict.fromkeys(to)) for name, to in of.items()})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a>", ["a"]),
        ("a>b b>", ["b", "a"]),
        ("a>b b>a", ["ab"]),
        ("a>b b>c c>a d>a", ["abc", "d"]),
        ("a>b b>ac c>d d>c", ["cd", "ab"]),
        ("a>bc b>d c>d d>", ["d", "b", "c", "a"]),
        ("a> b> c>", ["a", "b", "c"]),
        ("a>b b>c c>b", ["bc", "a"]),
    ],
)
def test_the_parts_of_a_graph_come_after_those_that_they_lead_to(text: str, found: list[str]):
    got = parts(graph(text))
    assert sorted("".join(sorted(names)) for names in got) == sorted(found)
    place = {name: number for number, names in enumerate(got) for name in names}
    assert all(place[to] <= place[name] for name, onward in graph(text).items() for to in onward)


def reachable(of: Graph, name: str) -> set[str]:
    seen, work = {name}, [name]
    while work:
        for to in of[work.pop()]:
            if to not in seen:
                seen.add(to)
                work.append(to)
    return seen


def test_two_states_share_a_part_exactly_if_each_can_be_reached_from_the_other():
    dice = random.Random(8)
    for _ in range(200):
        names = "abcdefg"[: dice.randint(1, 7)]
        made = {name: tuple(to for to in names if to != name and dice.random() < 0.25) for name in names}
        home = {name: number for number, part in enumerate(parts(made)) for name in part}
        for one, two in itertools.product(names, names):
            both = two in reachable(made, one) and one in reachable(made, two)
            assert (home[one] == home[two]) is both


def test_a_chain_of_thousands_needs_no_recursion():
    names = [str(number) for number in range(5000)]
    made = {name: tuple(names[place + 1 : place + 2]) for place, name in enumerate(names)}
    assert len(parts(made)) == 5000
    assert bound(flow(made)) == Bound(5000, 0)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("a>", Bound(1, 0)),
        ("a>b b>c c>", Bound(3, 0)),
        ("a>bc b>d c>d d>", Bound(3, 0)),
        ("a>bc b>cd c>d d>", Bound(4, 0)),
        ("a>b b>a", Bound(2, 2)),
        ("a>bc b>ac c>ab", Bound(3, 6)),
        ("a>b b>c c>b", Bound(3, 3)),
        ("a>b b>ac c>d d>ce e>", Bound(5, 6)),
        ("a>bc b>a c>de d>c e>", Bound(5, 6)),
        ("a>b b> c>d d>c", Bound(2, 2)),
    ],
)
def test_the_largest_run_is_the_heaviest_chain_of_parts(text: str, most: Bound):
    assert bound(flow(graph(text))) == most


def longest(of: Graph) -> Bound:
    """By trying every walk that takes no transition twice."""
    best_trail, best_history = 0, 0
    work = [((name,), frozenset()) for name in of]
    while work:
        walk, taken = work.pop()
        best_trail = max(best_trail, len(set(walk)))
        best_history = max(best_history, len(taken))
        work += [((*walk, to), taken | {(walk[-1], to)}) for to in of[walk[-1]] if (walk[-1], to) not in taken]
    return Bound(best_trail, best_history)


def test_no_walk_grows_larger_than_the_bound():
    dice = random.Random(4)
    for _ in range(150):
        names = "abcd"[: dice.randint(1, 4)]
        made = {name: tuple(to for to in names if to != name and dice.random() < 0.5) for name in names}
        most, found = bound(flow(made)), longest(made)
        assert most.trail >= found.trail
        # without a cycle the trail tells the history, step by step
        assert most.history >= found.history or (most.history == 0 and found.history <= found.trail - 1)
