"""A guard by environment variables alone: what they mean, what is wrong with them, and under real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Browser, Gunicorn, Server, Waitress
from visitor import Visitor

from flowguard import ConfigError
from flowguard.environment import VARIABLES, guard_from

ROOT = Path(__file__).parent.parent
SECRET = "9f3c8a51d07e4b62"
FLOW = """
[paths."/cart"]
to = ["/payment"]
[paths."/payment"]
to = ["/done"]
once = true
[paths."/done"]
"""
# Nobody dares to touch it.
LEGACY = """
import os

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] == "POST":
        with open("charges", "a") as charges:
            charges.write(f"{os.getpid()}\\n")
        start_response("303 See Other", [("Location", "/done")])
        return [b""]
    start_response("200 OK", [("Content-Type", "text/html"), ("X-Page", path)])
    return [path.encode()]

class Site:
    wsgi_app = staticmethod(application)

def factory(name="a page", *, loud=False):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return [(name.upper() if loud else name).encode()]
    return application

number = 5
"""


@pytest.fixture(autouse=True)
def directory(monkeypatch, tmp_path):
    """A server's working directory: with an application, a flow, and two secrets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [*VARIABLES, "FLOWGUARD_BOOTSTRAP"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "legacy", raising=False)
    Path("legacy.py").write_text(LEGACY, "utf-8")
    Path("flow.toml").write_text(FLOW, "utf-8")
    Path("secret").write_text(f"{'old' + SECRET}\n\n{SECRET}\n", "utf-8")
    yield
    sys.modules.pop("legacy", None)


def variables(**changed: str) -> dict[str, str]:
    """What a deployment sets, but for what a test says; names without their prefix."""
    right = {"APP": "legacy:application", "CONFIG": "flow.toml", "SECRET": SECRET, **changed}
    return {f"FLOWGUARD_{name}": text for name, text in right.items()}


def wrong(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        guard_from(environ)
    return [str(problem) for problem in caught.value.problems]


# --- what they mean ---------------------------------------------------------------------------------------------------


def test_the_application_is_guarded_by_the_flow_of_the_file():
    visitor = Visitor(guard_from(variables()))
    assert visitor.get("/payment").reason == "not_started"
    assert visitor.get("/cart").status == 200


@pytest.mark.parametrize(("named", "body"), [
    pytest.param("legacy", b"/cart", id="a module alone"),
    pytest.param("legacy:Site.wsgi_app", b"/cart", id="an attribute of an attribute"),
    pytest.param("legacy:factory()", b"a page", id="a factory"),
    pytest.param("legacy:factory('(shop)', loud=True)", b"(SHOP)", id="a factory with arguments"),
])  # fmt: skip
def test_the_application_is_named_as_for_gunicorn(named, body):
    assert Visitor(guard_from(variables(APP=named))).get("/cart").body == body


def test_the_last_key_of_the_file_signs_and_all_verify():
    both = variables(SECRET="", SECRET_FILE="secret")
    for key, others in (("old" + SECRET, both), (SECRET, both)):
        visitor = Visitor(guard_from(variables(SECRET=key)))
        visitor.get("/cart")
        assert Visitor(guard_from(others), jar=visitor.jar).get("/payment").status == 200
    visitor = Visitor(guard_from(both))
    visitor.get("/cart")
    assert Visitor(guard_from(variables(SECRET=SECRET)), jar=visitor.jar).get("/payment").status == 200
    assert Visitor(guard_from(variables(SECRET="old" + SECRET)), jar=visitor.jar).get("/payment").reason == "bad_cookie"


def test_a_secret_file_may_come_from_an_editor_of_windows():
    Path("secret").write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b" \r\n")
    visitor = Visitor(guard_from(variables(SECRET="", SECRET_FILE="secret")))
    visitor.get("/cart")
    assert Visitor(guard_from(variables()), jar=visitor.jar).get("/payment").status == 200


def test_the_ledger_of_the_variable_counts_before_the_files():
    Path("flow.toml").write_text(f'{FLOW}[guard]\nledger = "none"', "utf-8")
    assert "needs a ledger" in wrong(variables())[0]
    assert Visitor(guard_from(variables(LEDGER="sqlite:///flow.db"))).get("/cart").status == 200
    assert "needs a ledger" in wrong(variables(LEDGER="none"))[0]


