"""The README, executed: its code runs, its examples answer what it says, its tables are the code's tables."""

from __future__ import annotations

import doctest
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, NamedTuple, Optional

import pytest
from werkzeug.test import Client

from flowguard import Event, Flow, FlowGuard, Reason, Refused, RunHandle, check
from flowguard.cli import COMMANDS as CLI_COMMANDS
from flowguard.cli import main
from flowguard.config import FLOW_OPTIONS, GUARD_OPTIONS, STATE_KEYS
from flowguard.config.settings import REQUIRED
from flowguard.cookie import MAX_COOKIE
from flowguard.core.outcome import ROWS, Outcome
from flowguard.environment import VARIABLES
from flowguard.errors import LedgerUnavailable
from flowguard.findings import FINDINGS
from flowguard.keeping import MAX_WAITING
from flowguard.ledgers import VERBS, open_ledger
from flowguard.ledgers.memory import CAPACITY, MemoryLedger
from flowguard.paths import MAX_PATH, MAX_VALUE
from flowguard.reading import Context
from flowguard.texts import BUILT_IN, ENGLISH

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
QUICKSTART = ROOT / "examples" / "quickstart.py"
CHECKOUT = ROOT / "examples" / "checkout.toml"

LANGUAGES = {"python", "pycon", "console", "json", "toml", "ini", "text"}  # ini: test_paste.py
SECRET = "a secret of the tests of the README"
SHOP = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}
ONWARD = {"/cart": "/shipping", "/shipping": "/payment", "/payment": "/done"}


# --- reading the README ----------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A fenced block: its language, its text, the line of its fence, and the heading that it stands under."""

    language: str
    text: str
    line: int
    section: str


def read_blocks() -> list[Block]:
    found, section, opened = [], "", None
    for number, line in enumerate(README.splitlines(), 1):
        if opened is None and line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith("```") and opened is None:
            opened = Block(line[3:], "", number, section)
        elif line == "```":
            found.append(opened)
            opened = None
        elif opened is not None:
            opened = opened._replace(text=f"{opened.text}{line}\n")
    assert opened is None, "a fence is not closed"
    return found


BLOCKS = read_blocks()
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
HEADINGS = re.findall(r"^#+ (.*)$", PROSE, re.MULTILINE)


def blocks(language: str) -> list[Any]:
    found = [block for block in BLOCKS if block.language == language]
    return [pytest.param(block, id=f"line {block.line}, {block.section}") for block in found]


def block_of(section: str, number: int = 0, language: str = "python") -> Block:
    return [block for block in BLOCKS if (block.section, block.language) == (section, language)][number]


def table(*header: str) -> list[list[str]]:
    """The rows of the table whose first columns are headed so."""
    tables = [paragraph.splitlines() for paragraph in re.split(r"\n\n+", PROSE) if paragraph.startswith("|")]
    read = [[cells(line) for line in lines] for lines in tables]
    found = [rows for rows in read if tuple(rows[0][: len(header)]) == header]
    assert len(found) == 1, f"{len(found)} tables are headed {header}"
    head, _, *rows = found[0]
    assert {len(row) for row in rows} == {len(head)}, "a row has more cells than its head"
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- a visitor of what the README puts together ----------------------------------------------------------------------


class Application:
    """The reader's application: forms that lead on, or what *answers* say. `posts` are the submissions it saw."""

    def __init__(self, answers: Callable[[str, str], Optional[str]] = lambda method, path: None) -> None:
        self.answers = answers
        self.posts: list[str] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        location = self.answers(method, path)
        if method == "POST":
            self.posts.append(path)
            self.form = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if location is None:
            start_response("200 OK", [("Content-Type", "text/html")])
            return [b"a page"]
        start_response("303 See Other", [("Location", environ.get("SCRIPT_NAME", "") + location)])
        return []


def shop() -> Application:
    return Application(lambda method, path: ONWARD.get(path) if method == "POST" else None)


