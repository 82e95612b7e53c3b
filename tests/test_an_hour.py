"""The README's hour in front of an old application, from the first look to enforcing, under a real server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from servers import Browser, Gunicorn

from flowguard import Reason
from flowguard.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
HOUR = README.split("\n### In an hour\n")[1].split("\n### ")[0]
LEGACY = """
import sys
sys.path.insert(0, {examples!r})
from shop import Shop
application = Shop("shop.db")
"""


@pytest.fixture(autouse=True)
def directory(monkeypatch, tmp_path):
    """Where the old application's server runs: the shop of the demo, which nobody dares to touch."""
    monkeypatch.chdir(tmp_path)
    examples = str(Path(__file__).parent.parent / "examples")
    Path("legacy.py").write_text(LEGACY.format(examples=examples), "utf-8")
    Path("secret").write_text("9f3c8a51d07e4b62", "utf-8")
    Path("flow.toml").write_text(re.search(r"```toml\n(.*?)```", HOUR, re.DOTALL)[1], "utf-8")
    Path("flow.mode").write_text("report\n", "utf-8")


def test_what_is_written_down_is_fine(capsys):
    assert main(["check", "flow.toml"]) == 0
    assert main(["graph", "flow.toml"]) == 0
    assert "/payment" in capsys.readouterr().out


@pytest.mark.slow
def test_it_watches_and_then_enforces_without_a_restart():
    settings = {"FLOWGUARD_APP": "legacy:application", "FLOWGUARD_CONFIG": "flow.toml",
                "FLOWGUARD_SECRET_FILE": "secret"}  # fmt: skip
    with Gunicorn("flowguard.wsgi:application", **settings) as server:
        watched = Browser(server.port)
        assert watched.request("GET", "/payment")[0] == 200
        assert 'would refuse {"flow": "flow", "reason": "not_started", "state": "/payment"' in server.told
        Path("flow.mode").write_text("enforce\n", "utf-8")
        refused = Browser(server.port)
        while "flowguard-reason" not in (told := refused.request("GET", "/payment")[1]):
            refused = Browser(server.port)  # the file is looked at once a second
        assert (told["flowguard-reason"], told["location"]) == ("not_started", "/cart")


def test_every_reason_that_visitors_cause_is_explained():
    table = HOUR.split("| it would refuse |")[1].split("\n\n")[0]
    told = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:])))
    assert told == {reason.value for reason in Reason} - {"busy", "unavailable", "condition"}