def test_the_mode_of_the_variable_counts_before_the_files():
    Path("flow.toml").write_text(f'mode = "enfroce"\n{FLOW}', "utf-8")
    assert Visitor(guard_from(variables(MODE="enforce"))).get("/payment").reason == "not_started"


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_everything_that_is_missing_is_said_at_once():
    assert wrong({}) == [
        "FLOWGUARD_APP: is missing. Write module:name, such as 'legacy:application', or module:factory().",
        "FLOWGUARD_CONFIG: is missing. Write the path of the configuration, a TOML file.",
        "FLOWGUARD_SECRET: is missing. Set it, or FLOWGUARD_SECRET_FILE to the path of a file.",
    ]


def test_everything_that_is_wrong_is_said_at_once_with_the_files_own():
    Path("flow.toml").write_text('[paths."/a"]\nonse = true', "utf-8")
    changed = variables(APP="legayc:application", SECRET="short", SECRET_FILE="secret", LEDGER="sqlit:///x", MODE="on",
                        LOG="loud")  # fmt: skip
    assert wrong(changed) == [
        "FLOWGUARD_SECRET_FILE: stands beside FLOWGUARD_SECRET. Unset one of the two.",
        "FLOWGUARD_APP: there is no module 'legayc'. Start the server in the application's directory, or name that in "
        "PYTHONPATH.",
        "FLOWGUARD_SECRET: has 5 bytes, and needs at least 16. "
        "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
        "FLOWGUARD_LEDGER: unknown kind 'sqlit://'. Did you mean 'sqlite://'? Write 'memory://', 'sqlite:///PATH', "
        "'redis://HOST:PORT/DB', an object with the four verbs, or None.",
        "FLOWGUARD_MODE: is the string 'on'. Write 'enforce', 'report' or 'off'.",
        "FLOWGUARD_LOG: is the string 'loud'. Write 'debug', 'info', 'warning' or 'error'.",
        "flow.toml: flow['/a'].onse: unknown key. Did you mean 'once'?",
    ]


def test_a_file_that_is_fine_adds_nothing_to_what_else_is_wrong():
    assert len(wrong(variables(SECRET=""))) == 1


@pytest.mark.parametrize(("named", "expected"), [
    pytest.param("legacy.application:", "is the string 'legacy.application:'. Write module:name, such as "
                 "'legacy:application', or module:factory().", id="half a name"),
    pytest.param("legacy:aplication", "there is no 'aplication' in 'legacy'. Did you mean 'application'?",
                 id="a misspelt name"),
    pytest.param("legacy:number", "'legacy:number' is 5, not a WSGI application.", id="a number"),
    pytest.param("legacy.pages:application", "there is no module 'legacy.pages'. Start the server in the application's "
                 "directory, or name that in PYTHONPATH.", id="a module of no package"),
    *(pytest.param(f"legacy:factory{call}", f"can't be called with {call}. Write plain values, such as "
                   "module:factory('production').", id=call)
      for call in ("(os.environ)", "(1", "()()", "(**{})", "('a').upper('b')") if call.endswith(")")),
])  # fmt: skip
def test_an_application_is_not_found(named, expected):
    assert wrong(variables(APP=named)) == [f"FLOWGUARD_APP: {expected}"]


@pytest.mark.parametrize("fault", [
    pytest.param("import no_such_module_anywhere", id="that misses a module"), pytest.param("1 / 0", id="that fails"),
])  # fmt: skip
def test_an_application_fails_as_it_would_without_a_guard(fault):
    Path("legacy.py").write_text(fault, "utf-8")
    with pytest.raises((ModuleNotFoundError, ZeroDivisionError)) as caught:
        guard_from(variables())
    assert not isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(("text", "expected"), [
    pytest.param(b"\n", ["FLOWGUARD_SECRET_FILE: 'secret' is empty. "
                         "Write a key into it; or several, one a line, oldest first."], id="empty"),
    pytest.param(b"\xff", ["FLOWGUARD_SECRET_FILE: 'secret' can't be read: it is no UTF-8."], id="no text"),
    pytest.param(b"\n" + SECRET.encode() + b"\nshort\n", [
        "FLOWGUARD_SECRET_FILE, line 3: has 5 bytes, and needs at least 16. "
        "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
    ], id="a short key"),
    pytest.param(None, ["FLOWGUARD_SECRET_FILE: 'secret' can't be read: No such file or directory."], id="none"),
])  # fmt: skip
def test_a_secret_file_does_not_do(text, expected):
    Path("secret").unlink() if text is None else Path("secret").write_bytes(text)
    assert wrong(variables(SECRET="", SECRET_FILE="secret")) == expected


