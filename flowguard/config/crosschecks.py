"""What the entries of a flow say of each other, and flows of other flows."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

from flowguard.config.draft import CheckRules, Declared, Draft, Entry
from flowguard.config.keys import FORM
from flowguard.config.places import Place, did_you_mean
from flowguard.config.settings import COMPANION_KEYS, STATE_KEYS, UNDOING_KEYS
from flowguard.config.ties import check_ties
from flowguard.core.flow import Condition
from flowguard.patterns import variables_of


def read_draft(declared: Declared, ledger: bool) -> Draft:
    """Read a flow, but for what `check_together` says of several. ledger: whether there is one."""
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
    check_ties(found.entries)
    for entry in (*found.states.values(), *found.companions.values()):
        _check_effects(found, entry)
    _check_options(found)
    _check_variables(found)
    _check_places(found)
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


def _check_names(flow: Draft, entry: Entry) -> None:
    """Every name that an entry mentions is a state's, and not its own."""
    if entry.alias is not None:
        known = {**flow.states, **flow.companions}
        if entry.alias not in known:
            entry.place.wrong(_unknown(flow, entry.alias, known))
        return
    for reference in entry.references:
        if reference.name not in flow.states:
            reference.place.wrong(_no_state(flow, reference.name))
        elif reference.name == entry.name:
            reference.place.wrong(f"{reference.name!r} is the state itself. Remove it.")


def _no_state(flow: Draft, name: str) -> str:
    """What to say of a name that is no state's."""
    if name in flow.companions:
        return f"{name!r} is a companion (it has `{flow.companions[name].maker}`), not a state."
    return _unknown(flow, name, flow.states)


def _unknown(flow: Draft, name: str, known: Mapping[str, Entry]) -> str:
    for entry in flow.entries:
        written = entry.written if entry.parameters else entry.rule
        if name in (entry.written, written) and entry.name in known:
            return f"{name!r} is a path of the state {entry.name!r}. Write {entry.name!r}."
    return f"no state {name!r}.{did_you_mean(name, known)}"


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


def _check_effects(flow: Draft, entry: Entry) -> None:
    """Where a GET is a submission, there must be one, and it can't have to come later."""
    if not entry.values["effects"]:
        return
    if not flow.takes[entry.name].get:
        entry.place.key("effects").wrong("is True, but no path of it takes GET. Let one take it, or remove `effects`.")
    if entry.values["min_seconds"] is not None:
        entry.place.key("min_seconds").wrong("can't stand beside `effects`: whatever enters the state is a submission, "
                                             "and so always too fast. Write it for the state before.")  # fmt: skip


def _check_companion(entry: Entry) -> None:
    """A companion is no state: it has no state's keys."""
    given, at = entry.given, entry.place.key
    for key in given:
        if key in UNDOING_KEYS and not entry.undoing:
            at(key).wrong("can't stand beside `within` alone: such a path never changes a run. Remove it.")
        elif key in STATE_KEYS and key not in COMPANION_KEYS + UNDOING_KEYS:
            at(key).wrong(f"can't stand beside `{entry.maker}`: a companion is no step. Remove one of the two.")
    if given.get("within") in ([], ()):
        at("within").wrong("is empty: the path would always be refused. Name a state.")
    if given.get("undoes") in ([], ()):
        at("undoes").wrong("is empty: nothing would be undone. Name a state.")


def _check_options(flow: Draft) -> None:
    """What a flow's options say of each other, and of its paths."""
    options, at = flow.options, flow.place.option
    if options["cookie_samesite"] == "None" and options["cookie_secure"] is False:
        at("cookie_secure").wrong("is False, but browsers drop a SameSite=None cookie that is not Secure. "
                                  "Write 'auto' or True.")  # fmt: skip
    for entry in flow.entries:
        if entry.rule and entry.rule == options["reset"]:
            at("reset").wrong(f"is the path of {entry.written!r}. Use another: the guard answers it itself.")
    _check_openings(options["open"], options["fence"], at("open"))


def _check_openings(opened: Sequence[str], fences: Sequence[str], place: Place) -> None:
    for position, path in enumerate(opened):
        if path in fences and path != "/":
            place.item(position).wrong(f"is the whole fence. Write {path.rstrip('/')!r} for that page alone.")
        elif not path.startswith(tuple(fences)) and f"{path}/" not in fences:
            place.item(position).wrong("is under no fence of this flow, so it is open anyway. Remove it.")


