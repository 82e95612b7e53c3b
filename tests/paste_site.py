"""The application of paste_site.ini."""

from __future__ import annotations

ONWARD = {"/cart": "/shipping", "/shipping": "/payment", "/payment": "/done"}


def make_shop(_global_conf, **_settings):
    return shop


def shop(environ, start_response):
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] == "POST":
        start_response("303 See Other", [("Location", ONWARD[path])])
        return [b""]
    start_response("200 OK", [("Content-Type", "text/html"), ("X-Page", path)])
    return [path.encode()]
