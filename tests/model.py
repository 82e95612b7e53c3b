"""A naive reference model of the contract: sections 2 (in part), 3, 4 (the table) and the target of 5.

Written from the contract's text alone, to be compared with the real thing (test_differential.py). Plain lists, sets and
dicts; slow and obvious on purpose. It imports nothing of flowguard. Each rule stands beside the sentence that it does.

Left out: parameters in keys, "body:", instance, fence, open, exempt, report mode, the application's own words
(`Flowguard: success`), ledgers and concurrency.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import urljoin, urlsplit

SAFE = ("GET", "HEAD", "OPTIONS")
REDIRECTS = (301, 302, 303, 307, 308)
# "`ttl`, `idle` and `max_seconds` are lengthened by 60 seconds, `min_seconds` is not shortened."
GRACE = 60  # seconds
TTL = 14_400  # "`ttl` (14,400 seconds from the run's beginning)"
REJECT = ["*/login*", "*/signin*"]  # the flow's default


class Answer(NamedTuple):
    """What the application would answer; `raises` stands for an exception before the first byte."""

    status: int = 200
    content_type: Optional[str] = "text/html; charset=utf-8"
    location: Optional[str] = None
    raises: bool = False


class Reply(NamedTuple):
    """What the guard does: `seen` is the run as the application sees it, `problem` what a refusal says."""

    called: bool
    reason: Optional[str]
    target: Optional[str]
    run: Optional[Run]
    seen: Optional[dict[str, Any]] = None
    problem: Optional[dict[str, Any]] = None
    stuck: bool = False
    doubt: bool = False
    shut: bool = False  # 405


class Run:
    """One visitor's way: trail, history, what is done and spent, variables, whose it is, and three times (seconds)."""

    def __init__(self, start: str, now: float, values: dict[str, str]) -> None:
        self.trail: list[str] = [start]
        self.history: list[tuple[str, str]] = []
        self.done: set[str] = set()
        self.spent: set[str] = set()
        self.values = dict(values)  # "the first value of each holds for the whole run"
        self.user: Optional[str] = None  # "a run begun by nobody"
        self.begun = now  # "seconds from the run's beginning"
        self.changed = now  # "seconds since the last change"
        self.since = now  # since when the current state is current

    @property
    def current(self) -> str:
        return self.trail[-1]  # "the *current* state is the last of them"

    def facts(self) -> Any:
        return (self.trail, self.history, self.done, self.spent, self.values, self.begun, self.since)

    def pin(self, values: dict[str, str]) -> None:
        self.values = {**values, **self.values}

    def enter(self, state: str, now: float) -> None:
        if state == self.current:
            return  # "S is entered if it was not yet"
        step = (self.current, state)
        if step in self.history:
            self.history.remove(step)  # "the transitions taken, each once, by its latest taking"
        self.history.append(step)
        if state in self.trail:
            self.trail.remove(state)  # "the states entered, each once, by its latest entry"
        self.trail.append(state)
        self.done.discard(state)  # "Entering a state anew makes it the latest of the trail, and not done."
        self.since = now

    def go_back(self, state: str, once: bool, now: float) -> None:
        place = self.trail.index(state)
        forgotten = self.trail[place + 1 :]
        # "Going back to T forgets the states after T in the trail, what was done there, and the transitions from and to
        # them; T is no longer done, unless it is `once` and spent; what is spent stays spent"
        self.trail = self.trail[: place + 1]
        self.done -= set(forgotten)
        self.history = [(a, b) for a, b in self.history if a not in forgotten and b not in forgotten]
        if not (once and state in self.spent):
            self.done.discard(state)
        self.since = now


class Key(NamedTuple):
    """One key of the paths: its methods (None: all of them), its path, and the state or companion it belongs to."""

    methods: Optional[list[str]]
    path: str
    name: str

    def match(self, path: str) -> Optional[dict[str, str]]:
        """The variables of a path that is this one, "or its twin with or without the last slash"."""
        pattern = re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", self.path.rstrip("/"))
        found = re.fullmatch(pattern, path.rstrip("/"))
        return found and found.groupdict()

    def names(self, method: str) -> bool:
        return self.methods is None or method in self.methods  # "without methods, all of them"

    def takes_unsafe(self) -> bool:
        return self.methods is None or any(method not in SAFE for method in self.methods)


