"""PasteDeploy's two entry points, for the ini files of older applications (`egg:wsgi-flowguard`):

    [filter:flowguard]
    use = egg:wsgi-flowguard
    config = %(here)s/flow.toml
    secret_file = %(here)s/secret
"""

from __future__ import annotations

import os
from typing import Callable, Mapping

from flowguard.config import FLOW_OPTIONS
from flowguard.config.checks import Check, anything
from flowguard.config.places import Place, did_you_mean
from flowguard.deployment import deploy
from flowguard.errors import Problem
from flowguard.files import read_ledger, read_secrets
from flowguard.middleware import FlowGuard
from flowguard.reading import Application

#: What a section can have, and how it is read.
SETTINGS: Mapping[str, Check] = {
    "config": anything,  # its own problems are those of the file
    "secret_file": read_secrets,
    "ledger": read_ledger,
    "mode": FLOW_OPTIONS["mode"].check,
}
_REQUIRED = {
    "config": "Write the path of the configuration, a TOML file.",
    "secret_file": "Write the path of a file with the secret; or with several, one a line, oldest first.",
}


def filter_factory(global_conf: Mapping[str, str], **settings: str) -> Callable[[Application], FlowGuard]:
    """A filter (`paste.filter_factory`): it puts the guard of these settings around an application."""
    return lambda app: filter_app_factory(app, global_conf, **settings)


def filter_app_factory(app: Application, global_conf: Mapping[str, str], **settings: str) -> FlowGuard:
    """*app* behind the guard of these settings (`paste.filter_app_factory`). They are those of `SETTINGS`; a relative
    path is seen from the ini file. Raises `ConfigError` with everything that is wrong with them and in the file."""
    problems: list[Problem] = []
    given = {name: text for name, text in settings.items() if text}
    for name, remedy in _REQUIRED.items():
        if name in given:
            given[name] = os.path.join(global_conf.get("here", ""), given[name])
        else:
            Place(name, problems).wrong(f"is missing. {remedy}")
    for name in settings:
        if name not in SETTINGS:
            Place(name, problems).wrong(_unknown(name))
    values = {name: check(given[name], Place(name, problems)) for name, check in SETTINGS.items() if name in given}
    file, keys = values.pop("config", None), values.pop("secret_file", None)
    return deploy(app, file, keys, values, problems)


def _unknown(name: str) -> str:
    if name in ("secret", "secret_key"):
        return "is a secret, and an ini file is shown around. Write it into a file of its own: secret_file = …."
    return f"unknown setting.{did_you_mean(name, SETTINGS)}"
