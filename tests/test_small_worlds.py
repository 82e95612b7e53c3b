"""Every small flow, and every way through it: the pure core against the naive model (model.py), exhaustively.

A world is a graph of up to three states, with the flags varied singly and in pairs, up to renaming. In each one, every
run that any sequence of requests and answers can make is found breadth-first; in every one of them every request is
judged by both sides, and every answer that makes a difference is settled by both. The search of a world ends when no
new run turns up: so sequences of every length are covered, and not only short ones.

The everyday run takes every flag on every graph of three states, every pair of flags on a cycle of three and on every
graph of two, and a sample of the triples on two. FLOWGUARD_DEEP=1 takes every pair on every graph of three, every
triple on two, and a sample of the triples on three. How many decisions and settled answers were compared is printed
(`pytest -rP`), and stands in the report as `compared`.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from itertools import combinations, permutations
from typing import Any, Callable, Iterator, NamedTuple, Optional

import pytest
from model import Answer as Said
from model import Model
from model import Run as Modelled

from flowguard import Answer, Attempt, Destination, Flow, Passage, decide, settle
from flowguard.core.flow import Definition
from flowguard.core.guidance import guidance
from flowguard.core.passage import NO_RUN, Verdict, stuck
from flowguard.core.run import Run, finished

DEEP = os.environ.get("FLOWGUARD_DEEP") == "1"
# Of the worlds of so many states and flags, every so many are tried. There are ten times as many triples as pairs.
SHARE = {(2, 3): 1, (3, 2): 1, (3, 3): 47} if DEEP else {(2, 3): 97}
# The smallest graph in which one can come past a state, be elsewhere than at an end, and come back.
CYCLE = frozenset({("/a", "/b"), ("/b", "/c"), ("/c", "/a")})
NAMES = ("/a", "/b", "/c")
LATER = 1  # seconds after which every request comes: all runs are brought to the time 0

# --- the worlds ------------------------------------------------------------------------------------------------------

#: A word, and the states it speaks of; without any, an option of the flow.
Flag = tuple[str, ...]


class World(NamedTuple):
    """A graph, and the flags that are set in it. The first state is always a start."""

    names: tuple[str, ...]
    edges: frozenset[tuple[str, str]]
    flags: frozenset[Flag] = frozenset()

    def renamed(self, names: dict[str, str]) -> World:
        return World(self.names, frozenset((names[a], names[b]) for a, b in self.edges),
                     frozenset((word, *(names[name] for name in of[:1]), *sorted(names[name] for name in of[1:]))
                               for word, *of in self.flags))

    @property
    def kept_order(self) -> bool:
        """Does it matter in which order the states are declared?"""
        return ("ordered",) in self.flags

    @property
    def paths(self) -> dict[str, Any]:
        paths: dict[str, Any] = {name: {"to": [to for to in self.names if (name, to) in self.edges]}
                                 for name in self.names}
        paths[self.names[0]]["start"] = True
        for word, *of in self.flags:
            if of:
                paths[of[0]].update(settings(word, of))
        return {value.pop("methods", "") + name: value for name, value in paths.items()}

    @property
    def options(self) -> dict[str, Any]:
        return {"reject": [], **{word: True for word, *of in self.flags if not of}}


def settings(word: str, of: list[str]) -> dict[str, Any]:
    if word in ("GET", "POST"):
        return {"methods": f"{word} ", "state": of[0]}
    if word in ("view", "edit"):
        return {"back": word}
    if word == "either":
        return {"requires": [of[1:]]}
    return {word: of[1:] if word == "requires" else True}


def flags(names: tuple[str, ...]) -> list[Flag]:
    """Whatever may be said of the states, and of the flow."""
    words = ("submit", "once", "repeat", "view", "edit", "effects", "GET", "POST")
    of_states = [(word, name) for word in words for name in names]
    starts = [("start", name) for name in names[1:]]
    needs = [("requires", *pair) for pair in permutations(names, 2)]
    two = [(word, of, *pair) for of in names for pair in combinations(names, 2) if of not in pair
           for word in ("requires", "either")]
    return [*starts, *of_states, *needs, *two, ("restart",), ("ordered",)]


#: Words that are not said of one state together: its key has one set of methods, and `requires` is one list.
RIVALS = ({"once", "repeat"}, {"view", "edit"}, {"GET", "POST"}, {"POST", "effects"}, {"requires"},
          {"either"}, {"requires", "either"})


def contradict(chosen: tuple[Flag, ...]) -> bool:
    if ("once", "/a") in chosen and {("POST", "/a"), ("effects", "/a")} & set(chosen):
        return True  # nobody could begin, which is a ConfigError
    pairs = combinations([flag for flag in chosen if len(flag) > 1], 2)
    return any(one[1] == other[1] and {one[0], other[0]} in RIVALS for one, other in pairs)


def labelled(size: int, most: int) -> Iterator[World]:
    """All graphs of *size* states, each with every choice of *most* flags."""
    names = NAMES[:size]
    arrows = list(permutations(names, 2))
    choices = [chosen for chosen in combinations(flags(names), most) if not contradict(chosen)]
    for count in range(len(arrows) + 1):
        for edges in combinations(arrows, count):
            yield from (World(names, frozenset(edges), frozenset(chosen)) for chosen in choices)


def worlds(size: int, flags: int) -> list[World]:
    """Those that differ by more than the names of their states (but the first, which is where a run begins)."""
    swap = {"/a": "/a", "/b": "/c", "/c": "/b"}
    found: dict[World, None] = {}
    for world in labelled(size, flags):
        if size < 3 or world.kept_order or world.renamed(swap) not in found:
            found[world] = None
    return list(found)


# --- the answers -----------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """An answer as either side sees it."""

    ours: Answer
    modelled: Said


def led(to: str, state: Optional[str]) -> Pair:
    return Pair(Answer(303, to=Destination(state, to, to)), Said(303, None, to))


ELSEWHERE = led("/elsewhere", None)
PAGE = Pair(Answer(200, html=True), Said(200))
NO_PAGE = Pair(Answer(204), Said(204, None))
FAILED = Pair(Answer(422, html=True), Said(422))
BROKEN = Pair(Answer(0), Said(raises=True))


def answers(names: tuple[str, ...], submission: bool) -> list[Pair]:
    """One for each row of CONTRACT 4 and each state that a redirect may lead to."""
    redirects = [ELSEWHERE, *(led(name, name) for name in names)]
    return [PAGE, BROKEN, *redirects, *([NO_PAGE, FAILED] if submission else [])]


# --- the two sides ---------------------------------------------------------------------------------------------------


class PathsAsTheyStand(Model):
    """The model where all redirects are paths already: how a Location is read is the guard's business.

    What depends on the flow alone is asked for once.
    """

    def __init__(self, paths: dict[str, Any], **options: Any) -> None:
        super().__init__(paths, **options)
        for name in ("to", "requires", "once", "submit", "repeat", "back", "resolve", "values", "vary", "effects",
                     "get_path", "takes_unsafe"):
            setattr(self, name, cache(getattr(self, name)))

    def read_location(self, path: str, location: str) -> tuple[Optional[str], str]:
        return location, location


def line_of(model: Model, run: Optional[Modelled], s: str, safe: bool, verdict: tuple[str, str]) -> int:
    """Which line of CONTRACT 3 a verdict of the model comes from."""
    way, word = verdict
    if run is None:
        return 1
    if s == run.current and (word in ("reload", "submit", "duplicate") or model.finished(run)):
        return 2
    if model.finished(run):
        return 3
    if word == "enter" or word == "skipped" or (way == "refuse" and model.is_open(run, s)):
        return 4
    if word in ("look", "edit"):
        return 5
    tries_a_start = s in model.starts and (model.options.get("restart") or model.stuck(run))
    return 6 if tries_a_start else 7


def modelled(run: Run) -> Optional[Modelled]:
    """The same run, as the model has it."""
    if not run.trail:
        return None
    twin = Modelled(run.trail[0], run.started / 1000, {})
    twin.trail, twin.history = list(run.trail), list(run.history)
    twin.done, twin.spent, twin.since = set(run.done), set(run.spent), run.entered / 1000
    return twin


def facts(run: Run) -> Any:
    trail, history = list(run.trail), list(run.history)
    return trail, history, set(run.done), set(run.spent), dict(run.values), run.started / 1000, run.entered / 1000


def at_the_beginning(run: Run) -> Run:
    """*run* without what no rule looks at: its count, and when it was (there are no times in these worlds)."""
    return Run("", trail=run.trail, history=run.history, done=run.done, spent=run.spent)


class Explorer:
    """One world, searched to its end. `compared`: the decisions and the settled answers on which both sides agree."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.flow: Definition = Flow(world.paths, **world.options).definition
        self.model = PathsAsTheyStand(world.paths, **world.options)
        self.attempts = [attempt for name in world.names for attempt in self.attempts_at(name)]
        self.answers = {submission: answers(world.names, submission) for submission in (False, True)}
        self.runs = [NO_RUN]
        self.known = {NO_RUN}
        self.compared = 0

    def attempts_at(self, name: str) -> list[Attempt]:
        """By a GET, and by a POST."""
        effects = self.model.effects(name)
        return [Attempt(name, effects, LATER * 1000, by_get=effects), Attempt(name, True, LATER * 1000)]

    def explore(self) -> int:
        for run in self.runs:  # and those that are found meanwhile
            twin = modelled(run)
            self.compare_state(run, twin)
            for attempt in self.attempts:
                self.compare_request(run, twin, attempt)
        return self.compared

    def compare_state(self, run: Run, twin: Optional[Modelled]) -> None:
        """What holds in a run whatever is asked for."""
        if twin is not None:
            assert finished(self.flow, run) == self.model.finished(twin), self.say(run)
            assert stuck(self.flow, run) == self.model.stuck(twin), self.say(run)

    def compare_request(self, run: Run, twin: Optional[Modelled], attempt: Attempt) -> None:
        name, safe = attempt.state, not attempt.submission
        found = decide(self.flow, run, attempt)
        expected = self.model.decide(twin, name, safe, LATER)
        line = line_of(self.model, twin, name, safe, expected)
        assert described(found) == (*expected, line), self.say(run, attempt)
        self.compared += 1
        if isinstance(found, Passage):
            for answer in self.answers[attempt.submission]:
                self.compare_answer(run, found, expected[1], answer)
        else:
            self.compare_guidance(run, twin, attempt)

    def compare_guidance(self, run: Run, twin: Optional[Modelled], attempt: Attempt) -> None:
        """Where a refused visitor is sent, and that a GET of it passes: one hop."""
        guide = guidance(self.flow, run, attempt)
        target = guide.target if guide.passes else None
        assert target == self.model.target(twin, LATER, {}), self.say(run, attempt)
        assert set(guide.allowed) == set(self.model.allowed(twin, LATER)), self.say(run, attempt)
        missing = [list(need) if isinstance(need, tuple) else need for need in guide.missing]
        assert missing == self.model.missing(twin, attempt.state), self.say(run, attempt)

    def compare_answer(self, run: Run, passage: Passage, how: str, answer: Pair) -> None:
        after = settle(self.flow, run, passage, answer.ours, LATER * 1000).run
        twin = modelled(run)
        name, safe = passage.state, not passage.submission
        expected = self.model.settle(twin, name, safe, how, name, answer.modelled, LATER, passage.by_get)
        assert bool(after.trail) == (expected is not None), self.say(run, passage, answer)
        if expected is not None:
            assert facts(after) == expected.facts(), self.say(run, passage, answer)
        self.compared += 1
        found = at_the_beginning(after)
        if found not in self.known:
            self.known.add(found)
            self.runs.append(found)

    def say(self, *where: Any) -> str:
        return f"{self.world.paths} {self.world.options}\n" + "\n".join(map(str, where))


