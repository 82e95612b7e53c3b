"""The command line: what it prints where, how it ends, in a pipe and on a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flowguard
from flowguard.cli import COMMANDS, main
from flowguard.cli.terminal import paint

ROOT = Path(__file__).parent.parent
FINE = '[paths."/a"]\nto = ["/b"]\n[paths."/b"]\n'
WRONG = '[paths."/ä"]\nonse = true\n[gaurd]\n'


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])  # the commands add to it


def write(text: str) -> str:
    Path("flow.toml").write_text(text, "utf-8")
    return "flow.toml"


def called(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("environment", {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    command = [sys.executable, "-m", "flowguard", *arguments]
    return subprocess.run(command, env=environment, text=True, encoding="utf-8", **streams)


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_says_in_a_line_that_all_is_fine(capsys):
    assert main(["check", write(FINE)]) == 0
    assert capsys.readouterr() == ("flow.toml: fine\n", "")


def test_check_prints_every_problem_as_a_finding(capsys):
    assert main(["check", write(WRONG)]) == 1
    assert capsys.readouterr() == (
        "flow.toml: gaurd: unknown key. Did you mean 'guard'?\n"
        "flow.toml: flow['/ä'].onse: unknown key. Did you mean 'once'?\n",
        "",
    )


ODD = '[paths."/a"]\nto = ["/b"]\nonce = true\n[paths."/b"]\n[paths."/c"]\nto = ["/b"]\n'
UNREACHABLE = (
    "no run can enter this state, whatever a visitor does: its pages are always refused. "
    "Name it in the `to` of a state that can be entered, or remove it."
)


def test_check_prints_what_may_not_have_been_meant_as_a_finding(capsys):
    assert main(["check", write(ODD)]) == 1
    assert capsys.readouterr() == (f"flow.toml: flow['/c']: {UNREACHABLE} [unreachable]\n", "")


def test_check_is_told_of_the_deployment_and_what_to_leave_out(capsys):
    arguments = ["check", write(ODD), "--pages", "--workers", "4"]
    assert main([*arguments, "--ignore", "unreachable"]) == 1
    said = capsys.readouterr().out
    assert [line.rpartition(" [")[2] for line in said.splitlines()] == ["once-without-accept]", "memory-ledger]"]
    assert "flow.toml: ledger: 'memory://' knows one process, and there are 4" in said
    ignored = [word for id in ("unreachable", "once-without-accept", "memory-ledger") for word in ("--ignore", id)]
    assert main([*arguments, *ignored]) == 0
    assert capsys.readouterr().out == "flow.toml: fine\n"


def test_check_speaks_to_programs_in_json(capsys):
    assert main(["check", write(ODD), "--format", "json"]) == 1
    what, _, remedy = UNREACHABLE.partition(". ")
    assert json.loads(capsys.readouterr().out) == {"errors": [], "warnings": [{
        "id": "unreachable", "where": "flow.toml: flow['/c']", "what": f"{what}.", "remedy": remedy,
    }]}  # fmt: skip
    assert main(["check", write(WRONG), "--pages", "--workers", "4", "--ignore", "overlap", "--format", "json"]) == 1
    assert [one["where"] for one in json.loads(capsys.readouterr().out)["errors"]] == [
        "flow.toml: gaurd", "flow.toml: flow['/ä'].onse",
    ]  # fmt: skip


@pytest.mark.slow
def test_check_says_where_it_could_not_look_at_everything(capsys):
    forks = "".join(f'[paths."/{n}"]\nto = ["/{n}a", "/{n}b"]\n[paths."/{n}a"]\nto = ["/{n + 1}"]\n[paths."/{n}b"]\n'
                    f'to = ["/{n + 1}"]\n' for n in range(20))  # fmt: skip
    assert main(["check", write(f'{forks}[paths."/20"]\n')]) == 0
    assert capsys.readouterr() == (
        "flow.toml: fine\n", "flow: has too many runs to try them all, so something may have gone unseen\n"
    )


def test_check_finds_dotted_names_where_it_is_started(capsys):
    Path("rules_beside_the_file.py").write_text("def agrees(context): return True\n", "utf-8")
    assert main(["check", write(f'{FINE}when = "rules_beside_the_file:agrees"')]) == 0
    assert main(["check", "flow.toml"]) == 0
    assert sys.path.count(os.getcwd()) == 1


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    pytest.param([], id="nothing"), pytest.param(["chekc", "flow.toml"], id="no command"),
    pytest.param(["check"], id="no file"), pytest.param(["check", "nowhere.toml"], id="a file that is not there"),
    pytest.param(["check", "flow.toml", "--ignore", "everything"], id="no finding"),
    pytest.param(["check", "."], id="a directory"), pytest.param(["check", "flow.toml", "--all"], id="no option"),
])  # fmt: skip
def test_wrong_usage_is_told_on_standard_error(arguments, capsys):
    write(FINE)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert told.err.startswith("usage: flowguard ")


def test_a_configuration_that_can_not_be_used_is_a_finding_of_every_command(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "read", Reads())
    assert main(["read", write("a = x")]) == 1
    assert capsys.readouterr() == ("", "flow.toml: line 1, column 5: Invalid value. Strings are written in quotes; "
                                       "TOML's words are true and false, and it has no None.\n")  # fmt: skip


class Reads:
    """A command as others add them."""

    HELP = "read a file"

    def configure(self, parser: Any) -> None:
        parser.add_argument("file")

    def run(self, arguments: Any) -> int:
        return len(flowguard.files.read_file(arguments.file).problems)


def test_it_says_which_version_it_is(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"flowguard {flowguard.__version__}\n"


def test_the_process_ends_with_the_exit_code():
    assert called("check", write(FINE)).returncode == 0
    ended = called("check", write(WRONG))
    assert (ended.returncode, ended.stdout.count("\n"), ended.stderr) == (1, 2, "")
    assert called("check").returncode == 2


# --- where it speaks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["check", "flow.toml"], ["--help"]], ids=["a command", "argparse itself"])
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["in the end", "in the midst"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_reader_that_goes_away_is_no_reason_for_a_traceback(arguments, unbuffered):
    write(WRONG)
    read, written = os.pipe()
    os.close(read)
    ended = called(*arguments, stdout=written, environment={"PYTHONUNBUFFERED": unbuffered})
    os.close(written)
    assert ended.stderr == ""
    assert ended.returncode == 141 or arguments == ["--help"]  # there, argparse itself may have swallowed it


def test_an_encoding_that_lacks_a_letter_gets_its_number():
    ended = called("check", write(WRONG), environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert "flow['/\\xe4'].onse: unknown key" in ended.stdout


def test_what_stands_for_standard_output_is_spoken_to_as_well():
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["check", write(FINE)]) == 0
    assert said.getvalue() == "flow.toml: fine\n"


class Stream:
    def __init__(self, terminal: bool) -> None:
        self.isatty = lambda: terminal


@pytest.mark.parametrize(("terminal", "environment", "painted"), [
    pytest.param(True, {}, "\033[31mword\033[0m", id="a terminal"),
    pytest.param(False, {}, "word", id="a pipe"),
    pytest.param(True, {"NO_COLOR": "1"}, "word", id="NO_COLOR"),
    pytest.param(True, {"NO_COLOR": ""}, "\033[31mword\033[0m", id="an empty NO_COLOR, which counts as none"),
    pytest.param(True, {"TERM": "dumb"}, "word", id="a terminal that knows none"),
])  # fmt: skip
def test_there_is_colour_where_somebody_can_see_it(terminal, environment, painted, monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert paint("word", "red", Stream(terminal)) == painted
