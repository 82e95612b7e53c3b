"""A flow that is being read: each entry by itself, then what the entries say of each other.

Nothing is raised: what is wrong is written down where it was found, so that it is listed in the order of declaration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional, Sequence

from flowguard import checks
from flowguard.checks import WRONG, Place, Reference, did_you_mean, kind
from flowguard.core.flow import Condition
from flowguard.errors import Problem
from flowguard.settings import COMPANION_KEYS, FLOW_OPTIONS, STATE_KEYS, read, unknown_key, unknown_option

#: Checks werkzeug rules: (position, sentence) of each that is wrong.
CheckRules = Callable[[Sequence[str]], Sequence[tuple[int, str]]]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Declared:
    """What a flow was declared with, not yet read.

    conditions: (from, to, condition) of each that was declared apart; `to` is None for one of entering *from* itself.
    Reading seals it: what would be declared later would be lost.
    """

    def __init__(self, paths: Any, options: Mapping[str, Any]) -> None:
        self.paths = paths
        self.options = options
        self.conditions: list[tuple[str, Optional[str], Condition]] = []
        self.sealed = False


@dataclass
class Entry:
    """One entry of the dict. `rule` is empty where its key could not be read; `alias` is what a string named."""

    written: str
    place: Place
    given: Mapping[Any, Any] = field(default_factory=dict)
    rule: str = ""
    methods: Optional[frozenset[str]] = None
    alias: Optional[str] = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The state or companion that it belongs to."""
        return self.alias or self.values["state"] or self.written

    @property
    def companion(self) -> bool:
        return self.given.get("within") is not None

    @property
    def references(self) -> list[Reference]:
        """Every state that this entry names."""
        if self.companion:
            return list(self.values["within"] or ())
        return [*self.values["to"], *(one for group in self.values["requires"] for one in group)]


class Draft:
    """A flow, as far as it could be read."""

    def __init__(self, declared: Declared) -> None:
        self.name = _name(declared.options)
        self.place = Place(self.name, [])
        self.options = read(declared.options, FLOW_OPTIONS, self.place.option, unknown_option)
        self.entries = [_entry(key, value, self.place) for key, value in _items(declared.paths, self.place)]
        self.states: dict[str, Entry] = {}
        self.companions: dict[str, Entry] = {}
        self.late: list[Problem] = []  # with what was declared beside the dict

    @property
    def cookie_name(self) -> str:
        return self.options["cookie_name"] or f"flowguard-{self.name}"

    @property
    def problems(self) -> list[Problem]:
        return [*self.place.problems, *(found for entry in self.entries for found in entry.place.problems), *self.late]

    @property
    def rules(self) -> list[tuple[str, Place]]:
        """Every path of the flow, its `reset` last, and where it was written."""
        found = [(entry.rule, entry.place) for entry in self.entries if entry.rule]
        reset = self.options["reset"]
        return [*found, (reset, self.place.option("reset"))] if reset else found

    def takes(self, name: str) -> tuple[bool, bool]:
        """Do the paths of *name* take a GET, and any method that is not safe?"""
        methods = [entry.methods for entry in self.entries if entry.name == name]
        return (
            any(some is None or "GET" in some for some in methods),
            any(some is None or bool(some - SAFE) for some in methods),
        )


def _name(options: Mapping[str, Any]) -> str:
    """The name that problems begin with: the flow's, if it is one."""
    name = options.get("name")
    return name if isinstance(name, str) and checks.flow_name(name, Place("", [])) is not WRONG else "flow"


def _items(paths: Any, place: Place) -> list[tuple[Any, Any]]:
    if not isinstance(paths, Mapping):
        place.wrong(f"is {kind(paths)}, not a dict of paths. Write {{'/cart': {{…}}}}.")
        return []
    if not paths:
        place.wrong("has no states. Declare at least one path, such as {'/cart': {…}}.")
    return list(paths.items())


def _entry(written: Any, value: Any, flow: Place) -> Entry:
    entry = Entry(str(written), Place(flow.item(written).path, []))
    read_key = checks.key(written, entry.place)
    if read_key is not WRONG:
        entry.rule, entry.methods = read_key
    if isinstance(value, str):
        entry.alias = value
    elif isinstance(value, Mapping):
        entry.given = value
    else:
        entry.place.wrong(f"is {kind(value)}. Write a dict, or the name of the state that this path belongs to.")
    entry.values = read(entry.given, STATE_KEYS, entry.place.key, unknown_key)
    return entry


