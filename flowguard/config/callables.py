"""Callables of a configuration: given as such, or by their dotted name, and fit to be called as the guard will."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Callable

from flowguard.config.places import WRONG, Place, kind, shown

Check = Callable[[Any, Place], Any]


def function(value: object, place: Place) -> Any:
    """A callable, or its dotted name, which is imported now: a file has no other way to give one."""
    if callable(value):
        return value
    if not isinstance(value, str):
        return place.wrong(f"is {kind(value)}. Give a callable, or its dotted name such as 'shop.rules:in_stock'.")
    module, colon, attribute = value.partition(":")
    if not (module and colon and attribute):
        return place.wrong(f"is {kind(value)}. Write a dotted name with a colon, such as 'shop.rules:in_stock'.")
    return _imported(value, module, attribute, place)


def _imported(dotted: str, module: str, attribute: str, place: Place) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever a module of the deployer's raises when it is imported
        return place.wrong(f"{dotted!r} can't be imported: {type(error).__name__}: {error}")
    return found if callable(found) else place.wrong(f"{dotted!r} is {kind(found)}, not a callable.")


def called_with(*arguments: str) -> Check:
    """A callable, or its dotted name, that can be called with these, in this order."""

    def check(value: object, place: Place) -> Any:
        found = function(value, place)
        if found is WRONG or _takes(found, len(arguments)):
            return found
        given = " and ".join(arguments) or "nothing"
        return place.wrong(f"{getattr(found, '__qualname__', shown(found))!s} can't be called with {given}, as it is.")

    return check


def _takes(found: Callable[..., object], count: int) -> bool:
    """Can it be called with so many arguments? What tells no signature can."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


condition = called_with("a context")
hook = called_with("an event")
responder = called_with("a refusal", "the environ")
