"""Hostile visitors before the whole stack: a state machine that is free to do what people, thieves and operators do.

Hypothesis makes up a flow and a story: several visitors go, submit, fail, reload, go back, peek and prefetch; they
open tabs, click while an answer is on its way and hang up; they replay, fork, steal, toss, tamper with and drop
cookies; they log in and out; they hide parameters and stray beside the flow; meanwhile clocks jump, conditions change
their mind or raise, the ledger falls silent or loses all, staff come, the guard only watches for a while, and other
flows and secrets are deployed. After each request it is asked whether what the guard promises still holds ("what must
hold", below). Nothing here is a second set of rules: that is test_differential.py.

An answer that is "on its way" is a generator which has not been asked for its first byte: so any two requests can
overlap, without a thread or a pause. FLOWGUARD_DEEP=1 tries many more stories.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional
from urllib.parse import parse_qs
from wsgiref.validate import validator

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from test_middleware import Down
from visitor import (
    DONE,
    FAULT,
    INVALID,
    NOT_MODIFIED,
    OLD_BROWSER,
    PAGE,
    SCRIPT,
    SHOWN,
    Answer,
    Boom,
    Clock,
    Visitor,
    led,
)

from flowguard import ConfigError, FlowGuard
from flowguard.cookie import MAX_COOKIE
from flowguard.core.passage import Reason
from flowguard.core.run import Run
from flowguard.ledgers.memory import MemoryLedger
from flowguard.ledgers.redis import RedisLedger
from flowguard.ledgers.sqlite import SqliteLedger
from flowguard.passing import Handle
from flowguard.records import read as read_record
from flowguard.users import Users

DEEP = os.environ.get("FLOWGUARD_DEEP") == "1"
STORIES, STEPS = (10_000, 50) if DEEP else (240, 40)

SECRETS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(8)]  # the oldest first
USERS = (None, "ann", "bob")
RESET = "/again"
STAFF = "test.staff"  # in an environ: whoever asks is exempt
TRUE, FALSE, RAISES = "true", "false", "raises"


class Odd(Exception):
    """A condition's own exception."""


def is_staff(environ: dict[str, Any]) -> bool:
    return STAFF in environ


# --- flows -----------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """A flow as plain data: a condition stands in it as "?rain"."""

    paths: dict[str, Any]
    options: dict[str, Any]
    mount: str = ""
    https: bool = False

    def with_conditions(self, truths: dict[str, str]) -> dict[str, Any]:
        return with_conditions(self.paths, truths)

    @property
    def rules(self) -> list[str]:
        """The rules of all keys, each once."""
        return list(dict.fromkeys(key.rpartition(" ")[2] for key in self.paths))

    @property
    def has_parameters(self) -> bool:
        return any("?" in key for key in self.paths)

    def rules_of(self, state: str) -> list[str]:
        return [key.rpartition(" ")[2] for key, value in self.paths.items() if value["state"] == state]

    def without(self, state: str) -> Plan:
        """The same flow, after a deployment that removes a state."""
        paths = {key: copy.deepcopy(value) for key, value in self.paths.items() if value["state"] != state}
        for value in paths.values():
            for word in ("requires", "within", "undoes"):
                if word in value:
                    value[word] = [name for name in value[word] if name != state]
            if isinstance(value.get("to"), dict):
                value["to"].pop(state, None)
            for word in ("within", "undoes"):
                if value.get(word) == []:
                    del value[word]
        return self._replace(paths={key: value for key, value in paths.items() if "to" in value or len(value) > 1})

    def on_the_beaten_track(self) -> Plan:
        """The same flow without what keeps it off: conditions, times, and whose run it is."""
        paths = {
            key: {word: item for word, item in value.items() if word not in ("when", "min_seconds", "max_seconds")}
            for key, value in self.paths.items()
        }
        for value in paths.values():
            if "to" in value:
                value["to"] = dict.fromkeys(value["to"], True)
        return self._replace(paths=paths, options={key: self.options[key] for key in self.options if key != "bind"})

    def with_one_more(self) -> Plan:
        """The same flow, after a deployment that adds a state."""
        paths = copy.deepcopy(self.paths)
        key = next(key for key, value in paths.items() if "to" in value)
        paths[key]["to"]["new"] = True
        rule = key.rpartition(" ")[2]
        paths[rule[: rule.rindex("/")] + "/new"] = {"state": "new", "to": {}, "back": "view"}
        return self._replace(paths=paths)