def read_draft(declared: Declared, check_rules: CheckRules, ledger: bool) -> Draft:
    """Read a flow. ledger: whether there is one."""
    declared.sealed = True
    found = Draft(declared)
    _tell_apart(found)
    for entry in found.entries:
        _check_names(found, entry)
    for entry in found.states.values():
        _check_state(entry, ledger)
        _check_limits(entry)
    for entry in found.companions.values():
        _check_companion(entry)
    _check_rules(found, check_rules)
    _check_options(found)
    for source, to, condition in declared.conditions:
        _add_condition(found, source, to, condition)
    _check_starts(found)
    return found


def _tell_apart(flow: Draft) -> None:
    """Which entries are states, and which companions; aliases belong to either."""
    for entry in flow.entries:
        if entry.alias is not None:
            continue
        known = flow.states.get(entry.name) or flow.companions.get(entry.name)
        if known is None:
            (flow.companions if entry.companion else flow.states)[entry.name] = entry
            continue
        place = entry.place.key("state") if entry.values["state"] else entry.place
        remedy = f"For one state of two paths write {entry.written!r}: {entry.name!r}."
        place.wrong(f"{entry.name!r} is the name of {known.written!r} already. {remedy}")


# --- what entries say of each other ----------------------------------------------------------------------------------


def _check_names(flow: Draft, entry: Entry) -> None:
    """Every name that an entry mentions is a state's, and not its own."""
    if entry.alias is not None:
        if entry.alias not in flow.states and entry.alias not in flow.companions:
            entry.place.wrong(_no_state(flow, entry.alias))
        return
    for reference in entry.references:
        if reference.name not in flow.states:
            reference.place.wrong(_no_state(flow, reference.name))
        elif reference.name == entry.name:
            reference.place.wrong(f"{reference.name!r} is the state itself. Remove it.")


def _no_state(flow: Draft, name: str) -> str:
    """What to say of a name that is no state's."""
    if name in flow.companions:
        return f"{name!r} is a companion (it has `within`), not a state."
    for entry in flow.entries:
        if name in (entry.written, entry.rule) and entry.name in flow.states:
            return f"{name!r} is a path of the state {entry.name!r}. Write {entry.name!r}."
    return f"no state {name!r}.{did_you_mean(name, flow.states)}"


def _check_state(entry: Entry, ledger: bool) -> None:
    """What one state's keys say of each other."""
    given, values, at = entry.given, entry.values, entry.place.key
    if given.get("end") is True and values["to"]:
        at("end").wrong("is True, but `to` names successors. Remove one of the two.")
    if given.get("end") is False and not given.get("to"):
        at("end").wrong("is False, but `to` is empty: nothing can follow. Name a successor, or remove it.")
    if not values["once"]:
        return
    if given.get("submit") is False:
        at("submit").wrong("is False, but `once` implies it. Remove one of the two.")
    if values["repeat"]:
        at("once").wrong("can't stand beside `repeat`. Remove one of the two.")
    if not ledger:
        at("once").wrong("needs a ledger, and `ledger` is None. Give the guard a ledger, or write `submit`.")


def _check_limits(entry: Entry) -> None:
    least, most = entry.values["min_seconds"], entry.values["max_seconds"]
    if least is not None and most is not None and least > most:
        given = entry.given
        entry.place.key("min_seconds").wrong(
            f"is {given['min_seconds']}, more than max_seconds ({given['max_seconds']}): nobody could leave in time."
        )


def _check_companion(entry: Entry) -> None:
    """A companion is no state: it has no state's keys."""
    for key in entry.given:
        if key in STATE_KEYS and key not in COMPANION_KEYS:
            entry.place.key(key).wrong("can't stand beside `within`: a companion is no step. Remove one of the two.")
    if entry.given["within"] in ([], ()):
        entry.place.key("within").wrong("is empty: the path would always be refused. Name a state.")


def _check_rules(flow: Draft, check_rules: CheckRules) -> None:
    """Rules that werkzeug can't use, and keys that claim the same requests."""
    places: dict[str, Place] = {}
    for rule, place in flow.rules:
        places.setdefault(rule, place)
    for position, sentence in check_rules(list(places)):
        list(places.values())[position].wrong(sentence)
    keyed = [entry for entry in flow.entries if entry.rule]
    for position, entry in enumerate(keyed):
        for other in keyed[:position]:
            if checks.shape(other.rule) == checks.shape(entry.rule):
                _check_pair(other, entry)