def described(verdict: Verdict) -> tuple[str, str, int]:
    """A verdict of ours in the words of the model."""
    if not isinstance(verdict, Passage):
        return "refuse", verdict.reason.value, verdict.line
    how = verdict.kind.value
    if how == "stay":
        how = "submit" if verdict.submission else "reload"
    return "pass", how, verdict.line


# --- the tests -------------------------------------------------------------------------------------------------------

Compared = Callable[[list[World]], int]


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Without a measurement of coverage, which would take twice as long again: other tests measure all of this."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture
def compared() -> Compared:
    """Search worlds, and print how much was compared: a search that ends early would be no proof, unnoticed."""

    def compare(found: list[World]) -> int:
        total = sum(Explorer(world).explore() for world in found)
        print(f"{total:,} decisions and settled answers in {len(found):,} worlds")
        return total

    return compare


def test_the_core_and_the_model_agree_in_every_world_of_up_to_two_states(compared: Compared) -> None:
    assert compared([world for size in (1, 2) for count in (0, 1, 2) for world in worlds(size, count)]) > 100_000


@pytest.mark.slow
def test_the_core_and_the_model_agree_in_every_world_of_three_states(compared: Compared) -> None:
    assert compared(worlds(3, 0) + worlds(3, 1)) > 1_500_000


@pytest.mark.slow
def test_the_core_and_the_model_agree_with_every_pair_of_flags_on_a_cycle(compared: Compared) -> None:
    assert compared([world for world in worlds(3, 2) if world.edges == CYCLE]) > 400_000


@pytest.mark.slow
@pytest.mark.parametrize(("size", "count"), SHARE)
def test_the_core_and_the_model_agree_in_worlds_of_more_flags(size: int, count: int, compared: Compared) -> None:
    most = {(2, 3): 500_000, (3, 2): 21_000_000, (3, 3): 210_000_000}[size, count]
    assert compared(worlds(size, count)[:: SHARE[size, count]]) > most // SHARE[size, count]