def with_conditions(value: Any, truths: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: with_conditions(item, truths) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("?"):
        return lambda context: asked(truths[value[1:]])
    return value


def asked(truth: str) -> bool:
    if truth == RAISES:
        raise Odd
    return truth == TRUE


def loads(plan: Plan) -> bool:
    try:
        FlowGuard(lambda environ, start: [], plan.with_conditions({}), secret_key=SECRETS[0], **plan.options)
    except ConfigError:
        return False
    return True


def one_in(count: int) -> st.SearchStrategy[bool]:
    return st.sampled_from([False] * (count - 1) + [True])


@st.composite
def plans(draw: Any) -> Plan:
    names = ["a", "b", "c", "d", "e"][: draw(st.integers(2, 5))]
    beaten = draw(one_in(3))
    variable = "" if beaten else draw(st.sampled_from(["", "", "", "/<order>", "/<lang>"]))
    before = "/" if beaten else draw(st.sampled_from(["/", "/", "/", "/page?at="]))  # what tells the states apart
    paths = {}
    for place, name in enumerate(names):
        methods = draw(st.sampled_from(["", "", "", "", "GET,POST ", "POST ", "GET "]))
        paths[f"{methods}{variable}{before}{name}"] = {"state": name, **draw(states(names, place, "GET" in methods))}
    if draw(one_in(4)):
        paths[f"{variable}/help"] = {"state": "help", "within": draw(some(names))}
    if draw(one_in(3)):
        paths[f"{variable}/basket"] = {"state": "basket", "undoes": draw(some(names))}
    plan = Plan(paths, draw(options(variable)), draw(st.sampled_from(["", "/shop"])), draw(st.booleans()))
    return plan.on_the_beaten_track() if beaten else plan


def some(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)


@st.composite
def states(draw: Any, names: list[str], place: int, by_get: bool) -> dict[str, Any]:
    conditions = st.sampled_from([True, True, True, True, "?rain"])
    onward = names[place + 1 : place + 2] if not draw(one_in(6)) else []
    more = draw(st.lists(st.sampled_from(names), max_size=2)) if draw(one_in(3)) else []
    to = {name: draw(conditions) for name in dict.fromkeys([*onward, *more]) if name != names[place]}
    state: dict[str, Any] = {"to": to}
    kind = draw(st.sampled_from(["", "", "submit", "once", "once", "repeat"] if to else ["", "", "submit", "once"]))
    if kind:
        state[kind] = True
    if draw(one_in(3)):
        state["back"] = draw(st.sampled_from(["view", "edit"]))
    rare = {"start": True, "min_seconds": 5, "max_seconds": 120, "effects": True, "accept": [200],
            "reject": ["/elsewhere*"], "on_refusal": draw(st.sampled_from(["redirect", "conflict"]))}  # fmt: skip
    state.update({word: value for word, value in rare.items() if draw(one_in(10))})
    if draw(one_in(4)):
        state["when"] = "?snow"
    if place and draw(one_in(6)):
        state["requires"] = draw(some(names[:place]))
    return state


@st.composite
def options(draw: Any, variable: str) -> dict[str, Any]:
    rare = {"ordered": True, "restart": True, "back": "edit", "reset": RESET, "idle": 600, "on_refusal": "redirect"}
    chosen = {word: value for word, value in rare.items() if draw(one_in(5))}
    if draw(one_in(2)):
        chosen["bind"] = "REMOTE_USER"
    if draw(one_in(4)):
        chosen.update(fence=["/"], open=["/public/"])
    if draw(one_in(4)):
        chosen["exempt"] = is_staff
    if variable == "/<order>" and draw(one_in(2)):
        chosen["instance"] = "order"
    if variable == "/<lang>" and not draw(one_in(4)):
        chosen["vary"] = ["lang"]
    return chosen


# --- answers ---------------------------------------------------------------------------------------------------------

ANSWERS: dict[str, Any] = {
    "a page": SHOWN, "done": DONE, "invalid": INVALID, "a fault": FAULT, "an exception": Boom,
    "not modified": NOT_MODIFIED, "not found": Answer("404 Not Found"), "elsewhere": led("/elsewhere"),
    "to the login": led("/login?next=/a"), "to another host": led("https://pay.example/go?x=1"),
    "data": Answer("200 OK", (("Content-Type", "application/json"),), b"{}"),
    "a page to keep": SHOWN.saying("Cache-Control", "public"), "done, success": DONE.saying("Flowguard", "success"),
    "a page, failed": SHOWN.saying("Flowguard", "failed"), "a page, finish": SHOWN.saying("Flowguard", "finish"),
    "done, reset": DONE.saying("Flowguard", "reset"),
}  # fmt: skip
# What certainly counts, or may have: after it, a `once` state never runs again in the same run.
SPENDS = ("done", "a fault", "an exception", "done, success", "a page, finish")


class Reply(NamedTuple):
    """What the application is to answer. to: a redirect to that rule of the flow's (its number, as far as it goes).
    falls: the ledger falls silent meanwhile."""

    answer: str = "a page"
    to: Optional[int] = None
    falls: bool = False

    @property
    def spends(self) -> bool:
        return self.to is None and self.answer in SPENDS


REPLIES = st.one_of(
    st.builds(Reply, st.sampled_from(["done", *ANSWERS]), st.none(), one_in(12)),
    st.builds(Reply, st.just("a redirect"), st.integers(0, 7), one_in(12)),
)


# --- the two sides of the guard --------------------------------------------------------------------------------------


class Request:
    """One request, from the browser to the end of its answer."""

    def __init__(self, environ: dict[str, Any], who: int, user: Optional[str], reply: Reply, slow: bool) -> None:
        self.environ, self.who, self.user, self.reply, self.slow = environ, who, user, reply, slow
        environ["test.request"] = self
        self.fields = parse_qs(environ["QUERY_STRING"]) or parse_qs(environ["wsgi.input"].getvalue().decode())
        self.calls = 0  # of the application
        self.handle: Any = None
        self.status = 0  # 0: none yet
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.error: Optional[Exception] = None
        self.chunks: Any = ()
        self.brought: dict[str, Run] = {}  # the runs that the guard can read in its cookies, by their ids
        self.once: Any = None  # the run and the `once` state of which this is a submission
        self.finished = 0  # how many others were, when this one began
        self.with_ledger = True  # when it began
        self.watched = False  # the guard refused nothing when it began
        self.gate: Any = None  # of the deployment that answers it

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> Optional[str]:
        return next(iter(self.all(name)), None)

    @property
    def reason(self) -> Optional[str]:
        return self.header("Flowguard-Reason")

    @property
    def method(self) -> str:
        return str(self.environ["REQUEST_METHOD"])

    def start(self, app: Any) -> None:
        """Call the guard. What the application answers slowly stays where it is."""
        try:
            self.chunks = app(self.environ, self._start_response)
        except (Boom, Odd) as error:
            self.error = error

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status, self.headers = int(status[:3]), list(headers)
        return lambda data: None

    def end(self, hang_up: bool = False) -> None:
        if self.error is not None:
            return
        try:
            if not hang_up:
                self.body = b"".join(self.chunks)
        except Boom as error:
            self.error = error
        finally:
            if hasattr(self.chunks, "close"):
                self.chunks.close()


class Application:
    """Does what the request's own reply says, at once or when it is asked for the first byte."""

    def __init__(self, story: Story) -> None:
        self.story = story

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request: Request = environ["test.request"]
        request.calls += 1
        request.handle = environ.get("flowguard.run")
        self.story.seen(request)
        if request.slow:
            return self._slowly(request, start_response)
        return self._answer(request, start_response)

    def _answer(self, request: Request, start_response: Any) -> list[bytes]:
        if request.reply.falls:
            self.story.ledger.switch_off()
        if request.reply.answer == "an exception":
            raise Boom
        status, headers, body = self.story.answer_of(request)
        start_response(status, list(headers))
        return [] if request.method == "HEAD" else [body]

    def _slowly(self, request: Request, start_response: Any) -> Iterator[bytes]:
        yield from self._answer(request, start_response)


class Somebody:
    """A browser: its cookies, those that it had before, and who is logged in."""

    def __init__(self, plan: Plan, user: Optional[str]) -> None:
        self.browser = Visitor(lambda environ, start: [], mount=plan.mount, https=plan.https, check=False)
        self.user = user
        self.before: list[dict[str, str]] = [{}]

    @property
    def jar(self) -> dict[str, str]:
        return self.browser.jar

    @jar.setter
    def jar(self, jar: dict[str, str]) -> None:
        self.browser.jar = dict(jar)

    def keep(self, request: Request) -> None:
        for header in request.all("Set-Cookie"):
            self.browser.keep(header)
        if self.jar != self.before[-1]:
            self.before.append(dict(self.jar))


# --- the story -------------------------------------------------------------------------------------------------------

WHO, WHERE, NUMBER = st.sampled_from([0, 0, 0, 1, 1, 2]), st.integers(0, 15), st.integers(0, 999)
LOOKS = {"a browser": PAGE, "an old browser": OLD_BROWSER, "a script": SCRIPT}
REACHED: Counter[str] = Counter()
# Where the stories must come, or they show nothing: some hundreds reach the former dozens of times each.
OFTEN = {"not_started", "duplicate", "illegal", "skipped", "bad_cookie", "unavailable", "one hop", "newest", "once",
         "watched", "beaten"}  # fmt: skip
EVERYWHERE = OFTEN | {reason.value for reason in Reason}


class Story(RuleBasedStateMachine):
    """See the module. `spent` and `under_way` are what the application itself knows of `once` states: the run's id,
    with which of its changes it began, and the state's name."""

    fresh: Callable[[], Any] = MemoryLedger  # a ledger that knows nothing

    @initialize(plan=plans().filter(loads), steps=st.integers(0, 4))
    def begin(self, plan: Plan, steps: int) -> None:
        self.plan = self.first_plan = plan
        self.watching = False
        self.clock, self.ledger = Clock(), Down()
        self.ledger.kept = self.fresh()
        self.truths = {"rain": TRUE, "snow": TRUE}
        self.keys = SECRETS[:1]
        self.people = [Somebody(plan, user) for user in USERS]
        self.pending: list[Request] = []
        self.ids: set[str] = set()  # of all runs that any answer ever told
        self.under_way: dict[Any, Request] = {}  # submissions of `once` states
        self.spent: set[Any] = set()
        self.led: set[str] = set()  # where the application has led
        self.count = 0
        self.sent: list[dict[str, Any]] = []
        self.deploy(plan)
        self.walk(0, steps)

    def deploy(self, plan: Plan) -> None:
        self.plan = plan
        self.guard = FlowGuard(
            validator(Application(self)), plan.with_conditions(self.truths), secret_key=self.keys, clock=self.clock,
            ledger=self.ledger, ledger_wait=0, mode="report" if self.watching else "enforce", **plan.options,
        )  # fmt: skip
        self.app = validator(self.guard)
        self.gate = self.guard.gates[0]

    # --- what visitors do -------------------------------------------------------------------------------------------

    @rule(who=WHO, where=WHERE, reply=REPLIES, looks=st.sampled_from(list(LOOKS)))
    def go(self, who: int, where: int, reply: Reply, looks: str) -> None:
        self.ask(who, "GET", self.place(who, where), reply, looks)

    @rule(who=WHO, where=WHERE)
    def see_a_page(self, who: int, where: int) -> None:
        self.ask(who, "GET", self.place(who, where), Reply())

    @rule(who=WHO, where=WHERE, reply=REPLIES, looks=st.sampled_from(list(LOOKS)))
    def submit(self, who: int, where: int, reply: Reply, looks: str) -> None:
        self.ask(who, "POST", self.place(who, where), reply, looks)

    @rule(who=WHO)
    def submit_the_page(self, who: int) -> None:
        self.ask(who, "POST", self.place(who, 0), Reply("done"))

    @rule(who=WHO)
    def go_on(self, who: int) -> None:
        self.ask(who, "GET", self.place(who, 1), Reply())

    @rule(who=WHO, steps=st.integers(1, 4))
    def walk(self, who: int, steps: int) -> None:
        """As the flow wants it, where nothing stands in the way."""
        self.ask(who, "GET", self.place(who, 0), Reply())
        for _ in range(steps):
            self.ask(who, "POST", self.place(who, 0), Reply("done"))
            self.ask(who, "GET", self.place(who, 1), Reply())

    @rule(who=WHO, where=WHERE)
    def fail(self, who: int, where: int) -> None:
        self.ask(who, "POST", self.place(who, where), Reply("invalid"))

    @rule(who=WHO, where=WHERE, method=st.sampled_from(["HEAD", "OPTIONS", "DELETE", "PUT"]), reply=REPLIES)
    def use_another_method(self, who: int, where: int, method: str, reply: Reply) -> None:
        self.ask(who, method, self.place(who, where), reply, "a script")

    @rule(who=WHO, where=WHERE, reply=REPLIES, wire=st.sampled_from(["GET", "POST"]),
          method=st.sampled_from(["POST", "DELETE", "get"]))
    def override_the_method(self, who: int, where: int, wire: str, method: str, reply: Reply) -> None:
        self.ask(who, wire, self.place(who, where), reply, "a script", HTTP_X_HTTP_METHOD_OVERRIDE=method)

    @rule(who=WHO, where=WHERE)
    def prefetch(self, who: int, where: int) -> None:
        request = self.ask(who, "GET", self.place(who, where), Reply(), HTTP_SEC_PURPOSE="prefetch;prerender")
        assert request.all("Set-Cookie") == []
        assert (request.status, request.calls) == ((200, 1) if self.watching else (503, 0))

    @rule(who=WHO, where=WHERE, method=st.sampled_from(["GET", "POST"]),
          odd=st.sampled_from(["/{}", "{}/.", "/x/..{}", "{};x=1", "{}%20"]))
    def spell_oddly(self, who: int, where: int, method: str, odd: str) -> None:
        path, mark, query = self.place(who, where).partition("?")
        request = self.ask(who, method, odd.format(path) + mark + query, Reply())
        assert request.calls == self.watching, path

    @precondition(lambda self: self.plan.has_parameters)
    @rule(who=WHO, where=WHERE, method=st.sampled_from(["GET", "POST"]), other=st.sampled_from("abcde"),
          odd=st.sampled_from(["{}&{}", "{}&AT=x", "at[]=x", "%61t%20=x", "{};{}"]))
    def hide_the_parameter(self, who: int, where: int, method: str, other: str, odd: str) -> None:
        path, query = self.page(where)
        odd = odd.format(query, f"at={other}x")
        request = self.ask(who, method, f"{path}?{odd}", Reply())
        assert request.calls == self.watching, odd

    @precondition(lambda self: self.plan.has_parameters)
    @rule(who=WHO, where=WHERE, reply=REPLIES)
    def say_in_the_form_which_page_it_is(self, who: int, where: int, reply: Reply) -> None:
        path, query = self.page(where)
        self.ask(who, "POST", path, reply, body=query.encode())

    @rule(who=WHO, method=st.sampled_from(["GET", "POST"]), path=st.sampled_from(["/public/site", "/private/site"]))
    def stray(self, who: int, method: str, path: str) -> None:
        """Beside the flow: where there is a fence, only what is open can be had."""
        request = self.ask(who, method, path, Reply())
        fenced = "fence" in self.plan.options and path == "/private/site" and not self.watching
        assert (request.calls, request.reason) == ((0, "path") if fenced else (1, None))
        assert fenced or self.is_untouched(request)

    @rule(who=WHO, where=WHERE, reply=REPLIES)
    def come_from_another_site(self, who: int, where: int, reply: Reply) -> None:
        jar = self.people[who].jar
        self.people[who].jar = {}
        request = self.ask(who, "POST", self.place(who, where), reply, HTTP_SEC_FETCH_SITE="cross-site")
        assert not request.all("Set-Cookie")
        self.people[who].jar = jar

    @precondition(lambda self: "reset" in self.plan.options)
    @rule(who=WHO, method=st.sampled_from(["GET", "POST"]))
    def reset(self, who: int, method: str) -> None:
        request = self.ask(who, method, RESET, Reply())
        assert (request.status, request.calls) == ((200, 1) if self.watching else (303, 0))

    # --- several at once: two tabs, two clicks, a visitor who hangs up ------------------------------------------------

    @rule(who=WHO, where=WHERE, method=st.sampled_from(["GET", "POST", "POST"]), reply=REPLIES)
    def click_and_wait(self, who: int, where: int, method: str, reply: Reply) -> None:
        self.begin_request(who, method, self.place(who, where), reply, slow=True)

    @rule(who=WHO, times=st.integers(2, 3), reply=st.sampled_from([Reply("done"), Reply("a fault"), Reply("invalid")]))
    def click_several_times(self, who: int, times: int, reply: Reply) -> None:
        path = self.place(who, 0)
        for _ in range(times):
            self.begin_request(who, "POST", path, reply, slow=True)

    @precondition(lambda self: self.pending)
    @rule(number=NUMBER, hang_up=one_in(3))
    def an_answer_comes(self, number: int, hang_up: bool) -> None:
        self.end_request(self.pending.pop(number % len(self.pending)), hang_up)

    # --- what they do with cookies -----------------------------------------------------------------------------------

    @rule(who=WHO, number=NUMBER)
    def replay(self, who: int, number: int) -> None:
        before = self.people[who].before
        self.people[who].jar = before[number % len(before)]

    @precondition(lambda self: self.sent)
    @rule(number=NUMBER, reply=REPLIES)
    def send_again(self, number: int, reply: Reply) -> None:
        """A request with the cookies that it had, by whoever recorded it."""
        self.ask(**{**self.sent[-1 - number % len(self.sent)], "reply": reply})

    @rule(thief=WHO, who=WHO)
    def steal(self, thief: int, who: int) -> None:
        """Or fork: what one browser holds, another holds as well."""
        self.people[thief].jar = self.people[who].jar

    @rule(thief=WHO, who=WHO, where=WHERE, method=st.sampled_from(["GET", "POST"]), reply=REPLIES)
    def toss(self, thief: int, who: int, where: int, method: str, reply: Reply) -> None:
        """Two cookies of one name, as from a sibling domain."""
        pairs = [*self.people[thief].jar.items(), *self.people[who].jar.items()]
        header = "; ".join(f"{name}={value}" for name, value in pairs)
        self.ask(thief, method, self.place(who, where), reply, HTTP_COOKIE=header or None)

    @rule(who=WHO, number=NUMBER, letter=st.sampled_from("0aA.-_~"), cut=one_in(5))
    def tamper(self, who: int, number: int, letter: str, cut: bool) -> None:
        jar = self.people[who].jar
        for name, value in jar.items():
            place = number % len(value) if value else 0
            jar[name] = value[:place] if cut else value[:place] + letter + value[place + 1 :]

    @rule(who=WHO)
    def drop(self, who: int) -> None:
        self.people[who].jar = {}

    @precondition(lambda self: "bind" in self.plan.options)
    @rule(who=WHO, user=st.sampled_from(USERS))
    def log_in_or_out(self, who: int, user: Optional[str]) -> None:
        self.people[who].user = user

    # --- what happens meanwhile --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 6, 6, 61, 200, 301, 700, 15_000, -30]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(name=st.sampled_from(["rain", "snow"]), truth=st.sampled_from([TRUE, FALSE, RAISES]))
    def a_condition_changes(self, name: str, truth: str) -> None:
        self.truths[name] = truth

    @rule(silent=one_in(4))
    def the_ledger_falls_silent_or_answers_again(self, silent: bool) -> None:
        if silent:
            self.ledger.switch_off()
        else:
            self.ledger.off = set()

    @rule(sure=one_in(4))
    def the_ledger_loses_all(self, sure: bool) -> None:
        if sure:
            self.ledger.kept = self.fresh()
            self.spent.clear()
            self.under_way.clear()

    @precondition(lambda self: "exempt" in self.plan.options)
    @rule(who=WHO, where=WHERE, method=st.sampled_from(["GET", "POST", "HEAD"]), reply=REPLIES)
    def staff_come(self, who: int, where: int, method: str, reply: Reply) -> None:
        request = self.ask(who, method, self.place(who, where), reply, **{STAFF: True})
        assert (request.calls, request.handle) == (1, None)
        assert request.error is not None or self.is_untouched(request)

    @rule(watching=one_in(3))
    def the_guard_only_watches_or_stands_there_again(self, watching: bool) -> None:
        self.watching = watching
        self.deploy(self.plan)

    @rule(change=st.sampled_from(["add", "remove", "as it was"]), number=NUMBER)
    def another_flow_is_deployed(self, change: str, number: int) -> None:
        plan = self.first_plan
        if change == "add":
            plan = plan.with_one_more()
        if change == "remove":
            names = [value["state"] for value in plan.paths.values() if "to" in value]
            plan = plan.without(names[number % len(names)])
        if loads(plan):
            self.forget_removed(plan)
            self.deploy(plan)

    def forget_removed(self, plan: Plan) -> None:
        """What a state that is gone was spent for is gone with it."""
        kept = {value["state"] for value in plan.paths.values()}
        self.spent = {key for key in self.spent if key[2] in kept}
        self.under_way = {key: one for key, one in self.under_way.items() if key[2] in kept}

    @rule(retire=st.booleans())
    def secrets_are_rotated(self, retire: bool) -> None:
        if retire and len(self.keys) > 1:
            self.keys = self.keys[1:]
        elif self.keys[-1] != SECRETS[-1]:
            self.keys = [*self.keys, SECRETS[SECRETS.index(self.keys[-1]) + 1]]
        self.deploy(self.plan)

    def teardown(self) -> None:
        for request in getattr(self, "pending", ()):
            self.end_request(request, hang_up=True)

    # --- requests ----------------------------------------------------------------------------------------------------

    def place(self, who: int, where: int) -> str:
        """A path. 0: where the visitor is; 1 and 2: a step on; then any."""
        somebody = self.people[who]
        held = [run for run in self.gate.runs(self.environ(somebody, "GET", "/")) if run.trail]
        run = held[-1] if held else None
        current = run.trail[-1] if run else self.gate.flow.starts[0]
        onward = list(self.gate.flow.states[current].to) or [current]
        near = [current, onward[0], onward[-1]]
        rules = self.plan.rules_of(near[where]) if where < len(near) else self.plan.rules
        values = {"order": "12"[where % 2], "lang": ("en", "de")[where % 2], **(dict(run.values) if run else {})}
        if where > 9:
            values.update(order="345678"[where - 10], lang="fr")
        return filled(rules[where % len(rules)], values)

    def page(self, where: int) -> list[str]:
        """The path and the query of a page that parameters tell apart."""
        rules = [rule for rule in self.plan.rules if "?" in rule]
        return filled(rules[where % len(rules)], {"order": "1", "lang": "en"}).split("?")

    def environ(self, somebody: Somebody, method: str, path: str, **more: Any) -> dict[str, Any]:
        return somebody.browser.environ(method, path, REMOTE_USER=somebody.user, **more)

    def ask(
        self, who: int, method: str, path: str, reply: Reply, looks: str = "a browser", **more: Any
    ) -> Request:
        request = self.begin_request(who, method, path, reply, looks, **more)
        if request.reason is not None and request.status == 303 and "HTTP_COOKIE" not in more:
            self.check_one_hop(request)
        return request

    def begin_request(
        self, who: int, method: str, path: str, reply: Reply, looks: str = "a browser",
        slow: bool = False, **more: Any,
    ) -> Request:  # fmt: skip
        somebody = self.people[who]
        environ = self.environ(somebody, method, path, **{**LOOKS[looks], **more})
        request = Request(environ, who, somebody.user, reply, slow)
        request.gate, request.with_ledger, request.watched = self.gate, not self.ledger.off, self.watching
        request.brought = {run.id: run for run in self.read(request, environ.get("HTTP_COOKIE", "").split("; "))}
        request.finished = self.count
        cookies = environ.get("HTTP_COOKIE")
        self.sent.append({"who": who, "method": method, "path": path, "looks": looks, **more, "HTTP_COOKIE": cookies})
        request.start(self.app)
        if slow and request.calls and request.error is None:
            self.pending.append(request)
        else:
            self.end_request(request)
        return request

    def end_request(self, request: Request, hang_up: bool = False) -> None:
        request.end(hang_up)
        self.settle(request, hang_up)
        if not hang_up and request.error is None:
            self.check(request)
            self.people[request.who].keep(request)
        elif not hang_up:
            self.check_error(request)
        self.count += 1

    def answer_of(self, request: Request) -> Answer:
        if request.reply.to is None:
            answer: Answer = ANSWERS[request.reply.answer]
        else:
            rules, run = self.plan.rules, request.handle and request.handle._run
            values = {"order": "1", "lang": "en", **dict(run.values if run else ())}
            answer = led(self.plan.mount + filled(rules[request.reply.to % len(rules)], values))
        self.led.update(value for name, value in answer.headers if name == "Location")
        return answer

    # --- what must hold ----------------------------------------------------------------------------------------------

    def seen(self, request: Request) -> None:
        """The application sees a request. A `once` state runs at most once in a run, and never twice at a time."""
        assert request.calls == 1, "seen twice"
        REACHED["seen"] += 1
        if request.handle is None:
            return  # a page that another deployment guarded
        REACHED["beaten"] += type(request.handle) is Handle
        run, name = request.handle._run, request.handle.state
        assert page_of(request) in (None, name), "judged as another page than the application sees"
        if request.watched:
            REACHED["watched"] += 1
            return
        state = request.gate.flow.states.get(name)
        if state is None or not state.once or not submits(request, name):
            return
        assert run is not None, "a `once` state began a run"
        request.once = (run.id, run.first, name)
        assert request.once not in self.spent, f"{name} was done before in this run, perhaps"
        assert request.once not in self.under_way, f"{name} is being done"
        assert not self.ledger.off, "submitted without the ledger"
        self.under_way[request.once] = request
        REACHED["once"] += 1

    def settle(self, request: Request, hung_up: bool) -> None:
        """What came of a submission of a `once` state, as far as it is certain."""
        if request.calls and request.reply.answer == "a page, failed":
            self.spent = {key for key in self.spent if key[0] not in request.brought}  # a payment was cancelled
        if request.watched and request.calls:  # where it fails that should have been refused, the state is free again
            self.spent = {key for key in self.spent if key[0] not in request.brought}
        if request.once is None or self.under_way.pop(request.once, None) is not request:
            return  # the ledger has lost it meanwhile, or it is gone
        never_answered = hung_up and request.slow
        if never_answered or request.reply.spends:
            self.spent.add(request.once)

    def check_error(self, request: Request) -> None:
        assert isinstance(request.error, Boom) == bool(request.calls)
        assert request.calls or RAISES in self.truths.values(), "an exception of nobody's"

    def check(self, request: Request) -> None:
        REACHED[request.reason or ("passed" if request.calls else "answered")] += 1
        if request.calls:
            assert request.reason is None
            assert request.status == int(self.answer_of(request).status[:3])
            assert not request.watched or self.is_untouched(request, but=("Set-Cookie", "Flowguard"))
        elif request.reason is not None:
            self.check_refusal(request)
        else:
            shut = request.method in ("HEAD", "OPTIONS") or "HTTP_X_HTTP_METHOD_OVERRIDE" in request.environ
            ahead = "HTTP_SEC_PURPOSE" in request.environ
            others = {303: "reset" in self.plan.options, 308: True, 405: shut, 503: ahead}
            assert others.get(request.status), request.status
        if not request.calls:
            self.check_location(request)
        self.check_cookies(request)

    def is_untouched(self, request: Request, but: tuple[str, ...] = ()) -> bool:
        """Is every header the application's own?"""
        sent, answered = request.headers, self.answer_of(request).headers
        return [pair for pair in sent if pair[0] not in but] == [pair for pair in answered if pair[0] not in but]

    def check_refusal(self, request: Request) -> None:
        assert not request.watched
        assert request.reason in {reason.value for reason in Reason}
        assert request.header("Cache-Control") == "no-store"
        assert request.all("Vary")
        assert request.status in ((503,) if request.reason == "unavailable" else (303, 409))
        if request.header("Content-Type") == "application/problem+json" and request.method != "HEAD":
            assert json.loads(request.body)["reason"] == request.reason

    def check_location(self, request: Request) -> None:
        location = request.header("Location")
        if location is not None and location not in self.led:
            assert location.startswith(self.plan.mount + "/")
            assert not location.startswith(("//", "/\\"))

    def check_one_hop(self, request: Request) -> None:
        """A GET of the target by the same visitor always passes. So does one of where the application has led."""
        location = request.header("Location") or ""
        if not location.startswith(self.plan.mount + "/"):
            assert location in self.led
            return
        path = location[len(self.plan.mount) :]
        next_request = self.begin_request(request.who, "GET", path, Reply())
        assert next_request.calls, f"{path} was refused: {next_request.reason}"
        REACHED["one hop"] += 1

    def check_cookies(self, request: Request) -> None:
        headers = request.all("Set-Cookie")
        assert not (headers and (request.method == "HEAD" or request.status == 304))
        assert all(len(header.encode()) <= MAX_COOKIE for header in headers)
        for run in self.read(request, [header.partition(";")[0] for header in headers]):
            self.check_run(request, run)

    def read(self, request: Request, pairs: Iterable[str]) -> Iterator[Run]:
        """The runs in cookies that whoever answers the request can read."""
        for pair in pairs:
            run = request.gate.jar(request.environ).cookie._newest([pair.partition("=")[2]]).run
            if run is not None:
                yield run

    def check_run(self, request: Request, run: Run) -> None:
        """A run that is told to a visitor is his own, or a new one; and it is the newest."""
        assert run.id in request.brought or run.id not in self.ids, "another's run, or one of a cookie that is none"
        self.ids.add(run.id)
        brought = request.brought.get(run.id)
        # After a reset its id is anybody's who brings it: another run, and nobody's.
        if brought is not None and brought.first == run.first and "bind" in self.plan.options and brought.trail:
            assert self.owner(brought) in (None, request.user), "another user's run"
        undisturbed = request.finished == self.count and request.with_ledger and not self.ledger.off
        key = f"{request.gate.flow.name}:{run.id}"
        record = self.ledger.kept.read(key, now=self.clock.now) if undisturbed else None
        if record is not None:
            newest = request.gate._kit.keeper._codec.decode(read_record(record.text).run)
            # What a submission has spent whose lease is over, the cookie says before the ledger does; and whose it is.
            assert run.spent >= newest.spent
            assert run._replace(spent=newest.spent) == newest._replace(user=newest.user or run.user), "not the newest"
            REACHED["newest"] += 1

    def owner(self, run: Run) -> Optional[str]:
        users = Users("REMOTE_USER", SECRETS, self.gate.flow.name)
        return next((user for user in USERS if run.user in users.of({"REMOTE_USER": user})), None)


def submits(request: Request, name: str) -> bool:
    methods = {request.method, request.environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", request.method).upper()}
    effects = name in request.gate.flow.effects and "GET" in methods
    return effects or not methods <= {"GET", "HEAD", "OPTIONS"}


def page_of(request: Request) -> Optional[str]:
    """The parameter by which an application tells its pages apart, wherever it stands."""
    return next(iter(request.fields.get("at", ())), None)


def filled(rule: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        rule = rule.replace(f"<{name}>", value)
    return rule


@pytest.fixture(autouse=True)
def unobserved() -> Iterator[None]:
    """Without logs: a story that fails is told again and again until it is short. And without a measurement of
    coverage, which would take as long again: other tests measure all of this."""
    logging.disable()
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
    logging.disable(logging.NOTSET)


def tell(story: type[Story], stories: int) -> None:
    run_state_machine_as_test(story, settings=settings(
        max_examples=stories, stateful_step_count=STEPS, deadline=None, derandomize=not DEEP, database=None,
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
    ))  # fmt: skip
    print(dict(REACHED))


@pytest.mark.slow
def test_whatever_visitors_and_operators_do_the_guard_keeps_its_promises() -> None:
    tell(Story, STORIES)
    assert (EVERYWHERE if DEEP else OFTEN) <= REACHED.keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_it_keeps_them_with_every_ledger(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    numbers = count()

    def fresh_sqlite() -> Any:
        return SqliteLedger(tmp_path / f"{next(numbers)}.db")

    def fresh_redis() -> Any:
        return RedisLedger(client, prefix=f"story-{os.getpid()}-{next(numbers)}:")

    if kind == "redis":
        client = redis.Redis.from_url(request.getfixturevalue("redis_url"))
        request.addfinalizer(client.close)

    class Kept(Story):
        fresh = staticmethod(fresh_redis if kind == "redis" else fresh_sqlite)

    before = REACHED["newest"]
    tell(Kept, STORIES // 8)
    assert REACHED["newest"] > before
