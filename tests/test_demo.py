"""The demo: what it says about the bare shop and the guarded one, and that it fails where nothing guards."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import demo  # noqa: E402 - found by the line above
import visitors  # noqa: E402

TAKES_THE_PYTHON_AS_IT_IS = {**os.environ, "FLOWGUARD_BOOTSTRAP": "0", "PYTHONPATH": str(EXAMPLES.parent)}
ROW = re.compile(r"^(?P<title>\S.*?)  +(?P<bare>\d+ (?:charged|sent), \d+ (?:due|paid)).*?"
                 r"  +(?P<guarded>\d+ (?:charged|sent), \d+ (?:due|paid))(?:: (?P<reasons>.*))?$")


def start(*arguments):
    return subprocess.Popen([sys.executable, str(EXAMPLES / "demo.py"), *arguments], stdout=subprocess.PIPE, text=True,
                            env=TAKES_THE_PYTHON_AS_IT_IS)


@pytest.fixture(scope="module")
def printed():
    """What the demo prints, run as a newcomer runs it."""
    process = start()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def rows_of(output):
    return {match["title"]: match for match in map(ROW.match, output.splitlines()) if match}


def test_every_customer_and_every_abuse_has_its_row(printed):
    assert list(rows_of(printed)) == [*visitors.HONEST, *visitors.ABUSES]


@pytest.mark.parametrize("abuse", visitors.ABUSES)
def test_the_bare_shop_is_harmed_and_the_guarded_one_is_not(printed, abuse):
    row = rows_of(printed)[abuse]
    done, due = figures(row["bare"])
    assert done > due
    done, due = figures(row["guarded"])
    assert done == due
    assert row["reasons"]


@pytest.mark.parametrize("honest", visitors.HONEST)
def test_an_honest_customer_is_charged_by_the_guarded_shop_what_is_due(printed, honest):
    done, due = figures(rows_of(printed)[honest]["guarded"])
    assert done == due > 0


def test_a_double_click_is_charged_twice_by_the_bare_shop(printed):
    assert figures(rows_of(printed)["double-clicks on Pay"]["bare"]) == (2, 1)


def test_lines_fit_a_terminal_and_are_plain_where_there_is_none(printed):
    assert max(map(len, printed.splitlines())) <= 110
    assert "\033" not in printed


def test_without_a_guard_the_demo_fails_and_says_so(capsys):
    assert demo.main([], guard=lambda shop: shop) == 1
    output = capsys.readouterr().out
    assert "THE GUARDED SHOP DID NOT HOLD" in output
    assert {figures(row["bare"]) == figures(row["guarded"]) for row in rows_of(output).values()} == {True}


def test_a_guard_that_refuses_everybody_fails_too(capsys):
    def wall(shop):
        def refuse(environ, start_response):
            start_response("409 Conflict", [("Content-Type", "text/plain"), ("Flowguard-Reason", "illegal")])
            return [b"no"]
        return refuse

    assert demo.main([], guard=wall) == 1
    assert "0 of 6 were served" in capsys.readouterr().out


def test_serve_goes_on_with_the_guarded_shop_until_it_is_interrupted():
    process = start("--serve")
    line = next(line for line in process.stdout if "is open at" in line)
    port = int(re.search(r"guarded shop is open at http://127.0.0.1:(\d+)/,", line)[1])
    visitor = visitors.Visitor(SimpleNamespace(port=port))
    assert "A small shop" in visitor.visit("/").text
    assert visitor.send("GET", "/done").location == "/cart"  # there is nothing to confirm yet
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0


def test_a_port_that_is_taken_gets_one_sentence():
    with demo.Server(("127.0.0.1", 0), demo.Handler) as taken, pytest.raises(SystemExit, match="can't be used"):
        demo.main(["--port", str(taken.server_address[1])])


def figures(cell):
    return tuple(map(int, re.findall(r"\d+", cell)))
