"""A configuration as a TOML file, one to one with the dict of paths and the options (CONTRACT 2).

One flow stands at the top, its options and a table for each path; several are `[[flow]]` entries of the same shape:

    back = "edit"                     [[flow]]
                                      name = "checkout"
    [paths."/cart"]                   [flow.paths."/cart"]
    to = ["/pay"]                     to = ["/pay"]

    [guard]                           [guard]
    ledger = "sqlite:///flow.db"      ledger = "sqlite:///flow.db"

What may stand in them is said by the tables of `flowguard.config.settings`, and by nothing here.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Container, Iterable, Iterator, Mapping, Optional, Sequence, Union

from flowguard.config import FLOW_OPTIONS, GUARD_OPTIONS
from flowguard.config.places import Place, did_you_mean, kind
from flowguard.config.safeguards import secret
from flowguard.config.settings import read, unknown_option
from flowguard.errors import ConfigError, Problem
from flowguard.flow import Flow
from flowguard.ledgers import open_ledger

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: How a file says that there is no ledger, for TOML has no None.
NO_LEDGER = "none"

_FRAME = ("flow", "guard")
_FLOW_KEYS = (*FLOW_OPTIONS, "paths")
# A file can have every option of the guard but the secret.
_GUARD_OPTIONS = {name: row for name, row in GUARD_OPTIONS.items() if name != "secret_key"}
# What TOML's parser says of the slips that are made most, and what to do.
_REMEDIES = {
    "Invalid initial character for a key part": 'A path is written in quotes: [paths."/cart"].',
    "Invalid value": "Strings are written in quotes; TOML's words are true and false, and it has no None.",
}

At = Callable[[Any], Place]


@dataclass(frozen=True)
class Configuration:
    """What a file holds.

    flows: in its order, not yet looked into: a guard does that, or each flow's `plan`. guard: the guard's own options,
    but for the secret; each with its default if the file doesn't have it. problems: what is wrong with the rest.
    """

    flows: tuple[Flow, ...]
    guard: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()

    def override(self, options: Mapping[str, Any]) -> Configuration:
        """The same, with *options* in place of what the file says: those of the guard for its `[guard]`, those of a
        flow for those of each flow in it. What is wrong with them is added to the problems."""
        problems: list[Problem] = []
        known = {**FLOW_OPTIONS, **_GUARD_OPTIONS}
        read(options, known, lambda name: Place(name, problems), unknown_option)
        if problems:
            return replace(self, problems=(*self.problems, *problems))
        flows = tuple(with_options(flow, _only(options, FLOW_OPTIONS)) for flow in self.flows)
        return replace(self, flows=flows, guard={**self.guard, **_only(options, GUARD_OPTIONS)})


def read_file(path: Union[str, os.PathLike[str]]) -> Configuration:
    """Read the TOML file at *path*.

    Raises `ConfigError` if that is not possible. What is wrong in the file is among the problems of what it returns,
    or found by the guard that is made of the flows; either way it begins with the file's name.
    """
    file = os.fspath(path)
    document = _parse(file)
    problems: list[Problem] = []

    def at(key: Any) -> Place:
        return Place(f"{file}: {key}", problems)

    guard = _guard(document.pop("guard", {}), at("guard"))
    flows = [_flow(table, f"{file}: ", where, known) for table, where, known in _flow_tables(document, at)]
    return Configuration(tuple(flow for flow in flows if flow is not None), guard, tuple(problems))


def with_options(flow: Flow, options: Mapping[str, Any]) -> Flow:
    """A flow of a file anew, with *options* in place of its own."""
    return _made(flow.paths, {**flow.options, **options}, flow.origin)


def read_ledger(value: Any, place: Place) -> Any:
    """A ledger as it stands in a file or a variable, for `FlowGuard`: a URL or None; the default if it is wrong."""
    ledger = None if value == NO_LEDGER else value
    try:
        open_ledger(ledger)
    except ConfigError as error:
        place.problems.extend(Problem(place.path, problem.what) for problem in error.problems)
        return GUARD_OPTIONS["ledger"].default
    return ledger


def read_secrets(path: str, place: Place) -> list[str]:
    """The keys in the file at *path*: one a line, oldest first; empty lines don't count. No message shows one."""
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        place.wrong(f"{path!r} can't be read: {error.strerror if isinstance(error, OSError) else 'it is no UTF-8'}.")
        return []
    keys = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not keys:
        place.wrong(f"{path!r} is empty. Write a key into it; or several, one a line, oldest first.")
    for number, key in keys.items():
        secret(key, Place(f"{place.path}, line {number}", place.problems))
    return list(keys.values())


