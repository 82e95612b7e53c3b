"""The files of examples/ for real applications, as far as they can be tried without these."""

from __future__ import annotations

import json

import pytest
from applications import EXAMPLES

from flowguard.cli import main

# What `check` asks of each, and what its author has answered by a comment in the file.
FINDINGS = {
    "formtools": {"post-only"},
    "ihatemoney": {"overlap", "post-only"},
    "roundup": {"parameters-only", "post-only"},
}


@pytest.mark.parametrize("name", FINDINGS)
def test_check_finds_nothing_in_an_applications_file_but_what_is_meant(name: str, capsys: pytest.CaptureFixture[str]):
    main(["check", str(EXAMPLES / f"{name}.toml"), "--format", "json"])
    said = json.loads(capsys.readouterr().out)
    assert (said["errors"], {one["id"] for one in said["warnings"]}) == ([], FINDINGS[name])
