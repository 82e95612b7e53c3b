"""A dict of paths and some options become a `Plan`, or a `ConfigError` that names every problem at once (CONTRACT 2).

What there is to configure is said by three tables, `STATE_KEYS`, `FLOW_OPTIONS` and `GUARD_OPTIONS`; `draft` reads by
them, and here stands what comes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Optional, Sequence, Union

from flowguard.config.crosschecks import check_together, read_draft
from flowguard.config.draft import CheckRules, Declared, Draft, Entry
from flowguard.config.keys import FORM, QUERY, Parameters, query_of
from flowguard.config.places import Place, kind
from flowguard.config.safeguards import signing_keys
from flowguard.config.settings import FLOW_OPTIONS, GUARD_OPTIONS, STATE_KEYS, read, unknown_option
from flowguard.core.flow import NO_ANSWERS, Companion, Definition, State
from flowguard.errors import ConfigError, Problem

__all__ = [
    "FLOW_OPTIONS", "FORM", "GUARD_OPTIONS", "QUERY", "STATE_KEYS", "CheckRules", "Declared", "Key", "Options", "Plan",
    "configure", "read_declared", "read_flow", "signing_keys",
]  # fmt: skip


class Key(NamedTuple):
    """One key of the dict, read.

    written: as the deployer wrote it. rule: its werkzeug rule. methods: upper case, None for all of them; HEAD and
    OPTIONS are among them where GET is. name: the state or companion that it belongs to. alias: which is declared at
    another key. parameters: names and values, None for any value, in the order of names.
    """

    written: str
    rule: str
    methods: Optional[frozenset[str]]
    name: str
    alias: bool = False
    parameters: Parameters = ()

    @property
    def query(self) -> str:
        """What a URL of this key ends in: a question mark and the parameters; nothing where it has none."""
        return f"?{query_of(self.parameters)}" if self.parameters else ""


@dataclass(frozen=True)
class Options:
    """What of a flow the pure rules don't know: how it is shown, kept and told. `max_body` is in bytes."""

    ordered: bool
    on_refusal: object
    reset: Optional[str]
    bind: Optional[Union[str, Callable[[Any], Optional[str]]]]
    fence: tuple[str, ...]
    open: tuple[str, ...]
    mode: Union[str, Callable[[], str]]
    exempt: Optional[Callable[[Any], object]]
    cookie_name: str
    cookie_samesite: str
    cookie_secure: object
    cookie_domain: Optional[str]
    cookie_path: str
    preflight: bool
    max_body: int
    parameters: Mapping[str, str]
    entered: Optional[Callable[[Any], object]]
    refused: Optional[Callable[[Any], object]]
    finished: Optional[Callable[[Any], object]]
    texts: Optional[Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True)
class Plan:
    """A flow that loads: its definition for the rules, its keys for the paths, and the rest.

    where: the key path that problems with it begin with.
    """

    definition: Definition
    keys: tuple[Key, ...]
    options: Options
    where: str = field(compare=False)

    @cached_property
    def paths(self) -> Mapping[str, tuple[int, ...]]:
        """The positions in `keys` of the paths of each state and companion, in the order of declaration."""
        found: dict[str, tuple[int, ...]] = {}
        for position, key in enumerate(self.keys):
            found[key.name] = (*found.get(key.name, ()), position)
        return found


# --- building --------------------------------------------------------------------------------------------------------


def _plan(flow: Draft) -> Plan:
    """The plan of a flow in which nothing is wrong."""
    options = flow.options
    own = {**options, "cookie_name": flow.cookie_name}
    definition = Definition(
        name=flow.name,
        states={name: _state(flow, entry, before) for before, (name, entry) in enumerate(flow.states.items())},
        companions={name: _companion(entry) for name, entry in flow.companions.items()},
        restart=options["restart"],
        bind=options["bind"] is not None,
        instance=options["instance"],
        vary=frozenset(one.name for one in options["vary"]),
        ttl=options["ttl"],
        idle=options["idle"],
        reject=options["reject"],
    )
    keys = tuple(
        Key(entry.written, entry.rule, entry.methods, entry.name, entry.alias is not None, entry.parameters)
        for entry in flow.entries
    )
    return Plan(definition, keys, Options(**{one.name: own[one.name] for one in fields(Options)}), flow.place.path)


