"""A pytest plugin for Flask's own tests: every application in them is called through a wrapper that is named by
`--wrapper`, and how each test ended is written to `--outcomes`.

The wrappers but for the guard are what a careless middleware does: they show that the tests would notice.
"""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import pytest
from flask import Flask

from flowguard import Flow, FlowGuard

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

# Of every kind of path that a flow may have; none of Flask's tests asks for one.
FLOWS = [
    Flow(
        {
            "/flowguard/cart": {"start": True, "to": ["/flowguard/<int:order>/pay"], "repeat": True},
            "/flowguard/<int:order>/pay": {"to": ["/flowguard/done"], "once": True},
            "/flowguard/done": {},
            "/flowguard/voucher": {"within": ["/flowguard/cart"]},
        },
        name="shop", reset="/flowguard/reset", fence=["/flowguard/"],
    ),
    Flow(
        {
            "GET /flowguard-user?@template=register": {"state": "form", "to": ["register"]},
            "POST /flowguard-user?@action=register": {"state": "register", "submit": True},
        },
        name="register",
    ),
]  # fmt: skip


def guarded(app: Application) -> Application:
    return FlowGuard(app, FLOWS, secret_key="of Flask's own tests, and no secret")


def eager(app: Application) -> Application:
    """Reads every answer to its end, and forgets to close it."""
    return lambda environ, start_response: list(app(environ, start_response))


def late(app: Application) -> Application:
    """Tells the server how an answer begins only when its first byte is there; by then a session may be gone."""

    def wrapped(environ: Environ, start_response: Any) -> Iterator[bytes]:
        begun: list[Any] = []
        for chunk in app(environ, lambda *args: begun.append(args)):
            if begun:
                start_response(*begun.pop())
            yield chunk

    return wrapped


def tidy(app: Application) -> Application:
    """Hands on a path without what it takes for mistakes."""

    def wrapped(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["PATH_INFO"] = "/" + "/".join(filter(None, environ["PATH_INFO"].split("/")))
        return app(environ, start_response)

    return wrapped


WRAPPERS: dict[str, Callable[[Application], Application]] = {
    "none": lambda app: app, "guard": guarded, "eager": eager, "late": late, "tidy": tidy,
}  # fmt: skip


class Suite:
    """Wraps each application when it is called first, and remembers how the tests end."""

    def __init__(self, wrapper: Callable[[Application], Application], outcomes: Path) -> None:
        self._wrapper, self._outcomes = wrapper, outcomes
        self._wrapped: weakref.WeakKeyDictionary[Flask, Application] = weakref.WeakKeyDictionary()
        self._ended: dict[str, list[str]] = {}
        self._applications = self._requests = 0
        self._bare = Flask.__call__

    def call(self, app: Flask, environ: Environ, start_response: Any) -> Iterable[bytes]:
        self._requests += 1
        if app not in self._wrapped:
            self._applications += 1
            itself = weakref.ref(app)  # so that an application goes when its test is over
            self._wrapped[app] = self._wrapper(lambda *request: self._bare(itself(), *request))
        return self._wrapped[app](environ, start_response)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._ended.setdefault(report.nodeid, []).append(f"{report.when} {report.outcome}")

    def pytest_sessionfinish(self) -> None:
        said = {"requests": self._requests, "applications": self._applications, "ended": self._ended}
        self._outcomes.write_text(json.dumps(said), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wrapper", choices=list(WRAPPERS), required=True)
    parser.addoption("--outcomes", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    suite = Suite(WRAPPERS[config.getoption("wrapper")], config.getoption("outcomes"))
    config.pluginmanager.register(suite)
    Flask.__call__ = lambda app, environ, start_response: suite.call(app, environ, start_response)