def test_a_misspelt_variable_is_told_so():
    assert wrong(variables(LEGDER="memory://", SECERT=SECRET)) == [
        "FLOWGUARD_LEGDER: unknown variable. Did you mean 'FLOWGUARD_LEDGER'?",
        "FLOWGUARD_SECERT: unknown variable. Did you mean 'FLOWGUARD_SECRET'?",
    ]


def test_variables_of_others_that_begin_like_ours_are_left_alone():
    ours = ["BOOTSTRAP", "DEEP", "STRICT", "SCREENSHOTS", "TEST_BROWSER", "TEST_REDIS_URL"]
    kubernetes = ["PORT", "SERVICE_HOST", "SERVICE_PORT", "PORT_8000_TCP", "PORT_8000_TCP_ADDR"]
    guard = guard_from({**variables(**dict.fromkeys(ours + kubernetes, "1")), "LEGDER": "x", "FLOW_SECRET": "y"})
    assert Visitor(guard).get("/cart").status == 200


# --- under real servers -----------------------------------------------------------------------------------------------


def pay_twice(server: Server) -> None:
    """Walk to the payment, pay, and pay again with the cookies from before: one charge, whichever worker it is."""
    browser = Browser(server.port)
    assert browser.walk("GET /payment") == "/cart"
    assert browser.refused == ["not_started"]
    assert browser.walk("GET /cart", "GET /payment") == "/payment"
    copy = Browser(server.port, browser.cookies)
    assert browser.walk("POST /payment") == "/done"
    for _ in range(4):
        copy.walk("POST /payment")
    assert set(copy.refused) <= {"duplicate", "finished"}
    assert len(Path("charges").read_text("utf-8").splitlines()) == 1


def log_of_a_skip(**changed: str) -> str:
    """What a server's process prints on standard error while somebody skips to the payment."""
    visit = "from flowguard.wsgi import application as a; from werkzeug.test import Client; Client(a).get('/payment')"
    environment = {**os.environ, **variables(**changed), "PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, "-c", visit], env=environment, stderr=subprocess.PIPE, text=True)
    return process.stderr


@pytest.mark.parametrize(("level", "expected"), [("", ""), ("INFO", "not_started"), ("debug", "refused")])
def test_refusals_are_logged_from_the_level_on_that_the_variable_names(level, expected):
    printed = log_of_a_skip(LOG=level)
    assert bool(printed) is bool(expected)
    assert expected in printed


@pytest.mark.slow
def test_an_application_that_sets_up_its_logging_does_not_silence_the_guard():
    """By default, logging.config silences the loggers that are there already, and the guard is there first."""
    Path("legacy.py").write_text(LEGACY + """
import logging.config

logging.config.dictConfig({"version": 1})
""", "utf-8")
    assert "would refuse" in log_of_a_skip(MODE="report")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
def test_gunicorn_serves_an_application_that_was_not_touched():
    deployed = variables(SECRET="", SECRET_FILE="secret", LEDGER="sqlite:///flow.db")
    with Gunicorn("flowguard.wsgi:application", 2, **deployed) as server:
        pay_twice(server)


@pytest.mark.slow
def test_waitress_serves_an_application_that_was_not_touched():
    with Waitress("flowguard.wsgi:application", **variables()) as server:
        pay_twice(server)


@pytest.mark.slow
@pytest.mark.parametrize("server", [
    pytest.param(Gunicorn, marks=pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run there")),
    Waitress,
])  # fmt: skip
def test_a_server_that_can_not_start_prints_every_problem(server):
    environment = variables(CONFIG="nowhere.toml", SECRET="")
    told = server("flowguard.wsgi:application", **environment).last_words()
    assert "FLOWGUARD_SECRET: is missing." in told
    assert "nowhere.toml: can't be read: No such file or directory, seen from " in told
