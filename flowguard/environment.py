"""A guard by environment variables, for `flowguard.wsgi`: the application is named, and not touched."""

from __future__ import annotations

import ast
import difflib
import importlib
import logging
import re
from typing import Any, Iterable, Mapping

from flowguard.config import FLOW_OPTIONS
from flowguard.config.checks import Check, anything, choice
from flowguard.config.places import WRONG, Place, did_you_mean, kind
from flowguard.config.safeguards import secret
from flowguard.deployment import deploy
from flowguard.errors import Problem
from flowguard.files import read_ledger, read_secrets
from flowguard.middleware import FlowGuard

# A module; what of it is the application, if that is not `application`; and, if it makes the application, how it is
# called.
_TARGET = re.compile(r"(\w+(?:\.\w+)*)(?::(\w+(?:\.\w+)*)(\(.*\))?)?", re.DOTALL)
_EXAMPLE = "Write module:name, such as 'legacy:application', or module:factory()."


def guard_from(environ: Mapping[str, str]) -> FlowGuard:
    """The guard, around its application, that the variables `VARIABLES` of *environ* describe; an empty one is none.

    Raises `ConfigError`, which names everything that is wrong with them and with the file at once; and whatever the
    application raises when it is imported or made.
    """
    problems: list[Problem] = []
    given = {name: environ[name] for name in VARIABLES if environ.get(name)}
    _check_presence(given, problems)
    _check_spelling(environ, problems)
    values = {name: VARIABLES[name](text, Place(name, problems)) for name, text in given.items()}
    overrides = {option: values[name] for name, option in _OVERRIDES.items() if name in values}
    keys = values.get("FLOWGUARD_SECRET") or values.get("FLOWGUARD_SECRET_FILE")
    if values.get("FLOWGUARD_LOG", WRONG) is not WRONG:
        _speak(values["FLOWGUARD_LOG"])
    return deploy(values.get("FLOWGUARD_APP"), values.get("FLOWGUARD_CONFIG"), keys, overrides, problems)


# --- the variables together -------------------------------------------------------------------------------------------


def _check_presence(given: Mapping[str, str], problems: list[Problem]) -> None:
    if "FLOWGUARD_APP" not in given:
        Place("FLOWGUARD_APP", problems).wrong(f"is missing. {_EXAMPLE}")
    if "FLOWGUARD_CONFIG" not in given:
        Place("FLOWGUARD_CONFIG", problems).wrong("is missing. Write the path of the configuration, a TOML file.")
    if "FLOWGUARD_SECRET" in given and "FLOWGUARD_SECRET_FILE" in given:
        Place("FLOWGUARD_SECRET_FILE", problems).wrong("stands beside FLOWGUARD_SECRET. Unset one of the two.")
    if "FLOWGUARD_SECRET" not in given and "FLOWGUARD_SECRET_FILE" not in given:
        Place("FLOWGUARD_SECRET", problems).wrong("is missing. Set it, or FLOWGUARD_SECRET_FILE to the path of a file.")


def _check_spelling(names: Iterable[str], problems: list[Problem]) -> None:
    """Only what is close to one of ours is a slip: Kubernetes, for one, sets FLOWGUARD_PORT and the like for a service
    that is named flowguard."""
    prefix = "FLOWGUARD_"
    known = {name[len(prefix) :]: name for name in VARIABLES}
    for name in names:
        close = difflib.get_close_matches(name[len(prefix) :], known, n=1)
        if name.startswith(prefix) and name not in VARIABLES and close:
            Place(name, problems).wrong(f"unknown variable. Did you mean {known[close[0]]!r}?")


# --- the log ----------------------------------------------------------------------------------------------------------


def _level(text: str, place: Place) -> Any:
    return choice("debug", "info", "warning", "error")(text.strip().lower(), place)


def _speak(level: str) -> None:
    """Log from *level* on: to wherever the application has its log, or else to standard error, where servers have
    theirs. Without this, Python prints warnings alone."""
    logger = logging.getLogger("flowguard")
    logger.setLevel(level.upper())
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


# --- the application --------------------------------------------------------------------------------------------------


def _application(text: str, place: Place) -> Any:
    """What ``module:name`` or ``module:factory(…)`` names, as gunicorn reads it: any arguments are literals.

    An exception of the application's own is no fault of the variable, and goes on as it would without a guard.
    """
    match = _TARGET.fullmatch(text.strip())
    if match is None:
        return place.wrong(f"is {kind(text)}. {_EXAMPLE}")
    module, name, call = match.groups()
    found = _attribute(module, name or "application", place)
    if found is not WRONG and call:
        found = _made(found, call, place)
    if found is WRONG or callable(found):
        return found
    return place.wrong(f"{text!r} is {kind(found)}, not a WSGI application.")


def _attribute(module: str, name: str, place: Place) -> Any:
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # one that the application looks for
        return place.wrong(
            f"there is no module {error.name!r}. Start the server in the application's directory, or name that in "
            "PYTHONPATH."
        )
    for part in name.split("."):
        if not hasattr(found, part):
            return place.wrong(f"there is no {part!r} in {module!r}.{did_you_mean(part, dir(found))}")
        found = getattr(found, part)
    return found


def _made(factory: Any, call: str, place: Place) -> Any:
    """What the factory makes; *call* are the arguments in their parentheses."""
    try:
        written: Any = ast.parse(f"factory{call}", mode="eval").body
        positional = [ast.literal_eval(argument) for argument in written.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in written.keywords}
    except (SyntaxError, ValueError):
        written, positional, named = None, [], {}
    if written is None or not isinstance(written.func, ast.Name) or None in named:
        return place.wrong(f"can't be called with {call}. Write plain values, such as module:factory('production').")
    return factory(*positional, **named)


#: Every variable, and how it is read.
VARIABLES: Mapping[str, Check] = {
    "FLOWGUARD_APP": _application,
    "FLOWGUARD_CONFIG": anything,  # its own problems are those of the file
    "FLOWGUARD_SECRET": secret,
    "FLOWGUARD_SECRET_FILE": read_secrets,
    "FLOWGUARD_LEDGER": read_ledger,
    "FLOWGUARD_MODE": FLOW_OPTIONS["mode"].check,
    "FLOWGUARD_LOG": _level,
}
# Those that stand in for an option of the file.
_OVERRIDES = {"FLOWGUARD_LEDGER": "ledger", "FLOWGUARD_MODE": "mode"}
