"""What `check` warns of, in words: the table of every finding, by its id. What looks for them is `core.lints`, for what
the rules can tell, and `inspector`, for paths, cookies and the rest.

An id is stable: it stands in people's scripts.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple


class Words(NamedTuple):
    """what: a sentence on what stands at the key path. remedy: another. Both with the finding's details in braces."""

    what: str
    remedy: str


class Finding(NamedTuple):
    """One thing that a flow's author may not have meant.

    where: its key path, as in a `Problem`. what, remedy: a sentence each.
    """

    id: str
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.remedy} [{self.id}]"


def finding(id: str, where: str, **details: object) -> Finding:
    words = FINDINGS[id]
    return Finding(id, where, words.what.format(**details), words.remedy.format(**details))


FINDINGS: Mapping[str, Words] = {
    # what the rules can tell
    "unreachable": Words(
        "no run can enter this state, whatever a visitor does: its pages are always refused.",
        "Name it in the `to` of a state that can be entered, or remove it.",
    ),
    "never-within": Words(
        "no run can enter any of these states: the path is always refused.",
        "Name a state that can be entered.",
    ),
    "no-end": Words(
        "no state is an end: a run is over when every transition out of its current state is taken, or by its `ttl`.",
        "Leave out the `to` of the last state.",
    ),
    "dead-end": Words(
        "no end can be reached from here, whatever a visitor does.",
        "Let it lead on, or leave its `to` empty if the run finishes here.",
    ),
    "stuck": Words(
        "after {way}, no end can be reached any more: what could follow is taken already, or requires what is missing.",
        "Give it another way out, or require less.",
    ),
    "exits-used-up": Words(
        "after {way}, every way out is taken, and none may be taken again: the run is over, and came to no end.",
        "Write `repeat` at the states that lead here again, or give it another way out.",
    ),
    "requires-unmet": Words(
        "{group} is never completed when a visitor comes here: the state can't be entered.",
        "Require what comes before it.",
    ),
    "requires-redundant": Words(
        "{group} makes no difference: it is always completed when a visitor comes here, or nobody comes here.",
        "Leave it out.",
    ),
    "never-in-time": Words(
        "the run expires, by its `ttl` or `idle`, before the visitor may leave.",
        "Ask for less patience, or let runs live longer.",
    ),
    "once-without-accept": Words(
        "a page is taken for the form, shown again, and never for success: the state is not done by it, and can be "
        "submitted again.",
        "Where a page means success, write `accept` = [200].",
    ),
    "accept-rejected": Words(
        "{entry!r} never counts as success: a `reject` speaks of the same answers, and wins.",
        "Leave one of the two out.",
    ),
    "post-only": Words(
        "no GET leads here, so no refusal can send a visitor here: while this is where a visitor is, refusals are 409 "
        "pages without a way on.",
        "Let the page with the form belong to this state: 'GET /…' = {state!r}. Nobody stays here, and all is well, if "
        "the application answers every submission by a redirect to the next state or an earlier one.",
    ),
    "submit-without-post": Words(
        "it must be submitted, but none of its keys takes a method that submits: if the form posts elsewhere, that is "
        "not guarded.",
        "Name the path that the form posts to: 'POST /…' = {state!r}.",
    ),
    # what paths, cookies and the deployment add
    "overlap": Words(
        "its path {path!r} is one of {winner!r} too, and belongs to that.",
        "Tell them apart by literal text, or by a converter such as <int:…>.",
    ),
    "loose-rule": Words(
        "it takes every path below {below!r}, also of pages that nobody thought of: all of them count as this state.",
        "Name the paths one by one, and keep the rest out by `fence` = [{below!r}].",
    ),
    "parameters-only": Words(
        "every key of {rule!r} names parameters: a request that leaves them out belongs to no flow, and passes.",
        "Declare {rule!r} as well, unless the application does nothing there.",
    ),
    "by-absence": Words(
        "{rule!r} is this state where a request has none of the parameters that other keys name, also in a place where "
        "the application does not look for them.",
        "Write the parameter that makes the application do this step: '{rule}?…' = {state!r}; or, if there is none, by "
        "`parameters` where it looks for the others.",
    ),
    "foreign-syntax": Words(
        "{part!r} stands for itself in a path here, and for no variable.",
        "Write it as <name>.",
    ),
    "odd-method": Words(
        "no browser sends the method {method}.",
        "Did you mean {meant}?",
    ),
    "idle-without-effect": Words(
        "a run lives no longer than its `ttl`, which is shorter.",
        "Let it be shorter than `ttl`, or leave it out.",
    ),
    "large-cookie": Words(
        "its cookie can grow to {size:,} bytes, and some servers take no more than 3,900 bytes of headers in all.",
        "Split the flow, or leave out transitions that lead back.",
    ),
    "strict-cookie": Words(
        "whoever comes back from {entry!r} brings no Strict cookie, and is sent to the start.",
        "Write 'Lax'.",
    ),
    "insecure-cookie": Words(
        "the cookie travels on http, too, where everybody on the way can copy it.",
        "Leave it out: 'auto' makes it Secure on https.",
    ),
    "memory-ledger": Words(
        "'memory://' knows one process, and there are {workers}: an old cookie works once in each, a `once` state too.",
        "Write 'sqlite:///path' for one host, or 'redis://host' for many.",
    ),
}
