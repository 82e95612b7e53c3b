"""`flowguard explain FILE STEP …`: plays requests and answers by hand, and says why each passes or does not.

A step is a request, `"GET /cart"`, or `"POST /pay card=1234"` with a form; the application's answer to the request
before it, `303 /done`, `200`, `"200 body:Thank you"`, `"204 success"`, `raises`; or a wait, `+30`, in seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import Any, Iterator, NamedTuple, Optional, Sequence, Union

from flowguard.cli.arguments import add_file, load
from flowguard.cli.terminal import paint
from flowguard.config.places import Place
from flowguard.config.safeguards import secret
from flowguard.core.outcome import Overrule
from flowguard.core.run import Run, finished
from flowguard.errors import ConfigError, Problem
from flowguard.files import read_secrets
from flowguard.gate import Gate
from flowguard.playing import Clock, Reply, Request, Stage, Told, Visitor
from flowguard.texts import ENGLISH

HELP = "play requests and answers by hand, and say why each passes or does not"

_REQUEST = re.compile(r"([A-Za-z]+) (/\S*)(?: (.+))?")
_ANSWER = re.compile(r"([1-5]\d\d)(?: (.+))?")
_WAIT = re.compile(r"\+(\d+(?:\.\d+)?)")
_EXAMPLES = "a request 'GET /cart', an answer '303 /payment', or a wait '+30'"


class Wait(NamedTuple):
    seconds: float


Step = Union[Request, Reply, Wait]


def configure(parser: argparse.ArgumentParser) -> None:
    add_file(parser)
    parser.add_argument("steps", metavar="STEP", nargs="+", type=_step, help=f"{_EXAMPLES} (in seconds)")
    parser.add_argument("--cookie", metavar="TEXT", help="begin with this cookie; its secret is read from "
                        "FLOWGUARD_SECRET, or from the file that FLOWGUARD_SECRET_FILE names")  # fmt: skip
    parser.add_argument("--environ", metavar="NAME=VALUE", action="append", default=[], type=_variable,
                        help="what else stands in every request's environ, such as REMOTE_USER=ann")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    clock, stage, keys = Clock(time.time()), Stage(), _keys()
    if arguments.cookie is not None and keys is None:
        print("flowguard explain: --cookie needs FLOWGUARD_SECRET or FLOWGUARD_SECRET_FILE", file=sys.stderr)
        return 2
    given = {} if keys is None else {"secret_key": keys}
    # What is played changes nothing: not the ledger of the application, and nobody is told.
    guard = load(arguments.file, stage, clock=clock, ledger="memory://", mode="enforce", entered=None, refused=None,
                 finished=None, **given)  # fmt: skip
    visitor = Visitor(guard, stage, dict(arguments.environ))
    if arguments.cookie is not None:
        visitor.bring(arguments.cookie)
        print("\n".join(_runs(guard.gates, visitor)))
    try:
        refused = [_play(guard.gates, visitor, clock, *act) for act in _acts(arguments.steps)]
    except ValueError as error:
        print(f"flowguard explain: {error}", file=sys.stderr)
        return 2
    return 1 if any(refused) else 0


# --- what is to be played ---------------------------------------------------------------------------------------------


def _step(text: str) -> Step:
    request, answer, wait = (pattern.fullmatch(text.strip()) for pattern in (_REQUEST, _ANSWER, _WAIT))
    if request:
        return Request(request[1].upper(), request[2], request[3] or "")
    if answer:
        return _reply(int(answer[1]), answer[2] or "")
    if wait:
        return Wait(float(wait[1]))
    if text.strip() == "raises":
        return Reply(0)
    raise argparse.ArgumentTypeError(f"{text!r} is none of: {_EXAMPLES}")


def _reply(status: int, words: str) -> Reply:
    """A Location, a content type, a word of the header `Flowguard`, and a text after ``body:``."""
    before, _, body = words.partition("body:")
    headers = {"Content-Type": "text/html"} if 200 <= status < 300 and status != 204 else {}
    for word in before.split():
        if word in {known.value for known in Overrule}:
            headers["Flowguard"] = word
        elif word.startswith("/") or "://" in word:
            headers["Location"] = word
        elif re.fullmatch(r"[\w.+-]+/[\w.+-]+", word):
            headers["Content-Type"] = word
        else:
            known = ", ".join(one.value for one in Overrule)
            raise argparse.ArgumentTypeError(f"{word!r} is no Location, no content type, none of {known}")
    return Reply(status, tuple(headers.items()), body)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _acts(steps: Sequence[Step]) -> Iterator[tuple[float, Request, Optional[Reply]]]:
    """Each request with the wait before it and the answer after it. Raises ValueError for an answer to none."""
    wait, asked, replied = 0.0, None, None
    for step in steps:
        if isinstance(step, Reply):
            if asked is None or replied is not None:
                raise ValueError("an answer comes after the request that it answers")
            replied = step
            continue
        if asked is not None:
            yield wait, asked, replied
            wait, asked, replied = 0.0, None, None
        if isinstance(step, Wait):
            wait += step.seconds
        else:
            asked = step
    if asked is not None:
        yield wait, asked, replied


def _keys() -> Any:
    """The secret that the environment names, or None."""
    problems: list[Problem] = []
    text, file = os.environ.get("FLOWGUARD_SECRET"), os.environ.get("FLOWGUARD_SECRET_FILE")
    keys = secret(text, Place("FLOWGUARD_SECRET", problems)) if text else None
    if file and not text:
        keys = read_secrets(file, Place("FLOWGUARD_SECRET_FILE", problems))
    if problems:
        raise ConfigError(problems)
    return keys


# --- what is told -----------------------------------------------------------------------------------------------------


def _play(
    gates: Sequence[Gate], visitor: Visitor, clock: Clock, wait: float, request: Request, reply: Optional[Reply]
) -> bool:
    """Play a request, tell what came of it, and say whether it was refused."""
    clock.now += wait
    told = visitor.ask(request, reply)
    waited = f"  ({wait:g} s later)" if wait else ""
    print(paint(" ".join(filter(None, request)), "bold") + waited)
    for name, text in (*_of_the_request(told), *_of_the_answer(told)):
        style = {"passed": "green", "refused": "red"}.get(name, "dim")
        print(f"  {paint(name.ljust(8), style)} {text}")
    print("\n".join(_runs(gates, visitor)) + "\n")
    return bool(told.refusal)


def _of_the_request(told: Told) -> Iterator[tuple[str, str]]:
    said, refusal = told.said, told.refusal
    where = f"line {said['line']}: {said['words']}" if said.get("line") else said.get("words", "")
    if refusal:
        yield "refused", f"{refusal['reason']}, by {where}"
        words: Any = ENGLISH[refusal["reason"]]
        yield "says", words["text"]
        if said.get("missing"):
            yield "missing", ", ".join(_group(one) for one in said["missing"])
        yield "target", str(refusal["target"])
    elif said:
        yield "passed", f"by {where}"
    elif told.error is not None:
        yield "raised", f"{type(told.error).__name__}: {told.error}: a server error, and the run stays as it was"
    elif told.reached:
        yield "passed", "untouched: it belongs to no flow"
    else:
        yield "answered", "by the guard itself"


def _group(one: Any) -> str:
    return one if isinstance(one, str) else " or ".join(one)


def _of_the_answer(told: Told) -> Iterator[tuple[str, str]]:
    headers = dict(told.reply.headers)
    led = f" to {told.location}" if told.location else ""
    if told.said.get("row"):
        words = [str(told.reply.status or "raises"), headers.get("Location"), headers.get("Flowguard")]
        yield "answer", f"{' '.join(filter(None, words))}: {told.said['row']}"
        yield "meaning", told.said["outcome"]
    elif told.status and not told.reached:
        yield "answer", f"{told.status}{led}, from the guard"


def _runs(gates: Sequence[Gate], visitor: Visitor) -> Iterator[str]:
    """The run that the browser holds now, of each flow."""
    for gate in gates:
        label = f"run of {gate.flow.name}" if len(gates) > 1 else "run"
        for text in [_run(gate, run) for run in visitor.runs(gate)] or ["none"]:
            yield f"  {paint(label.ljust(8), 'dim')} {text}"


def _run(gate: Gate, run: Run) -> str:
    def marked(name: str) -> str:
        marks = [word for word, holds in (("done", name in run.done), ("spent", name in run.spent)) if holds]
        return f"{name} ({', '.join(marks)})" if marks else name

    trail = " -> ".join(marked(name) for name in run.trail)
    beside = [f"{marked(name)} before" for name in sorted(run.spent) if name not in run.trail]
    values = [f"{name}={value}" for name, value in run.values]
    return ", ".join([trail, *beside, *values, *["finished"] * finished(gate.flow, run)])