def _check_variables(flow: Draft) -> None:
    """A variable that an option names is one that the paths have: runs are told apart by one that all of them have."""
    known = {name for entry in flow.entries for name in variables_of(entry.rule)}
    for one in flow.options["vary"]:
        if one.name not in known:
            one.place.wrong(f"no path has a variable {one.name!r}.{did_you_mean(one.name, known)}")
    instance, at = flow.options["instance"], flow.place.option("instance")
    if instance is None:
        return
    if instance in {one.name for one in flow.options["vary"]}:
        at.wrong(f"{instance!r} stands in `vary`, too: what changes in a run can't tell it. Remove one of the two.")
    if instance not in known:
        at.wrong(f"no path has a variable {instance!r}.{did_you_mean(instance, known)}")
        return
    for entry in flow.entries:
        if entry.rule and instance not in variables_of(entry.rule):
            entry.place.wrong(f"has no variable {instance!r}, by which the flow's runs are told apart (`instance`). "
                              "Put it into the path, or the path into another flow.")  # fmt: skip


def _check_places(flow: Draft) -> None:
    """Where parameters are looked for: those that keys name. Only a submission has a form."""
    places = flow.options["parameters"]
    known = {name for entry in flow.entries for name, _ in entry.parameters}
    for name in places:
        if name not in known:
            at = flow.place.option("parameters").item(name)
            at.wrong(f"no key has a parameter {name!r}.{did_you_mean(name, known)}")
    for entry in flow.entries:
        in_form = [name for name, _ in entry.parameters if places.get(name) == FORM]
        if in_form and (entry.methods is None or "GET" in entry.methods):
            entry.place.wrong(f"has {in_form[0]!r}, which stands in forms alone (`parameters`), and takes GET, which "
                              "has no form. Name its methods: 'POST /…'.")  # fmt: skip


def _add_condition(flow: Draft, source: str, to: Optional[str], condition: Condition) -> None:
    """A condition that was declared apart: of entering *source*, or of its transition to *to*."""
    place = Place(f"{flow.place.path}.condition({source!r}{'' if to is None else f', {to!r}'})", flow.late)
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
    """Where no state says that it is a start, the first one is."""
    if not flow.states:
        if flow.entries:
            flow.place.wrong("has no states: all its paths are companions or belong to others.")
        return
    first = next(iter(flow.states.values()))
    if not any(entry.values["start"] for entry in flow.states.values()):
        if first.given.get("start") is False:
            flow.place.wrong(
                f"has no start: {first.name!r}, its first state, says that it is none. Mark a state as start."
            )
        first.values["start"] = True
    _check_beginning(flow)


def _check_beginning(flow: Draft) -> None:
    """A `once` state, or one with `min_seconds`, is not submitted without a run: a run begins there by a GET alone."""
    starts = [entry for entry in flow.states.values() if entry.values["start"]]
    for entry in starts:
        safe = flow.takes[entry.name].get and not entry.values["effects"]
        if safe or not (entry.values["once"] or entry.values["min_seconds"]):
            return
    starts[0].place.wrong(
        "nobody could begin: no start takes a GET (without `effects`), and a state that is `once` or has "
        "`min_seconds` is not submitted before a run has begun. Let a start take GET."
    )


def check_together(flows: Sequence[Draft], check_rules: CheckRules) -> None:
    """Flows beside each other: their names, cookies and paths are their own (CONTRACT 2)."""
    names: set[str] = set()
    fences: dict[str, str] = {}
    for number, flow in enumerate(flows):
        at = flow.place.option
        if flow.name in names:
            at("name").wrong(f"two flows are named {flow.name!r}. Give each a name of its own.")
        others = (other for other in flows[:number] if other.name != flow.name)
        rival = next((other for other in others if _share_a_cookie(flow, other)), None)
        if rival is not None:
            at("cookie_name").wrong(
                f"{flow.cookie_name!r} is, or makes, a cookie of the flow {rival.name!r}. Choose another."
            )
        names.add(flow.name)
        for position, fence in enumerate(flow.options["fence"]):
            owner = fences.setdefault(fence, flow.name)
            if owner != flow.name:
                at("fence").item(position).wrong(f"is a fence of the flow {owner!r} too. Remove one.")
    _check_rules(flows, check_rules)


def _share_a_cookie(one: Draft, other: Draft) -> bool:
    return any(map(one.may_make, other.cookies)) or any(map(other.may_make, one.cookies))


def _check_rules(flows: Sequence[Draft], check_rules: CheckRules) -> None:
    """A rule belongs to one flow; and all of them together must make sense to whoever matches paths."""
    first: dict[str, tuple[Draft, Place]] = {}
    for flow in flows:
        for rule, place in flow.rules:
            owner, _ = first.setdefault(rule, (flow, place))
            if owner is not flow:
                place.wrong(f"is a path of the flow {owner.name!r} too. A path belongs to one flow.")
    places = [place for _, place in first.values()]
    for position, sentence in check_rules(list(first)):
        places[position].wrong(sentence)
