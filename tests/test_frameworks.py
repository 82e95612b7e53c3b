"""The guard in front of real frameworks, put there by the README's recipes, under real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import recipes
from framework_apps import FRAMEWORKS
from servers import Browser, Gunicorn, Waitress

HERE = Path(__file__).parent
STREET = b"street=Main+Street+1"

pytestmark = pytest.mark.slow


def test_there_is_a_recipe_for_each_framework():
    assert set(recipes.recipes()) == set(FRAMEWORKS)


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("server", [Gunicorn, Waitress])
def test_the_shop_of_a_framework_is_guarded_by_the_recipe(server: Any, framework: str, tmp_path: Path):
    charges = tmp_path / "charges"
    with server("framework_site:application", FRAMEWORK=framework, CHARGES=charges) as running:
        visitor = Browser(running.port)
        assert skipping(visitor) == (303, "not_started", "/cart")
        assert order(visitor) == ["/payment", "/done"]
        assert visitor.request("POST", "/payment")[1]["location"].endswith("/done")  # the second click
        assert visitor.request("GET", "/done")[0] == 200
        assert b"Thank you" in visitor.body
        assert order(visitor) == ["/payment", "/done"]  # a second order
        assert visitor.refused == []
    assert charges.read_text().splitlines() == ["charged", "charged"]


def skipping(visitor: Browser) -> tuple[int, str, str]:
    status, headers = visitor.request("GET", "/payment")
    return status, headers["flowguard-reason"], headers["location"]


def order(visitor: Browser) -> list[str]:
    """An honest order, with a form that fails first. Returns where the two forms led."""
    for path in ("/cart", "/shipping"):
        assert visitor.request("GET", path)[0] == 200
    assert visitor.request("POST", "/shipping", body=b"street=")[0] == 200
    ways = []
    for path, body in (("/shipping", STREET), ("/payment", b"pay=1")):
        status, headers = visitor.request("POST", path, body=body)
        assert (status, "flowguard-reason" in headers) in ((302, False), (303, False)), (path, status, headers)
        ways.append("/" + headers["location"].rpartition("/")[2])
        assert visitor.request("GET", ways[-1])[0] == 200
    return ways


CLIENTS = {
    "Flask": """
import framework_site

assert framework_site.application.test_client().get("/payment").status_code == 409
""",
    "Django": """
import framework_site
from django.test import Client as DjangoClient
from werkzeug.test import Client

assert DjangoClient().get("/payment").status_code == 200  # it does not load wsgi.py
assert Client(framework_site.application).get("/payment").status_code == 409
""",
}


@pytest.mark.parametrize("framework", CLIENTS)
def test_a_frameworks_own_test_client_goes_through_the_guard_or_the_readme_names_one(framework: str, tmp_path: Path):
    environment = {**os.environ, "FRAMEWORK": framework, "CHARGES": str(tmp_path / "charges"),
                   "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}  # fmt: skip
    code = CLIENTS[framework] + 'print("tested")'
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("tested\n", 0), done.stderr
