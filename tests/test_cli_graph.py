"""`flowguard graph`: what is printed where, and as what."""

from __future__ import annotations

import io
import sys

import pytest
from test_cli import called, elsewhere, write  # noqa: F401 - the fixture is for all of this module

from flowguard.cli import main

TWO = """
[[flow]]
name = "shop"
[flow.paths."/cart"]
to = ["/pay"]
[flow.paths."/pay"]
once = true
[[flow]]
name = "register"
[flow.paths."/register"]
"""
SHOP = ["shop", "", "▶ /cart  start", "│", "■ /pay   end · once"]


def test_all_flows_of_a_file_are_drawn_as_text(capsys):
    assert main(["graph", write(TWO)]) == 0
    assert capsys.readouterr().out.splitlines() == [*SHOP, "", "register", "", "▶ /register  start · end"]


def test_one_flow_is_drawn_if_it_is_named(capsys):
    assert main(["graph", write(TWO), "--flow", "shop"]) == 0
    assert capsys.readouterr().out.splitlines() == SHOP


def test_a_flow_that_is_not_there_is_wrong_usage(capsys):
    assert main(["graph", write(TWO), "--flow", "shpo"]) == 2
    assert capsys.readouterr() == ("", "flowguard graph: no flow 'shpo' in flow.toml. It has: shop, register\n")


@pytest.mark.parametrize(("format", "first"), [("mermaid", "flowchart TD"), ("dot", "digraph flowguard {")])
def test_other_programs_get_their_language(format, first, capsys):
    assert main(["graph", write(TWO), "--format", format]) == 0
    assert capsys.readouterr().out.splitlines()[0] == first


@pytest.mark.slow  # Graphviz comes along for Python 3.10 and newer
def test_svg_is_what_the_extra_makes_of_it(capsys):
    pytest.importorskip("pygraphviz")
    assert main(["graph", write(TWO), "--format", "svg"]) == 0
    assert "<svg " in capsys.readouterr().out


def test_svg_without_the_extra_is_wrong_usage_and_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert main(["graph", write(TWO), "--format", "svg"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("flowguard graph: SVG needs Graphviz, which the extra [svg] brings along")


def test_a_configuration_that_is_wrong_is_not_drawn(capsys):
    assert main(["graph", write('[paths."/a"]\nto = ["/b"]\n')]) == 1
    assert capsys.readouterr() == ("", "flow.toml: flow['/a'].to[0]: no state '/b'.\n")


def test_where_lines_can_not_be_shown_there_are_letters():
    ended = called("graph", write(TWO), "--flow", "shop", environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert ended.stdout.splitlines() == ["shop", "", "> /cart  start", "|", "# /pay   end, once"]


def test_a_stream_without_an_encoding_gets_letters_too(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["graph", write(TWO), "--flow", "shop"]) == 0
    assert sys.stdout.getvalue().isascii()
