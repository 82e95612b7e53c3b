"""A shop for real servers with many workers: what it charges stands in a database that the test can read.

Configured by the environment: FLEET_DATABASE, FLEET_LEDGER, FLEET_LEASE (seconds), FLEET_FLOW (old or new).
"""

from __future__ import annotations

import os
import sqlite3

from flowguard import FlowGuard

NEXT = {"/cart": "/shipping", "/shipping": "/payment", "/gift": "/payment", "/payment": "/done"}

OLD = {
    "/cart": {"start": True, "to": ["/shipping"]},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}
NEW = {
    "/help": {"within": ["/shipping", "/gift"]},
    "/cart": {"start": True, "to": ["/shipping"]},
    "/gift": {"to": ["/payment"]},
    "/shipping": {"to": ["/payment", "/gift"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}


def order_of(environ) -> str:
    """The order that a visitor of ours names in a cookie of the shop's own."""
    cookies = environ.get("HTTP_COOKIE", "").split("; ")
    return next((cookie[6:] for cookie in cookies if cookie.startswith("order=")), "")


def charge(environ) -> None:
    with sqlite3.connect(os.environ["FLEET_DATABASE"], timeout=30) as database:
        database.execute("INSERT INTO charges VALUES (?, ?)", (order_of(environ), os.getpid()))
    database.close()


def shop(environ, start_response):
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] != "POST":
        start_response("200 OK", [("Content-Type", "text/html"), ("X-Page", path), ("X-Pid", str(os.getpid()))])
        return [path.encode()]
    if path == "/payment":
        charge(environ)
    start_response("303 See Other", [("Location", NEXT[path])])
    return [b""]


application = FlowGuard(
    shop,
    NEW if os.environ.get("FLEET_FLOW") == "new" else OLD,
    secret_key="a secret of the fleet's tests",
    ledger=os.environ["FLEET_LEDGER"],
    ledger_lease=float(os.environ.get("FLEET_LEASE", "300")),
)
