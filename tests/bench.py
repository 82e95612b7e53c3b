"""What a guard costs, beside the cryptography that it can't do without, and beside what people write in its place:

    python3 tests/bench.py                    # all of it: two minutes
    python3 tests/bench.py --json FILE        # the figures also as JSON
    python3 tests/bench.py requests           # only the table of requests; or: growth, sockets, worst, start

The unit U is two `hmac.digest(key, 100 bytes, "sha256")` and one `compare_digest`, measured in the same run: figures in
U compare from one machine to another. Everything is measured in one process by its own CPU time, in short slices whose
order is drawn anew in each round, so that whatever else the machine does meets all alike; a figure is the median of the
rounds' ratios. 10,000 different visitors take turns. The first requests of a slice don't count: they find the caches of
the processor full of what another one does. What is printed is what is *added* to the same request to the bare
application; where the request is refused, and the application never called, all of it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _bootstrap

if __name__ == "__main__":
    _bootstrap.ensure(["bench"])

import gc
import hmac
import http.client
import json
import platform
import random
import subprocess
import time
import tracemalloc
from io import BytesIO
from statistics import median
from typing import Any, Callable, NamedTuple, Optional, Sequence

from bench_site import SPENT
from checkouts import FLOW, SECRET, STEPS, Application, Site, guarded, shop, sites
from servers import Gunicorn

from flowguard import Flow, FlowGuard

VISITORS = 10_000
WARM = 100  # requests, or units, before each slice that counts
ROUNDS = 40
# A path of no flow's that a guard does not remember as one: it is looked up each time. The other one is known.
LOOKED_UP = f"/{'assets-' * 20}/logo.png"
IN_A_ROW = 200  # requests to one server, between two looks at what its process has spent
SLICE = VISITORS // ROUNDS  # requests: in all its slices, each visitor's turn comes once
# What a browser of today sends along.
BROWSER = {
    "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "SCRIPT_NAME": "",
    "QUERY_STRING": "", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "shop.example", "HTTP_CONNECTION": "keep-alive",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.5", "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_SEC_FETCH_DEST": "document",
    "HTTP_SEC_FETCH_USER": "?1", "HTTP_UPGRADE_INSECURE_REQUESTS": "1",
    "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, "wsgi.multithread": True,
    "wsgi.multiprocess": False, "wsgi.run_once": False,
}  # fmt: skip


# --- requests and visitors -------------------------------------------------------------------------------------------


def environ(method: str, path: str, cookie: str = "", body: bytes = b"") -> dict[str, Any]:
    made = {**BROWSER, "REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": BytesIO(body)}
    if cookie:
        made["HTTP_COOKIE"] = cookie
    if method == "POST":
        made.update(CONTENT_TYPE="application/x-www-form-urlencoded", CONTENT_LENGTH=str(len(body)))
    return made


def ask(application: Application, method: str, path: str, cookie: str = "", body: bytes = b"") -> tuple[int, str]:
    """One request: the status, and the Cookie header afterwards."""
    answers: list[Any] = []
    result = application(
        environ(method, path, cookie, body), lambda status, headers, exc_info=None: answers.append((status, headers))
    )
    b"".join(result)
    status, headers = answers[-1]
    jar = dict(part.split("=", 1) for part in cookie.split("; ") if part)
    for name, value in headers:
        if name.lower() == "set-cookie":
            jar.update([value.partition(";")[0].split("=", 1)])
    return int(status[:3]), "; ".join(f"{name}={value}" for name, value in jar.items())


def walk(application: Application, *steps: str, cookie: str = "") -> str:
    """The Cookie header of a visitor who has come that far."""
    for step in steps:
        status, cookie = ask(application, *step.split(), cookie)
        assert status in (200, 303), (step, status)
    return cookie


def forged(cookie: str) -> str:
    """The same with another signature, which is as long, and the last thing in it."""
    cookie = cookie.rstrip('"')
    return cookie[:-5] + "".join(chr((ord(letter) - 96) % 26 + 97) for letter in cookie[-5:].lower())


class Row(NamedTuple):
    """Requests that are measured: of each visitor, the same.

    bare: the application alone; None where the request is refused, so that nothing is to be taken off.
    before: what is done, unmeasured, before a slice.
    """

    site: str
    name: str
    application: Application
    bare: Optional[Application]
    step: str
    cookies: Sequence[str]
    body: bytes = b""
    before: Callable[[], None] = lambda: None


def rows_of(site: Site, visitors: int = VISITORS) -> list[Row]:
    """The rows of the table for one way of building the checkout."""
    application, bare, prefix = site.application, site.bare, site.prefix
    cart, shipping, review = (f"{prefix}{STEPS[place]}" for place in (0, 1, 3))
    begun = [walk(application, f"GET {cart}") for _ in range(visitors)]
    there = [walk(application, f"GET {shipping}", cookie=cookie) for cookie in begun]
    submit = [walk(application, f"GET {cart}", f"GET {shipping}") for _ in range(visitors)]  # they have moved on
    rows = [
        Row(site.name, "unguarded path", application, bare, "GET /logo.png", begun),
        Row(site.name, "reload", application, bare, f"GET {shipping}", there),
        Row(site.name, "submission", application, bare, f"POST {shipping}", submit, site.form, forgetting(application)),
    ]
    if not site.judges_gets:
        return rows[1:]
    return [
        *rows, Row(site.name, "transition by GET", application, bare, f"GET {shipping}", begun),
        Row(site.name, "refusal", application, None, f"GET {review}", there),
        Row(site.name, "forged cookie", application, None, f"GET {shipping}", [forged(one) for one in there]),
    ]  # fmt: skip


def forgetting(application: Any) -> Callable[[], None]:
    """Empties the ledger of a guard, so that a visitor's submission is the run's first, however often it is sent."""
    return application.ledger.__init__ if isinstance(application, FlowGuard) else lambda: None


# --- measuring -------------------------------------------------------------------------------------------------------


def unit(first: int, count: int) -> int:
    """Nanoseconds of *count* units, on as many different messages."""
    messages = [b"%0100d" % number for number in range(first, first + count)]
    _units(messages[:WARM])
    begun = time.process_time_ns()
    _units(messages)
    return time.process_time_ns() - begun


def _units(messages: Sequence[bytes]) -> None:
    key, mark = b"k" * 32, b"s" * 32
    for message in messages:
        hmac.compare_digest(hmac.digest(key, message, "sha256"), mark)
        hmac.digest(key, message, "sha256")


def spent(row: Row, application: Application, first: int, count: int) -> int:
    """Nanoseconds that *count* visitors' requests take, from the one of that number on, the making of each included."""
    cookies = [row.cookies[number % len(row.cookies)] for number in range(first, first + count)]
    row.before()
    _serve(row, application, [row.cookies[number % len(row.cookies)] for number in range(first - WARM, first)])
    begun = time.process_time_ns()
    _serve(row, application, cookies)
    return time.process_time_ns() - begun


