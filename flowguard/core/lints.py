"""What would surprise whoever wrote a flow, and can be known before anybody visits it: `check` says it.

Every lint is a function from a `Survey` to what it finds; `LINTS` is their list. The words are in `flowguard.findings`.
"""

from __future__ import annotations

from typing import Callable, Iterator, Mapping, NamedTuple, Optional

from flowguard.core.flow import NO_ANSWERS, Answers, Glob
from flowguard.core.passage import completed, usable
from flowguard.core.run import Run, exhausted
from flowguard.core.survey import Survey


class Lint(NamedTuple):
    """Something that was found: `findings` has the words.

    id: what it is. state: the state (or companion) where it is, None for the flow. key: the state's key that is to
    blame, or empty. details: what the words need.
    """

    id: str
    state: Optional[str] = None
    key: str = ""
    details: Mapping[str, object] = {}


def _unreachable(survey: Survey) -> Iterator[Lint]:
    """What can't be entered for its `requires` is said there."""
    blamed = {lint.state for lint in _requires(survey) if lint.id == "requires-unmet"}
    yield from (Lint("unreachable", name) for name in survey.states if name not in survey.entered | blamed)
    for companion in survey.flow.companions.values():
        if companion.within is not None and companion.within.isdisjoint(survey.entered):
            yield Lint("never-within", companion.name, "within")


def _ends(survey: Survey) -> Iterator[Lint]:
    """Where no run comes to any end, what is wrong is at the ends."""
    if not survey.ends:
        yield Lint("no-end")
    elif survey.entered.intersection(survey.ends):
        hopeless = survey.hopeless & survey.entered
        yield from (Lint("dead-end", name, "to") for name in survey.states if name in hopeless)
        yield from _caught_elsewhere(survey)


def _caught_elsewhere(survey: Survey) -> Iterator[Lint]:
    """One for each state where a run may be caught though others get through; the nearest such run stands for all."""
    runs = [run for run in survey.caught if survey.hopeless.isdisjoint(run.trail)]
    staying = [run for run in runs if all(step.after.current == run.current for step in survey.visits.steps[run])]
    nearest: dict[str, Run] = {}
    for run in staying or runs[:1]:
        nearest.setdefault(run.trail[-1], run)
    for name, run in nearest.items():
        id = "exits-used-up" if exhausted(survey.flow, run) else "stuck"
        yield Lint(id, name, "to", {"way": " -> ".join(survey.way(run))})


def _requires(survey: Survey) -> Iterator[Lint]:
    for name, state in survey.states.items() if survey.complete else ():
        groups = survey.written(state)
        runs = survey.occasions(name) if groups else []
        for group in groups:
            met = {any(completed(survey.flow, run, one) for one in group) for run in runs}
            details = {"group": " or ".join(map(repr, group))}
            if met == {False}:
                yield Lint("requires-unmet", name, "requires", details)
            elif met == {True} or (state.start and not met):
                yield Lint("requires-redundant", name, "requires", details)


def _never_in_time(survey: Survey) -> Iterator[Lint]:
    for name, state in survey.states.items():
        if state.min_time is not None and usable(survey.flow, Run("", trail=(name,)), state.min_time) is not None:
            yield Lint("never-in-time", name, "min_seconds")


def _posts(survey: Survey) -> Iterator[Lint]:
    """What states with `effects` take is their nature; and at an end nobody has to be led on."""
    for name, state in survey.states.items():
        if state.effects:
            continue
        if not state.get and not state.end:
            yield Lint("post-only", name, details={"state": name})
        if state.submit and not state.unsafe:
            yield Lint("submit-without-post", name, details={"state": name})


def _rejected(survey: Survey) -> Iterator[Lint]:
    """What of an `accept` has no effect."""
    for name, state in survey.states.items():
        for entry in _always_rejected(state.accept, state.reject, survey.flow.reject):
            yield Lint("accept-rejected", name, "accept", {"entry": entry})


def _always_rejected(accept: Answers, reject: Answers, everywhere: Answers) -> Iterator[object]:
    """A text that another stands in is never found without it; and a glob that matches another's text, its stars taken
    as they stand, matches whatever that one does."""
    globs = (*reject.globs, *everywhere.globs)
    yield from sorted(accept.statuses & reject.statuses)
    yield from (one.text for one in accept.globs if any(_covers(glob, one) for glob in globs))
    yield from (f"body:{one}" for one in sorted(accept.texts) if any(text in one for text in reject.texts))


def _covers(glob: Glob, other: Glob) -> bool:
    """On the same host, a glob without a ``?`` is compared with what stands before the query."""
    compared = other.text if "?" in glob.text else other.text.partition("?")[0]
    return glob.matches(compared) and (other.text[:1] == "/" or glob.matches(other.text))


def _pages(survey: Survey) -> Iterator[Lint]:
    """Of an application that answers forms by pages, as the deployer says, or an `accept` in the flow."""
    accepted = [state.accept for state in survey.states.values()]
    if survey.pages or any(200 in accept.statuses or accept.texts for accept in accepted):
        for name, state in survey.states.items():
            if state.once and not state.effects and state.accept == NO_ANSWERS:
                yield Lint("once-without-accept", name, "once")


LINTS: tuple[Callable[[Survey], Iterator[Lint]], ...] = (
    _unreachable, _ends, _requires, _never_in_time, _pages, _rejected, _posts,
)  # fmt: skip


def lints(survey: Survey) -> list[Lint]:
    """Everything that is found, in the order of `LINTS`."""
    return [found for lint in LINTS for found in lint(survey)]