def _parse(file: str) -> dict[str, Any]:
    try:
        with open(file, "rb") as opened:
            return tomllib.load(opened)
    except OSError as error:
        where = "" if os.path.isabs(file) else f", seen from {os.getcwd()}"
        what = f"can't be read: {error.strerror}{where}."
    except UnicodeDecodeError as error:
        what = f"is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}."
    except tomllib.TOMLDecodeError as error:
        what = _syntax(str(error))
    raise ConfigError([Problem(file, what)])


def _syntax(said: str) -> str:
    """The parser's message, its place first: ``line 3, column 5: …``."""
    what, where = re.fullmatch(r"(.*) \(at (.*)\)", said, re.DOTALL).groups()  # type: ignore[union-attr]  # every one
    remedy = next((f" {remedy}" for slip, remedy in _REMEDIES.items() if what.startswith(slip)), "")
    return f"{where}: {what}.{remedy}"


def _flow_tables(document: dict[str, Any], at: At) -> Iterator[tuple[dict[str, Any], At, Sequence[str]]]:
    """The table of each flow, where its keys stand, and which may stand there."""
    if "flow" not in document:
        yield document, at, (*_FLOW_KEYS, *_FRAME)
        return
    for key in document:
        if key in _FLOW_KEYS:
            at(key).wrong("stands beside [[flow]]. Write it below the [[flow]] that it is for.")
        elif key not in _FRAME:
            at(key).wrong(_unknown(key, _FRAME))
    flows = document["flow"]
    if isinstance(flows, dict):
        at("flow").wrong("is a single table. Write [[flow]], in double brackets, above the first of each flow.")
        flows = [flows]
    if not isinstance(flows, list) or not all(isinstance(flow, dict) for flow in flows):
        at("flow").wrong(f"is {kind(flows)}. Write a [[flow]] for each flow.")
        return
    for position, flow in enumerate(flows):
        yield flow, at(flow.get("name", f"flow[{position}]")).option, _FLOW_KEYS


def _flow(table: Mapping[str, Any], origin: str, at: At, known: Sequence[str]) -> Optional[Flow]:
    for name in table:
        if name not in _FLOW_KEYS:
            at(name).wrong(_unknown(name, known))
    paths = table.get("paths", {})
    if not isinstance(paths, dict):
        at("paths").wrong(f'is {kind(paths)}. Write a table for each path, such as [paths."/cart"].')
        return None
    return _made(paths, _only(table, FLOW_OPTIONS), origin)


def _made(paths: Mapping[str, Any], options: Mapping[str, Any], origin: str) -> Flow:
    flow = Flow(paths, **options)
    flow.origin = origin
    return flow


def _only(options: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in known}


def _guard(table: Any, place: Place) -> dict[str, Any]:
    """The guard's options, each with its default if it is left out or wrong."""
    if not isinstance(table, dict):
        place.wrong(f"is {kind(table)}, not a table. Write [guard].")
        table = {}
    values = read(table, _GUARD_OPTIONS, place.key, lambda name: _unknown(name, _GUARD_OPTIONS))
    return {**values, "ledger": read_ledger(values["ledger"], place.key("ledger"))}


def _unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a key that stands where it means nothing."""
    if name == "secret_key":
        return (
            "is a secret, and a configuration file is shown around. Give it in the environment, FLOWGUARD_SECRET or "
            "FLOWGUARD_SECRET_FILE, or in the code, secret_key=…."
        )
    if name in GUARD_OPTIONS:
        return "is an option of the guard. Write it below [guard]."
    if name in FLOW_OPTIONS:
        return "is an option of a flow. Write it at the top of the file, or below the [[flow]] that it is for."
    if "/" in name:
        return "is a path. Write it below [paths]; or below [flow.paths], where there are several flows."
    return f"unknown key.{did_you_mean(name, known)}"
