"""Does some test notice when a line is wrong? The deep run that changes the lines, one at a time:

    python3 tests/mutants.py                          # all that is listed below: takes about an hour
    python3 tests/mutants.py core/passage.py cookie   # a module, or a folder of them

mutmut makes the mutants, in a copy of the checkout, and gives each of them to the tests that reach the function that
was changed. A mutant that no test notices has to stand in tests/data/equivalent_mutants.txt, with the reason why nobody
could notice it. Fails where one survives that does not stand there, and where less than 95 % are killed.
"""

import argparse
import os
import sys

import _bootstrap

if __name__ == "__main__":
    _bootstrap.ensure(["test", "mutants"], system="--no-system" not in sys.argv)

import configparser
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Sequence

ROOT = Path(_bootstrap.ROOT)
EQUIVALENT = ROOT / "tests" / "data" / "equivalent_mutants.txt"
ENOUGH = 0.95  # of the mutants are to be killed
COPIED = ["README.md", "examples", "flowguard", "pyproject.toml", "setup.cfg", "tests"]
KILLED = {"killed", "timeout"}
DIFF = re.compile(r"^[-+](?!--|\+\+)\s*(.*\S)", re.MULTILINE)


class Group(NamedTuple):
    """Modules whose mutants are given to the same tests. `leave`: what pytest's -k is to leave out."""

    modules: str
    tests: str
    leave: str = "no_such_test"


#: Tests that run in one process, and are fast: what a mutant survives it survives by running all of them.
GROUPS = [
    Group("core/passage.py core/outcome.py core/run.py core/flow.py core/following.py core/guidance.py core/crowds.py",
          "passage crowds outcome model following undoing effects variables flow middleware refusals"),
    Group("core/precedents.py", "beaten"),
    Group("core/graph.py core/lints.py core/survey.py core/walks.py", "passage graph lints searching"),
    Group("ledgers", "ledgers config",
          leave="eight_processes or writers_are_killed or a_cluster"),
    Group("cookie.py codec.py", "cookie keeping middleware binding variables operating beaten",
          leave="process"),
    Group("paths.py patterns.py spelling.py", "paths recorded_paths config parameters fences in_front",
          leave="costs or faster"),
]


#: Goes to the tests' conftest. A mutant is tried in a fork of a process in which all the tests have run: what was kept
#: there of right answers must not answer for it. And a collection in the middle of mutmut's bookkeeping would upset it.
FORGETTING = """

import functools
import gc

gc.disable()


def pytest_sessionstart():
    for kept in gc.get_objects():
        if isinstance(kept, functools._lru_cache_wrapper):
            kept.cache_clear()
        elif str(type(kept).__module__).startswith("flowguard."):
            for name, what in vars(type(kept)).items():
                if isinstance(what, functools.cached_property):
                    vars(kept).pop(name, None)
"""


class Mutant(NamedTuple):
    """A change that no test noticed: in which function, and the lines of the diff."""

    function: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.function, *("    " + line for line in self.lines)])


class Result(NamedTuple):
    module: str
    made: int
    survivors: list[Mutant]

    @property
    def killed(self) -> int:
        return self.made - len(self.survivors)


# The run of one group.

def results(group: Group, modules: Sequence[str], jobs: int) -> Iterator[Result]:
    """Let mutmut change *modules*, and say what came of it, module by module."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        copy_to(Path(place), group, modules)
        begin(["run", "--max-children", str(jobs)], place, quiet=False)
        told = re.findall(r"^ +(\S+): (.+)$", begin(["results", "--all", "true"], place), re.MULTILINE)
        for module in modules:
            mine = [(name, status) for name, status in told if name.rpartition(".")[0] == dotted(module)]
            if any(status == "not checked" for _, status in mine):
                sys.exit(f"mutmut did not come to the end of {module}.")
            survivors = [mutant(name, place) for name, status in mine if status not in KILLED]
            yield Result(module, len(mine), survivors)


def copy_to(place: Path, group: Group, modules: Sequence[str]) -> None:
    """Copy the checkout, and tell mutmut what to do there."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    settings = configparser.ConfigParser(interpolation=None)
    settings["mutmut"] = {
        "source_paths": "flowguard",
        "only_mutate": lines(f"flowguard/{module}" for module in modules),
        "also_copy": lines(["README.md", "examples"]),
        "pytest_add_cli_args_test_selection": lines(f"tests/test_{name}.py" for name in group.tests.split()),
        "pytest_add_cli_args": lines(["-m", "not slow and not browser", "-k", f"not ({group.leave})", "-W", "ignore"]),
        "timeout_multiplier": "6",  # of what the tests take without a mutant
        "track_dependencies": "false",
        "use_git_change_detection": "false",
    }
    with open(place / "setup.cfg", "a", encoding="utf-8") as file:
        settings.write(file)
    with open(place / "tests" / "conftest.py", "a", encoding="utf-8") as file:
        file.write(FORGETTING)


