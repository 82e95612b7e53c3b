"""The bootstrap: how the two commands of the README find what they need on a machine that has only Python."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import _bootstrap
import pytest
import run

ROOT = Path(_bootstrap.ROOT)


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 8, 18)])
def test_a_python_that_is_too_old_is_told_so_in_one_sentence(version):
    said = _bootstrap.too_old(version)
    assert said == f"flowguard needs Python 3.9 or newer, and this is Python {'.'.join(map(str, version))}."


@pytest.mark.parametrize("version", [(3, 9, 0), (3, 14, 1), (4, 0, 0)])
def test_a_python_that_will_do_is_told_nothing(version):
    assert _bootstrap.too_old(version) is None


def test_the_oldest_python_is_the_one_of_the_package():
    assert f'requires-python = ">={_bootstrap.OLDEST[0]}.{_bootstrap.OLDEST[1]}"' in read("pyproject.toml")
    assert run.MINORS[0] == _bootstrap.OLDEST[1]


@pytest.mark.parametrize("script", ["tests/_bootstrap.py", "tests/run.py", "tests/mutants.py", "examples/demo.py"])
def test_a_python_that_is_too_old_can_read_the_script_that_tells_it_so(script):
    ast.parse(read(script), feature_version=(3, 6))
    assert "from __future__ import annotations" not in read(script)  # a SyntaxError on Python 3.6


def test_requirements_are_those_of_pyproject():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(item for extra in extras.values() for item in extra)]
    assert _bootstrap.requirements(extras) == wanted


def test_an_environment_is_made_once_and_then_found(tmp_path, capfd):
    place = str(tmp_path / "venv")
    python = _bootstrap.environment(place, [])
    assert "making" in capfd.readouterr().err
    assert _bootstrap.environment(place, []) == python
    assert capfd.readouterr().err == ""


def test_an_environment_sees_the_checkout_and_not_a_copy_of_it(tmp_path):
    python = _bootstrap.environment(str(tmp_path / "venv"), [])
    where = [python, "-c", "import importlib.util; print(importlib.util.find_spec('flowguard').origin)"]
    seen = subprocess.check_output(where, cwd=tmp_path, text=True, env=without_paths())
    assert Path(seen.strip()) == ROOT / "flowguard" / "__init__.py"


def test_an_environment_with_more_than_is_asked_for_will_do(tmp_path):
    place = make_by_hand(tmp_path, ["a>=1", "b"])
    assert _bootstrap.is_current(place, ["a>=1"])
    assert not _bootstrap.is_current(place, ["a>=1", "c"])


@pytest.mark.parametrize("stamp", ["", "another digest\na>=1\n", None], ids=["empty", "outdated", "none"])
def test_an_environment_whose_stamp_does_not_match_is_none(tmp_path, stamp):
    place = make_by_hand(tmp_path, ["a>=1"])
    (Path(place) / "stamp").unlink() if stamp is None else (Path(place) / "stamp").write_text(stamp)
    assert not _bootstrap.is_current(place, ["a>=1"])


def test_an_environment_whose_python_is_gone_is_none(tmp_path):
    place = make_by_hand(tmp_path, ["a>=1"])
    os.unlink(_bootstrap.python_of(place))
    assert not _bootstrap.is_current(place, [])


def test_of_two_that_start_at_the_same_time_one_makes_the_environment(tmp_path):
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n" \
             f"import _bootstrap; print(_bootstrap.environment({str(tmp_path / 'venv')!r}, []))"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    starts = [subprocess.Popen([sys.executable, "-c", script], **pipes) for _ in range(3)]
    ended = [start.communicate() for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert len({python for python, _ in ended}) == 1
    assert sorted(said.count("making") for _, said in ended) == [0, 0, 1]


def test_a_place_that_cannot_be_written_gets_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="can't be written"):
        _bootstrap.environment(str(tmp_path / "file" / "venv"), [])


@pytest.mark.slow
def test_what_cannot_be_installed_ends_with_a_sentence_and_leaves_no_stamp(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SystemExit, match="could not be made complete"):
        _bootstrap.environment(str(tmp_path / "venv"), ["no-such-thing-as-this"])
    assert not _bootstrap.is_current(str(tmp_path / "venv"), [])


def test_the_second_start_of_a_script_starts_nothing_but_the_script(tmp_path):
    """Counted in processes, not in seconds: none but the script itself, once more, by the environment's Python."""
    place = make_by_hand(tmp_path, _bootstrap.requirements())
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n" \
             "import _bootstrap; _bootstrap.place_of = lambda: " + repr(place) + "\n" \
             "_bootstrap.subprocess.call = _bootstrap.subprocess.Popen = None\n" \
             "_bootstrap.os.execv = lambda python, command: print(python)\n" \
             "_bootstrap.ensure()"
    env = {name: value for name, value in os.environ.items() if name != _bootstrap.SWITCH}
    started = subprocess.check_output([sys.executable, "-c", script], env=env, text=True)
    assert started.strip() == _bootstrap.python_of(place)


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    for name in ("pyproject.toml", "setup.cfg", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "flowguard", tmp_path / "flowguard", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "examples").mkdir()
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    built = subprocess.check_output([sys.executable, "-c", build], cwd=tmp_path, text=True, stderr=subprocess.STDOUT)
    names = set(zipfile.ZipFile(tmp_path / built.splitlines()[-1]).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "flowguard").rglob("*.py")}
    assert {name for name in names if not re.match(r"wsgi_flowguard-[\d.]+\.dist-info/", name)} \
        == {*sources, "flowguard/py.typed"}


