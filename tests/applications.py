"""Applications that nobody here wrote, as they are and behind the guard that examples/NAME.toml describes.

`tests/NAME_app.py` sets one up in a directory. The guard is put in front by the environment alone (`flowguard.wsgi`).
"""

from __future__ import annotations

import email
import re
from pathlib import Path
from typing import Iterator

import pytest
from person import Person
from servers import Waitress

EXAMPLES = Path(__file__).parent.parent / "examples"
SECRET = "of the tests of applications, and no secret"

# How Roundup parts the mails that it writes into a file.
MAIL = re.compile(r"^From .*\nFROM: .*\nTO: .*\n", re.MULTILINE)


class Site:
    """An application that is served from *home*; use it as a context manager."""

    def __init__(self, name: str, home: Path, guarded: bool) -> None:
        self.home = home
        application = f"{name}_app:application"
        guard = {
            "FLOWGUARD_APP": application,
            "FLOWGUARD_CONFIG": EXAMPLES / f"{name}.toml",
            "FLOWGUARD_SECRET": SECRET,
        }
        module, environment = ("flowguard.wsgi:application", guard) if guarded else (application, {})
        self._server = Waitress(module, APPLICATION_HOME=home, **environment)

    def __enter__(self) -> Site:
        self._server.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.stop()

    def person(self, language: str = "en") -> Person:
        return Person(self._server.port, language)

    def mailed(self, to: str) -> list[str]:
        """The texts of the mails to somebody, in order."""
        file = self.home / "mail"
        every = MAIL.split(file.read_text(encoding="utf-8") if file.exists() else "")
        mails = map(email.message_from_string, every)
        return [str(mail.get_payload(decode=True), "utf-8") for mail in mails if mail["To"] == to]

    def mailed_link(self, to: str) -> str:
        """The address in the last mail to somebody."""
        return re.findall(r"http://\S+", self.mailed(to)[-1])[-1]


# A module of tests names its application: APPLICATION = "roundup".


@pytest.fixture(scope="module")
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(request.module.APPLICATION, tmp_path_factory.mktemp("bare"), guarded=False) as site:
        yield site


@pytest.fixture(scope="module")
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(request.module.APPLICATION, tmp_path_factory.mktemp("guarded"), guarded=True) as site:
        yield site


@pytest.fixture(params=["bare", "guarded"])
def site(request: pytest.FixtureRequest) -> Site:
    """Both: what people do must come to the same with the guard and without."""
    found: Site = request.getfixturevalue(request.param)
    return found
