"""Flask's own tests, each of its applications called through a guard whose flow it never touches: they end as they do
without one. And as a check of this check, through a wrapper that does what a careless middleware does: then they don't.
FLOWGUARD_DEEP=1 tries more such wrappers.

Flask and its tests stand in an environment of their own, since they want other versions than ours do. What they need is
fetched once and kept in .venv/.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import _bootstrap
import pytest

HERE = Path(__file__).parent
VERSION = "3.1.3"
# The versions that its lock file names, where its tests fail with newer ones: pytest 9 lacks what they import of it.
NEEDS = [f"flask=={VERSION}", "werkzeug==3.1.5", "pytest==8.4.2", "asgiref", "greenlet", "python-dotenv", "pip"]
CARELESS = [  # wrappers, and how many tests fail through them at the least
    pytest.param("eager", 5, id="that reads answers ahead and does not close them"),
    *([
        pytest.param("late", 20, id="that keeps the head of an answer back"),
        pytest.param("tidy", 10, id="that tidies paths up"),
    ] if os.environ.get("FLOWGUARD_DEEP") == "1" else []),
]  # fmt: skip
WRAPPERS = ["none", "guard", *(str(row.values[0]) for row in CARELESS)]

pytestmark = pytest.mark.slow


class Told(NamedTuple):
    """What one run of Flask's tests came to. ended: how each phase of each test ended, by the test's id."""

    ended: dict[str, list[str]]
    requests: int
    applications: int

    @property
    def red(self) -> list[str]:
        return [test for test, phases in self.ended.items() if any(phase.endswith("failed") for phase in phases)]


def source(python: str) -> Path:
    """Flask's source, as it is published, with its tests."""
    place = Path(_bootstrap.ROOT, ".venv", "flask-source")
    archive = place / f"flask-{VERSION}.tar.gz"
    with _bootstrap.locked(str(place)):
        if not archive.exists():
            command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                       "--no-binary", "flask", "--dest", str(place), f"flask=={VERSION}"]  # fmt: skip
            subprocess.run(command, check=True, timeout=120)
    return archive


@pytest.fixture(scope="module")
def python() -> str:
    base = getattr(sys, "_base_executable", sys.executable)
    return _bootstrap.environment(_bootstrap.place_of("-flask"), NEEDS, base, system=False)


@pytest.fixture(scope="module")
def told(python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What the tests came to, by the wrapper that their applications were called through."""
    archive = source(python)

    def run(wrapper: str) -> Told:
        return run_suite(python, archive, wrapper, tmp_path_factory.mktemp(wrapper))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(WRAPPERS, pool.map(run, WRAPPERS)))


def run_suite(python: str, archive: Path, wrapper: str, place: Path) -> Told:
    with tarfile.open(archive) as file:
        inside = [member for member in file if "/tests/" in member.name or member.name.endswith("/pyproject.toml")]
        file.extractall(place, inside, **extracted_as_data())
    outcomes = place / "outcomes.json"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COVERAGE_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])
    subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "flask_suite", f"--basetemp={place / 'tmp'}",
         f"--wrapper={wrapper}", f"--outcomes={outcomes}", "tests"],
        cwd=place / f"flask-{VERSION}", env=environment, timeout=120, check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    said: dict[str, Any] = json.loads(outcomes.read_text(encoding="utf-8"))
    return Told(**said)


def extracted_as_data() -> dict[str, Any]:
    """Pythons that can, take only what belongs into a directory out of an archive; newer ones warn where not asked."""
    with contextlib.suppress(AttributeError):
        return {"filter": tarfile.data_filter}
    return {}


def test_flasks_own_tests_end_as_they_do_without_a_guard(told: dict[str, Told]):
    assert told["guard"] == told["none"]


def test_they_are_all_there_and_green(told: dict[str, Told]):
    assert told["none"].red == []
    passed = [test for test, phases in told["none"].ended.items() if "call passed" in phases]
    assert len(passed) > 480
    assert told["none"].requests > 400
    assert told["none"].applications > 200


@pytest.mark.parametrize(("wrapper", "least"), CARELESS)
def test_they_do_not_through_a_wrapper(told: dict[str, Told], wrapper: str, least: int):
    assert len(told[wrapper].red) >= least