def _serve(row: Row, application: Application, cookies: Sequence[str]) -> None:
    method, path = row.step.split()
    for cookie in cookies:
        for _ in application(environ(method, path, cookie, row.body), start_response):
            pass


def nobody(environ: dict[str, Any], start_response: Any) -> tuple[()]:
    """In the place of an application that is not called."""
    return ()


def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
    return _write


def _write(data: bytes) -> None:
    raise AssertionError("nobody here writes")


class Figure(NamedTuple):
    """What a row adds: in U, and in microseconds of this machine. spread: half of the rounds are within so much of the
    median, as a part of it."""

    units: float
    microseconds: float
    spread: float


def measure(rows: Sequence[Row], rounds: int) -> list[Figure]:
    """All the rows, in interleaved slices."""
    for row in rows:
        spent(row, row.application, 0, 50)  # what is made at the first request is made
    gc.collect()
    gc.freeze()  # the visitors' cookies are ours, and no matter of a request's
    count = SLICE * ROUNDS // max(rounds, ROUNDS)
    taken = [_round(rows, number * count, count) for number in range(rounds)]
    gc.unfreeze()
    return [_figure(column, count) for column in zip(*taken)]


def _round(rows: Sequence[Row], first: int, count: int) -> list[tuple[float, int]]:
    """Of each row, what is added, in U of this round, and in nanoseconds."""
    slices: list[tuple[int, Optional[Application]]] = [(-1, None)] * 4
    for number, row in enumerate(rows):
        slices += [(number, row.application), (number, row.bare or nobody)]
    random.shuffle(slices)
    units, added = [], [0] * len(rows)
    for number, application in slices:
        if application is None:
            units.append(unit(first, count))
        else:
            time_taken = spent(rows[number], application, first, count)
            added[number] += time_taken if application is rows[number].application else -time_taken
    return [(time_added / median(units), time_added) for time_added in added]


def _figure(column: Sequence[tuple[float, int]], count: int) -> Figure:
    units, nanoseconds = zip(*column)
    middle = median(units)
    spread = median([abs(value - middle) for value in units]) / abs(middle) if middle else 0.0
    return Figure(middle, median(nanoseconds) / count / 1_000, spread)


