"""A flow that is being read: each entry by itself, then what the entries say of each other.

Nothing is raised: what is wrong is written down where it was found, so that it is listed in the order of declaration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from flowguard.codec import INSTANCE
from flowguard.config import checks, keys
from flowguard.config.checks import Reference
from flowguard.config.keys import Parameters
from flowguard.config.places import WRONG, Place, kind
from flowguard.config.settings import FLOW_OPTIONS, STATE_KEYS, read, unknown_key, unknown_option
from flowguard.core.flow import SAFE, Condition
from flowguard.errors import Problem

#: Checks werkzeug rules: (position, sentence) of each that is wrong.
CheckRules = Callable[[Sequence[str]], Sequence[tuple[int, str]]]


class Takes(NamedTuple):
    """What the paths of a state take: a GET, and any unsafe method."""

    get: bool = False
    unsafe: bool = False


class Declared:
    """What a flow was declared with, not yet read.

    conditions: (from, to, condition) of each that was declared apart; `to` is None for one of entering *from* itself.
    origin: what the key paths of its problems begin with, such as a file's name. Reading seals it: what would be
    declared later would be lost.
    """

    def __init__(self, paths: Any, options: Mapping[str, Any], origin: str = "") -> None:
        self.paths = paths
        self.options = options
        self.origin = origin
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
    parameters: Parameters = ()
    alias: Optional[str] = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The state or companion that it belongs to."""
        return self.alias or self.values["state"] or self.written

    @property
    def companion(self) -> bool:
        return self.given.get("within") is not None or self.undoing

    @property
    def undoing(self) -> bool:
        return self.given.get("undoes") is not None

    @property
    def maker(self) -> str:
        """The key that makes it a companion."""
        return "undoes" if self.undoing else "within"

    @property
    def unsafe(self) -> bool:
        """Does it take an unsafe method?"""
        return self.methods is None or bool(self.methods - SAFE)

    @property
    def references(self) -> list[Reference]:
        """Every state that this entry names."""
        if self.companion:
            return [*(self.values["within"] or ()), *(self.values["undoes"] or ())]
        return [*self.values["to"], *(one for group in self.values["requires"] for one in group)]


class Draft:
    """A flow, as far as it could be read."""

    def __init__(self, declared: Declared) -> None:
        self.name = _name(declared.options)
        self.place = Place(declared.origin + self.name, [])
        self.options = read(declared.options, FLOW_OPTIONS, self.place.option, unknown_option)
        self.entries = [_entry(key, value, self.place) for key, value in _items(declared.paths, self.place)]
        self.states: dict[str, Entry] = {}
        self.companions: dict[str, Entry] = {}
        self.late: list[Problem] = []  # with what was declared beside the dict

    @property
    def cookie_name(self) -> str:
        return self.options["cookie_name"] or f"flowguard-{self.name}"

    @property
    def cookies(self) -> tuple[str, str]:
        """The names that the flow's cookies have: the run's, and the note's beside it (see `notes`)."""
        return self.cookie_name, f"{self.cookie_name}-note"

    def may_make(self, cookie: str) -> bool:
        """Is it the name of a cookie of this flow, or could it be of one of its instances (see `instances`)?"""
        of_instance = bool(self.options["instance"]) and cookie[:-INSTANCE] == f"{self.cookie_name}-"
        return of_instance or cookie in self.cookies

    @property
    def problems(self) -> list[Problem]:
        return [*self.place.problems, *(found for entry in self.entries for found in entry.place.problems), *self.late]

    @property
    def rules(self) -> list[tuple[str, Place]]:
        """Every path of the flow, its `reset` last, and where it was written."""
        found = [(entry.rule, entry.place) for entry in self.entries if entry.rule]
        reset = self.options["reset"]
        return [*found, (reset, self.place.option("reset"))] if reset else found

    @cached_property
    def takes(self) -> Mapping[str, Takes]:
        """What the paths of each state and companion take."""
        found: dict[str, Takes] = {}
        for entry in self.entries:
            methods = entry.methods
            before = found.get(entry.name, Takes())
            found[entry.name] = Takes(before.get or methods is None or "GET" in methods, before.unsafe or entry.unsafe)
        return found


def _name(options: Mapping[str, Any]) -> str:
    """The name that problems begin with: the flow's, if it is one."""
    name = options.get("name")
    return name if isinstance(name, str) and checks.flow_name(name, Place("", [])) is not WRONG else "flow"


def _items(paths: Any, place: Place) -> list[tuple[Any, Any]]:
    if not isinstance(paths, Mapping):
        place.wrong(f"is {kind(paths)}, not a dict of paths. Write {{'/cart': {{…}}}}.")
        return []
    if not paths:
        place.wrong("has no states. Declare at least one path, such as '/cart'.")
    return list(paths.items())


def _entry(written: Any, value: Any, flow: Place) -> Entry:
    entry = Entry(str(written), Place(flow.item(written).path, []))
    read_key = keys.parse(written, entry.place)
    if read_key is not WRONG:
        entry.rule, entry.methods, entry.parameters = read_key
    if isinstance(value, str):
        entry.alias = value
    elif isinstance(value, Mapping):
        entry.given = value
    else:
        entry.place.wrong(f"is {kind(value)}. Write a dict, or the name of the state that this path belongs to.")
    entry.values = read(entry.given, STATE_KEYS, entry.place.key, unknown_key)
    return entry
