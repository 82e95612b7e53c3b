"""Keys of one path: which of them a request belongs to must be certain (CONTRACT 2)."""

from __future__ import annotations

from typing import Optional, Sequence

from flowguard.config.draft import Entry
from flowguard.config.keys import both, implied, query_of


def check_ties(every: Sequence[Entry]) -> None:
    """Of the keys of a path, none but one may be the best for a request: by its parameters, or by its methods."""
    same: dict[str, list[Entry]] = {}
    for entry in every:
        if entry.rule:
            same.setdefault(entry.rule, []).append(entry)
    for entries in same.values():
        for second, entry in enumerate(entries):
            for other in entries[:second]:
                if other.parameters == entry.parameters:
                    _check_methods(other, entry)
                elif len(other.parameters) == len(entry.parameters):
                    _check_parameters(other, entry, entries)


def _check_methods(first: Entry, second: Entry) -> None:
    if first.methods is None or second.methods is None:
        every = "this key" if second.methods is None else repr(first.written)
        second.place.wrong(f"is the path of {first.written!r} too, and {every} takes every method. "
                           "Name different methods in each, or remove one.")  # fmt: skip
    elif first.methods & second.methods:
        shared = ", ".join(sorted(first.methods & second.methods))
        second.place.wrong(f"{first.written!r} takes {shared} too. Name different methods in each.")


def _check_parameters(first: Entry, second: Entry, entries: Sequence[Entry]) -> None:
    """Where one request has the parameters of both, a third key must have more of them, and take it; unless both lead
    to one state, so that it makes no difference."""
    together = both(first.parameters, second.parameters)
    if together is None or first.name == second.name or not _overlap(first.methods, second.methods):
        return
    better = [one for one in entries if len(one.parameters) > len(first.parameters)
              and implied(one.parameters, together)]  # fmt: skip
    if not _all_taken(first.methods, second.methods, better):
        query = query_of(tuple(sorted(together.items(), key=lambda parameter: parameter[0])))
        second.place.wrong(f"could match a request as well as {first.written!r}: one with ?{query}. Declare that, too, "
                           "or name different methods in each.")  # fmt: skip


def _overlap(first: Optional[frozenset[str]], second: Optional[frozenset[str]]) -> bool:
    return first is None or second is None or bool(first & second)


def _all_taken(first: Optional[frozenset[str]], second: Optional[frozenset[str]], better: Sequence[Entry]) -> bool:
    """Is each method that two keys take also taken by one of the *better* ones?"""
    if any(entry.methods is None for entry in better):
        return True
    if first is None and second is None:
        return False
    shared = first & second if first and second else first or second or frozenset()
    return shared <= frozenset().union(*(entry.methods or () for entry in better))
