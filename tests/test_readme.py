"""The README is executed: every block of code runs, and its tables are the code's."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from webtest import TestApp as Browser  # not a test of pytest's

from flowguard import FlowGuard, Reason
from flowguard.config import FLOW_OPTIONS, GUARD_OPTIONS, STATE_KEYS

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PAGE = {"Accept": "text/html"}
# Run by .ci/run, by test_demo, and by test_bootstrap, which builds what pip installs.
COMMANDS = {"python3 examples/demo.py", "python3 tests/run.py", "pip install ."}


def legacy(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"legacy"]


def blocks(language: str) -> list[str]:
    return [code for name, code in BLOCKS if name == language]


def execute(code: str) -> tuple[dict, str]:
    names = {"application": legacy}
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(code, "README.md", "exec"), names)  # noqa: S102  (the README is ours)
    return names, said.getvalue()


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, each a list of its cells."""
    section = TEXT.partition(f"\n{heading}\n")[2]
    rows = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def names(rows: list[list[str]]) -> list[str]:
    return [row[0].strip("`") for row in rows]


def test_no_block_is_of_a_kind_that_nothing_executes():
    assert {name for name, _ in BLOCKS} == {"python", "console", "text", "json"}


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0])
def test_every_sample_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(code)


def test_every_command_is_one_that_is_run_elsewhere():
    assert {line for code in blocks("console") for line in code.splitlines()} == COMMANDS


def test_the_quick_start_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    browser = Browser(execute(blocks("python")[0])[0]["application"])
    assert browser.get("/payment", headers=PAGE).location == "/cart"
    assert browser.get("/cart", headers=PAGE).text == "legacy"
    assert browser.get("/elsewhere").text == "legacy"


def test_wrong_configurations_are_answered_as_printed():
    code = next(code for code in blocks("python") if "onse" in code)
    assert execute(code)[1] == blocks("text")[0]


def test_the_problem_is_the_one_that_is_sent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    browser = Browser(execute(blocks("python")[0])[0]["application"])
    sent = browser.get("/payment", status=409).json
    assert {**sent, "detail": "…"} == json.loads(blocks("json")[0])


def test_the_responder_of_one_s_own_answers():
    code = next(code for code in blocks("python") if "def refuse" in code)
    answer = Browser(execute(code)[0]["application"]).get("/b", status=409)
    assert answer.text == "Not now (not_started). Go on at /a."
    assert answer.headers["Flowguard-Reason"] == "not_started"


def test_the_condition_reads_the_form():
    browser = Browser(execute(next(code for code in blocks("python") if "def adult" in code))[0]["application"])
    browser.get("/form")
    assert browser.post("/beer", {"age": "17"}, status=409).json["reason"] == "condition"
    assert browser.post("/beer", {"age": "18"}).text == "legacy"


def test_the_decorated_flow_is_guarded():
    code = next(code for code in blocks("python") if "@checkout" in code)
    made = execute(code)[0]
    assert isinstance(made["application"], FlowGuard)
    assert made["pay"](None) == "paid"
    Browser(made["application"]).get("/pay", status=409)


@pytest.mark.parametrize(
    ("heading", "rows"),
    [
        ("### Keys of the dict", STATE_KEYS),
        ("### Options of a flow", FLOW_OPTIONS),
        ("### Options of the guard", GUARD_OPTIONS),
    ],
)
def test_the_reference_names_every_key_in_the_code_s_order(heading, rows):
    assert names(table(heading)) == list(rows)


@pytest.mark.parametrize("name", ["name", "ordered", "back", "restart", "on_refusal", "mode", "cookie_samesite",
                                  "cookie_secure", "cookie_path", "preflight"])  # fmt: skip
def test_the_reference_tells_the_defaults(name):
    told = {row[0].strip("`"): row[1].strip("`") for row in table("### Options of a flow")}
    assert told[name].replace('"', "'") == repr(FLOW_OPTIONS[name].default)


def test_the_defaults_with_a_unit_are_the_code_s():
    told = {row[0].strip("`"): row[1] for row in table("### Options of a flow") + table("### Options of the guard")}
    assert int(told["ttl"].replace(",", "")) == FLOW_OPTIONS["ttl"].default
    assert int(told["max_body"].replace(",", "")) == FLOW_OPTIONS["max_body"].default
    assert int(told["ledger_wait"]) == GUARD_OPTIONS["ledger_wait"].default
    assert int(told["ledger_lease"]) == GUARD_OPTIONS["ledger_lease"].default


def test_every_reason_is_explained():
    section = TEXT.partition("## Refusals")[2]
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("\n| reason |")[2].partition("\n\n")[0], re.MULTILINE)
    assert rows == [reason.value for reason in Reason]


def test_every_link_within_the_readme_leads_somewhere():
    headings = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
                for line in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)}  # fmt: skip
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= headings


def test_nobody_is_told_to_install_somebody_else_s_package():
    assert "pip install flowguard" not in TEXT