class Visitor:
    """A browser, or what else sends requests, with a jar that can be copied."""

    def __init__(self, application: Any, cookies: Any = ()) -> None:
        self.client = Client(application, use_cookies=False)
        self.cookies = dict(cookies)

    def send(self, method: str, path: str, accept: str = "text/html", **more: Any) -> Any:
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers = {"Accept": accept, **(cookie if self.cookies else {}), **more.pop("headers", {})}
        raw, _, query = path.partition("?")
        overrides = {"PATH_INFO": raw.replace("%00", "\0"), **more.pop("environ", {})}
        response = self.client.open("/", method=method, headers=headers, query_string=query,
                                    environ_overrides=overrides, **more)  # fmt: skip
        for line in response.headers.getlist("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return response

    def get(self, path: str, **more: Any) -> Any:
        return self.send("GET", path, **more)

    def post(self, path: str, **more: Any) -> Any:
        return self.send("POST", path, **more)

    def go(self, *steps: str) -> Any:
        """Paths to visit, or to submit if they begin with POST; each must pass. The last answer."""
        for step in steps:
            method, path = step.split() if " " in step else ("GET", step)
            answer = self.send(method, path)
            assert "Flowguard-Reason" not in answer.headers, f"{step} was refused: {reason(answer)}"
        return answer

    def copy(self) -> Visitor:
        return Visitor(self.client.application, self.cookies)


def reason(answer: Any) -> Optional[str]:
    return answer.headers.get("Flowguard-Reason")


def location(answer: Any) -> Optional[str]:
    return answer.headers.get("Location")


TO_PAYMENT = ("/cart", "/shipping", "POST /shipping", "/payment")


def names(application: Any) -> dict[str, Any]:
    """What the README says that its examples have."""
    return {"application": application, "FLOW": SHOP, "SECRET": SECRET, "FlowGuard": FlowGuard}


def run(block: Block, application: Any = None) -> dict[str, Any]:
    """The names after a Python block; its application may be served."""
    space = names(shop() if application is None else application)
    exec(compile("\n" * block.line + block.text, "README.md", "exec"), space)  # noqa: S102 - that is what it is for
    return space


@pytest.fixture
def quickstart(tmp_path, monkeypatch):
    """The quick start's guarded application, in a directory of its own, around a shop that tells what it saw."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOW_SECRET", SECRET)
    bare = shop()
    guarded = run(block_of("Quick start"), bare)["application"]
    return bare, guarded


# --- every block ------------------------------------------------------------------------------------------------------


def test_every_block_is_of_a_language_that_is_executed_here():
    assert {block.language for block in BLOCKS} == LANGUAGES
    assert "~~~" not in README
    assert not re.search(r"^ +```", README, re.MULTILINE)


# The recipes for frameworks are run by test_frameworks.py, each in front of its framework.
HERE_TOO = [case for case in blocks("python") if case.values[0].section != "Frameworks"]


@pytest.mark.parametrize("block", HERE_TOO)
def test_a_python_block_runs_and_what_it_makes_answers(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOW_SECRET", SECRET)
    (tmp_path / "checkout.toml").write_text(CHECKOUT.read_text("utf-8"), "utf-8")
    (tmp_path / "flow.mode").write_text("report")
    monkeypatch.setitem(sys.modules, "legacy", SimpleNamespace(application=shop()))
    application = run(block)["application"]
    assert Visitor(application).get("/").status_code in (200, 404)
    assert not isinstance(application, FlowGuard) or check(application) == ()


@pytest.mark.parametrize("block", blocks("toml"))
def test_a_toml_block_is_a_configuration_that_is_fine(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.toml").write_text(block.text, "utf-8")
    (tmp_path / "flow.mode").write_text("report", "utf-8")
    assert main(["check", "flow.toml"]) == 0


def test_the_picture_is_what_graph_prints(capsys):
    assert main(["graph", str(CHECKOUT)]) == 0
    assert capsys.readouterr().out == block_of("graph", language="text").text


def test_the_explanation_is_what_explain_prints(capsys):
    command = next(command for command in commands() if command.startswith("flowguard explain"))
    _, verb, _, *steps = shlex.split(command)
    assert main([verb, str(CHECKOUT), *steps]) == 1
    assert capsys.readouterr().out.startswith(block_of("explain", language="text").text)


def test_every_step_that_explain_is_shown_with_is_taken():
    shown = [step.strip('"') for row in table("a step", "what it is") for step in code(row[0])]
    assert len(shown) == 9
    for step in shown:
        assert main(["explain", str(CHECKOUT), "GET /cart", step]) in (0, 1)


def test_the_first_file_is_the_example():
    assert CHECKOUT.read_text("utf-8").endswith(block_of("Configuration as a file", language="toml").text)


@pytest.mark.parametrize("block", blocks("pycon"))
def test_a_session_answers_what_is_printed(block):
    parsed = doctest.DocTestParser().get_doctest(block.text, names(shop()), block.section, "README.md", block.line)
    assert parsed.examples
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(parsed)
    assert result.failed == 0


def test_json_is_the_real_answer(quickstart):
    block = block_of("The form of the answer", language="json")
    visitor = Visitor(quickstart[1])
    visitor.go("/cart", "/shipping")
    answer = visitor.get("/payment", accept="application/json")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.get_json(force=True) == json.loads(block.text)
    assert list(answer.get_json(force=True)) == list(json.loads(block.text)), "the order is another"


def test_a_line_of_the_report_is_what_is_logged_and_another_word_in_the_file_ends_it(tmp_path, monkeypatch, caplog):
    section, bare = "First watching, then enforcing", shop()
    monkeypatch.chdir(tmp_path)
    for word, status in (("report", 200), ("enforce", 303), ("off", 200)):
        (tmp_path / "flow.mode").write_text(word)
        visitor = Visitor(run(block_of(section), bare)["application"])
        visitor.get("/cart")
        visitor.get("/shipping")
        assert visitor.get("/payment").status_code == status
    lines = [record.getMessage() for record in caplog.records if record.name == "flowguard.decision"]
    told = json.loads(lines[0].partition("would refuse ")[2])
    shown = json.loads(block_of(section, language="json").text)
    assert (list(told), len(told.pop("run")), len(lines)) == (list(shown), len(shown.pop("run")), 1)
    assert told == shown


def commands() -> list[str]:
    lines = [line for block in BLOCKS if block.language == "console" for line in block.text.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [re.split(r"\s{2,}#", line[2:])[0].strip() for line in lines]


# Each command, and where it is run: a test of this module, or a file that runs it and a word of it that shows so.
COMMANDS = {
    "python3 examples/demo.py": ("tests/test_demo.py", "demo.py"),
    "python3 tests/run.py": (".ci/run", "python3 tests/run.py"),
    "python3 -m pip install .": ("tests/test_bootstrap.py", "test_the_wheel_holds_the_package_and_nothing_else"),
    "python3 -m pip install '.[redis]'": ("pyproject.toml", "\nredis = ["),
    "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'": "test_the_secret_that_is_made_is_taken",
    "python3 examples/quickstart.py": "test_the_quick_start_is_served_by_one_command",
    "gunicorn --chdir examples --workers 4 quickstart:application": "test_four_workers_charge_once",
    "export FLOWGUARD_APP=legacy:application FLOWGUARD_CONFIG=flow.toml FLOWGUARD_SECRET_FILE=secret":
        ("tests/test_environment.py", 'SECRET_FILE="secret"'),
    "gunicorn flowguard.wsgi:application": ("tests/test_environment.py", 'Gunicorn("flowguard.wsgi:application"'),
    "waitress-serve flowguard.wsgi:application": ("tests/test_environment.py", 'Waitress("flowguard.wsgi:application"'),
    "flowguard check checkout.toml": "test_a_toml_block_is_a_configuration_that_is_fine",
    "flowguard check checkout.toml --pages --workers 4 --ignore overlap --format json":
        ("tests/test_cli.py", '"--pages", "--workers", "4", "--ignore", "overlap", "--format", "json"'),
    "echo report > flow.mode": ("tests/test_an_hour.py", "report"),
    "echo enforce > flow.mode": ("tests/test_an_hour.py", "enforce"),
    "flowguard check flow.toml": ("tests/test_an_hour.py", '"check", "flow.toml"'),
    "flowguard graph flow.toml": ("tests/test_an_hour.py", '"graph", "flow.toml"'),
    'flowguard explain checkout.toml "GET /cart" 200 "POST /shipping" "303 /payment" "GET /done"':
        "test_the_explanation_is_what_explain_prints",
    'flowguard explain checkout.toml "GET /payment" --cookie "flowguard-flow=1f0…"':
        ("tests/test_cli_explain.py", '"GET /payment", options=("--cookie", cookie)'),
    "flowguard graph checkout.toml": "test_the_picture_is_what_graph_prints",
    "flowguard graph checkout.toml --format mermaid": ("tests/test_cli_graph.py", '("mermaid", "flowchart TD")'),
    "flowguard graph checkout.toml --format svg > checkout.svg": ("tests/test_cli_graph.py", '"--format", "svg"'),
    "flowguard ledger redis://host:6379/0 --doubt": ("tests/test_operating.py", '"--doubt"'),
    "flowguard ledger redis://host:6379/0 --run 1f3a9c02b7de": ("tests/test_operating.py", '"--run"'),
    "flowguard ledger redis://host:6379/0 free 1f3a9c02b7de /payment": ("tests/test_operating.py", '"free"'),
    "flowguard ledger sqlite:////var/lib/shop/flow.db purge": ("tests/test_operating.py", '"purge"'),
    "python3 tests/bench.py": ("tests/test_bench.py", 'BENCH, "start"'),
    "python3 tests/bench.py requests --json FILE": ("tests/test_bench.py", '"--json", str(file)'),
    "python3 tests/run.py tests/test_readme.py": ("tests/run.py", "python3 tests/run.py tests/test_"),
}


def test_every_command_is_run_by_a_test():
    assert set(commands()) == set(COMMANDS)
    for where in COMMANDS.values():
        if isinstance(where, tuple):
            assert where[1] in (ROOT / where[0]).read_text("utf-8")
        else:
            assert callable(globals()[where])


def test_nobody_is_told_to_install_somebody_elses_package():
    assert not re.search(r"pip3? install +(?!\.|'\.\[)", README)
    assert 'name = "wsgi-flowguard"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_secret_that_is_made_is_taken():
    command = next(command for command in commands() if "secrets" in command)
    script = command.split("'")[1]
    secret = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout
    FlowGuard(shop(), SHOP, secret_key=secret.strip())


def test_the_variables_are_those_of_the_code():
    assert [code(name) for name, _ in table("variable", "what it is")] == [[name] for name in VARIABLES]


def test_every_command_of_the_command_line_is_shown():
    shown = {command.split()[1] for command in commands() if command.startswith("flowguard ")}
    assert shown == set(CLI_COMMANDS)


# --- the quick start --------------------------------------------------------------------------------------------------


def test_the_quick_start_has_eight_lines_and_stands_in_the_example():
    lines = [line for line in block_of("Quick start").text.splitlines() if line]
    assert len(lines) == 8
    assert "\n".join(lines[2:]) in QUICKSTART.read_text("utf-8")


def test_the_example_is_tiny():
    assert len(QUICKSTART.read_text("utf-8").splitlines()) <= 60


def started(arguments: list[str], announced: str, **more: Any) -> tuple[Any, int]:
    """A server, and its port, which it prints."""
    environment = {**os.environ, "FLOWGUARD_BOOTSTRAP": "0", "PYTHONPATH": str(ROOT), "FLOW_SECRET": SECRET}
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=environment, **more)  # fmt: skip
    for line in process.stdout:
        found = re.search(announced + r"\S*?:(\d+)", line)
        if found:
            return process, int(found[1])
    raise AssertionError(f"{arguments} did not start")


def ended(process: Any) -> str:
    """What the server printed, once it is interrupted: again, where wsgiref was still at work and swallowed it."""
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=1)[0]
    process.kill()
    raise AssertionError(f"the server did not end: {process.communicate()[0]}")


class Wire:
    """A visitor over the network."""

    def __init__(self, port: int) -> None:
        self.port, self.cookies = port, {}

    def send(self, method: str, path: str) -> tuple[int, Optional[str], Optional[str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, path, headers={"Accept": "text/html", "Cookie": cookie, "Content-Length": "0"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        for line in answer.headers.get_all("Set-Cookie", ()):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, answer.headers["Location"], answer.headers["Flowguard-Reason"]


def walk(port: int) -> None:
    """What the README's first table says, from outside."""
    visitor = Wire(port)
    assert visitor.send("GET", "/payment") == (303, "/cart", "not_started")
    for method, path in (("GET", "/cart"), ("POST", "/cart"), ("GET", "/shipping")):
        assert visitor.send(method, path)[2] is None
    assert visitor.send("GET", "/payment") == (303, "/shipping", "skipped")
    assert visitor.send("POST", "/shipping") == (303, "/payment", None)
    assert visitor.send("GET", "/payment") == (200, None, None)
    before = dict(visitor.cookies)
    assert visitor.send("POST", "/payment") == (303, "/done", None)
    for _ in range(8):  # whichever worker it is
        visitor.cookies = dict(before)
        assert visitor.send("POST", "/payment") == (303, "/done", "duplicate")
    assert visitor.send("GET", "/done") == (200, None, None)
    visitor.cookies = before
    assert visitor.send("POST", "/payment") == (303, "/done", "finished")


def test_the_quick_start_is_served_by_one_command(tmp_path):
    process, port = started([str(QUICKSTART), "0"], "Guarded: http://127.0.0.1", cwd=tmp_path)
    try:
        walk(port)
    finally:
        output = ended(process)
    assert output.count("charged") == 1
    assert not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
def test_four_workers_charge_once(tmp_path):
    """As printed, but on a port that the system assigns, and with a copy: it leaves flow.db where it is served."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "quickstart.py").write_text(QUICKSTART.read_text("utf-8"), "utf-8")
    command = next(command for command in commands() if command.startswith("gunicorn"))
    process, port = started(["-m", *command.split(), "--bind", "127.0.0.1:0"], "Listening at: http", cwd=tmp_path)
    try:
        walk(port)
    finally:
        output = ended(process)
    assert output.count("charged") == 1
    assert (tmp_path / "examples" / "flow.db").exists()


# --- what a visitor tries ---------------------------------------------------------------------------------------------


def alter(visitor: Visitor) -> Any:
    value = visitor.cookies["flowguard-flow"]
    visitor.cookies["flowguard-flow"] = value[:8] + ("A" if value[8] != "A" else "B") + value[9:]
    return visitor.post("/payment")


def spell(visitor: Visitor) -> Any:
    *others, last = [visitor.post(path) for path in ("//payment", "/PAYMENT", "/payment%00")]
    assert {(answer.status_code, reason(answer)) for answer in others} == {(409, "path")}
    return last


def click_twice(visitor: Visitor) -> Any:
    tab = visitor.copy()
    assert location(visitor.go("POST /payment")) == "/done"
    return tab.post("/payment")


def pay_with_a_copy(visitor: Visitor) -> Any:
    copy = visitor.copy()
    visitor.go("POST /payment", "/done")
    return copy.post("/payment")


def reload_everything(visitor: Visitor) -> Any:
    return visitor.go(*(path for path in (*TO_PAYMENT, "POST /payment", "/done") for _ in range(1 + (path[0] == "/"))))


# The row, the steps before, what is tried, the status, where it leads, and how often the shop charged.
TRIED = {
    "opens `/payment` first": ((), lambda v: v.get("/payment"), 303, "/cart", 0),
    "opens `/payment` without having given an address":
        (("/cart", "/shipping"), lambda v: v.get("/payment"), 303, "/shipping", 0),
    "posts to `/payment` from the cart": (("/cart",), lambda v: v.post("/payment"), 409, None, 0),
    "opens `/done` without having paid": (TO_PAYMENT, lambda v: v.get("/done"), 303, "/payment", 0),
    "clicks *Pay* twice": (TO_PAYMENT, click_twice, 303, "/done", 1),
    "goes back after the order and pays again":
        ((*TO_PAYMENT, "POST /payment", "/done"), lambda v: v.post("/payment"), 303, "/done", 1),
    "pays again with a copy of the cookie from before paying": (TO_PAYMENT, pay_with_a_copy, 303, "/done", 1),
    "alters the cookie": (TO_PAYMENT, alter, 409, None, 0),
    "posts to `//payment`, `/PAYMENT` or `/payment%00`": (TO_PAYMENT, spell, 409, None, 0),
    "reloads any page": ((), reload_everything, 200, None, 1),
    "goes back to correct the address":
        (TO_PAYMENT, lambda v: v.go("/shipping", "POST /shipping", "/payment", "POST /payment"), 303, "/done", 1),
    "orders again":
        ((*TO_PAYMENT, "POST /payment", "/done"), lambda v: v.go(*TO_PAYMENT, "POST /payment"), 303, "/done", 2),
}  # fmt: skip


def test_the_table_of_what_a_visitor_tries_has_these_rows():
    assert [row[0] for row in table("what a visitor tries")] == list(TRIED)


@pytest.mark.parametrize(("tried", "happens"), table("what a visitor tries"))
def test_what_a_visitor_tries_ends_as_the_table_says(tried, happens, quickstart):
    bare, guarded = quickstart
    steps, attempt, status, leads, charges = TRIED[tried]
    visitor = Visitor(guarded)
    if steps:
        visitor.go(*steps)
    answer = attempt(visitor)
    said = [word for word in code(happens) if word in {known.value for known in Reason}]
    assert [reason(answer)] == (said or [None])
    assert (answer.status_code, location(answer)) == (status, leads)
    assert bare.posts.count("/payment") == charges


# --- the tables are the code's ----------------------------------------------------------------------------------------

# What the README says of a default that is None: none, or what follows from the rest.
NO_DEFAULT = {
    "state": "the key as written", "start": "the first state, if none says so", "end": "true where `to` is empty",
    "back": "the flow's", "on_refusal": "the flow's", "cookie_name": "`flowguard-` and the flow's name",
    "clock": "`time.time`",
}  # fmt: skip


def default(row: Any) -> str:
    if row.default is None:
        return NO_DEFAULT.get(row.name, "none")
    if row.default is REQUIRED:
        return "required"
    value = list(row.default) if isinstance(row.default, tuple) else row.default
    return f"`{value!r}`" if isinstance(value, (bool, int)) else f"`{json.dumps(value)}`"


def reference(first: str, heading: str) -> list[list[str]]:
    """The table of that kind that stands under *heading*."""
    part = PROSE.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    lines = [cells(line) for line in part.splitlines() if line.startswith("| ")]
    assert lines[0] == [first, "default", "meaning"]
    return lines[1:]


@pytest.mark.parametrize(("first", "heading", "settings"), [
    ("key", "Keys of a state", STATE_KEYS), ("option", "Options of a flow", FLOW_OPTIONS),
    ("option", "Options of the guard", GUARD_OPTIONS),
], ids=["keys", "options of a flow", "options of the guard"])  # fmt: skip
def test_the_reference_has_every_row_of_the_code_with_its_default(first, heading, settings):
    written = [row[:2] for row in reference(first, heading)]
    assert written == [[f"`{row.name}`", default(row)] for row in settings.values()]


def test_what_this_version_does_not_have_is_not_promised():
    assert not re.search(r"\b(roadmap|planned|coming soon|later version)", README, re.IGNORECASE)


def test_the_guards_own_options_have_the_defaults_of_the_signature():
    parameters = signature(FlowGuard).parameters
    for name, _, _ in reference("option", "Options of the guard"):
        row = GUARD_OPTIONS[name.strip("`")]
        if row.default not in (None, REQUIRED):
            assert parameters[row.name].default == row.default


def test_the_reasons_are_those_of_the_code():
    assert [code(row[0]) for row in table("reason", "when")] == [[known.value] for known in Reason]


def test_the_findings_are_those_of_the_code():
    assert [code(row[0]) for row in table("finding", "what it means")] == [[known] for known in FINDINGS]


OUTCOMES = {
    "": Outcome.NOTHING, "nothing": Outcome.NOTHING, "entered": Outcome.ENTERED, "success": Outcome.SUCCESS,
    "entered and done": Outcome.ENTERED_DONE, "failed": Outcome.FAILED, "shown": Outcome.SHOWN,
    "back to that state": Outcome.BACK, "unknown": Outcome.UNKNOWN,
}  # fmt: skip


def test_the_table_of_answers_is_the_codes():
    written = [(says, OUTCOMES[safe], OUTCOMES[sent.partition(" (")[0]]) for says, safe, sent in table("the answer")]
    assert written == [(row.says, row.safe, row.submission) for row in ROWS]
    assert [row.says for row in ROWS if row.once] == [row[0] for row in table("the answer") if "`once`" in row[2]]


def test_a_run_has_the_attributes_that_are_listed():
    listed = {word for row in table("attribute") for span in code(row[0]) for word in re.findall(r"^\w+", span)}
    assert listed == {name for name in {*dir(RunHandle), *RunHandle.__annotations__} if name[0] != "_"} - {"overrule"}


def test_a_context_has_what_is_listed():
    made = Context({}, None, {}, 1)
    public = {name for name in (*vars(made), *vars(Context)) if not name.startswith("_")}
    assert {code(row[0])[0] for row in table("of the context")} == public


def test_refusals_and_events_have_the_fields_that_are_named():
    begins = "The refusal has the fields of the problem above from `flow` to `target_method`, and "
    sentence = PROSE.split(begins)[1].split(".")[0]
    problem = {"type", "title", "status", "detail"}
    fields = {*json.loads(block_of("The form of the answer", language="json").text), "target_method"} - problem
    assert {*code(sentence), *fields} == {*Refused._fields} - {"looping"}
    event = re.search(r"A hook gets an event with ([^.]*)\.", PROSE)[1]
    assert [word for word in code(event) if word not in FLOW_OPTIONS] == list(Event._fields)


def test_the_ledgers_that_are_listed_open():
    rows = table("ledger", "for")
    for url in ("rediss://host/0", "unix:///run/redis.sock", *(url for row in rows for url in code(row[0]))):
        if "://" in url and not url.endswith("://"):
            assert open_ledger(url.strip('"'))
    assert isinstance(open_ledger("memory://"), MemoryLedger)
    assert open_ledger(code(rows[0][4])[0])
    assert open_ledger(f"sqlite:///x.db{code(rows[1][4])[0]}")
    assert f"{CAPACITY:,} runs" in rows[0][4]
    assert tuple(code(rows[3][4]))[:4] == VERBS


# --- its links and its size -------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that GitHub makes."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_internal_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", PROSE)
    assert links
    assert {link for link in links if link.startswith("#")} <= {f"#{slug(heading)}" for heading in HEADINGS}
    assert all(link.startswith(("#", "https://")) for link in links)


def test_the_contents_list_every_section():
    listed = re.search(r"\*\*Contents:\*\*(.*?)\n\n", PROSE, re.DOTALL)[1]
    sections = re.findall(r"^## (.*)$", PROSE, re.MULTILINE)
    assert re.findall(r"\(#([^)]+)\)", listed) == [slug(section) for section in sections]


def test_headings_are_unique_and_the_files_that_are_named_are_there():
    assert len(set(HEADINGS)) == len(HEADINGS)
    named = {span for span in code(PROSE) if re.fullmatch(r"(flowguard|examples|tests)/[\w./]*", span)}
    assert named
    assert all((ROOT / name).exists() for name in named)


CLAIMED = {
    *(f"ASVS {item}" for item in ("2.3.1", "2.3.2", "2.4.2", "3.3.1", "3.3.2", "3.3.3", "3.3.4", "3.3.5", "3.5.3")),
    *(f"WSTG-BUSL-{number}" for number in ("04", "05", "06", "07")), "CWE-841",
}  # fmt: skip


def test_every_claim_of_the_security_notes_is_shown_by_tests_that_are_there():
    rows = table("item", "what is claimed")
    assert set(re.findall(r"ASVS [\d.]+\d|WSTG-BUSL-\d+|CWE-\d+", " ".join(row[0] for row in rows))) == CLAIMED
    for item, *_, shown in rows:
        named = code(shown)
        assert named, item
        for test in named:
            file, name = test.split("::")
            assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text("utf-8"), test


def test_numbers_of_the_code_are_told_as_they_are():
    assert f"at most {MAX_WAITING} submissions to a flow" in PROSE.replace("\n", " ")
    assert f"may have {MAX_VALUE} bytes" in PROSE.replace("\n", " ")
    assert f"more than {MAX_PATH:,} characters" in PROSE
    assert f"never over {MAX_COOKIE:,}" in PROSE
    assert set(BUILT_IN) == {"en", "de"}
    assert "in English or German" in PROSE


def test_it_is_not_longer_than_a_reader_bears():
    assert len(README.splitlines()) <= 1_500
    assert max(len(line) for line in README.splitlines() if not line.startswith("|")) <= 160


# --- what its examples do ---------------------------------------------------------------------------------------------


def test_whoever_was_sent_to_the_provider_has_not_paid_yet():
    leads = {("POST", "/confirm"): "https://pay.example/1"}
    bare = Application(lambda method, path: leads.get((method, path)))
    visitor = Visitor(run(block_of("Did it count?"), bare)["application"])
    visitor.go("/details", "POST /details", "/confirm", "POST /confirm", "/paid")
    assert (reason(visitor.get("/thanks")), location(visitor.get("/thanks"))) == ("skipped", "/paid")
    leads["GET", "/paid"] = "/thanks"  # the provider says that it is paid
    visitor.go("/paid", "/thanks")
    assert bare.posts == ["/details", "/confirm"]


def test_of_two_pages_that_are_both_a_200_the_text_says_which_one_counts():
    pages = iter([b"We could not take your order.", b"Thank you!", b"Thank you!"])

    def bare(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [next(pages) if environ["REQUEST_METHOD"] == "POST" else b"<form>"]

    visitor = Visitor(run(block_of("Did it count?", 1), bare)["application"])
    visitor.go("/confirm", "POST /confirm")
    assert reason(visitor.get("/thanks")) == "skipped"
    visitor.go("POST /confirm", "/thanks")


def test_a_redirect_that_is_rejected_leaves_the_step_free():
    leads = iter(["/retry?why=card", "https://pay.example/1"])
    bare = Application(lambda method, path: next(leads) if (method, path) == ("POST", "/confirm") else None)
    visitor = Visitor(run(block_of("Did it count?"), bare)["application"])
    visitor.go("/details", "POST /details", "/confirm", "POST /confirm", "/retry", "POST /confirm", "/paid")
    assert bare.posts.count("/confirm") == 2


def test_the_variables_of_a_path_hold_for_the_run():
    bare = Application(lambda method, path: {"address": "/order/7/pay", "charge": "/order/7/thanks"}.get(
        path.split("/")[-1]) if method == "POST" else None)  # fmt: skip
    guarded = run(block_of("Paths"), bare)["application"]
    visitor = Visitor(guarded)
    visitor.go("/order/7/address", "POST /order/7/address")
    assert location(visitor.get("/order/8/pay")) == "/order/7/pay"
    assert reason(visitor.post("/order/8/charge")) == "illegal"
    visitor.go("/order/7/pay", "POST /order/7/charge", "/order/7/thanks")
    assert bare.posts == ["/order/7/address", "/order/7/charge"]
    assert reason(Visitor(guarded).get(f"/order/{'1' * 129}/address")) == "path"


def test_behind_a_fence_only_what_is_declared_or_open_is_reached():
    bare = Application()
    visitor = Visitor(run(block_of("Paths", 1), bare)["application"])
    visitor.go("/checkout/cart", "/checkout/help", "/checkout/help/", "/checkout/static/a/b.css", "/elsewhere")
    for path in ("/checkout/pay/anything", "/checkout/help/more", "/checkout", "//checkout/x", "/checkout//static/x"):
        answer = visitor.get(path)
        assert (reason(answer), location(answer)) == ("path", "/checkout/cart")
        visitor.go("/checkout/cart")


def test_other_spellings_are_led_to_the_declared_one(quickstart):
    visitor = Visitor(quickstart[1])
    for spelling in ("//cart", "/CART", "/cart;x", "/./cart"):
        answer = visitor.get(spelling)
        assert (answer.status_code, location(answer)) == (308, "/cart")
        assert visitor.post(spelling).status_code == 409
        visitor.cookies.clear()
    visitor.go("/cart/")
    assert visitor.get("/" + "x" * 8192).status_code == 414


def test_conditions_read_path_and_form_and_the_application_still_gets_the_body():
    bare = Application()
    visitor = Visitor(run(block_of("Conditions and bodies"), bare)["application"])
    assert reason(visitor.get("/buy/sold-out")) == "condition"
    visitor.go("/buy/book", "/terms")
    assert reason(visitor.post("/terms", data={"terms": "no"})) == "condition"
    assert visitor.post("/terms", data={"terms": "yes", "note": "x" * 1_048_576}).status_code == 413
    assert visitor.post("/terms", data={"terms": "yes"}).status_code == 200
    assert bare.form == b"terms=yes"
    assert reason(visitor.post("/terms", data={"terms": "yes"})) == "duplicate"


def test_a_language_may_change_on_the_way():
    visitor = Visitor(run(block_of("A language in the path"))["application"])
    visitor.go("/en/cart", "/de/pay")
    assert location(visitor.get("/fr/done")) == "/fr/pay"


def test_two_orders_do_not_meet():
    bare = Application(lambda method, path: {"address": "pay", "pay": "done"}.get(path.split("/")[-1])
                       if method == "POST" else None)  # fmt: skip
    visitor = Visitor(run(block_of("An order's number in the path"), bare)["application"])
    for order in (7, 8):
        visitor.go(f"/orders/{order}/address")
    assert location(visitor.get("/orders/8/pay")) == "/orders/8/address"
    names = [name for name in visitor.cookies if not name.endswith("-note")]
    assert len(names) == 2
    assert all(name.startswith("flowguard-flow-") for name in names)
    assert location(visitor.go("/orders/forget")) == "/"
    assert reason(visitor.get("/orders/7/pay")) == "not_started"


def test_a_login_in_the_middle_makes_the_run_ones_own():
    visitor = Visitor(run(block_of("A login in the middle"))["application"])
    ann, bob = {"environ": {"REMOTE_USER": "ann"}}, {"environ": {"REMOTE_USER": "bob"}}
    visitor.go("/cart")
    assert reason(visitor.get("/pay", **ann)) is None
    assert reason(visitor.get("/pay", **bob)) == "wrong_user"
    assert reason(visitor.get("/pay")) == "wrong_user"
    assert reason(visitor.get("/pay", **ann)) is None


def test_a_link_of_a_mail_is_followed_once():
    bare = Application(lambda method, path: {"POST /register": "/confirm/x", "GET /confirm/x": "/welcome"}.get(
        f"{method} {path}"))  # fmt: skip
    visitor = Visitor(run(block_of("A GET that does something"), bare)["application"])
    visitor.go("/register", "POST /register")
    assert visitor.send("HEAD", "/confirm/x").status_code == 405
    assert location(visitor.go("/confirm/x")) == "/welcome"
    again = visitor.get("/confirm/x")
    assert (again.status_code, reason(again), location(again)) == (303, "duplicate", "/welcome")


def test_a_basket_that_is_changed_must_be_reviewed_again():
    bare = Application(lambda method, path: {"/review": "/pay", "/basket/add": "/cart"}.get(path)
                       if method == "POST" else None)  # fmt: skip
    visitor = Visitor(run(block_of("A basket that changes after the review"), bare)["application"])
    visitor.go("POST /basket/add", "/cart", "/review", "POST /review", "/pay", "POST /basket/add")
    assert location(visitor.get("/pay")) == "/cart"
    assert reason(visitor.post("/pay")) == "illegal"
    visitor.go("/review", "POST /review", "/pay")


def test_words_can_be_replaced():
    visitor = Visitor(run(block_of("Your own words and pages"))["application"])
    visitor.go("/cart", "/shipping")
    assert "We need your address first." in visitor.post("/payment").text
    dutch = visitor.post("/payment", headers={"Accept-Language": "nl"})
    assert "Eerst hebben we uw adres nodig." in dutch.text
    assert {"skipped", "go_on"} <= set(ENGLISH)


def test_a_responder_answers_all_by_itself():
    visitor = Visitor(run(block_of("Your own words and pages", 1))["application"])
    answer = visitor.get("/payment")
    assert (answer.status_code, answer.text) == (409, "not_started: please go to /cart\n")
    assert (reason(answer), answer.headers["Cache-Control"]) == ("not_started", "no-store")


def test_scripts_that_swap_pages_are_told_where_the_page_should_go(quickstart):
    visitor = Visitor(quickstart[1])
    answer = visitor.get("/payment", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (409, "/cart")
    answer = visitor.get("/payment", headers={"X-Inertia": "true"})
    assert (answer.status_code, answer.headers["X-Inertia-Location"]) == (409, "/cart")


def test_a_secret_is_changed_without_losing_a_run():
    old, new = "the old secret of last year", SECRET
    visitor = Visitor(FlowGuard(shop(), SHOP, secret_key=old))
    visitor.go("/cart", "/shipping")
    rotated = Visitor(run(block_of("The cookie"))["application"], visitor.cookies)
    rotated.go("POST /shipping")
    Visitor(FlowGuard(shop(), SHOP, secret_key=new), rotated.cookies).go("/payment")


def test_the_cookie_is_as_the_table_says(quickstart):
    visitor = Visitor(quickstart[1])
    answers = [visitor.go(step) for step in (*TO_PAYMENT, "POST /payment", "/done")]
    written = [line for answer in answers for line in answer.headers.getlist("Set-Cookie")]
    assert all(line.startswith("flowguard-flow=") and len(line) <= 220 for line in written)
    assert all(line.endswith("; HttpOnly; Path=/; SameSite=Lax") for line in written)


def test_the_ledger_of_a_client_of_ones_own_is_taken():
    pytest.importorskip("redis")
    assert "RedisLedger" in run(block_of("The ledger"))


class Flaky(MemoryLedger):
    """A ledger with outages."""

    down = False

    def read(self, *arguments: Any, **more: Any) -> Any:
        return self._or_down(super().read, arguments, more)

    def claim(self, *arguments: Any, **more: Any) -> Any:
        return self._or_down(super().claim, arguments, more)

    def write(self, *arguments: Any, **more: Any) -> Any:
        return self._or_down(super().write, arguments, more)

    def _or_down(self, verb: Callable[..., Any], arguments: Any, more: Any) -> Any:
        if self.down:
            raise LedgerUnavailable("flaky", "down")
        return verb(*arguments, **more)


def test_in_an_outage_pages_are_served_and_submissions_are_not():
    ledger = Flaky()
    visitor = Visitor(FlowGuard(shop(), SHOP, secret_key=SECRET, ledger=ledger))
    visitor.go("/cart")
    ledger.down = True
    visitor.go("/shipping")
    answer = visitor.post("/shipping")
    assert (answer.status_code, reason(answer)) == (503, "unavailable")
    assert "Retry-After" in answer.headers
    ledger.down = False
    visitor.go("POST /shipping")


def test_an_application_can_say_what_its_answer_means():
    visitor = Visitor(run(block_of("If you can change a line of the application"))["application"])
    visitor.go("/cart", "/shipping")
    assert location(visitor.get("/payment")) == "/shipping"
    assert visitor.get("/shipping").text == "<p>Please finish this step first.</p>"
    assert visitor.get("/shipping").text == "<form method=post></form>"
    assert "Flowguard" not in visitor.go("POST /shipping").headers
    visitor.go("/payment")


def test_parameters_tell_the_pages_of_a_path_apart():
    bare = Application()
    visitor = Visitor(run(block_of("Parameters"), bare)["application"])
    visitor.go("/index.php", "/index.php?step=2", "/index.php?step=9")
    assert location(visitor.get("/index.php?step=1&step=2")) == "/index.php?step=2"
    assert reason(visitor.post("/order", data={"action": "place_order"})) == "illegal"
    assert reason(visitor.post("/order", data={"preview": "", "action": "place_order"})) == "illegal"
    assert reason(visitor.post("/order", data={"preview": "yes"})) is None
    for doubtful in ({"action": ["x", "place_order"]}, {"Action": "place_order"}, {"action[]": "place_order"}):
        assert reason(visitor.post("/order", data=doubtful)) == "path"
    assert reason(visitor.post("/order", json={"action": "place_order"})) == "path"
    assert reason(visitor.get("/index.php?step=02")) == "path"
    assert reason(visitor.post("/order", data={"action": "place_order", "card": "4111"})) is None
    assert bare.form == b"action=place_order&card=4111"
    assert reason(visitor.post("/order", data={"action": "place_order"})) == "duplicate"


def test_a_flow_is_declared_beside_the_views():
    bare = Application(lambda method, path: "/welcome" if method == "POST" else None)
    space = run(block_of("If you can change a line of the application", 1), bare)
    assert space["register"](None) == "a form"
    visitor = Visitor(space["application"])
    visitor.go("/register", "POST /register")
    assert reason(visitor.get("/welcome?closed")) == "condition"
    visitor.go("/welcome")


def test_a_hook_is_told_of_refusals():
    space = run(block_of("Hooks and logs"))
    visitor = Visitor(space["application"])
    visitor.get("/payment")
    visitor.get("/done")
    assert space["reasons"] == {"not_started": 2}


def test_a_mounted_guard_knows_its_mount():
    visitor = Visitor(run(block_of("Deployment"))["application"])
    assert location(visitor.get("/shop/payment")) == "/shop/cart"
    visitor.go("/shop/cart", "/shop/shipping", "POST /shop/shipping", "/shop/payment")


def test_behind_a_proxy_with_https_the_cookie_is_secure():
    visitor = Visitor(run(block_of("Deployment", 1))["application"])
    answer = visitor.get("/cart", headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["Set-Cookie"].startswith("__Host-flowguard-flow=")
    assert "; Secure" in answer.headers["Set-Cookie"]


# --- its answers to questions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answered", "setting"), [
    (None, {"accept": [200]}), ("/receipt", {"accept": ["/receipt"]}),
    ("https://pay.example/7", {"accept": ["https://pay.example/*"]}),
], ids=["by a page", "by a redirect elsewhere", "by a redirect to the provider"])  # fmt: skip
def test_users_are_sent_back_after_paying_until_the_answer_is_accepted(answered, setting):
    def visitor(more: Any) -> Visitor:
        bare = Application(lambda method, path: answered if method == "POST" else None)
        flow = {"/pay": {"to": ["/done"], "once": True, **more}, "/done": {}}
        made = Visitor(FlowGuard(bare, flow, secret_key=SECRET))
        made.go("/pay", "POST /pay")
        return made

    assert reason(visitor({}).get("/done")) == "skipped"
    visitor(setting).go("/done")


def test_a_payment_in_doubt_gets_a_page_that_says_so_and_the_start_is_open():
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Oops" if environ["REQUEST_METHOD"] == "POST" else "200 OK", [("Content-Type", "text/html")])
        return [b""]

    visitor = Visitor(FlowGuard(application, {"/cart": {"to": ["/pay"]}, "/pay": {"once": True, "to": ["/done"]},
                                              "/done": {}}, secret_key=SECRET))  # fmt: skip
    visitor.go("/cart", "/pay", "POST /pay")
    page = visitor.get("/done")
    assert ENGLISH["unknown"]["title"] in page.text
    assert 'href="/cart"' in page.text
    visitor.go("/cart", "/pay", "POST /pay")


def test_the_questions_table_says_what_was_just_tried():
    assert [row[2] for row in table("the application answers the payment by")] == [
        '`"accept": [200]`, or `["body:Thank you"]` where a failed form is a 200 page, too',
        "that path's state into `to`, or a glob into `accept`",
        '`"accept": ["https://pay.example/*"]`, and [a state for the way back](#did-it-count)',
        "nothing: it was not paid",
    ]  # fmt: skip


def test_whoever_cancelled_at_the_provider_may_pay_again():
    bare = Application(lambda method, path: "https://pay.example/7" if method == "POST" else None)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/cancelled":
            start_response("200 OK", [("Content-Type", "text/html"), ("Flowguard", "failed")])
            return [b"cancelled"]
        return bare(environ, start_response)

    flow = {"/pay": {"to": ["/done"], "once": True, "accept": ["https://pay.example/*"]}, "/done": {},
            "/cancelled": {"within": ["/pay"]}}  # fmt: skip
    visitor = Visitor(FlowGuard(application, flow, secret_key=SECRET))
    visitor.go("/pay", "POST /pay")
    assert reason(visitor.post("/pay")) == "duplicate"
    visitor.go("/cancelled", "POST /pay", "/done")
    assert bare.posts == ["/pay", "/pay"]


def test_a_form_that_posts_to_the_next_page_needs_no_submit():
    def visitor(**more: Any) -> Visitor:
        made = Visitor(FlowGuard(Application(), {"/a": {"to": ["/b"], **more}, "/b": {}}, secret_key=SECRET))
        made.go("/a")
        return made

    assert reason(visitor(submit=True).post("/b")) == "skipped"
    visitor().go("POST /b")


def test_without_back_an_earlier_page_leads_to_where_the_visitor_was():
    visitor = Visitor(FlowGuard(shop(), SHOP, secret_key=SECRET))
    visitor.go("/cart", "/shipping")
    assert location(visitor.get("/cart")) == "/shipping"
    looking = Visitor(FlowGuard(shop(), SHOP, secret_key=SECRET, back="view"))
    looking.go("/cart", "/shipping", "/cart")
    assert reason(looking.post("/cart")) == "duplicate"


def test_a_visitor_without_cookies_sees_the_first_page_and_no_other(quickstart):
    for _ in range(2):
        Visitor(quickstart[1]).go("/cart")
    assert location(Visitor(quickstart[1]).get("/shipping")) == "/cart"
    assert "cookie" in Visitor(quickstart[1]).post("/shipping").text


def test_a_path_that_resets_starts_anew():
    visitor = Visitor(FlowGuard(shop(), SHOP, secret_key=SECRET, reset="/checkout/restart"))
    visitor.go("/cart", "/shipping")
    assert location(visitor.get("/checkout/restart")) == "/cart"
    assert reason(visitor.post("/shipping")) == "not_started"


def test_a_prefetch_is_put_off(quickstart):
    assert Visitor(quickstart[1]).get("/cart", headers={"Sec-Purpose": "prefetch"}).status_code == 503


def test_a_clock_of_ones_own_makes_time_pass():
    now = [1_000_000.0]
    visitor = Visitor(FlowGuard(shop(), SHOP, secret_key=SECRET, clock=lambda: now[0]))
    visitor.go("/cart")
    now[0] += FLOW_OPTIONS["ttl"].default + 61
    assert reason(visitor.get("/shipping")) == "expired"


def test_two_flows_stand_side_by_side():
    flows = [Flow(SHOP, name="shop"), Flow({"/register": {"to": ["/in"], "submit": True}, "/in": {}}, name="register")]
    visitor = Visitor(FlowGuard(shop(), flows, secret_key=SECRET))
    visitor.go("/cart", "/register", "/shipping")
    assert reason(visitor.get("/in")) == "skipped"
    assert {"flowguard-shop", "flowguard-register"} <= set(visitor.cookies)