def module_of(mutant: Mutant) -> str:
    modules = (module for group in GROUPS for module in modules_of(group))
    around = (module for module in modules if mutant.function.startswith(dotted(module) + "."))
    return max(around, key=lambda module: len(dotted(module)))  # a package holds its modules


def lines(items: Iterable[str]) -> str:
    return "\n" + "\n".join(items)


def begin(arguments: Sequence[str], place: str, quiet: bool = True) -> str:
    """Run mutmut, and return what it wrote; *quiet*: it is not shown."""
    command = [os.path.join(os.path.dirname(sys.executable), "mutmut"), *arguments]
    done = subprocess.run(command, cwd=place, encoding="utf-8", stdout=subprocess.PIPE if quiet else None, check=False)
    if done.returncode:
        sys.exit(f"mutmut {arguments[0]} failed.")
    return done.stdout or ""


def dotted(module: str) -> str:
    return "flowguard." + module[: -len(".py")].replace("/", ".").replace(".__init__", "")


def mutant(name: str, place: str) -> Mutant:
    """What mutmut calls flowguard.core.run.xǁRunǁdoing__mutmut_1 is a change of flowguard.core.run.Run.doing."""
    module, _, rest = name.rpartition(".")
    function = re.sub("^x_|^xǁ", "", rest.rpartition("__mutmut_")[0]).replace("ǁ", ".")
    diff = begin(["show", name], place)
    return Mutant(f"{module}.{function}", tuple(match[0][0] + " " + match[1] for match in DIFF.finditer(diff)))


# The equivalent ones.

def equivalent() -> dict[Mutant, str]:
    """The mutants of the list, and why nobody could notice them."""
    found = {}
    for paragraph in EQUIVALENT.read_text(encoding="utf-8").split("\n\n"):
        written = [line for line in paragraph.splitlines() if not line.startswith("#")]
        if written:
            diff = [line for line in written[1:] if line[0] in "-+"]
            reason = " ".join(line.strip() for line in written[1:] if line[0] not in "-+")
            found.update((Mutant(written[0], change), reason) for change in changes(diff))
    return found


def changes(diff: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Several changes of one function may stand one after the other: each begins with a line that goes."""
    change: list[str] = []
    for line in diff:
        if line[0] == "-" and change and change[-1][0] == "+":
            yield tuple(change)
            change = []
        change.append(line)
    yield tuple(change)


# The whole.

def main() -> int:
    options = parse()
    known = equivalent()
    found = [result for group, modules in picked(options.modules) for result in results(group, modules, options.jobs)]
    unknown = [each for result in found for each in result.survivors if each not in known]
    made, killed = sum(result.made for result in found), sum(result.killed for result in found)
    print()
    for each in unknown:
        print(f"SURVIVED and is not in {EQUIVALENT.name}:\n{each}\n")
    for each in sorted(set(known) - {each for result in found for each in result.survivors}):
        if module_of(each) in {result.module for result in found}:
            print(f"is in {EQUIVALENT.name} and was killed, or is not made any more:\n{each}\n")
    for result in found:
        print(f"{result.module:24} {result.killed:4} of {result.made:4} killed")
    print(f"{killed} of {made} mutants killed ({killed / made:.1%}), {made - killed} survived, {len(unknown)} of them "
          "without a reason")
    return 1 if unknown or killed < ENOUGH * made else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", metavar="MODULE", nargs="*", help="a module or a folder of flowguard/; all that are "
                        "listed in this file, if none is named")
    parser.add_argument("--jobs", type=int, default=1, help="how many mutants at a time (1)")
    parser.add_argument("--no-system", dest="system", action="store_false", help="install no Debian packages as root")
    return parser.parse_args()


def picked(names: Sequence[str]) -> list[tuple[Group, list[str]]]:
    """The groups, and which of their modules are asked for."""
    asked = [name.removesuffix(".py").removesuffix("/") for name in names]

    def wanted(module: str) -> bool:
        return not asked or any((module[: -len(".py")] + "/").startswith(name + "/") for name in asked)

    chosen = [(group, list(filter(wanted, modules_of(group)))) for group in GROUPS]
    return [(group, modules) for group, modules in chosen if modules]


def modules_of(group: Group) -> Iterator[str]:
    for name in group.modules.split():
        path = ROOT / "flowguard" / name
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            yield file.relative_to(ROOT / "flowguard").as_posix()


if __name__ == "__main__":
    sys.exit(main())