def _state(flow: Draft, entry: Entry, position: int) -> State:
    values = entry.values
    takes = flow.takes[entry.name]
    before = [(name,) for name in list(flow.states)[:position]] if flow.options["ordered"] else []
    requires = [tuple(one.name for one in group) for group in values["requires"]]
    return State(
        name=entry.name,
        start=bool(values["start"]),
        to={one.name: one.condition for one in values["to"]},
        requires=(*before, *(group for group in requires if group not in before)),
        submit=values["submit"] or values["once"],
        once=values["once"],
        repeat=values["repeat"],
        back=values["back"] or flow.options["back"],
        when=values["when"],
        accept=values["accept"] or NO_ANSWERS,
        reject=values["reject"] or NO_ANSWERS,
        effects=values["effects"],
        min_time=values["min_seconds"],
        max_time=values["max_seconds"],
        on_refusal=values["on_refusal"],
        get=takes.get and not values["effects"],
        unsafe=takes.unsafe or values["effects"],
    )


def _companion(entry: Entry) -> Companion:
    values = entry.values
    within = values["within"] if values["within"] is None else frozenset(one.name for one in values["within"])
    return Companion(
        name=entry.name,
        within=within,
        on_refusal=values["on_refusal"],
        undoes=frozenset(one.name for one in values["undoes"] or ()),
        accept=values["accept"] or NO_ANSWERS,
        reject=values["reject"] or NO_ANSWERS,
        effects=values["effects"],
    )


# --- the way in ------------------------------------------------------------------------------------------------------


def read_flow(
    paths: Any, options: Mapping[str, Any], problems: list[Problem], check_rules: CheckRules, *, ledger: bool = True
) -> Optional[Plan]:
    """The plan of a dict of paths, or None; what is wrong is appended to *problems*.

    ledger: whether there is one, which `once` needs.
    """
    return read_declared(Declared(paths, options), problems, check_rules, ledger=ledger)


def read_declared(
    declared: Declared, problems: list[Problem], check_rules: CheckRules, *, ledger: bool = True
) -> Optional[Plan]:
    """The same for a flow that was declared piece by piece."""
    flow = read_draft(declared, ledger)
    check_together([flow], check_rules)
    problems += flow.problems
    return None if flow.problems else _plan(flow)


def configure(
    flow: Union[Mapping[str, Any], Declared, Sequence[Declared]],
    options: Mapping[str, Any],
    *,
    secret_key: Any,
    ledger: Any,
    ledger_wait: Any,
    ledger_lease: Any,
    check_rules: CheckRules,
    clock: Any = None,
    known: Sequence[Problem] = (),
) -> tuple[tuple[Plan, ...], Mapping[str, Any]]:
    """The plans of a guard, in order, and the values of its own options.

    flow: a dict of paths, whose options are *options*; a `Flow`; or a list of them. ledger_wait, ledger_lease: seconds.
    ledger: only whether there is one is looked at. known: problems that were found elsewhere, to be raised with ours.
    Raises `ConfigError` with every problem of all flows and of the guard's own options.
    """
    top: list[Problem] = []
    own = {"secret_key": secret_key, "ledger": ledger, "ledger_wait": ledger_wait, "ledger_lease": ledger_lease,
           "clock": clock}  # fmt: skip
    values = read(own, GUARD_OPTIONS, lambda name: Place(name, top), unknown_option)
    drafts = [read_draft(declared, ledger is not None) for declared in _declared(flow, options, top)]
    check_together(drafts, check_rules)
    problems = [*top, *known, *(found for one in drafts for found in one.problems)]
    if problems:
        raise ConfigError(problems)
    return tuple(_plan(one) for one in drafts), values


def _declared(flow: Any, options: Mapping[str, Any], problems: list[Problem]) -> list[Declared]:
    """The flows that a guard was given."""
    if isinstance(flow, Mapping):
        return [Declared(flow, options)]
    for name in options:
        Place(name, problems).wrong(
            f"is an option of a flow. Write Flow({{…}}, {name}=…)." if name in FLOW_OPTIONS else unknown_option(name)
        )
    if isinstance(flow, Declared):
        return [flow]
    place = Place("flow", problems)
    if not isinstance(flow, (list, tuple)) or not flow:
        what = "an empty list" if flow in ([], ()) else kind(flow)
        place.wrong(f"is {what}. Give a dict of paths, a Flow, or a list of Flows.")
        return []
    return list(_only_flows(flow, place))


def _only_flows(flows: Sequence[Any], place: Place) -> Iterator[Declared]:
    for position, one in enumerate(flows):
        if not isinstance(one, Declared):
            place.item(position).wrong(f"is {kind(one)}. In a list, write Flow({{…}}, name='…').")
        elif any(one is other for other in flows[:position]):
            place.item(position).wrong("is the same Flow again. Remove it.")
        else:
            yield one
