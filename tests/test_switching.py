"""The mode of a flow is changed in its file, and the server goes on running."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from visitor import Clock, Visitor

from flowguard import ConfigError, FlowGuard
from flowguard.environment import guard_from
from flowguard.modes import INTERVAL
from flowguard.switching import read_followed

SECRET = "9f3c8a51d07e4b62"
PATHS = '[paths."/a"]\nto = ["/b"]\n[paths."/b"]\n'
TWO = '[[flow]]\nname = "one"\n{}\n[flow.paths."/a"]\n[[flow]]\nname = "two"\n{}\n[flow.paths."/b"]\n'


class File:
    """A configuration, followed by a clock of the test's; and what the log said of it."""

    def __init__(self, path: Path, caplog: Any) -> None:
        caplog.set_level(logging.WARNING, "flowguard.config")
        self.path, self.clock, self._caplog = path, Clock(), caplog

    def begin(self, text: str, **overrides: Any) -> None:
        self.path.write_text(text, "utf-8")
        self.flows = [flow.plan for flow in read_followed(self.path, overrides, self.clock).flows]

    def says(self, text: str) -> list[str]:
        """Each flow's mode, a second after *text* was written."""
        self.path.write_text(text, "utf-8")
        return self.modes()

    def modes(self) -> list[str]:
        self.clock.now += INTERVAL
        return [mode if isinstance(mode, str) else mode() for mode in (plan.options.mode for plan in self.flows)]

    @property
    def said(self) -> list[str]:
        return [record.getMessage().replace(str(self.path), "FILE") for record in self._caplog.records]


@pytest.fixture
def file(tmp_path: Path, caplog: Any) -> File:
    return File(tmp_path / "flow.toml", caplog)


def test_a_change_in_the_file_changes_the_mode(file: File):
    file.begin(f'mode = "report"\n{PATHS}')
    assert file.modes() == ["report"]
    assert file.says(f'mode = "off"\n{PATHS}') == ["off"]
    assert file.says(PATHS) == ["enforce"]
    assert file.said == [
        "the mode of 'flow' is 'off' now, and was 'report': FILE",
        "the mode of 'flow' is 'enforce' now, and was 'off': FILE",
    ]


def test_each_flow_has_the_mode_that_stands_with_its_name(file: File):
    file.begin(TWO.format('mode = "report"', ""))
    assert file.modes() == ["report", "enforce"]
    assert file.says(TWO.replace("one", "x").replace("two", "one").replace("x", "two")
                     .format('mode = "off"', 'mode = "report"')) == ["report", "off"]  # fmt: skip


@pytest.mark.parametrize(("text", "complaint"), [
    pytest.param('mode = "off', "can't be used: end of document: Unterminated string.", id="half a string"),
    pytest.param("", "can't be used: flow: has no states. Declare at least one path, such as '/cart'.", id="nothing"),
    pytest.param(f'mode = "off"\nbakc = 1\nttl = 0\n{PATHS}', "can't be used: bakc: unknown key. Did you mean 'back'?; "
                 "flow(ttl): is 0. Write a number of seconds, more than 0 and at most 3,155,760,000.",
                 id="another mode, and something wrong"),
    pytest.param(f'mode = "of"\n{PATHS}', "can't be used: flow(mode): is the string 'of'. Write 'enforce', 'report' or "
                 "'off'. Did you mean 'off'?", id="a misspelt mode"),
    pytest.param(f'name = "other"\nmode = "off"\n{PATHS}', "has no flow 'flow' any more. Start the server anew.",
                 id="a flow of another name"),
    pytest.param(f'mode = "file:mode"\n{PATHS}', "says of 'flow' that its mode stands in another file. "
                 "Start the server anew.", id="another file"),
])  # fmt: skip
def test_a_file_that_can_not_be_used_is_logged_once_and_the_mode_stays(text, complaint, file: File, monkeypatch):
    monkeypatch.chdir(file.path.parent)
    Path("mode").write_text("off", "utf-8")
    file.begin(f'mode = "report"\n{PATHS}')
    assert file.says(text) == ["report"]
    assert file.modes() == ["report"]
    assert file.said == [f"the mode of 'flow' stays 'report': FILE {complaint}"]
    assert file.says(f'mode = "off"\n{PATHS}') == ["off"]


def test_a_mode_that_is_overridden_is_not_followed(file: File):
    file.begin(PATHS, mode="report")
    assert file.says(f'mode = "off"\n{PATHS}') == ["report"]


def test_other_overrides_count_in_what_is_read_again(file: File):
    file.begin(f'ttl = 0\nmode = "report"\n{PATHS}', ttl=60)
    assert file.says(f'ttl = 0\nmode = "off"\n{PATHS}') == ["off"]


def test_a_mode_that_stands_in_a_file_of_its_own_stays_there(file: File):
    switch = file.path.with_name("mode")
    switch.write_text("report", "utf-8")
    file.begin(f'mode = "file:{switch}"\n{PATHS}')
    assert file.says(f'mode = "off"\n{PATHS}') == ["report"]


def test_a_file_is_found_again_wherever_the_process_goes(file: File, monkeypatch):
    monkeypatch.chdir(file.path.parent)
    file.path, absolute = Path("flow.toml"), file.path
    file.begin(PATHS)
    (absolute.parent / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    file.path = absolute
    assert file.says(f'mode = "report"\n{PATHS}') == ["report"]


# --- in a guard -------------------------------------------------------------------------------------------------------


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"a page"]


def legacy(monkeypatch: pytest.MonkeyPatch, **more: str) -> FlowGuard:
    Path("an_old_application.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/html')])\n    return [b'a page']\n", "utf-8",
    )  # fmt: skip
    monkeypatch.syspath_prepend(os.getcwd())
    return guard_from({"FLOWGUARD_APP": "an_old_application", "FLOWGUARD_CONFIG": "flow.toml",
                       "FLOWGUARD_SECRET": SECRET, **more})  # fmt: skip


def within_seconds(guard: FlowGuard, status: int) -> int:
    """The status of a step that was left out: asked again until it is *status*, or patience ends."""
    patience = time.monotonic() + 10 * INTERVAL
    while time.monotonic() < patience:
        seen = Visitor(guard).get("/b").status
        if seen == status:
            break
    return seen


@pytest.mark.slow
def test_a_guard_that_runs_follows_its_file(file: File, monkeypatch):
    monkeypatch.chdir(file.path.parent)
    file.path.write_text(PATHS, "utf-8")
    guards = [FlowGuard.from_file(app, "flow.toml", secret_key=SECRET), legacy(monkeypatch)]
    assert [Visitor(guard).get("/b").status for guard in guards] == [303, 303]
    file.path.write_text(f'mode = "off"\n{PATHS}', "utf-8")
    assert [within_seconds(guard, 200) for guard in guards] == [200, 200]
    file.path.write_text(PATHS, "utf-8")
    assert [within_seconds(guard, 303) for guard in guards] == [303, 303]


def test_the_variable_wins_over_the_file(file: File, monkeypatch):
    monkeypatch.chdir(file.path.parent)
    file.path.write_text(f'mode = "off"\n{PATHS}', "utf-8")
    assert Visitor(legacy(monkeypatch, FLOWGUARD_MODE="enforce")).get("/b").status == 303


def test_what_is_wrong_with_a_followed_file_is_said_once(file: File):
    file.path.write_text("[paths.'/a']\nonse = 1", "utf-8")
    with pytest.raises(ConfigError) as caught:
        FlowGuard.from_file(app, file.path, secret_key=SECRET)
    assert len(caught.value.problems) == 1
