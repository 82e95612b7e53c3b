"""Random flows and random visitors: the real WSGI callable against the naive model (model.py), without a difference.

A case is plain data, so that it can be shrunk and printed. Conditions stand in it as "?name" and read a table of truths
that the steps flip. FLOWGUARD_DEEP=1 multiplies the volume by 40.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pprint
import random
import re
from typing import Any, Callable, Iterator, NamedTuple, Optional

import pytest
from model import Answer, Model, Reply, Run

from flowguard import ConfigError, FlowGuard

DEEP = 40 if os.environ.get("FLOWGUARD_DEEP") == "1" else 1
FLOWS_PER_SEED = 125 * DEEP
STEPS = 24  # per flow
SECRET = "0123456789abcdef0123456789abcdef"
HOST = "shop.example:8000"
COOKIE = "flowguard-flow"
# A browser need not keep more than 4096 bytes of a cookie, attributes included (RFC 6265, 6.1).
MAX_COOKIE = 4096  # bytes
CONDITIONS = ("rain", "snow", "wind")
RESET = "/reset"
PAY = "https://pay.example/*"
NOTHING = Answer(404)  # an answer that changes no run


class Step(NamedTuple):
    """One request: what passes before it, the request, and what the application would answer."""

    wait: float  # seconds
    flips: tuple[str, ...]
    method: str
    path: str
    style: str  # page, html or api: how the client presents itself
    answer: Answer
    stale: float = 1.0  # which of the cookies so far is sent: 1 is the newest, 0 the oldest that the ledger knows
    user: Optional[str] = None  # who asks, where the flow binds

    def __str__(self) -> str:
        before = f"+{self.wait} s" + "".join(f", {name} flips" for name in self.flips)
        before += "" if self.stale == 1 else f", an old cookie ({self.stale:.2f})"
        before += f", {self.user}" if self.user else ""
        return f"{before}: {self.method} {self.path} as {self.style}, answered {tuple(self.answer)}"


class Case(NamedTuple):
    paths: dict[str, Any]
    options: dict[str, Any]
    mount: str
    steps: list[Step]


class Boom(Exception):
    """The application's own exception."""


def with_conditions(value: Any, truths: dict[str, bool]) -> Any:
    """*value* with every "?name" replaced by a callable that looks into *truths*."""
    if isinstance(value, dict):
        return {key: with_conditions(item, truths) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("?"):
        return lambda context: truths[value[1:]]
    return value


# --- the two sides --------------------------------------------------------------------------------------------------


class Got(NamedTuple):
    calls: int
    status: int
    headers: dict[str, str]
    body: bytes
    seen: Optional[dict[str, Any]]


class Visitor:
    """A browser with its cookie jar before the guarded application; the clock stands still but for `now`."""

    def __init__(self, case: Case) -> None:
        self.now = 1_800_000_000.0
        self.truths = dict.fromkeys(CONDITIONS, True)
        self.jar: dict[str, str] = {}
        self.largest = 0  # bytes of a cookie with its attributes
        self.led: list[str] = []  # where answers led
        self.mount = case.mount
        self.calls: list[str] = []
        self.count = 0
        self.seen: Optional[dict[str, Any]] = None
        self.answer = Answer()
        self.user: Optional[str] = None
        paths = with_conditions(case.paths, self.truths)
        self.guard = FlowGuard(self.app, paths, secret_key=SECRET, clock=lambda: self.now, **case.options)

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.count += 1
        self.calls.append(environ["REQUEST_METHOD"])
        run = environ.get("flowguard.run")
        if run is not None:
            self.seen = {
                "current": run.current,
                "history": [tuple(step) for step in run.history],
                "allowed": sorted(run.allowed),
            }
        if self.answer.raises:
            raise Boom
        headers = [("Content-Type", self.answer.content_type)] if self.answer.content_type else []
        if self.answer.location is not None:
            headers.append(("Location", self.answer.location))
            self.led.append(self.answer.location)
        start_response(f"{self.answer.status} Status", headers)
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" or self.answer.status in (204, 304) else [b"page"]

    def environ(self, method: str, path: str, style: str) -> dict[str, Any]:
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": self.mount,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": HOST,
            "HTTP_ACCEPT": "*/*" if style == "api" else "text/html,*/*;q=0.8",
            "CONTENT_LENGTH": "0",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(b""),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if self.user is not None:
            environ["REMOTE_USER"] = self.user
        if style == "page":
            environ.update(HTTP_SEC_FETCH_MODE="navigate", HTTP_SEC_FETCH_SITE="same-origin")
        # Of the guard's cookies only the run's comes back: without the others, it never breaks a loop of redirects.
        if COOKIE in self.jar:
            environ["HTTP_COOKIE"] = f"{COOKIE}={self.jar[COOKIE]}"
        return environ

    def ask(self, method: str, path: str, style: str, answer: Answer) -> Got:
        self.answer, self.seen, self.calls, self.count = answer, None, [], 0
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], None]:
            started.append((status, headers))
            return lambda data: None

        try:
            chunks = self.guard(self.environ(method, path, style), start_response)
            body = b"".join(chunks)
            if hasattr(chunks, "close"):
                chunks.close()
        except Boom:
            return Got(self.count, 500, {}, b"", self.seen)
        assert self.count == len(self.calls)
        status, headers = started[-1]
        for name, value in headers:
            if name.lower() == "set-cookie":
                self.keep(value)
        return Got(self.count, int(status.split()[0]), {k.lower(): v for k, v in headers}, body, self.seen)

    def keep(self, cookie: str) -> None:
        self.largest = max(self.largest, len(cookie.encode()))
        pair, _, attributes = cookie.partition(";")
        name, _, value = pair.partition("=")
        if "max-age=0" in attributes.lower().replace(" ", "").split(";"):
            self.jar.pop(name.strip(), None)
        else:
            self.jar[name.strip()] = value.strip()