def read_key(text: str, name: str) -> Key:
    methods, _, path = text.rpartition(" ")
    return Key([m.strip().upper() for m in methods.split(",")] if methods else None, path, name)


class Model:
    """The rules for one flow. `mount` and `host` say where the application is mounted."""

    def __init__(self, paths: dict[str, Any], *, mount: str = "", host: str = "localhost", **options: Any) -> None:
        self.options = options
        self.mount = mount
        self.host = host
        self.keys: list[Key] = []
        self.states: dict[str, dict[str, Any]] = {}
        self.companions: dict[str, dict[str, Any]] = {}
        for text, value in paths.items():
            # "The value is a dict, or a string: the name of the state that this path belongs to as well"
            name = value if isinstance(value, str) else value.get("state", text)
            self.keys.append(read_key(text, name))
            if isinstance(value, str):
                continue
            if "within" in value or "undoes" in value:
                self.companions[name] = value
            else:
                self.states[name] = value
        # "`start`: the first state, if none says so"
        self.starts = [name for name, value in self.states.items() if value.get("start")] or list(self.states)[:1]

    # --- section 2: what a state is ---------------------------------------------------------------------------------

    def to(self, s: str) -> dict[str, Any]:
        successors = self.states[s].get("to", [])
        # "names of the successors; or a mapping from successor to a condition (`True`: none)"
        return successors if isinstance(successors, dict) else dict.fromkeys(successors, True)

    def requires(self, s: str) -> list[Any]:
        declared = list(self.states)
        # "`ordered` (every state requires all that are declared before it)"
        before = declared[: declared.index(s)] if self.options.get("ordered") else []
        own = [need for need in self.states[s].get("requires", []) if need not in before]
        return before + own

    def once(self, s: str) -> bool:
        return bool(self.states[s].get("once"))

    def submit(self, s: str) -> bool:
        return bool(self.states[s].get("submit")) or self.once(s)  # "`once` ... implies `submit`"

    def repeat(self, s: str) -> bool:
        return bool(self.states[s].get("repeat"))

    def back(self, s: str) -> str:
        return str(self.states[s].get("back", self.options.get("back", "refuse")))  # default: "the flow's"

    def min_seconds(self, s: str) -> float:
        return self.states[s].get("min_seconds") or 0

    def max_seconds(self, s: str) -> float:
        most = self.states[s].get("max_seconds")
        return float("inf") if most is None else most + GRACE

    def resolve(self, method: str, path: str) -> Optional[str]:
        """The name of the state or companion that judges this request; None: the path belongs to no flow."""
        keys = [key for key in self.keys if key.match(path) is not None]
        for key in keys:
            if key.names(method):
                return key.name
        for key in keys:
            if method in SAFE and key.names("GET"):
                return key.name  # "HEAD and OPTIONS go with GET where a key names GET"
        for key in keys:
            if key.takes_unsafe():
                return key.name  # "A method that no key ... names is judged by its first key that takes an unsafe one"
        return keys[0].name if keys else None  # "or, if none does, by its first key"

    def values(self, path: str) -> dict[str, str]:
        found = [key.match(path) for key in self.keys]
        return next((values for values in found if values is not None), {})

    def vary(self) -> list[str]:
        return list(self.options.get("vary", []))

    def ours(self, values: dict[str, str], other: dict[str, str]) -> bool:
        # "another is `illegal`, unless the variable is in `vary`"
        return all(values.get(name, value) == value for name, value in other.items() if name not in self.vary())

    def effects(self, name: str) -> bool:
        return bool({**self.states, **self.companions}[name].get("effects"))

    def safe(self, method: str, name: str) -> bool:
        # "*Safe* means OPTIONS, and GET and HEAD of a state without `effects`" (HEAD with effects is answered 405)
        return method in SAFE and not (method == "GET" and self.effects(name))

    def get_paths(self, s: str) -> list[str]:
        """The declared paths of S that take a GET which is safe."""
        if self.effects(s):
            return []  # "Where no GET can pass there (..., the state has `effects`, ...)"
        return [key.path for key in self.keys if key.name == s and key.names("GET")]

    def get_path(self, s: str) -> Optional[str]:
        return next(iter(self.get_paths(s)), None)

    def build(self, path: str, values: dict[str, str]) -> Optional[str]:
        """ "Targets are built from these values." None where "a variable is unknown"."""
        names = re.findall(r"<(\w+)>", path)
        for name in names:
            path = path.replace(f"<{name}>", values.get(name, ""))
        return path if all(name in values for name in names) else None

    def way(self, s: str, values: dict[str, str]) -> Optional[str]:
        """The first path of S by which a GET can come there."""
        built = (self.build(path, values) for path in self.get_paths(s))
        return next((path for path in built if path is not None), None)

    def takes_unsafe(self, s: str) -> bool:
        """Does a path of S take a submission, so that the application does something with it?"""
        return self.effects(s) or any(key.name == s and key.takes_unsafe() for key in self.keys)

    def leads_to_an_end(self, run: Run, s: str) -> bool:
        """Is there a way from S to a state without successors by none that is spent? Where there is no such state, it
        makes no difference."""
        return self.reaches_an_end(s, run.spent) or not self.reaches_an_end(s, set())

    def reaches_an_end(self, s: str, spent: Any) -> bool:
        reached: set[str] = set()
        further = {s}
        while further - reached:
            reached |= further
            further = {name for here in reached for name in self.to(here) if name not in spent}
        return any(not self.to(name) for name in reached)

    # --- words ------------------------------------------------------------------------------------------------------

    def completed(self, run: Run, s: str) -> bool:
        # "A state is *completed* if it is in the trail and, where it is `submit`, done."
        return s in run.trail and (not self.submit(s) or s in run.done)

    def met(self, run: Optional[Run], need: Any) -> bool:
        if run is None:
            return False
        if isinstance(need, list):
            return any(self.completed(run, name) for name in need)  # "a nested list means ANY of those"
        return self.completed(run, need)

    def exhausted(self, run: Run) -> bool:
        successors = self.to(run.current)
        # "every transition out of it is taken and none leads to a `repeat` state"; an end is not exhausted
        return bool(successors) and all((run.current, s) in run.history and not self.repeat(s) for s in successors)

    def finished(self, run: Run) -> bool:
        c = run.current
        # "*finished* when the current state is an end or *exhausted* ..., and it is done where it is `submit`"
        return (not self.to(c) or self.exhausted(run)) and (not self.submit(c) or c in run.done)

    def is_open(self, run: Run, s: str) -> bool:
        # "C → S is declared, and was not yet taken or S is `repeat`"
        return s in self.to(run.current) and ((run.current, s) not in run.history or self.repeat(s))

    def agrees(self, condition: Any) -> bool:
        return condition is None or condition is True or bool(condition(None))

    def stuck(self, run: Run) -> bool:
        """No way on from C, "times aside"."""
        c = run.current
        if self.takes_unsafe(c) and self.line_2_submission(run, 0, times=False) == "pass":
            return False  # "no submission of C would pass"; none comes to an application that takes none there
        for s in self.to(c):
            if not self.is_open(run, s):
                continue
            # "and no transition from C can be entered by any method that its path takes"
            if self.get_path(s) and self.line_4(run, s, True, 0, times=False) == "pass":
                return False
            if self.takes_unsafe(s) and self.line_4(run, s, False, 0, times=False) == "pass":
                return False
        return True

    # --- section 3: may it pass? ------------------------------------------------------------------------------------
    # Each gives "pass" or a reason.

    def line_1(self, s: str, safe: bool, reason: str) -> str:
        if s not in self.starts:
            return reason  # "pass if S is a start ... Otherwise refuse `not_started`"
        if not self.agrees(self.states[s].get("when")):
            return "condition"  # "and its `when` agrees (else `condition`)"
        if not safe and self.once(s):
            return reason  # "but not a submission of a `once` state, which needs a run first"
        if not safe and self.min_seconds(s):
            return "too_fast"  # "nor of one with `min_seconds` (`too_fast`)"
        return "pass"

    def line_2_submission(self, run: Run, now: float, times: bool = True) -> str:
        s = run.current
        if self.repeat(s):
            return "pass"  # "A submission: pass if S is `repeat`"
        if self.finished(run) or s in run.done or (self.once(s) and s in run.spent):
            return "duplicate"  # "refuse `duplicate` if the run is finished, or S is done, or S is `once` and spent"
        if times and now - run.since < self.min_seconds(s):
            return "too_fast"  # "`too_fast`, ... by S's `min_seconds`"
        if times and now - run.since > self.max_seconds(s):
            return "expired"  # "or `expired` (and the run ends), by S's ... `max_seconds`"
        return "pass"

    def line_4(self, run: Run, s: str, safe: bool, now: float, times: bool = True) -> str:
        c = run.current
        if not safe and self.once(s) and s in run.spent:
            return "duplicate"  # "`duplicate` for a submission of a `once` state that is spent"
        if self.submit(c) and c not in run.done:
            return "skipped"  # "`skipped` if C is `submit` and not done"
        if not all(self.met(run, need) for need in self.requires(s)):
            return "skipped"  # "or a state that S requires is not completed"
        if times and (now - run.since < self.min_seconds(c) or (self.min_seconds(s) and not safe)):
            return "too_fast"  # "if C's `min_seconds` have not passed, or S has some and this is a submission"
        if times and now - run.since > self.max_seconds(c):
            return "expired"  # "`expired` (and the run ends) if C's `max_seconds` have passed"
        if not (self.agrees(self.to(c)[s]) and self.agrees(self.states[s].get("when"))):
            return "condition"  # "`condition` if one says no"
        return "pass"

    def line_5(self, run: Run, s: str, safe: bool) -> bool:
        if s not in run.trail or self.back(s) == "refuse":
            return False  # "S is in the trail and its `back` is not `refuse`."
        if safe:
            return True  # "Safe: pass, as a look"
        later = run.trail[run.trail.index(s) :]
        # "A submission: pass if `back` is `edit`, unless S or a state entered after it is `once` and spent."
        return self.back(s) == "edit" and not any(self.once(x) and x in run.spent for x in later)

    def decide(
        self, run: Optional[Run], s: str, safe: bool, now: float, lost: str = "not_started",
        values: Optional[dict[str, str]] = None,
    ) -> tuple[str, str]:  # fmt: skip
        """("pass", how) or ("refuse", reason). How: begin, reload, submit, enter, look, edit."""

        def verdict(result: str, how: str) -> tuple[str, str]:
            return ("pass", how) if result == "pass" else ("refuse", result)

        if run is None:
            return verdict(self.line_1(s, safe, lost), "begin")
        if not self.ours(run.values, values or {}):
            # "S is then neither C nor a successor nor in the trail, and only lines 1, 3 and 6 below can pass it"
            if self.finished(run):
                return verdict(self.line_1(s, safe, "finished"), "begin")
            if s in self.starts and (self.options.get("restart") or self.stuck(run)):
                return verdict(self.line_1(s, safe, "illegal"), "begin")
            return ("refuse", "illegal")
        c = run.current
        way_out = self.way_out(run, s, safe, now)
        if way_out is not None:
            return ("pass", way_out)
        if s == c and safe:
            # "Safe: pass (a reload; in a finished run, if S is a start, a new run begins)."
            return ("pass", "begin" if self.finished(run) and s in self.starts else "reload")
        if s == c:
            return verdict(self.line_2_submission(run, now), "submit")
        if self.finished(run):
            return verdict(self.line_1(s, safe, "finished"), "begin")  # "as 1, with the reason `finished`"
        if self.is_open(run, s):
            result = self.line_4(run, s, safe, now)
            # "(Where this would refuse a safe request that line 5 passes, line 5 decides.)"
            if not (result != "pass" and safe and self.line_5(run, s, safe)):
                return verdict(result, "enter")
        if self.line_5(run, s, safe):
            return ("pass", "look" if safe else "edit")
        if s in self.starts and (self.options.get("restart") or self.stuck(run)):
            return verdict(self.line_1(s, safe, "illegal"), "begin")  # "judged as in line 1, refused as `illegal`"
        if (c, s) in run.history:
            return ("refuse", "duplicate")  # "`duplicate` if C → S was taken already"
        if not safe and s in run.trail and self.back(s) != "refuse":
            # "or if this is a submission of a state in the trail whose `back` is not `refuse`; else `illegal`"
            return ("refuse", "duplicate")
        return ("refuse", "illegal")

    def way_out(self, run: Run, s: str, safe: bool, now: float) -> Optional[str]:
        """A stuck run always leaves the visitor a way on, by line 6, where lines 2, 4 and 5 alone would not: the README
        says so, and the issue asks for it ("in no reachable run a visitor is without a way on")."""
        if s not in self.starts or self.finished(run) or not self.stuck(run):
            return None
        if self.line_1(s, safe, "illegal") != "pass":
            return None
        if s == run.current:
            return "begin" if safe or not self.get_path(s) else None
        if self.is_open(run, s) and self.line_4(run, s, safe, now) == "pass":
            return None  # by a method that no key names
        if not self.line_5(run, s, safe):
            return "begin"
        if not safe:
            return "edit"  # where line 4 gives way, line 5 comes next
        # A look stays one as long as a submission of the start would lead out.
        leads_out = self.line_1(s, False, "illegal") == "pass"
        if self.line_5(run, s, False):  # then it goes back to S
            leads_out = (leads_out or not self.is_open(run, s)) and self.leads_to_an_end(run, s)
        return None if self.takes_unsafe(s) and leads_out else "begin"

    # --- section 4: did it count? -----------------------------------------------------------------------------------

    def read_location(self, path: str, location: str) -> tuple[Optional[str], str]:
        """The path below the mount point on the same host, or None; and the text that globs with a `?` see."""
        url = urljoin(f"http://{self.host}{self.mount}{path}", location)
        parts = urlsplit(url)
        here = (parts.hostname or "") == self.host.split(":")[0]  # "HTTP_HOST, port ignored"
        if not here or not (parts.path + "/").startswith(self.mount + "/"):
            return None, url  # "anything else is out of the flow"
        below = parts.path[len(self.mount) :] or "/"
        return below, below + ("?" + parts.query if parts.query else "")

    def matches(self, rules: list[Any], path: str, answer: Answer, safe: bool) -> bool:
        for rule in rules:
            if isinstance(rule, int):
                if rule == answer.status and not safe:
                    return True  # "statuses (`200`), for submissions"
            elif self.is_redirect(answer):
                below, full = self.read_location(path, answer.location or "")
                # "matched against the path below the mount point on the same host, with its query if the glob has a
                # `?`, else against the whole URL"
                text = below if below is not None and "?" not in rule else full
                if re.fullmatch(".*".join(map(re.escape, rule.split("*"))), text, re.DOTALL):
                    return True
        return False

    def is_redirect(self, answer: Answer) -> bool:
        return answer.status in REDIRECTS and answer.location is not None

    def read_answer(
        self, run: Optional[Run], s: str, safe: bool, path: str, answer: Answer, how: str = "", by_get: bool = False
    ) -> tuple[str, str]:
        """The table's row: (word, state to go back to)."""
        state = self.states[s]
        if answer.raises:
            return ("nothing" if safe else "unknown", "")  # "An exception before that is *unknown*"
        if self.matches(state.get("reject", []) + self.options.get("reject", REJECT), path, answer, safe):
            return ("nothing" if safe else "failed", "")
        if self.matches(state.get("accept", []), path, answer, safe):
            return ("entered" if safe else "success", "")
        if self.is_redirect(answer):
            return self.read_redirect(run, s, safe, how, path, answer)
        if 200 <= answer.status < 300 and safe:
            return ("entered", "")
        if 200 <= answer.status < 300 and by_get:
            return ("success", "")  # "a GET of this state is a submission, and a 2xx page its success"
        if 200 <= answer.status < 300:
            html = "html" in (answer.content_type or "")
            return ("shown" if html and answer.status not in (201, 202, 204, 205) else "success", "")
        if 400 <= answer.status < 500:
            return ("nothing" if safe else "failed", "")
        return ("nothing" if safe else "unknown", "")  # "anything else (1xx, 304, 5xx, an exception)"

    def read_redirect(
        self, run: Optional[Run], s: str, safe: bool, how: str, path: str, answer: Answer
    ) -> tuple[str, str]:
        below, _ = self.read_location(path, answer.location or "")
        target = self.resolve("GET", below) if below is not None else None
        if target not in self.states:
            target = None  # a companion, or a path of nobody: "no state of this flow"
        # "a state" is one with the run's values; of the run that begins, or goes on, with this request
        there = self.values(below) if target is not None and below is not None else {}
        held = {} if run is None or how == "begin" else run.values
        ours = self.ours({**self.values(path), **held}, there)
        # "a redirect to a successor of S; where S is an end, also to another start or to anything that is no state"
        end = not self.to(s)
        another = target in self.starts and (target != s or not ours)
        if (target in self.to(s) and ours) or (end and (target is None or another)):
            return ("entered and done" if safe else "success", "")
        if target == s and ours:
            return ("nothing" if safe else "failed", "")  # "a redirect to S itself"
        if target is not None and run is not None and target in run.trail and self.ours(run.values, there):
            # "the run goes back to that state | the same; failed for `once`"
            return ("back", target) if safe or not self.once(s) else ("failed", "")
        return ("nothing" if safe else "unknown", "")  # "any other redirect"

    def settle(
        self, run: Optional[Run], s: str, safe: bool, how: str, path: str, answer: Answer, now: float, by_get: bool
    ) -> Optional[Run]:
        """The run after the answer. *run* is a copy of the visitor's and may be changed."""
        if how == "look":
            return run  # "A look changes nothing."
        word, place = self.read_answer(run, s, safe, path, answer, how, by_get)
        values = self.values(path)
        made_done = word in ("success", "entered and done")
        if word in ("nothing", "failed", "unknown"):
            # "A `once` state is *spent* by success and by unknown, and set free by failed and shown"
            if run is not None and self.once(s) and not safe:
                (run.spent.add if word == "unknown" else run.spent.discard)(s)
            return run
        if word == "back":
            assert run is not None
            run = copy.copy(run)  # to go back is a change, even to where the run is
            run.go_back(place, self.once(place), now)
        elif how == "begin":
            run = Run(s, now, values)
        elif how == "edit":
            assert run is not None
            run.pin(values)
            if word == "shown":
                return run
            # "When a submission of an earlier state (`edit`) succeeds, the run goes back to that state, ... then done."
            run.go_back(s, self.once(s), now)
        else:
            assert run is not None
            run.enter(s, now)
            run.pin(values)
        if made_done:
            run.done.add(s)
        if self.once(s) and not safe:
            (run.spent.add if word == "success" else run.spent.discard)(s)
        return self.begin_again_if_exhausted(run, made_done, made_done and not safe, now, values)

    def settle_companion(self, run: Optional[Run], name: str, path: str, answer: Answer, now: float) -> Optional[Run]:
        """The run after a submission of a companion. *run* is a copy."""
        value = self.companions[name]
        # "a submission of it that did not fail takes the run back to before the first of these states ...; a finished
        # run is left alone"
        if run is None or self.finished(run) or self.companion_failed(value, path, answer):
            return run
        first = next((place for place, s in enumerate(run.trail) if s in value.get("undoes", [])), None)
        if first is None:
            return run
        if first == 0:
            return None  # "where there is none, the run is empty"
        before = run.trail[first - 1]
        done = before in run.done
        run.go_back(before, self.once(before), now)
        if done:
            run.done.add(before)  # "goes back to the state before T in the trail, which stays done"
        return run

    def companion_failed(self, value: dict[str, Any], path: str, answer: Answer) -> bool:
        if answer.raises:
            return False  # "An exception before that is *unknown*"
        if self.matches(value.get("reject", []) + self.options.get("reject", REJECT), path, answer, False):
            return True
        return 400 <= answer.status < 500 and not self.matches(value.get("accept", []), path, answer, False)

    def begin_again_if_exhausted(
        self, run: Run, made_done: bool, made_spent: bool, now: float, values: dict[str, str]
    ) -> Run:
        """ "If the exhausted state is a start, a new run begins in it at once: its trail is that state alone, done and
        spent only as far as this request made it so." """
        c = run.current
        if not (self.exhausted(run) and c in self.starts):
            return run
        again = Run(c, now, values)
        if made_done:
            again.done.add(c)
        if made_spent and self.once(c):
            again.spent.add(c)
        return again

    # --- section 5: the target --------------------------------------------------------------------------------------

    def target_state(self, run: Optional[Run], now: float) -> str:
        if run is None:
            return self.starts[0]  # "Without a run: the first start."
        if self.finished(run):
            return run.current  # "In a finished run: its current state."
        if run.current in run.done:
            on = [
                s
                for s in self.to(run.current)
                if self.get_path(s) and self.decide(run, s, True, now) == ("pass", "enter")
            ]
            if len(on) == 1:
                return on[0]  # "where that is done and exactly one successor can be entered by a GET, that successor"
        return run.current  # "Otherwise the current state"

    def target(self, run: Optional[Run], now: float, asked: dict[str, str]) -> Optional[str]:
        """asked: the variables of the request's path; a language is the request's, where it has one."""
        state = self.target_state(run, now)
        own = {name: value for name, value in asked.items() if name in self.vary()}
        values = {**asked, **(run.values if run else {}), **own}
        # "Where no GET can pass there (the path takes only a POST, a condition says no, the state has `effects`, a
        # variable is unknown), the answer is a 409"
        passes = self.decide(run, state, True, now)[0] == "pass"
        return self.way(state, values) if passes else None

    def allowed(self, run: Optional[Run], now: float) -> list[str]:
        """ "`allowed` (what a GET would enter)" """
        enters = (("pass", "enter"), ("pass", "begin"))
        return [s for s in self.states if self.get_path(s) and self.decide(run, s, True, now) in enters]

    def missing(self, run: Optional[Run], name: str) -> list[Any]:
        """ "`missing` (the current state first if it must be submitted, then every unmet requirement)" """
        first = []
        if run is not None and self.submit(run.current) and run.current not in run.done:
            first = [run.current]
        needs = self.requires(name) if name in self.states else []
        return first + [need for need in needs if not self.met(run, need) and need not in first]

    # --- a request --------------------------------------------------------------------------------------------------

    def is_over(self, run: Run, now: float) -> bool:
        ttl, idle = self.options.get("ttl", TTL), self.options.get("idle")
        return now - run.begun > ttl + GRACE or (idle is not None and now - run.changed > idle + GRACE)

    def view(self, run: Optional[Run], now: float) -> dict[str, Any]:
        return {
            "current": run.current if run else None,
            "history": list(run.history) if run else [],
            "allowed": self.allowed(run, now),
        }

    def foreign(self, run: Optional[Run], user: Optional[str]) -> bool:
        # "a run begun by nobody belongs to the first user who goes on with it, any other change of user is
        # `wrong_user`"
        return bool(self.options.get("bind")) and run is not None and run.user not in (None, user)

    def request(
        self, run: Optional[Run], method: str, path: str, now: float, answer: Answer, user: Optional[str] = None
    ) -> Reply:
        """One request of the visitor whose run is *run* (None: no run). Nothing that was passed in is changed."""
        method = method.upper()  # "Methods are compared in upper case."
        if self.options.get("reset") == path:
            # "`reset` (a path that the guard answers itself: GET or POST forgets the run, 303 to the start)"
            starts = [s for s in self.starts if self.get_path(s)]
            held = {name: value for name, value in (run.values if run else {}).items() if name in self.vary()}
            where = self.way(starts[0], held) if starts and not self.foreign(run, user) else None
            return Reply(False, None, where, run if self.foreign(run, user) else None)
        name = self.resolve(method, path)
        if name is None:
            return Reply(True, None, None, run)  # "Requests whose path belongs to no flow pass untouched"
        if self.effects(name) and method in ("HEAD", "OPTIONS"):
            return Reply(False, None, None, run, shut=True)  # "HEAD and OPTIONS are answered 405 by the guard"
        usable = None if run is not None and (self.foreign(run, user) or self.is_over(run, now)) else run
        lost = "not_started" if usable is run else "wrong_user" if self.foreign(run, user) else "expired"
        safe, values = self.safe(method, name), self.values(path)
        if name in self.companions:
            inside = self.companion_passes(usable, name, values)
            verdict, what = ("pass", "companion") if inside else ("refuse", "illegal")
        else:
            verdict, what = self.decide(usable, name, safe, now, lost, values)
        if verdict == "refuse":
            return self.refuse(run, usable, name, what, method, now, values)
        seen = self.view(usable, now)
        if method in ("HEAD", "OPTIONS") or (what == "companion" and safe):
            return Reply(True, None, None, run, seen)  # "HEAD and OPTIONS ... never change a run"; a companion neither
        mine = copy.deepcopy(usable)
        if what == "companion":
            after = self.settle_companion(mine, name, path, answer, now)
            if usable is not None and after is None:
                return Reply(True, None, None, None, seen)
        else:
            after = self.settle(mine, name, safe, what, path, answer, now, method == "GET" and not safe)
        # A new run is a change, even if it looks like the one before; so is going back.
        if after is None or (after is mine and usable is not None and after.facts() == usable.facts()):
            return Reply(True, None, None, run, seen)
        after.changed = now
        if what != "companion":
            # the latest value counts: what varies is told by the step that changed the run last
            after.values.update({key: value for key, value in values.items() if key in self.vary()})
        if self.options.get("bind") and user is not None:
            after.user = user
        return Reply(True, None, None, after, seen)

    def companion_passes(self, run: Optional[Run], name: str, values: dict[str, str]) -> bool:
        value = self.companions[name]
        # "A companion path passes only if the current state is in its list; else `illegal`."
        if "within" in value and (run is None or run.current not in value["within"]):
            return False
        # "allowed at any time", but another value of a variable is `illegal`; "a finished run is left alone"
        if run is None or ("undoes" in value and self.finished(run)):
            return True
        return self.ours(run.values, values)

    def refuse(
        self, run: Optional[Run], usable: Optional[Run], name: str, reason: str, method: str, now: float,
        values: dict[str, str],
    ) -> Reply:  # fmt: skip
        if reason == "expired" and usable is not None and method not in ("HEAD", "OPTIONS"):
            run = usable = None  # "`expired` (and the run ends)"
        problem = {
            "reason": reason,
            "state": name,
            "current": usable.current if usable else None,
            "missing": self.missing(usable, name),
            "allowed": self.allowed(usable, now),
        }
        stuck = usable is not None and not self.finished(usable) and self.stuck(usable)
        # Section 4: a `once` state is spent "by unknown"; section 7: a claim that ended without an answer "counts as
        # unknown". Whoever sends such a form again must not be led on as if it had counted (issue 4: "refused as
        # spent, with a page that says that the outcome is not known").
        doubt = usable is not None and name in usable.spent - usable.done
        return Reply(False, reason, self.target(usable, now, values), run, None, problem, stuck, doubt)


Condition = Callable[[Any], bool]