Table = dict[str, dict[str, Figure]]  # by row, by site


def table_of(rows: Sequence[Row], rounds: int) -> Table:
    table: Table = {}
    for row, figure in zip(rows, measure(rows, rounds)):
        table.setdefault(row.name, {})[row.site] = figure
    return table


# --- the tables ------------------------------------------------------------------------------------------------------


def requests_table(rounds: int) -> Table:
    """The same requests to every way of building the checkout; and what only a guard has."""
    built, missing = sites()
    for name in missing:
        print(f"left out, not installed: {name}")
    rows = [row for site in built for row in rows_of(site)]
    old = walk(guarded(), "GET /cart", "GET /shipping")
    keys = guarded(keys=["0123456789abcdef0", "0123456789abcdef1", SECRET])
    variables = FlowGuard(shop, with_variables(5), secret_key=SECRET)
    rows += [
        Row("flowguard", "unguarded path, rules with converters", variables, shop, "GET /logo.png", [old]),
        Row("flowguard", "unguarded path, looked up", guarded(), shop, f"GET {LOOKED_UP}", [old]),
        Row("flowguard", "the same, rules with converters", variables, shop, f"GET {LOOKED_UP}", [old]),
        Row("flowguard", "forged cookie, three keys", keys, None, "GET /shipping", [forged(old)]),
    ]
    bound = Site("flowguard", shop, FlowGuard(shop, FLOW, secret_key=SECRET, bind="REMOTE_ADDR"))
    rows += [row._replace(name=f"{row.name}, of a user's run") for row in rows_of(bound)[1:-1]]
    asking = {**FLOW, "/done": {"when": lambda context: True}}  # not asked here: but the flow is not steady any more
    site = Site("flowguard", shop, FlowGuard(shop, asking, secret_key=SECRET))
    rows += [row._replace(name=f"{row.name}, where conditions are") for row in rows_of(site)[1:-1]]
    return table_of(rows, rounds)


def with_variables(count: int, shared: bool = False) -> dict[str, Any]:
    """A start, and as many paths with a variable, under a first segment of their own or all under one."""
    head = "/{0}/<int:id>" if not shared else "/shop/{0}/<int:id>"
    ends = [head.format(f"item{number}") for number in range(count)]
    return {"/": {"start": True, "to": ends}, **{path: {} for path in ends}}


def star(count: int) -> dict[str, Any]:
    """One start with the other states as its ends."""
    ends = [f"/end{number}" for number in range(count - 1)]
    return {"/start": {"start": True, "to": ends}, **{path: {} for path in ends}}


def chain(count: int, name: str = "step") -> dict[str, Any]:
    """One state after the other."""
    paths = [f"/{name}{number}" for number in range(count)]
    return {path: {"to": [after] if after else []} for path, after in zip(paths, [*paths[1:], None])}


def flows(count: int, size: int) -> list[Flow]:
    return [Flow(chain(size, f"flow{number}-"), name=f"flow{number}") for number in range(count)]


def made(flow: Any, **options: Any) -> Application:
    return FlowGuard(shop_everywhere, flow, secret_key=options.pop("secret_key", SECRET), **options)