class Pair:
    """The visitor and the model, step by step. Every method gives None, or the difference as a sentence."""

    def __init__(self, case: Case) -> None:
        self.visitor = Visitor(case)
        paths = with_conditions(case.paths, self.visitor.truths)
        self.model = Model(paths, mount=case.mount, host=HOST, **case.options)
        self.run: Optional[Run] = None
        self.cookies: list[str] = []  # what the guard has sent so far
        self.known = False  # whether the ledger knows them

    def take(self, step: Step) -> Optional[str]:
        self.visitor.now += step.wait
        self.visitor.user = step.user
        for name in step.flips:
            self.visitor.truths[name] = not self.visitor.truths[name]
        old = self.turn_back(step)
        before = self.run
        expected = self.expect(step.method, step.path, step.answer)
        got = self.visitor.ask(step.method, step.path, step.style, step.answer)
        over = before is not None and self.model.is_over(before, self.visitor.now)
        foreign = self.model.foreign(before, step.user)
        if over and foreign and got.headers.get("flowguard-reason") == "expired" and expected.problem:
            # The ledger has forgotten it, and the browser never got the cookie that says whose it became.
            expected = expected._replace(reason="expired", problem={**expected.problem, "reason": "expired"})
        difference = self.compare(step, expected, got)
        # Nothing is left of a run that is over, and a stranger is not sent the newest.
        if over or foreign:
            if old is not None and self.visitor.jar.get(COOKIE) == old:
                self.visitor.jar[COOKIE] = self.cookies[-1]
        elif not difference and not expected.shut:
            difference = self.not_renewed(old, step, got)
        self.keep(step, expected, before)
        if difference or expected.target is None or expected.reason is None:
            return difference
        # "A GET of the target by the same visitor always passes: one hop, never a chain."
        self.expect("GET", expected.target, NOTHING)
        got = self.visitor.ask("GET", expected.target, step.style, NOTHING)
        return None if got.calls == 1 else f"one hop: a GET of the target {expected.target} was refused: {got}"

    def turn_back(self, step: Step) -> Optional[str]:
        """Send an older cookie, where the ledger knows a newer: "brought up to the newest run and judged by that"."""
        if self.run is not None and self.model.is_over(self.run, self.visitor.now):
            return None  # the ledger may have forgotten it
        if not self.known or step.stale == 1 or self.visitor.jar.get(COOKIE) != self.cookies[-1]:
            return None
        self.visitor.jar[COOKIE] = self.cookies[int(step.stale * len(self.cookies))]
        return self.visitor.jar[COOKIE] if self.visitor.jar[COOKIE] != self.cookies[-1] else None

    def not_renewed(self, old: Optional[str], step: Step, got: Got) -> Optional[str]:
        """ "the newest cookie is sent again", but "never on a 304, an answer to HEAD", and not by an exception."""
        silent = step.method.upper() == "HEAD" or got.status == 304 or (got.calls and step.answer.raises)
        if old is None or silent or self.model.resolve(step.method.upper(), step.path) is None:
            return None
        return "the newest cookie was not sent again" if self.visitor.jar.get(COOKIE) == old else None

    def keep(self, step: Step, expected: Reply, before: Optional[Run]) -> None:
        name, method = self.model.resolve(step.method.upper(), step.path), step.method.upper()
        foreign = self.model.foreign(before, step.user)
        anew = foreign and self.run is not before
        if before is None or self.model.is_over(before, self.visitor.now) or anew or COOKIE not in self.visitor.jar:
            self.cookies, self.known = [], False
        elif expected.called and name is not None and not foreign and not self.model.safe(method, name):
            # "A run takes a place in it with its first submission": a claim, or a change
            claims = name in self.model.states and not self.model.repeat(name)
            self.known = self.known or claims or self.run is not before
        cookie = self.visitor.jar.get(COOKIE)
        if cookie and cookie not in self.cookies:
            self.cookies.append(cookie)

    def expect(self, method: str, path: str, answer: Answer) -> Reply:
        reply = self.model.request(self.run, method, path, self.visitor.now, answer, self.visitor.user)
        self.run = reply.run
        return reply

    def compare(self, step: Step, expected: Reply, got: Got) -> Optional[str]:
        wanted: dict[str, Any] = {"calls": int(expected.called), "reason": expected.reason}
        found: dict[str, Any] = {"calls": got.calls, "reason": got.headers.get("flowguard-reason")}
        if expected.called:
            wanted.update(status=500 if step.answer.raises else step.answer.status)
            found.update(status=got.status)
            if expected.seen is not None:
                wanted.update(expected.seen, allowed=sorted(expected.seen["allowed"]))
                found.update(got.seen or {})
        elif expected.shut:
            wanted.update(status=405)
            found.update(status=got.status)
        elif expected.reason is None:  # the reset path
            wanted.update(status=303)
            found.update(status=got.status)
            if expected.target:
                wanted.update(location=self.visitor.mount + expected.target)
                found.update(location=got.headers.get("location"))
        elif wanted == found:
            self.add_refusal(step, expected, got, wanted, found)
        if wanted == found:
            return None
        keys = [key for key in wanted if wanted[key] != found.get(key)] or ["(surplus)"]
        return "\n".join(f"{key}: the model says {wanted.get(key)!r}, the guard {found.get(key)!r}" for key in keys)

    def add_refusal(self, step: Step, expected: Reply, got: Got, wanted: dict[str, Any], found: dict[str, Any]) -> None:
        target = expected.target and self.visitor.mount + expected.target
        found.update(status=got.status, location=got.headers.get("location"))
        if step.style == "api":
            wanted.update(status=409, location=None, content_type="application/problem+json")
            found.update(content_type=got.headers["content-type"].partition(";")[0])
            if step.method.upper() != "HEAD":
                self.add_problem(expected, target, json.loads(got.body), wanted, found)
        elif self.model.safe(step.method.upper(), self.model.resolve(step.method.upper(), step.path) or ""):
            # "In a stuck run a page visit gets the 409 page too"
            redirected = target is not None and not expected.stuck
            wanted.update(status=303 if redirected else 409, location=target if redirected else None)
        elif expected.reason not in ("duplicate", "finished") or expected.doubt:
            wanted.update(status=409, location=None)
        elif got.status == 303 and got.headers.get("location") in self.visitor.led:
            # "303 to where that submission led ..., else to the target"
            wanted.update(status=303, location=got.headers["location"])
        else:
            wanted.update(status=303 if target else 409, location=target)

    def add_problem(
        self, expected: Reply, target: Optional[str], problem: Any, wanted: dict[str, Any], found: dict[str, Any]
    ) -> None:
        assert expected.problem is not None
        wanted.update(normal(expected.problem), target=target)
        found.update(normal({key: problem.get(key) for key in expected.problem}))
        # "`target` and, where that is not GET, `target_method`": the model's None stands for "no GET passes there"
        by_get = problem.get("target_method", "GET") == "GET"
        found.update(target=problem.get("target") if by_get and target else None)

    def way_on(self) -> Optional[str]:
        """With the conditions true and the least times over, the visitor has a way on, and the guard lets it pass."""
        self.visitor.truths.update(dict.fromkeys(CONDITIONS, True))
        self.visitor.now += max(map(self.model.min_seconds, self.model.states))
        before, ways = self.run, list(self.ways())
        if self.run is not before:
            ways = list(self.ways())  # a refusal by `max_seconds` has ended the run: now there is a start
        if ways:
            got = self.visitor.ask(*ways[0], "api", NOTHING)
            return None if got.calls == 1 else f"no way on: {ways[0]} was refused: {got}"
        if self.run is not None and self.is_over_for_good(self.run):
            return None
        return "no way to begin" if self.run is None else f"no way on: {self.run.facts()}"

    def is_over_for_good(self, run: Run) -> bool:
        """Two kinds of flow leave a visitor nothing but the run's `ttl`, by the letter. Where the only start takes no
        safe GET and is an end, a second submission of it is a duplicate (line 2): who wants more writes `repeat`. (A
        start that takes none and is `once` is none where a run is to begin.) And where
        `max_seconds` are over, but each next step is an earlier page, it is looked at for ever (lines 4 and 5)."""
        model, current = self.model, run.current
        starts = [s for s in model.starts if model.get_path(s) or not (model.once(s) or model.min_seconds(s))]
        once_for_all = model.finished(run) and starts == [current] and not model.get_path(current)
        late = self.visitor.now - run.since > model.max_seconds(current)
        return once_for_all or (late and all(model.line_5(run, s, True) for s in model.to(current)))

    def ways(self) -> Iterator[tuple[str, str]]:
        """What submits the current state, enters another or a start, or goes back by `edit`."""
        for key in self.model.keys:
            for method in ("GET", "POST", "DELETE"):
                now, run = self.visitor.now, self.run
                path = self.model.build(key.path, {"lang": "en", **(run.values if run else {})}) or ""
                mine = key.name in self.model.states and self.model.resolve(method, path) == key.name
                if not mine or not key.names(method):  # what an application does not take leads nowhere
                    continue
                gone = run is not None and (self.model.is_over(run, now) or self.model.foreign(run, self.visitor.user))
                usable = None if gone else run
                safe = self.model.safe(method, key.name)
                _, how = self.model.decide(usable, key.name, safe, now, values=self.model.values(path))
                if how == "expired":
                    self.expect(method, path, NOTHING)
                    self.visitor.ask(method, path, "api", NOTHING)
                elif how in ("begin", "enter", "submit", "edit"):
                    yield method, path


