"""PasteDeploy's ini files: the entry points as the distribution has them, by the real PasteDeploy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paste.deploy import loadapp, loadfilter
from paste_site import shop
from servers import Browser, Server
from visitor import Visitor

from flowguard import ConfigError
from flowguard.paste import filter_app_factory, filter_factory

ROOT = Path(__file__).parent.parent
INI = Path(__file__).with_name("paste_site.ini")
CHECKOUT = str(ROOT / "examples" / "checkout.toml")
SECRET = "9f3c8a51d07e4b62"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what an installation writes down of the package: its entry points."""
    project, place = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site-packages")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / "flowguard", project / "flowguard", ignore=shutil.ignore_patterns("__pycache__"))
    build = f"from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel({str(place)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=project, check=True, stdout=subprocess.DEVNULL)
    return place


@pytest.fixture
def secret(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of the secrets, which the ini file gets from outside, where flowguard is installed."""
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "secret"
    path.write_text(f"{'old' + SECRET}\n{SECRET}\n", "utf-8")
    return str(path)


@pytest.mark.parametrize("section", ["main", "around", "with"])
def test_an_application_of_an_ini_file_is_guarded(section, secret):
    visitor = Visitor(loadapp(f"config:{INI}", section, global_conf={"secret": secret}))
    assert visitor.get("/shipping").verdict == (303, "not_started")
    for path in ("/cart", "/shipping"):
        assert visitor.get(path).status == 200
    assert visitor.get("/payment").reason == "skipped"


def test_the_ini_file_of_the_readme_works(secret, tmp_path):
    [written] = re.findall(r"^```ini\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "site.ini").write_text(f"[app:legacy]\npaste.app_factory = paste_site:make_shop\n{written}", "utf-8")
    shutil.copy(CHECKOUT, tmp_path)
    visitor = Visitor(loadapp(f"config:{tmp_path}/site.ini"))
    assert visitor.get("/payment").reason == "not_started"
    assert visitor.get("/cart").status == 200


def test_a_filter_of_an_ini_file_goes_around_any_application(secret):
    put = loadfilter(f"config:{INI}", "flowguard", global_conf={"secret": secret})
    assert Visitor(put(shop)).get("/payment").reason == "not_started"


def test_both_entry_points_make_the_same_guard(secret):
    settings = {"config": CHECKOUT, "secret_file": secret}
    first = Visitor(filter_app_factory(shop, {}, **settings))
    first.get("/cart")
    assert Visitor(filter_factory({}, **settings)(shop), jar=first.jar).get("/shipping").status == 200


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
def test_gunicorn_serves_an_ini_file(installed, secret, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    with Ini(secret) as server:
        browser = Browser(server.port)
        assert browser.walk("GET /payment") == "/cart"
        assert browser.walk("GET /shipping", "POST /shipping", "POST /payment", "POST /payment") == "/done"
        assert browser.refused == ["not_started", "finished"]


class Ini(Server):
    """A gunicorn that is given an ini file."""

    announcement = r"Listening at: http://127\.0\.0\.1:(\d+)"

    def __init__(self, secret: str) -> None:
        more = ["--bind", "127.0.0.1:0", "--paste-global", f"secret={secret}"]
        super().__init__("-m", "gunicorn", *more, "--paste", str(INI))


# --- what is wrong ----------------------------------------------------------------------------------------------------


def wrong(**settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        filter_app_factory(shop, {"here": str(INI.parent)}, **settings)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_missing_is_said_at_once():
    assert wrong() == [
        "config: is missing. Write the path of the configuration, a TOML file.",
        "secret_file: is missing. Write the path of a file with the secret; or with several, one a line, oldest first.",
    ]


def test_what_is_wrong_is_said_at_once_with_the_files_own(tmp_path):
    (tmp_path / "flow.toml").write_text('[paths."/a"]\nonse = true', "utf-8")
    config = str(tmp_path / "flow.toml")
    slips = {"legder": "x", "secret": SECRET, "mode": "enfroce", "ledger": "memry://"}
    assert wrong(config=config, secret_file="nowhere", **slips) == [
        "legder: unknown setting. Did you mean 'ledger'?",
        "secret: is a secret, and an ini file is shown around. Write it into a file of its own: secret_file = ….",
        f"secret_file: '{INI.parent}/nowhere' can't be read: No such file or directory.",
        "ledger: unknown kind 'memry://'. Did you mean 'memory://'? Write 'memory://', 'sqlite:///PATH', "
        "'redis://HOST:PORT/DB', an object with the four verbs, or None.",
        "mode: is the string 'enfroce'. Write 'enforce', 'report' or 'off'. Did you mean 'enforce'?",
        f"{config}: flow['/a'].onse: unknown key. Did you mean 'once'?",
    ]


def test_a_setting_of_an_ini_file_counts_before_the_files(secret):
    assert "needs a ledger" in wrong(config=CHECKOUT, ledger="none", secret_file=secret)[0]