def shop_everywhere(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [b"<p>A page of the shop"]


def growth_table(rounds: int) -> Table:
    """The same request to guards of different sizes: what is small stands in the first column, what is large beside."""
    rows: list[Row] = []

    def add(name: str, size: str, application: Application, step: str, *before: str) -> None:
        cookies = [walk(application, *before) for _ in range(SLICE)] if before else [""]
        rows.append(Row(size, name, application, shop_everywhere, step, cookies))

    for size, guard in (("10", made(star(10))), ("10000", made(star(10_000)))):
        add("states, reload", size, guard, "GET /start", "GET /start")
        add("states, transition", size, guard, "GET /end5", "GET /start")
    for count in (1, 100):
        add("flows, reload", str(count), made(flows(count, 10)), "GET /flow0-1", "GET /flow0-0", "GET /flow0-1")
    long = made(chain(502))
    for count in (1, 500):
        steps = [f"GET /step{number}" for number in range(count + 1)]
        add("history, reload", str(count), long, steps[-1], *steps)
        add("history, transition", str(count), long, f"GET /step{count + 1}", *steps)
    keys = [f"0123456789abcdef{number}" for number in range(3)]
    for size, known in (("1", keys[:1]), ("3", keys)):
        guard = made(chain(5), secret_key=known)
        cookies = [walk(made(chain(5), secret_key=keys[0]), "GET /step0") for _ in range(SLICE)]
        rows.append(Row(size, "keys, the oldest", guard, shop_everywhere, "GET /step0", cookies))
    for count in (5, 5_000):
        add("rules, static, unguarded path", str(count), made(star(count)), f"GET {LOOKED_UP}")
        add("rules, converters, unguarded path", str(count), made(with_variables(count)), f"GET {LOOKED_UP}")
        add("rules, one first segment, unguarded path", str(count), made(with_variables(count, True)),
            f"GET /shop{LOOKED_UP}")  # fmt: skip
    for count in (5, 50):  # a guard refuses more than a hundred
        mixed = [f"/item{number}-<int:id>" for number in range(count)]
        guard = made({"/": {"start": True, "to": mixed}, **{path: {} for path in mixed}})
        add("rules, mixed segments, unguarded path", str(count), guard, f"GET {LOOKED_UP}")
    return table_of(rows, rounds)


def socket_figures(rounds: int) -> dict[str, float]:
    """Processor time that a gunicorn worker spends on a request over real sockets, in microseconds."""
    steps = {"unguarded path": "GET /logo.png", "reload": "GET /shipping", "submission": "POST /shipping"}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    here = guarded()  # which signs as the one over there
    with Gunicorn("bench_site:bare") as bare, Gunicorn("bench_site:guarded") as guard:
        for _ in range(rounds):
            for name in random.sample(list(steps), len(steps)):
                cookies = [walk(here, "GET /cart", "GET /shipping") for _ in range(IN_A_ROW)]
                spent_by = {port: spent_over_there(port, steps[name], cookies)
                            for port in random.sample([bare.port, guard.port], 2)}  # fmt: skip
                taken[name].append((spent_by[bare.port], spent_by[guard.port] - spent_by[bare.port]))
    figures = {}
    for name, pairs in taken.items():
        figures[f"{name}, bare"], figures[f"{name}, added"] = (median(column) for column in zip(*pairs))
    return figures


def spent_over_there(port: int, step: str, cookies: Sequence[str]) -> float:
    """Microseconds for each request of a visitor who makes that *step*."""
    before = int(fetch(port, f"GET {SPENT}"))
    for cookie in cookies:
        fetch(port, step, cookie)
    return (int(fetch(port, f"GET {SPENT}")) - before) / len(cookies) / 1_000


def fetch(port: int, step: str, cookie: str = "") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(*step.split(), headers={"Cookie": cookie, "Sec-Fetch-Mode": "navigate"})
        return connection.getresponse().read()
    finally:
        connection.close()


def worst_figures(_rounds: int) -> dict[str, float]:
    """The most that one request takes, in milliseconds: each the best of several tries, for the machine is busy."""
    long, wide = made(chain(502)), made({**star(10_000), "/beside": {"to": ["/start"]}})
    steps = [f"GET /step{number}" for number in range(501)]
    old = walk(long, *steps)
    found = {
        "a reload after 500 transitions": slowest(long, steps[-1], old),
        "a transition after 500": slowest(long, "GET /step501", old),
        "8 kB of cookies that are nearly ours": slowest(long, steps[-1], "flowguard-flow" * 580),
        "8 kB of cookies that are forged": slowest(long, steps[-1], f"flowguard-flow={'1ab.' + 'x' * 490}; " * 16),
        "8 kB of an odd path": slowest(long, "GET " + "/%2e%2E;x" * 900, ""),
        "a transition to one of 9,999 states, the first": timed(wide, "GET /end5", walk(wide, "GET /start")),
        "a transition to one of 9,999 states": slowest(wide, "GET /end5", walk(wide, "GET /start")),
        "a refusal at one of 9,999 states, the first": timed(wide, "GET /end7", walk(wide, "GET /start", "GET /end5")),
        "a refusal at one of 9,999 states": slowest(wide, "GET /end7", walk(wide, "GET /start", "GET /end5")),
        "a refusal before 9,999 states, the first": timed(wide, "GET /beside", walk(wide, "GET /start")),
        "a refusal before 9,999 states": slowest(wide, "GET /beside", walk(wide, "GET /start")),
        "a refusal without a cookie": slowest(wide, "GET /end7", ""),
    }
    return {f"{name}, ms": figure for name, figure in found.items()}


def slowest(application: Application, step: str, cookie: str) -> float:
    """Milliseconds; the first of its kind does not count."""
    return min([timed(application, step, cookie) for _ in range(6)][1:])


def timed(application: Application, step: str, cookie: str) -> float:
    """Milliseconds of one request."""
    request = environ(*step.split(), cookie)
    begun = time.process_time_ns()
    application(request, start_response)
    return (time.process_time_ns() - begun) / 1e6


def memory_figures() -> dict[str, float]:
    """What stays on the server, in bytes for each visitor."""
    guard, figures = guarded(), {}
    walk(guard, "GET /cart", "GET /shipping", "POST /shipping", "GET /payment")  # what is learnt is learnt
    looks = "GET /cart", "GET /shipping"
    for name, steps in (("looks", looks), ("submits", (*looks, "POST /shipping"))):
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(IN_A_ROW):
            walk(guard, *steps)
        gc.collect()
        figures[f"memory of a visitor who {name}, bytes"] = (tracemalloc.get_traced_memory()[0] - before) / IN_A_ROW
        tracemalloc.stop()
    return figures


def start_figures(_rounds: int) -> dict[str, float]:
    """What a start costs: seconds, and what an import brings along."""
    figures = {}
    for name, build in (("a hundred flows of a hundred states", lambda: made(flows(100, 100))),
                        ("one start with 9,999 ends", lambda: made(star(10_000)))):  # fmt: skip
        begun = time.process_time()
        build()
        figures[f"{name}, s"] = time.process_time() - begun
    for name in ("flowguard", "werkzeug.routing, werkzeug.wrappers, itsdangerous"):
        told = [subprocess.check_output([sys.executable, "-c", IMPORT.format(name)], cwd=_bootstrap.ROOT).split()
                for _ in range(5)]  # fmt: skip
        for place, what in enumerate(("ms", "MB")):
            figures[f"import {name}, {what}"] = median(float(one[place]) for one in told)
    return {**figures, **memory_figures()}


# Milliseconds, and megabytes where the system tells them.
IMPORT = """
import time

def pages():
    try:
        return int(open("/proc/self/statm").read().split()[1])
    except OSError:
        return 0

pages(); before = pages(); begun = time.process_time()
import {}
print(1000 * (time.process_time() - begun), (pages() - before) * 4096 / 2**20)
"""


# --- what is printed -------------------------------------------------------------------------------------------------


def print_requests(table: Table, _title: str) -> None:
    names = list(dict.fromkeys(site for row in table.values() for site in row))
    print(f"\n{'added, in U':38}" + "".join(f"{name:>24}" for name in names))
    for row, figures in table.items():
        cells = [_cell(figures.get(name), figures["flowguard"]) for name in names]
        print(f"{row:38}" + "".join(f"{cell:>24}" for cell in cells))


def _cell(figure: Optional[Figure], ours: Figure) -> str:
    if figure is None:
        return "-"
    return f"{figure.units:.2f}" + ("" if figure is ours else f" ({figure.units / ours.units:.1f}x)")


def print_growth(table: Table, _title: str) -> None:
    print(f"\n{'growth':42}{'from':>8}{'to':>8}{'in U':>16}{'times':>8}")
    for row, figures in table.items():
        (small, first), (large, last) = figures.items()
        print(f"{row:42}{small:>8}{large:>8}{f'{first.units:.2f} -> {last.units:.2f}':>16}"
              f"{last.units / first.units:>8.2f}")  # fmt: skip


def print_flat(figures: dict[str, float], title: str) -> None:
    print(f"\n{title}")
    for name, value in figures.items():
        print(f"{name:70}{value:>10.2f}")


PARTS: dict[str, tuple[Callable[[int], Any], Callable[[Any, str], None]]] = {
    "requests": (requests_table, print_requests),
    "growth": (growth_table, print_growth),
    "sockets": (lambda rounds: socket_figures(max(3, rounds // 4)), print_flat),
    "worst": (worst_figures, print_flat),
    "start": (start_figures, print_flat),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; without any, all of them")
    parser.add_argument("--json", metavar="FILE", help="where the figures are to stand as JSON as well")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"slices of each row: {ROUNDS}, unless you say")
    options = parser.parse_args()
    parts = options.parts or PARTS
    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}")
    took = median(unit(0, SLICE) for _ in range(ROUNDS)) / SLICE / 1_000
    print(f"U = {took:.2f} microseconds")
    found: dict[str, Any] = {"python": platform.python_version(), "U, microseconds": took}
    for part in PARTS:
        if part in parts:
            measured, printed = PARTS[part]
            found[part] = measured(options.rounds)
            printed(found[part], part)
    if options.json:
        Path(options.json).write_text(json.dumps(found, default=dict, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
