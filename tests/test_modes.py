"""A mode that a file says: looked at once a second at most, read again when it changed, and never lost."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from visitor import Clock

from flowguard.modes import ModeFile, word_in


class Switch:
    """A mode's file, its clock, and what the log said."""

    def __init__(self, path: Path, caplog: Any, **options: Any) -> None:
        caplog.set_level(logging.WARNING, "flowguard.config")
        self.path, self.clock, self._caplog = path, Clock(), caplog
        self.write("enforce")
        self.mode = ModeFile(path, clock=self.clock, **options)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def later(self, seconds: float = 1.0) -> str:
        self.clock.now += seconds
        return self.mode()

    @property
    def said(self) -> list[str]:
        return [record.getMessage().replace(str(self.path), "FILE") for record in self._caplog.records]


@pytest.fixture
def switch(tmp_path: Path, caplog: Any) -> Switch:
    return Switch(tmp_path / "mode", caplog)


def test_a_change_of_the_file_changes_the_mode_within_a_second_and_is_logged(switch: Switch):
    switch.write("report\n")
    assert (switch.mode(), switch.later(0.99), switch.later(0.01)) == ("enforce", "enforce", "report")
    assert switch.later() == "report"
    assert switch.said == ["the mode is 'report' now, and was 'enforce': FILE"]


def test_a_file_that_takes_the_others_place_is_read(switch: Switch):
    other = switch.path.with_name("other")
    other.write_text("off")
    os.replace(other, switch.path)
    assert switch.later() == "off"


def test_a_file_that_was_only_touched_changes_nothing(switch: Switch):
    os.utime(switch.path, (1, 1))
    assert (switch.later(), switch.said) == ("enforce", [])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "FILE holds ''. Write 'enforce', 'report' or 'off' into it."),
        ("Off", "FILE holds 'Off'. Write 'enforce', 'report' or 'off' into it."),
        ("report\noff\n", "FILE holds 'report\\noff'. Write 'enforce', 'report' or 'off' into it."),
    ],
    ids=["empty", "another word", "two words"],
)
def test_an_odd_file_leaves_the_mode_as_it_is_and_is_logged_once(text: str, complaint: str, switch: Switch):
    switch.write(text)
    assert [switch.later() for _ in range(3)] == ["enforce"] * 3
    assert switch.said == [f"the mode stays 'enforce': {complaint}"]
    switch.write(" off ")
    assert switch.later() == "off"


def test_a_file_that_is_gone_leaves_the_mode_as_it_is_until_it_is_there_again(switch: Switch):
    switch.path.unlink()
    assert [switch.later() for _ in range(3)] == ["enforce"] * 3
    assert switch.said == ["the mode stays 'enforce': FILE can't be read: No such file or directory."]
    switch.write("report")
    assert switch.later() == "report"


def test_the_file_is_not_looked_at_more_than_once_a_second(switch: Switch, monkeypatch: pytest.MonkeyPatch):
    looks: list[str] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path: looks.append(path) or stat(path))
    for _ in range(1000):
        switch.later(0.01)
    assert 9 <= len(looks) <= 10


def test_another_reader_finds_the_mode_in_a_file_of_its_own(tmp_path: Path, caplog: Any):
    switch = Switch(tmp_path / "flow.toml", caplog, read=lambda path: Path(path).read_text().partition("=")[0])
    switch.write("report=1")
    assert switch.later() == "report"


def test_what_is_no_mode_at_the_start_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        ModeFile(tmp_path / "mode")
    (tmp_path / "mode").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="Write 'enforce', 'report' or 'off' into it"):
        word_in(str(tmp_path / "mode"))
    (tmp_path / "mode").write_bytes(b"\xef\xbb\xbfoff\r\n")  # as some editors on Windows write it
    assert word_in(str(tmp_path / "mode")) == "off"
    assert repr(ModeFile(tmp_path / "mode")) == f"ModeFile({str(tmp_path / 'mode')!r})"
