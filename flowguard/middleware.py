"""`FlowGuard`: any WSGI application, kept in order from outside.

Everything that can be known at start-up is worked out there; a request to a path that no flow declares costs one
look-up, and reaches the application as it came.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Callable, Iterable, Optional, Sequence, Union
from urllib.parse import unquote_to_bytes

from flowguard import paths, replies
from flowguard.answers import NOWHERE, SHUT, Lookup, Place
from flowguard.beaten import Track
from flowguard.body import new_body
from flowguard.codec import Codec
from flowguard.config import Key, Plan, configure, signing_keys
from flowguard.cookie import MAX_COOKIE, Attributes, Cookie, Seal
from flowguard.core.precedents import is_steady
from flowguard.errors import ConfigError, Problem
from flowguard.exchange import CALLS
from flowguard.fences import Fence, Fenced, Fences
from flowguard.gate import Gate
from flowguard.hooks import Hooks
from flowguard.instances import InstanceCookie
from flowguard.keeping import Keeper
from flowguard.ledgers import open_ledger
from flowguard.ledgers.base import Ledger
from flowguard.ledgers.memory import MemoryLedger
from flowguard.modes import ENFORCE
from flowguard.notes import Notes
from flowguard.paths import Found, Misspelt, PathTable, TooLong, Unreadable
from flowguard.reading import Application, Environ, StartResponse, is_speculation
from flowguard.refusing import Refuser
from flowguard.routing import Choice, Route
from flowguard.switching import read_followed
from flowguard.users import Users
from flowguard.visit import Jar, Kit, Pages
from flowguard.watching import Duty, Watch
from flowguard.wire import native

logger = logging.getLogger("flowguard.config")
ledger_logger = logging.getLogger("flowguard.ledger")

MAX_STRANGERS = 4_096  # paths of no flow's that are known as such: at most 1 MB
USUAL = 120  # characters of a path; longer ones are looked up each time


class FlowGuard:
    """Put this in front of a WSGI application to keep its flows in order.

    app: the WSGI application. flow: a dict of paths, a `Flow`, or a list of them. secret_key: text or bytes of 16 or
    more, or a list of them, oldest first: the last signs, all verify. ledger: where it is remembered which cookie is
    the newest: ``memory://`` (one process), ``sqlite:///path`` (one host), ``redis://…`` (many hosts), an object with
    the verbs of `flowguard.ledgers.base.Ledger`, or None. ledger_wait: seconds that a second submission waits for the
    first. ledger_lease: seconds after which a submission that never ended counts as unknown. clock: a callable, seconds
    since the epoch. options: those of the flow, beside a dict of paths.

    Raises `ConfigError`, which names every problem at once.
    """

    def __init__(
        self, app: Application, flow: Any, *, secret_key: Any = None, ledger: Any = "memory://", ledger_wait: float = 2,
        ledger_lease: float = 300, clock: Optional[Callable[[], float]] = time.time, **options: Any,
    ) -> None:  # fmt: skip
        opened, wrong = _opened(ledger)
        plans, own = configure(
            flow, options, secret_key=secret_key, ledger=ledger, ledger_wait=ledger_wait, ledger_lease=ledger_lease,
            clock=clock, check_rules=paths.problems, known=wrong,
        )  # fmt: skip
        if not callable(app):
            raise TypeError(f"the application is {app!r}, which can't be called; it comes first: FlowGuard(app, flow)")
        self.app: Application = app
        self._routes: list[Route] = []
        rules, numbers = _number(plans)
        self._table = PathTable(rules)
        self._find_other = self._table.find_other
        self._strangers: set[str] = set()
        fences = [Fence(prefix, plan.options.open) for plan in plans for prefix in plan.options.fence]
        self._fences = Fences(fences, first=len(rules)) if fences else None
        self.ledger = opened
        self._lonely = isinstance(opened, MemoryLedger)
        builder = _Builder(
            self, app, self._table, self._routes, signing_keys(own["secret_key"]), opened, own["ledger_wait"],
            own["ledger_lease"], own["clock"] or time.time,
        )  # fmt: skip
        self._routes.extend(builder.routes(plans, rules, numbers))
        self._lanes = {path: self._routes[found.index].straight for path, found in self._table.declared.items()}
        self.gates = tuple(dict.fromkeys(route.duty.gate for route in self._routes))
        _look_at(opened)

    @classmethod
    def from_file(
        cls, app: Application, path: Union[str, os.PathLike[str]], *, secret_key: Any = None, **overrides: Any
    ) -> FlowGuard:
        """A guard whose flows and options stand in the TOML file at *path* (see `flowguard.files`).

        secret_key: as ever; it is the one thing that a file can't have. overrides: options that count in place of the
        file's: those of a flow for every flow in it. The modes of the flows, unless overridden, may be changed in the
        file while the server runs. Raises `ConfigError`, which names file and key path of each problem.
        """
        found = read_followed(path, overrides)
        problems = list(found.problems)
        try:
            if found.flows:
                guard = cls(app, found.flows, secret_key=secret_key, **found.guard)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)
        return guard

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or "/"
        lanes = self._lanes.get(path)
        if lanes is not None:  # it is declared, as it stands
            lane = lanes.get(environ["REQUEST_METHOD"])
            answer = None if lane is None else lane(environ, start_response)
            return self._guarded(self._table.declared[path], environ, start_response) if answer is None else answer
        if path in self._strangers:
            return self.app(environ, start_response)
        found: Union[Found, Misspelt, TooLong, Unreadable, Fenced, None] = self._find_other(path)
        if found is None:
            found = None if self._fences is None else self._fences.find(path)
            if found is None:
                if len(path) <= USUAL:
                    self._remember(path)
                return self.app(environ, start_response)
        return self._guarded(found, environ, start_response)

    def _remember(self, stranger: str) -> None:
        """Note a path of no flow's. They are few, mostly, and asked for most."""
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers.clear()
        self._strangers.add(stranger)

    def _guarded(
        self, found: Union[Found, Misspelt, TooLong, Unreadable, Fenced], environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:  # fmt: skip
        if isinstance(found, Unreadable):
            return self._too_long(environ, start_response)
        route = self._routes[found.index]
        duty = route.duty
        gate = duty.now(environ)
        if gate is None:
            return self.app(environ, start_response)
        self.look_at_server(environ)
        lane = route.lanes.get(environ["REQUEST_METHOD"]) if gate is duty.gate and not duty.always else None
        if lane is not None and isinstance(found, Found):
            answer = lane(environ, start_response)
            if answer is not None:
                return answer
        return self._chosen(environ, start_response, found, route, gate)

    def _chosen(
        self, environ: Environ, start_response: StartResponse, found: Union[Found, Misspelt, TooLong, Fenced],
        route: Route, gate: Gate,
    ) -> Iterable[bytes]:  # fmt: skip
        under_way: tuple[list[FlowGuard], ...] = environ.get(CALLS, ())
        if any(self in call for call in under_way):
            return self.app(environ, start_response)  # the application calls us: its own request was judged
        new_body(environ)
        choice = route.choose(environ) if isinstance(found, Found) else Choice(route.select)
        if choice is None:
            return self.app(environ, start_response)
        if is_speculation(environ):
            return gate.put_off(environ, start_response)
        call = [self]
        environ[CALLS] = (*under_way, call)
        try:
            return self._judged(environ, start_response, found, route, gate, choice)
        finally:
            call.clear()

    def _judged(
        self, environ: Environ, start_response: StartResponse, found: Union[Found, Misspelt, TooLong, Fenced],
        route: Route, gate: Gate, choice: Choice,
    ) -> Iterable[bytes]:  # fmt: skip
        if choice.doubtful or not isinstance(found, Found):
            spelling = found.path if isinstance(found, Misspelt) else None
            return gate.refuse_path(environ, start_response, choice.select, spelling)
        if route.resets:
            return gate.reset(environ, start_response)
        return gate.serve(environ, start_response, choice.select, found.args, found.values, choice.others)

    def _too_long(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """No flow can be asked of such a path, so it passes where none of them refuses anything."""
        if all(route.duty.mode() != ENFORCE for route in self._routes):
            return self.app(environ, start_response)
        replies.drain(environ)
        return replies.send(replies.too_long(), environ, start_response)

    def is_fenced(self, path: str) -> bool:
        """Does a fence keep out a path that no flow declares?"""
        return self._fences is not None and self._fences.find(path) is not None

    def look_at_server(self, environ: Environ) -> None:
        """Warn once where a ledger of one process meets a server that has several."""
        if not (self._lonely and environ.get("wsgi.multiprocess")):
            return
        self._lonely = False
        logger.warning(
            "ledger='memory://' knows one process, and this server runs several: an old cookie works in each of them "
            "once. Write ledger='sqlite:///path' (one host) or 'redis://host' (many)."
        )


def _opened(ledger: Any) -> tuple[Optional[Ledger], tuple[Problem, ...]]:
    """The ledger, or what is wrong with it: to be said with all the rest."""
    try:
        return open_ledger(ledger), ()
    except ConfigError as error:
        return None, error.problems


def _look_at(ledger: Optional[Ledger]) -> None:
    """Say at start-up what would keep a ledger from answering; an outage must not keep a deployment from starting."""
    trouble = getattr(ledger, "trouble", None)
    found = trouble() if callable(trouble) else None
    if found is not None:
        ledger_logger.warning("%s; as long as that is so, submissions are refused", found)


def _number(plans: Sequence[Plan]) -> tuple[list[str], list[tuple[int, ...]]]:
    """Every rule once, and for each flow the number of each of its keys' rules."""
    number: dict[str, int] = {}
    numbers = []
    for plan in plans:
        numbers.append(tuple(number.setdefault(key.rule, len(number)) for key in plan.keys))
        if plan.options.reset is not None:
            number.setdefault(plan.options.reset, len(number))
    return list(number), numbers


class _Builder:
    """Puts the gates together: what they share, and what each has of its own."""

    def __init__(
        self, guard: FlowGuard, app: Application, table: PathTable, routes: list[Route],
        keys: Sequence[Union[str, bytes]], ledger: Optional[Ledger], wait: float, lease: float,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._guard = guard
        self._app, self._table, self._routes, self._keys = app, table, routes, keys
        self._ledger, self._wait, self._lease, self._clock = ledger, wait, lease, clock

    def routes(self, plans: Sequence[Plan], rules: Sequence[str], numbers: Sequence[tuple[int, ...]]) -> list[Route]:
        found: dict[int, Route] = {}
        fenced: list[Route] = []
        problems: list[Problem] = []
        for plan, own in zip(plans, numbers):
            duty, track = self._duty(plan, own, problems)
            problems += self._declared_openings(plan)
            keys: dict[int, list[Key]] = {}
            for number, key in zip(own, plan.keys):
                keys.setdefault(number, []).append(key)
            for number, group in keys.items():
                found[number] = Route(duty, group, track=None if self._table.variables(number) else track)
            if plan.options.reset is not None:
                found[rules.index(plan.options.reset)] = Route(duty, (), duty.flow.starts[0], resets=True)
            fenced += [Route(duty, (), f"{prefix}*") for prefix in plan.options.fence]
        if problems:
            raise ConfigError(problems)
        return [found[number] for number in range(len(rules))] + fenced

    def _declared_openings(self, plan: Plan) -> list[Problem]:
        """Paths that are to be open, and are guarded."""
        what = "is a path of a flow, which stays guarded. Remove it."
        return [
            Problem(f"{plan.where}(open)[{place}]", what) for place, path in enumerate(plan.options.open)
            if not path.endswith("/") and self._table.find(native(path))
        ]  # fmt: skip

    def _duty(self, plan: Plan, numbers: tuple[int, ...], problems: list[Problem]) -> tuple[Duty, Optional[Track]]:
        flow, options = plan.definition, plan.options
        flow.prepare()
        codec = Codec(flow, sorted({name for number in numbers for name in self._table.variables(number)}))
        seal = Seal(self._keys, flow.name)
        jars = (self._jar(plan, codec, seal, False), self._jar(plan, codec, seal, True))
        keeper = Keeper(flow, codec, self._ledger, self._wait, self._lease)
        hooks = Hooks(options.entered, options.refused, options.finished)
        kit = Kit(flow, keeper, hooks, self._lookup(flow.name), self._clock, Pages(flow.name))
        users = None if options.bind is None else Users(options.bind, self._keys, flow.name)
        refuser = Refuser(plan, kit, self._table, numbers)
        parts = self._app, plan, kit, refuser, jars, users
        gate = Gate(*parts)
        if gate.largest_cookie > MAX_COOKIE:
            problems.append(Problem(plan.where, (
                f"its cookie could grow to {gate.largest_cookie} bytes, and browsers keep {MAX_COOKIE}. "
                "Split the flow, or leave out transitions that lead back."
            )))  # fmt: skip
        duty = Duty(gate, Watch(*parts), options.mode, options.exempt)
        if not is_steady(flow):
            return duty, None
        return duty, Track(self._guard, self._app, gate, kit, codec, refuser, self._guard.look_at_server)

    def _jar(self, plan: Plan, codec: Codec, seal: Seal, secure: bool) -> Jar:
        options = plan.options
        attributes = Attributes(options.cookie_samesite, options.cookie_domain, options.cookie_path)
        instance = plan.definition.instance
        cookie = (
            Cookie(options.cookie_name, codec, seal, attributes, secure) if instance is None
            else InstanceCookie(options.cookie_name, codec, seal, attributes, secure, instance)
        )  # fmt: skip
        return Jar(cookie, Notes(cookie.name, options.cookie_path, options.cookie_domain, secure))

    def _lookup(self, flow: str) -> Lookup:
        """What stands at a PATH_INFO and a query for a flow: where a redirect leads. Read as a GET of the declared
        spelling."""
        table, routes, guard = self._table, self._routes, self._guard

        def lookup(path: str, query: str) -> Place:
            found = table.find(path)
            if isinstance(found, Misspelt):
                found = table.find(unquote_to_bytes(found.path).decode("latin-1"))
            if found is None:
                return SHUT if guard.is_fenced(path) else NOWHERE
            if not isinstance(found, Found):
                return SHUT
            route = routes[found.index]
            if route.resets or route.duty.flow.name != flow:
                return NOWHERE
            choice = route.choose_get(query)
            if choice is None:
                return NOWHERE
            if choice.doubtful:
                return SHUT
            name = choice.select("GET")
            return Place(name, name in route.duty.flow.states, found.values)

        return lookup