def normal(problem: dict[str, Any]) -> dict[str, Any]:
    """What a refusal says, with the order taken out where the contract names none."""
    missing = problem["missing"] or []
    first = missing[:1] if missing[:1] == [problem["current"]] else []
    rest = sorted(json.dumps(item) for item in missing[len(first) :])
    return {**problem, "missing": first + rest, "allowed": sorted(problem["allowed"] or [])}


def difference(case: Case) -> Optional[str]:
    pair = Pair(case)
    for number, step in enumerate(case.steps):
        try:
            found = pair.take(step)
        except Exception as error:
            found = f"crashed: {error!r}"
        if found:
            return f"step {number + 1}\n{found}"
    if pair.visitor.largest > MAX_COOKIE:
        return f"too large a cookie: {pair.visitor.largest} bytes"
    return pair.way_on()


# --- random flows ---------------------------------------------------------------------------------------------------


class Maker:
    """Random cases from one source of randomness."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def some(self, items: list[Any], probability: float) -> list[Any]:
        return [item for item in items if self.chance(probability)]

    def case(self) -> Case:
        keys = self.keys(self.rng.randint(2, 7))
        names = [given or key for key, given in keys]
        paths: dict[str, Any] = {}
        for place, (key, given) in enumerate(keys):
            paths[key] = self.state(names, place, key.startswith("POST "))
            if given:
                paths[key]["state"] = given
        self.starts([paths[key] for key, _ in keys], [key for key, _ in keys])
        paths = self.aliases(paths, names)
        if self.chance(0.25):
            key = self.rng.choice(["/help", "POST /help", "GET /help"])
            paths[key] = {"within": self.some(names, 0.4) or names[:1]}
        if self.chance(0.25):
            paths[self.rng.choice(["/basket", "GET /basket", "POST /basket"])] = self.basket(names)
        options = self.options()
        if self.chance(0.2):
            paths = self.with_language(paths)
            if any("<lang>" in key for key in paths) and self.chance(0.7):
                options["vary"] = ["lang"]
        case = Case(paths, options, self.rng.choice(["", "", "/shop"]), [])
        return case._replace(steps=self.steps(case))

    def basket(self, names: list[str]) -> dict[str, Any]:
        basket: dict[str, Any] = {"undoes": self.some(names, 0.3) or names[-1:]}
        if self.chance(0.2):
            basket["within"] = self.some(names, 0.6) or names[:1]
        if self.chance(0.2):
            basket["reject"] = self.rng.choice([[204], ["/a*"], ["/thanks*", 200]])
        if self.chance(0.2):
            basket["accept"] = self.rng.choice([[404], [422, "/b"], ["/login*"]])
        return basket

    def with_language(self, paths: dict[str, Any]) -> dict[str, Any]:
        """The same with a variable in front of most paths; whose key was the name is named so still."""
        found: dict[str, Any] = {}
        for key, value in paths.items():
            if self.chance(0.8):
                named = value if isinstance(value, str) else {**value, "state": value.get("state", key)}
                found[key.replace("/", "/<lang>/", 1)] = named
            else:
                found[key] = value
        return found

    def keys(self, count: int) -> list[tuple[str, Optional[str]]]:
        """(key, the state's given name or None): plain, with methods, or two states that share a path."""
        keys: list[tuple[str, Optional[str]]] = []
        for letter in "abcdefg"[:count]:
            shape = self.rng.choice(["", "", "", "", "GET,POST ", "GET ", "POST ", "GET,DELETE ", "pair"])
            if shape == "pair" and keys and keys[-1][0].startswith("GET /"):
                key = keys[-1][0].replace("GET /", "POST /")
            else:
                key = ("" if shape == "pair" else shape) + "/" + letter
            keys.append((key, letter.upper() if self.chance(0.3) else None))
        return keys

    def state(self, names: list[str], place: int, post_only: bool) -> dict[str, Any]:
        others = names[:place] + names[place + 1 :]
        state: dict[str, Any] = {}
        to = names[place + 1 : place + 2] if self.chance(0.85) else []
        to += [name for name in self.some(others, 0.25) if name not in to]
        self.rng.shuffle(to)
        if to and self.chance(0.15):
            state["to"] = {name: self.rng.choice([True, "?" + self.rng.choice(CONDITIONS)]) for name in to}
        elif to:
            state["to"] = to
        elif self.chance(0.3):
            state["end"] = True
        kind = self.rng.choice(["", "", "", "submit", "submit", "once", "once", "repeat"])
        if kind:
            state[kind] = True
        if self.chance(0.2):
            state["requires"] = self.requires(names[:place] if self.chance(0.85) else others)
        if self.chance(0.25):
            state["back"] = self.rng.choice(["refuse", "view", "edit"])
        if self.chance(0.1):
            state["when"] = "?" + self.rng.choice(CONDITIONS)
        self.answers(state)
        # A state that takes only submissions can never be entered where it has min_seconds (line 4).
        if not post_only and self.chance(0.12):
            state["min_seconds"] = self.rng.choice([1, 5, 30])
        if self.chance(0.12):
            state["max_seconds"] = self.rng.choice([40, 60, 300])
        # What enters a state with effects is a submission of it, too.
        if not post_only and "min_seconds" not in state and self.chance(0.12):
            state["effects"] = True
        return state

    def requires(self, names: list[str]) -> list[Any]:
        needs: list[Any] = self.some(names, 0.3)
        if len(names) > 1 and self.chance(0.3):
            needs.append(self.rng.sample(names, 2))
        return needs

    def answers(self, state: dict[str, Any]) -> None:
        if self.chance(0.15):
            state["accept"] = self.rng.choice([[200], [302, 422], ["/thanks*"], [PAY, 204], ["/b?ok=*"], ["/c"]])
        if self.chance(0.1):
            state["reject"] = self.rng.choice([[201], [303], ["/nowhere*"], ["*/a"], [PAY, 205], ["/thanks?*"]])

    def starts(self, states: list[dict[str, Any]], keys: list[str]) -> None:
        if self.chance(0.5):
            for state in self.some(states, 0.25) or states[:1]:
                state["start"] = True
        place = next((place for place, state in enumerate(states) if state.get("start")), 0)
        # A run needs a start that a first request can enter (line 1): a `once` start needs a GET.
        if keys[place].startswith("POST ") and states[place].pop("once", False):
            states[place]["submit"] = True
        if states[place].get("once"):
            states[place].pop("effects", None)

    def aliases(self, paths: dict[str, Any], names: list[str]) -> dict[str, Any]:
        more: dict[str, Any] = {}
        for place, (key, name) in enumerate(zip(list(paths), names)):
            if self.chance(0.12):
                more[self.rng.choice(["", "GET ", "POST "]) + f"/alias{place}"] = name
            if key.startswith("GET /") and key.replace("GET", "POST") not in paths and self.chance(0.5):
                more[key.replace("GET", "POST")] = name
        return {**more, **paths} if self.chance(0.2) else {**paths, **more}

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.chance(0.15):
            options["ordered"] = True
        if self.chance(0.5):
            options["back"] = self.rng.choice(["refuse", "view", "edit", "edit"])
        if self.chance(0.25):
            options["restart"] = True
        if self.chance(0.2):
            options["reset"] = RESET
        if self.chance(0.15):
            options["ttl"] = self.rng.choice([50, 200])
        if self.chance(0.15):
            options["idle"] = self.rng.choice([30, 100])
        if self.chance(0.2):
            options["bind"] = "REMOTE_USER"
        if self.chance(0.1):
            options["reject"] = self.rng.choice([[], ["*/thanks*"]])
        return options

    # --- random visitors: the model is asked what would be near, so that runs get far --------------------------------

    def steps(self, case: Case) -> list[Step]:
        truths = dict.fromkeys(CONDITIONS, True)
        model = Model(with_conditions(case.paths, truths), mount=case.mount, host=HOST, **case.options)
        run: Optional[Run] = None
        now = 1_800_000_000.0
        steps: list[Step] = []
        user: Optional[str] = None
        for _ in range(STEPS):
            if "bind" in case.options and self.chance(0.15):
                user = self.rng.choice([None, "ann", "ann", "bob"])
            gone = run is not None and (model.is_over(run, now) or model.foreign(run, user))
            step = self.step(case, model, None if gone else run)._replace(user=user)
            now += step.wait
            for name in step.flips:
                truths[name] = not truths[name]
            run = model.request(run, step.method, step.path, now, step.answer, user).run
            steps.append(step)
        return steps

    def step(self, case: Case, model: Model, run: Optional[Run]) -> Step:
        paths = [key.path for key in model.keys]
        near = model.starts if run is None else [run.current] + list(model.to(run.current)) * 2
        name = self.rng.choice(near)
        path = self.rng.choice([key.path for key in model.keys if key.name == name])
        if self.chance(0.3):
            path = self.rng.choice(paths)
        method = self.method()
        if self.chance(0.02):
            path = "/elsewhere"
        if "reset" in case.options and self.chance(0.02):
            path, method = RESET, self.rng.choice(["GET", "POST"])
        path = self.in_a_language(path)
        flips = (self.rng.choice(CONDITIONS),) if self.chance(0.1) else ()
        style = self.rng.choice(["api", "api", "page", "page", "html"])
        stale = self.rng.random() if self.chance(0.1) else 1.0
        return Step(self.wait(model), flips, method, path, style, self.answer(case, model, path), stale)

    def in_a_language(self, path: str) -> str:
        return path.replace("<lang>", self.rng.choice(["en", "en", "en", "de"]))

    def method(self) -> str:
        usual = ["GET"] * 10 + ["POST"] * 10
        return self.rng.choice([*usual, "HEAD", "OPTIONS", "DELETE", "get", "post", "Head", "PURGE"])

    def wait(self, model: Model) -> float:
        if self.chance(0.65):
            return 0
        if self.chance(0.6):
            return self.rng.choice([1, 5, 31, 0.4, 4.7, 0.3])
        edges = [model.options[key] + 60 for key in ("ttl", "idle") if key in model.options]
        edges = edges or [self.rng.choice([90, 14_460])]
        for state in model.states.values():
            edges += [state[key] + more for key, more in (("min_seconds", 0), ("max_seconds", 60)) if key in state]
        return self.rng.choice(edges) + self.rng.choice([-1, 0, 1, 0.5, -0.25])

    def answer(self, case: Case, model: Model, path: str) -> Answer:
        if self.chance(0.35):
            return self.rng.choice([Answer(), Answer(), Answer(200, "application/json"), Answer(204, None)])
        if self.chance(0.6):
            status = self.rng.choice([302, 302, 303, 303, 301, 307, 308])
            return Answer(status, "text/html", self.location(case, model, path))
        others = [Answer(status) for status in (201, 202, 205, 206, 404, 422, 500, 503, 304, 302, 403)]
        return self.rng.choice([*others, Answer(raises=True), Answer(raises=True), Answer(201, None, "/a")])

    def location(self, case: Case, model: Model, path: str) -> str:
        name = model.resolve("GET", path)
        state = model.states.get(name or "", {})
        own = [key.path for key in model.keys if name in model.states and key.name in model.to(name)]
        place = self.rng.choice(own if own and self.chance(0.5) else [key.path for key in model.keys])
        globs = [rule for rule in state.get("accept", []) + state.get("reject", []) if isinstance(rule, str)]
        if globs and self.chance(0.4):
            place = self.rng.choice(globs).replace("*", self.rng.choice(["", "1", "?n=1"]))
        elif self.chance(0.2):
            place = self.rng.choice(["/login?next=/b", "/thanks?n=1", "/nowhere", "/b?ok=1", "/signin", "/"])
        elif self.chance(0.05):
            place = self.rng.choice(["https://pay.example/go?x=1", "//evil.example/b", "https://id.example/login"])
        place = self.in_a_language(place)
        if not place.startswith("/") or place.startswith("//"):
            return place
        host = self.rng.choice(["", "", "", "", "http://" + HOST, "https://" + HOST.replace("8000", "8443")])
        return host + ("" if self.chance(0.05) else case.mount) + place


# --- a smaller case that still differs ------------------------------------------------------------------------------


def smaller(case: Case) -> Iterator[Case]:
    """Cases with something left out: steps, options, keys of a state, whole paths."""
    for size in (8, 4, 2, 1):
        for place in range(len(case.steps) - size, -1, -1):
            yield case._replace(steps=case.steps[:place] + case.steps[place + size :])
    if case.mount:
        steps = [s._replace(answer=s.answer._replace(location=unmounted(s.answer.location))) for s in case.steps]
        yield case._replace(mount="", steps=steps)
    for option in case.options:
        yield case._replace(options={key: value for key, value in case.options.items() if key != option})
    for key, value in case.paths.items():
        yield case._replace(paths={other: item for other, item in case.paths.items() if other != key})
        for flag in value if isinstance(value, dict) else ():
            paths = copy.deepcopy(case.paths)
            del paths[key][flag]
            yield case._replace(paths=paths)
            for place in range(len(value[flag]) if isinstance(value[flag], list) else 0):
                paths = copy.deepcopy(case.paths)
                del paths[key][flag][place]
                yield case._replace(paths=paths)
    for place, step in enumerate(case.steps):
        less = ({"wait": 0}, {"user": None}, {"flips": ()}, {"answer": Answer()}, {"stale": 1.0}, {"style": "api"})
        for plain in (step._replace(**change) for change in less):
            if plain != step:
                yield case._replace(steps=[*case.steps[:place], plain, *case.steps[place + 1 :]])


def unmounted(location: Optional[str]) -> Optional[str]:
    return location and location.replace("/shop/", "/")


def kind(found: Optional[str]) -> Optional[str]:
    """What a difference is about: its words without the values."""
    return found and re.sub(r"step \d+\n|[:=].*", "", found)


def differs(case: Case, alike: Optional[str]) -> bool:
    """Whether *case* still makes sense and differs in the same things."""
    try:
        return kind(difference(case)) == alike
    except ConfigError:
        return False  # too much was left out


def shrunk(case: Case, alike: Optional[str]) -> Case:
    while True:
        less = next((candidate for candidate in smaller(case) if differs(candidate, alike)), None)
        if less is None:
            return case
        case = less


def report(case: Case) -> str:
    case = shrunk(case, kind(difference(case)))
    flow = pprint.pformat(case.paths, width=110, sort_dicts=False)
    lines = ["", flow, f"options: {case.options}, mount {case.mount!r}"]
    lines += [f"{number + 1}. {step}" for number, step in enumerate(case.steps)]
    return "\n".join([*lines, difference(case) or "(no difference any more)"])


# --- the tests ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_the_guard_and_the_model_agree_on_random_flows_and_visitors(seed: int) -> None:
    maker = Maker(random.Random(seed))
    unloadable = []
    for _ in range(FLOWS_PER_SEED):
        case = maker.case()
        try:
            found = difference(case)
        except ConfigError as error:
            unloadable.append(f"{case.paths} {case.options}: {error}")
            continue
        if found:
            pytest.fail(report(case), pytrace=False)
    assert len(unloadable) <= FLOWS_PER_SEED * 0.05, "\n".join(unloadable[:5])


def test_the_random_visitors_get_everywhere() -> None:
    """The comparison is worth as much as what it reaches: every reason, every way to pass, finished and stuck runs."""
    reached = set()
    maker = Maker(random.Random(0))
    for _ in range(300):
        case = maker.case()
        truths = dict.fromkeys(CONDITIONS, True)
        model = Model(with_conditions(case.paths, truths), mount=case.mount, host=HOST, **case.options)
        run: Optional[Run] = None
        now = 0.0
        for step in case.steps:
            now += step.wait
            for name in step.flips:
                truths[name] = not truths[name]
            reply = model.request(run, step.method, step.path, now, step.answer, step.user)
            method, name = step.method.upper(), model.resolve(step.method.upper(), step.path) or ""
            gone = run is not None and (model.is_over(run, now) or model.foreign(run, step.user))
            usable = None if gone else run
            if name in model.states:
                safe = model.safe(method, name)
                reached.add(model.decide(usable, name, safe, now, values=model.values(step.path)))
                if reply.called and not safe and method == "GET":
                    reached.add("an effect")
            if reply.called and "undoes" in model.companions.get(name, {}) and reply.run is not run:
                reached.add("undone")
            if reply.run is not None and len(set(model.values(step.path).items()) - set(reply.run.values.items())):
                reached.add("another language")
            reached.update({reply.reason, "stuck" if reply.stuck else None, "shut" if reply.shut else None})
            run = reply.run
    ways = {("pass", how) for how in ("begin", "reload", "submit", "enter", "look", "edit")}
    reasons = {"not_started", "illegal", "duplicate", "skipped", "condition", "too_fast", "expired", "finished"}
    others = {"stuck", "shut", "an effect", "undone", "another language", "wrong_user"}
    assert ways | reasons | others <= reached


def test_a_cookie_from_before_the_reset_is_answered_by_the_newest_one() -> None:
    visitor = Visitor(Case({"/a": {"to": ["/b"], "submit": True}, "/b": {}}, {"reset": RESET}, "", []))
    visitor.ask("GET", "/a", "api", Answer())
    old = visitor.jar[COOKIE]
    visitor.ask("POST", "/a", "api", Answer(204, None))
    visitor.ask("POST", RESET, "api", NOTHING)
    newest, visitor.jar[COOKIE] = visitor.jar[COOKIE], old
    assert visitor.ask("GET", "/b", "api", Answer()).headers["flowguard-reason"] == "not_started"
    assert visitor.jar[COOKIE] == newest
