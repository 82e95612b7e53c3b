"""What there is to draw of a flow, in words: boxes, arrows, and what stands beside the steps."""

from __future__ import annotations

from collections import Counter
from typing import Iterator, NamedTuple, Optional

from flowguard.config import Plan
from flowguard.core.flow import REFUSE, Companion, Condition, State


class Box(NamedTuple):
    """A state. notes: all that is special about it, a few words each. paths: its keys, where its name is none of them
    or not the only one."""

    name: str
    notes: tuple[str, ...]
    paths: tuple[str, ...]
    start: bool
    end: bool
    once: bool


class Arrow(NamedTuple):
    """A transition. condition: what must agree, if anything."""

    source: str
    target: str
    condition: str = ""


class Aside(NamedTuple):
    """A companion. within: the states in which it is allowed, None for any. undoes: those that it takes back."""

    name: str
    paths: tuple[str, ...]
    within: Optional[tuple[str, ...]]
    undoes: tuple[str, ...]


class Drawing(NamedTuple):
    """A whole flow; `notes` hold for all its states."""

    name: str
    notes: tuple[str, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    asides: tuple[Aside, ...]


def drawing(plan: Plan) -> Drawing:
    """The drawing of a flow, in the order of its declaration."""
    flow, options = plan.definition, plan.options
    back = Counter(state.back for state in flow.states.values()).most_common(1)[0][0]
    notes = [f"back: {back}"] if back != REFUSE else []
    notes += ["ordered"] if options.ordered else []
    notes += ["restart"] if flow.restart else []
    notes += [f"reset: {options.reset}"] if options.reset else []
    places = {name: place if options.ordered else 0 for place, name in enumerate(flow.states)}
    return Drawing(
        flow.name,
        tuple(notes),
        tuple(_box(plan, state, back, places[state.name]) for state in flow.states.values()),
        tuple(
            Arrow(state.name, to, condition_name(condition)) for state in flow.states.values()
            for to, condition in state.to.items()
        ),
        tuple(_aside(plan, companion) for companion in flow.companions.values()),
    )  # fmt: skip


def condition_name(condition: Optional[Condition]) -> str:
    """``shop.rules:in_stock``; nothing for none."""
    if condition is None:
        return ""
    name = getattr(condition, "__qualname__", type(condition).__qualname__)
    return "a condition" if "<lambda>" in name else f"{condition.__module__}:{name.replace('<locals>.', '')}"


def _box(plan: Plan, state: State, back: str, implied: int) -> Box:
    """implied: how many of its requirements follow from `ordered`."""
    return Box(
        state.name, tuple(_notes(state, back, implied)), _paths(plan, state.name), state.start, state.end, state.once
    )


def _notes(state: State, back: str, implied: int) -> Iterator[str]:
    words = {"start": state.start, "end": state.end, "once": state.once, "submit": state.submit and not state.once,
             "repeat": state.repeat, "effects": state.effects}  # fmt: skip
    yield from (word for word, holds in words.items() if holds)
    if state.back != back:
        yield f"back: {state.back}"
    if len(state.requires) > implied:
        yield f"requires {' and '.join(_any(group) for group in state.requires[implied:])}"
    if state.when is not None:
        yield f"if {condition_name(state.when)}"
    if state.min_time is not None:
        yield f"at least {state.min_time / 1000:g} s"
    if state.max_time is not None:
        yield f"at most {state.max_time / 1000:g} s"


def _any(group: tuple[str, ...]) -> str:
    return group[0] if len(group) == 1 else f"({' or '.join(group)})"


def _paths(plan: Plan, name: str) -> tuple[str, ...]:
    keys = tuple(plan.keys[position].written for position in plan.paths[name])
    return () if keys == (name,) else keys


def _aside(plan: Plan, companion: Companion) -> Aside:
    order = list(plan.definition.states)
    within = None if companion.within is None else tuple(sorted(companion.within, key=order.index))
    return Aside(
        companion.name, _paths(plan, companion.name), within, tuple(sorted(companion.undoes, key=order.index))
    )
