"""Checks of single values of a configuration: what the deployer wrote becomes what the guard works with, or a problem.

A check takes the value and its `Place`, and returns the value as the guard wants it. Where nothing can be made of it,
it says so at the place and returns `WRONG`; of a list, the good items are kept, so that one slip does not cause more
problems than it is. `config` holds the tables that say which check belongs to which key.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Optional

from flowguard.config.callables import condition, responder
from flowguard.config.keys import FORM, QUERY
from flowguard.config.places import WRONG, Place, did_you_mean, kind, listed, shown
from flowguard.core.flow import Answers, Condition, Glob
from flowguard.modes import MODES, ModeFile, reason
from flowguard.spelling import spell
from flowguard.texts import text_problems

# A number of seconds beyond a century is a slip; and any time of a run, in milliseconds, still fits a float exactly.
MAX_SECONDS = 3_155_760_000

MODE_FILE = "file:"  # what the path of a mode's file begins with

Check = Callable[[Any, Place], Any]


class Reference(NamedTuple):
    """The name of a state (or of a rule's variable), where it was written; in a `to`, with its condition."""

    name: str
    place: Place
    condition: Optional[Condition] = None


# --- simple values ---------------------------------------------------------------------------------------------------


def flag(value: object, place: Place) -> Any:
    return value if isinstance(value, bool) else place.wrong(f"is {kind(value)}. Write True or False.")


def choice(*words: str) -> Check:
    def check(value: object, place: Place) -> Any:
        if isinstance(value, str) and value in words:
            return value
        return place.wrong(f"is {kind(value)}. Write {listed(words)}.{did_you_mean(value, words)}")

    return check


def is_number(value: Any, whole: bool = False) -> bool:
    """A bool is not one, whatever Python says."""
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


def between(least: float, most: float) -> Check:
    """A number of seconds from *least* to *most*, as given; NaN is in no range."""

    def check(value: Any, place: Place) -> Any:
        if is_number(value) and least <= value <= most:
            return value
        return place.wrong(f"is {kind(value)}. Write a number of seconds from {least} to {most}.")

    return check


def seconds(value: Any, place: Place) -> Any:
    """A number of seconds, as given; never none at all."""
    if is_number(value) and 0 < value <= MAX_SECONDS:
        return value
    return place.wrong(f"is {kind(value)}. Write a number of seconds, more than 0 and at most {MAX_SECONDS:,}.")


def duration(value: Any, place: Place) -> Any:
    """Seconds, in whole milliseconds."""
    given = seconds(value, place)
    return WRONG if given is WRONG else max(1, round(given * 1000))


def size(value: Any, place: Place) -> Any:
    if is_number(value, whole=True) and value > 0:
        return value
    return place.wrong(f"is {kind(value)}. Write a whole number of bytes, more than 0.")


def anything(value: object, _place: Place) -> Any:
    """For what is checked where it is understood."""
    return value


def name(value: object, place: Place) -> Any:
    """A state's name: it stands in logs, pages and messages."""
    if isinstance(value, str) and value and value.isprintable():
        return value
    return place.wrong(f"is {kind(value)}. Write a name: a string, not empty, of printable characters.")


def variables(value: Any, place: Place) -> Any:
    """Names of rule variables, each once."""
    found = [(item, where) for item, where in _items(value, place, "['lang']") if variable(item, where) is not WRONG]
    return _once(Reference(item, where) for item, where in found)


def variable(value: object, place: Place) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", value):
        return value
    return place.wrong(f"is {kind(value)}. Write the name of a rule's variable, such as 'lang' of '/<lang>/cart'.")


def flow_name(value: object, place: Place) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        return value
    return place.wrong(f"is {kind(value)}. Write 1 to 64 letters, digits, '-' or '_'.")


def path(value: object, place: Place) -> Any:
    if isinstance(value, str) and value.startswith("/") and not re.search(r"[<>?#]", value):
        return value
    return place.wrong(f"is {kind(value)}. Write a path that begins with '/', without variables or a query.")


def _paths(value: Any, place: Place, example: str) -> list[tuple[str, Place]]:
    """Paths, each once, spelled as applications are asked for them."""
    found: dict[str, Place] = {}
    for item, where in _items(value, place, example):
        if path(item, where) is WRONG:
            continue
        if spell(item) != item:
            where.wrong(f"is {kind(item)}, and no path is spelled so. Write {shown(spell(item))}.")
        elif item in found:
            where.wrong(f"{item!r} stands here twice. Remove one.")
        found.setdefault(item, where)
    return list(found.items())


def fences(value: Any, place: Place) -> Any:
    """Path prefixes, which end in a slash."""
    found = _paths(value, place, "['/checkout/']")
    for item, where in found:
        if not item.endswith("/"):
            where.wrong(f"is {kind(item)}. Write {item + '/'!r}: all that is below, and {item!r} itself.")
    return tuple(item for item, _ in found)


def opened(value: Any, place: Place) -> Any:
    """Paths under a fence."""
    return tuple(item for item, _ in _paths(value, place, "['/checkout/help']"))


def on_refusal(value: object, place: Place) -> Any:
    words = ("auto", "redirect", "conflict")
    if isinstance(value, str) and value in words:
        return value
    if callable(value) or (isinstance(value, str) and ":" in value):
        return responder(value, place)
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    return place.wrong(f"is {kind(value)}. Write {listed(words)}, or give a callable or its dotted name.{hint}")


def mode(value: object, place: Place) -> Any:
    """One of three words, or the file that holds one."""
    if isinstance(value, ModeFile):
        return value
    if not isinstance(value, str) or not value.startswith(MODE_FILE):
        return choice(*MODES)(value, place)
    try:
        return ModeFile(value[len(MODE_FILE) :])
    except (OSError, ValueError) as error:
        return place.wrong(f"{value[len(MODE_FILE):]!r} {reason(error)}")


def places(value: object, place: Place) -> Any:
    """Where parameters are looked for, by their names."""
    if not isinstance(value, Mapping):
        return place.wrong(f"is {kind(value)}, not a dict. Write {{'step': 'query'}}.")
    for name, where in value.items():
        choice(QUERY, FORM)(where, place.item(name))
    return dict(value)


def texts(value: object, place: Place) -> Any:
    """The pages' words, by language."""
    for problem in text_problems(value):
        where, _, what = problem.partition(": ")
        Place(place.path + where[len("texts") :], place.problems).wrong(what)
    return value


# --- lists -----------------------------------------------------------------------------------------------------------


def _items(value: Any, place: Place, example: str) -> list[tuple[Any, Place]]:
    """The items of a list, each with its place; none, and a problem, if it is not a list."""
    if isinstance(value, (list, tuple)):
        return [(item, place.item(position)) for position, item in enumerate(value)]
    remedy = f"[{shown(value)}]" if isinstance(value, str) or is_number(value) else example
    sort = "a string" if isinstance(value, str) else kind(value)
    place.wrong(f"is {sort}, not a list. Write {remedy}.")
    return []


def _once(items: Iterable[Reference]) -> list[Reference]:
    """Each name once; a second time is a problem."""
    seen: dict[str, Reference] = {}
    for item in items:
        if item.name in seen:
            item.place.wrong(f"{item.name!r} stands here twice. Remove one.")
        seen.setdefault(item.name, item)
    return list(seen.values())


def _reference(value: object, place: Place) -> list[Reference]:
    if isinstance(value, str):
        return [Reference(value, place)]
    place.wrong(f"is {kind(value)}. Write the name of a state.")
    return []


def names(value: Any, place: Place) -> Any:
    """Names of states, each once."""
    return _once(found for item, where in _items(value, place, "['/cart']") for found in _reference(item, where))


def successors(value: Any, place: Place) -> Any:
    """A list of names, or a mapping from names to conditions."""
    if not isinstance(value, Mapping):
        return names(value, place)
    found = []
    for successor, agrees in value.items():
        where = place.item(successor)
        checked = None if agrees is True else _transition(agrees, where)
        if _reference(successor, where) and checked is not WRONG:
            found.append(Reference(successor, where, checked))
    return found


def _transition(agrees: object, place: Place) -> Any:
    if agrees is None or agrees is False:
        return place.wrong(f"is {agrees}. Give a condition, or write True for none.")
    return condition(agrees, place)


def groups(value: Any, place: Place) -> Any:
    """Names that are all required; a list among them is a group of which any will do."""
    alone: list[Reference] = []
    found: list[list[Reference]] = []
    for item, where in _items(value, place, "['/cart']"):
        if isinstance(item, (list, tuple)):
            if not item:
                where.wrong("is empty: nothing could meet it. Remove it.")
            found.append(names(item, where))
            continue
        one = _reference(item, where)
        alone += one
        found.append(one)
    _once(alone)
    return [group for group in found if group]


# --- answers ---------------------------------------------------------------------------------------------------------


BODY = "body:"  # what a text begins with


def answers(value: Any, place: Place) -> Any:
    """Statuses, Location globs and texts of the answer."""
    statuses: dict[Any, None] = {}
    globs: dict[Any, None] = {}
    texts: dict[Any, None] = {}
    for item, where in _items(value, place, "[200, '/thanks*']"):
        if not isinstance(item, str):
            checked, seen = _status(item, where), statuses
        elif item.startswith(BODY):
            checked, seen = _text(item, where), texts
        else:
            checked, seen = _glob(item, where), globs
        if checked in seen:
            where.wrong(f"{item!r} stands here twice. Remove one.")
        elif checked is not WRONG:
            seen[checked] = None
    return Answers(frozenset(statuses), tuple(Glob.of(text) for text in globs), frozenset(texts))


def globs_only(value: Any, place: Place) -> Any:
    """Location globs: what fails everywhere can't be told by a status or a text."""
    found = answers(value, place)
    for item, where in _items(value, place, "") if found.statuses or found.texts else []:
        if isinstance(item, int) or item.startswith(BODY):
            sort = "a text" if isinstance(item, str) else "a status"
            where.wrong(f"is {shown(item)}. Of a flow, write Location globs only; {sort} belongs to a state's reject.")
    return found


def _status(value: Any, place: Place) -> Any:
    if is_number(value, whole=True) and 100 <= value <= 599:
        return value
    return place.wrong(f"is {kind(value)}. Write a status from 100 to 599, or a Location glob such as '/thanks*'.")


def _text(item: str, place: Place) -> Any:
    text = item[len(BODY) :]
    if text and text == text.strip():
        return text
    remedy = shown(BODY + text.strip()) if text.strip() else "'body:Thank you'"
    return place.wrong(f"is {kind(item)}: a text is not empty, and neither begins nor ends with white space. "
                       f"Write {remedy}.")  # fmt: skip


def _glob(text: str, place: Place) -> Any:
    if text[:1] in ("/", "*") or re.match(r"[A-Za-z][A-Za-z0-9+.*-]*:", text):
        return text
    remedy = text if text.isdigit() else f"'/{text}'"
    return place.wrong(f"is {kind(text)}, and no Location begins so. Write {remedy}.")
