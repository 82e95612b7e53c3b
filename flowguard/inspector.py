"""Looks at a guard before anybody visits it, for what its author may not have meant: `check`.

What the rules can tell is found by `core.lints`; here it gets its key path, and what paths, cookies and the deployment
add. Nothing is served, and no ledger is asked.
"""

from __future__ import annotations

import re
import secrets
from difflib import get_close_matches
from typing import Any, Callable, Iterator, NamedTuple, Optional

from werkzeug.exceptions import NotFound

from flowguard.config import Plan
from flowguard.core.flow import SAFE
from flowguard.core.lints import lints
from flowguard.core.survey import Survey
from flowguard.findings import Finding, finding
from flowguard.gate import Gate
from flowguard.ledgers.memory import MemoryLedger
from flowguard.middleware import FlowGuard
from flowguard.overlaps import overlaps, swallowed_below

LARGE_COOKIE = 2048  # bytes, attributes included: half of what a server with 3,900 bytes of headers in all has room for

# RFC 9110, 9, and PATCH (RFC 5789): what forms and scripts send.
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_FOREIGN = re.compile(r"\{[^/]*\}|(?<=/)[:*][^/]*")


class Deployment(NamedTuple):
    """What no configuration tells. pages: the application answers forms by pages. workers: processes that serve it."""

    pages: bool = False
    workers: int = 1


class Report(NamedTuple):
    """findings: those of each flow in the order of its paths. cut_short: the names of flows that have too many runs to
    try all; of these, some may be missing."""

    findings: tuple[Finding, ...]
    cut_short: tuple[str, ...]


def check(flow: Any, *, pages: bool = False, workers: int = 1, **options: Any) -> tuple[Finding, ...]:
    """What the author of *flow* may not have meant; nothing, if all is fine. Raises `ConfigError` for what is wrong.

    flow: a `FlowGuard`, or what one is made of: a dict of paths with its *options*, a `Flow`, or a list of them.
    pages: the application answers forms by pages, also where they succeed. workers: processes that will serve it.
    """
    guard = flow if isinstance(flow, FlowGuard) else bare_guard(flow, **options)
    return inspect(guard, Deployment(pages, workers)).findings


def bare_guard(flow: Any, **options: Any) -> FlowGuard:
    """A guard to be looked at. Making one finds all that is wrong, but for a secret: any will do."""
    return FlowGuard(NotFound(), flow, **{"secret_key": secrets.token_bytes(32), **options})


def inspect(guard: FlowGuard, deployment: Deployment) -> Report:
    """The whole of what can be said of *guard*."""
    found: list[Finding] = []
    cut_short = []
    for gate in guard.gates:
        survey = Survey(gate.flow, gate.plan.options.ordered, deployment.pages)
        found += _of_the_rules(gate.plan, survey)
        found += [one for look in _LOOKS for one in look(gate)]
        cut_short += [] if survey.complete else [gate.flow.name]
    found += _of_the_paths(guard)
    found += _of_the_ledger(guard, deployment)
    return Report(tuple(found), tuple(cut_short))


def _of_the_rules(plan: Plan, survey: Survey) -> list[Finding]:
    """By the place of their states; those of the flow come first."""
    place = {name: places[0] for name, places in plan.paths.items()}
    found = sorted(lints(survey), key=lambda lint: -1 if lint.state is None else place[lint.state])
    return [finding(lint.id, _where(plan, lint.state, lint.key), **lint.details) for lint in found]


def _where(plan: Plan, name: Optional[str], key: str) -> str:
    """The key path of a state's *key*, where the state is declared; of the flow itself without a *name*."""
    written = [key.written for key in plan.keys if key.name == name and not key.alias]
    return plan.where + (f"[{written[0]!r}]" if written else "") + (f".{key}" if key else "")


# --- one flow's paths and cookies ------------------------------------------------------------------------------------


def _loose_rules(gate: Gate) -> Iterator[Finding]:
    """Said once of what lies below a prefix; not where each path has a run of its own."""
    plan, said = gate.plan, set()
    for key in plan.keys:
        below = swallowed_below(key.rule)
        if below is None or below in said or below.startswith(tuple(plan.options.fence)) or plan.definition.instance:
            continue
        said.add(below)
        yield finding("loose-rule", f"{plan.where}[{key.written!r}]", below=below)