def _check_pair(first: Entry, second: Entry) -> None:
    """Two keys of the same path must spell it in the same way, and name different methods."""
    if first.rule != second.rule:
        second.place.wrong(f"is the path of {first.written!r} in another spelling. Write it as there, or remove one.")
    elif first.methods is None or second.methods is None:
        every = "this key" if second.methods is None else repr(first.written)
        second.place.wrong(f"is the path of {first.written!r} too, and {every} takes every method. "
                           "Name different methods in each, or remove one.")  # fmt: skip
    elif first.methods & second.methods:
        shared = ", ".join(sorted(first.methods & second.methods))
        second.place.wrong(f"{first.written!r} takes {shared} too. Name different methods in each.")


def _check_options(flow: Draft) -> None:
    """What a flow's options say of each other, and of its paths."""
    options, at = flow.options, flow.place.option
    if options["cookie_samesite"] == "None" and options["cookie_secure"] is False:
        at("cookie_secure").wrong("is False, but browsers drop a SameSite=None cookie that is not Secure. "
                                  "Write 'auto' or True.")  # fmt: skip
    for entry in flow.entries if options["reset"] else ():
        if entry.rule and checks.shape(entry.rule) == checks.shape(options["reset"]):
            at("reset").wrong(f"is the path of {entry.written!r}. Use another: the guard answers it itself.")


def _add_condition(flow: Draft, source: str, to: Optional[str], condition: Condition) -> None:
    """A condition that was declared apart: of entering *source*, or of its transition to *to*."""
    place = Place(f"{flow.name}.condition({source!r}{'' if to is None else f', {to!r}'})", flow.late)
    entry = flow.states.get(source)
    if entry is None:
        place.wrong(_no_state(flow, source))
    elif to is not None:
        _add_to_transition(flow, entry, to, condition, place)
    elif entry.values["when"] is None:
        entry.values["when"] = condition
    else:
        place.wrong(f"{source!r} has a condition (`when`) already. Remove one.")


def _add_to_transition(flow: Draft, entry: Entry, to: str, condition: Condition, place: Place) -> None:
    successors = {reference.name: reference for reference in entry.values["to"]}
    if to not in flow.states:
        place.wrong(_no_state(flow, to))
    elif to not in successors:
        place.wrong(f"there is no transition from {entry.name!r} to {to!r}. Add {to!r} to the `to` of {entry.name!r}.")
    elif successors[to].condition is not None:
        place.wrong("the transition has a condition already. Remove one.")
    else:
        successors[to] = successors[to]._replace(condition=condition)
        entry.values["to"] = list(successors.values())


def _check_starts(flow: Draft) -> None:
    """A start that nobody has named is the first state; and a run must be able to begin."""
    if not flow.states:
        if flow.entries:
            flow.place.wrong("has no states: all its paths are companions or belong to others.")
        return
    starts = [entry for entry in flow.states.values() if entry.values["start"]]
    first = next(iter(flow.states.values()))
    if not starts and first.given.get("start") is False:
        flow.place.wrong(f"has no start: {first.name!r}, its first state, says that it is none. Mark a state as start.")
        return
    if not starts:
        first.values["start"] = True
        starts = [first]
    if not any(_can_begin(flow, entry) for entry in starts):
        flow.place.wrong("no run can begin: no start takes a GET, or a submission that needs no run before it.")


def _can_begin(flow: Draft, entry: Entry) -> bool:
    """A `once` submission, and one with `min_seconds`, needs a run first (CONTRACT 3, line 1)."""
    get, unsafe = flow.takes(entry.name)
    return get or (unsafe and not entry.values["once"] and entry.values["min_seconds"] is None)


def check_together(flows: Sequence[Draft]) -> None:
    """Several flows: their names, cookies and paths are their own (CONTRACT 2)."""
    cookies: dict[str, str] = {}
    paths: dict[str, str] = {}
    for flow in flows:
        at = flow.place.option
        if flow.name in cookies.values():
            at("name").wrong(f"two flows are named {flow.name!r}. Give each a name of its own.")
        elif flow.cookie_name in cookies:
            at("cookie_name").wrong(f"is the cookie of the flow {cookies[flow.cookie_name]!r} too. Give each its own.")
        cookies.setdefault(flow.cookie_name, flow.name)
        shapes = [(checks.shape(rule), place) for rule, place in flow.rules]
        for shape, place in shapes:
            if shape in paths:
                place.wrong(f"is a path of the flow {paths[shape]!r} too. A path belongs to one flow.")
        paths.update((shape, flow.name) for shape, _ in shapes)