def test_the_lowest_versions_are_those_that_pyproject_promises():
    assert run.lowest(9)[:2] == ["werkzeug==2.2.3", "itsdangerous==2.0"]


def test_a_run_of_the_tests_that_broke_off_counts_as_a_failure(tmp_path):
    (tmp_path / "report.xml").write_text("<testsuites><testsuite tests=")
    assert run.read_report(str(tmp_path / "report.xml")) == run.Tally(failed=1)
    assert run.read_report(str(tmp_path / "none.xml")) == run.Tally(failed=1)


def test_a_report_is_read_into_a_tally(tmp_path):
    report = '<testsuites><testsuite errors="1" failures="2" skipped="3" tests="10"/></testsuites>'
    (tmp_path / "report.xml").write_text(report)
    assert run.read_report(str(tmp_path / "report.xml")) == run.Tally(passed=4, failed=3, skipped=3)


def test_a_check_that_hangs_is_ended_and_fails(capfd):
    checks = run.Checks(dict(os.environ), limit=0)
    checks.check("endless", "http.server", "--bind", "127.0.0.1", "0")
    assert checks.close() == 1
    assert "endless: FAILED, ended because it took too long" in capfd.readouterr().out


def test_checks_that_run_side_by_side_are_shown_one_after_the_other_and_count_together(capfd):
    checks = run.Checks(dict(os.environ), limit=60)

    def failing(part):
        part.check("no such module", "no_such_module_as_this")
        part.check("no operation", "this", "-c", "")

    def quick(part):
        part.check("no operation either", "this", "-c", "")
        part.add(run.Tally(passed=2))

    checks.side_by_side([failing, quick, lambda part: part.add(run.Tally(failed=1))])
    printed = capfd.readouterr().out
    assert printed.index("== no such module: FAILED in") < printed.index("== no operation\n")
    begun, ended = printed.index("== no operation either"), printed.index("== no operation either: passed in")
    assert "== no" not in printed[begun + 1 : ended]
    assert (checks.failures, checks.tally) == (["no such module"], run.Tally(passed=2, failed=1))


def test_what_failed_is_named_before_the_closing_line(capfd):
    checks = run.Checks(dict(os.environ), limit=60)
    checks.check("no such module", "no_such_module_as_this")
    checks.add(run.Tally(passed=2, skipped=1))
    assert checks.close() == 1
    assert capfd.readouterr().out.splitlines()[-2:] == ["FAILED: no such module", "2 passed, 0 failed, 1 skipped"]


def test_an_interpreter_that_does_not_start_is_not_found(tmp_path):
    shim = tmp_path / "python3.9"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert not run.starts(str(shim), 9)
    assert not run.starts(str(tmp_path / "nothing"), 9)
    assert not run.starts(sys.executable, sys.version_info.minor + 1)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def without_paths():
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def make_by_hand(tmp_path, needs):
    """What a finished environment leaves to be found."""
    place = str(tmp_path / "venv")
    os.makedirs(os.path.dirname(_bootstrap.python_of(place)))
    Path(_bootstrap.python_of(place)).touch()
    _bootstrap.write_stamp(place, needs)
    return place