def _parameters_only(gate: Gate) -> Iterator[Finding]:
    plan = gate.plan
    plain = {key.rule for key in plan.keys if not key.parameters}
    named = {key.rule: key.written for key in reversed(plan.keys) if key.rule not in plain}
    for rule, written in sorted(named.items()):
        yield finding("parameters-only", f"{plan.where}[{written!r}]", rule=rule)


def _by_absence(gate: Gate) -> Iterator[Finding]:
    """A step that is done once should be known by what makes the application do it."""
    plan = gate.plan
    told = plan.options.parameters
    told_apart = {key.rule for key in plan.keys if any(name not in told for name, _ in key.parameters)}
    for key in plan.keys:
        state = gate.flow.states.get(key.name)
        if state and state.once and key.rule in told_apart and not key.parameters and key.methods != SAFE:
            yield finding("by-absence", f"{plan.where}[{key.written!r}]", rule=key.rule, state=key.name)


def _foreign_syntax(gate: Gate) -> Iterator[Finding]:
    """Variables as other frameworks write them. A colon or a star may stand in a path; such a whole segment hardly."""
    plan = gate.plan
    for key in plan.keys:
        foreign = _FOREIGN.search(key.rule)
        if foreign:
            yield finding("foreign-syntax", f"{plan.where}[{key.written!r}]", part=foreign[0])


def _odd_method(gate: Gate) -> Iterator[Finding]:
    plan = gate.plan
    for key in plan.keys:
        for method in sorted((key.methods or SAFE).difference(METHODS)):
            for meant in get_close_matches(method, METHODS, 1):
                yield finding("odd-method", f"{plan.where}[{key.written!r}]", method=method, meant=meant)


def _idle_without_effect(gate: Gate) -> Iterator[Finding]:
    flow = gate.flow
    if flow.idle is not None and flow.idle >= flow.ttl:
        yield finding("idle-without-effect", f"{gate.plan.where}(idle)")


def _large_cookie(gate: Gate) -> Iterator[Finding]:
    if gate.largest_cookie > LARGE_COOKIE:
        yield finding("large-cookie", gate.plan.where, size=gate.largest_cookie)


def _strict_cookie(gate: Gate) -> Iterator[Finding]:
    """Where an answer that leads to another site is a success, its visitors come back from there."""
    if gate.plan.options.cookie_samesite != "Strict":
        return
    globs = [glob.text for state in gate.flow.states.values() for glob in state.accept.globs]
    elsewhere = [text for text in globs if text[:1] not in ("/", "*")]
    if elsewhere:
        yield finding("strict-cookie", f"{gate.plan.where}(cookie_samesite)", entry=elsewhere[0])


def _insecure_cookie(gate: Gate) -> Iterator[Finding]:
    if gate.plan.options.cookie_secure is False:
        yield finding("insecure-cookie", f"{gate.plan.where}(cookie_secure)")


_LOOKS: tuple[Callable[[Gate], Iterator[Finding]], ...] = (
    _loose_rules, _parameters_only, _by_absence, _foreign_syntax, _odd_method, _idle_without_effect,
    _large_cookie, _strict_cookie, _insecure_cookie,
)  # fmt: skip


# --- all flows --------------------------------------------------------------------------------------------------------


class _Rule(NamedTuple):
    """Where a rule is written first, and the states that its paths belong to."""

    where: str
    states: frozenset[tuple[str, str]]


def _of_the_paths(guard: FlowGuard) -> Iterator[Finding]:
    rules: dict[str, _Rule] = {}
    for gate in guard.gates:
        for rule, where, name in _written(gate.plan):
            known = rules.get(rule, _Rule(where, frozenset()))
            rules[rule] = known._replace(states=known.states | {(gate.flow.name, name)})
    listed = list(rules)
    for winner, loser, path in overlaps(listed):
        if rules[listed[winner]].states != rules[listed[loser]].states:
            yield finding("overlap", rules[listed[loser]].where, path=path, winner=listed[winner])


def _written(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Each rule of a flow, where it is written, and the state that it belongs to."""
    for key in plan.keys:
        yield key.rule, f"{plan.where}[{key.written!r}]", key.name
    if plan.options.reset is not None:
        yield plan.options.reset, f"{plan.where}(reset)", ""


def _of_the_ledger(guard: FlowGuard, deployment: Deployment) -> Iterator[Finding]:
    if isinstance(guard.ledger, MemoryLedger) and deployment.workers > 1:
        first = guard.gates[0].plan
        origin = first.where.removesuffix(first.definition.name)  # a file's name, if it is from one
        yield finding("memory-ledger", f"{origin}ledger", workers=deployment.workers)
