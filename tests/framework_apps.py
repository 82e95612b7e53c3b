"""The same little shop in each framework, as its documentation would write it; none of them knows of flowguard.

/cart, /shipping (a form that wants a street), /payment (which writes a line into the file CHARGES) and /done. Each
function returns what its framework calls an application.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

PAGES = {
    "/cart": "<h1>Cart</h1>",
    "/shipping": "<h1>Shipping</h1><form method=post><input name=street><button>Next</button></form>",
    "/payment": "<h1>Payment</h1><form method=post><button>Pay</button></form>",
    "/done": "<h1>Thank you</h1>",
}


def submitted(path: str, street: Optional[str]) -> Optional[str]:
    """Where a form that was sent to *path* leads; None if it is to be shown again."""
    if path == "/shipping":
        return "/payment" if street else None
    if path == "/payment":
        with open(os.environ["CHARGES"], "a") as charges:
            charges.write("charged\n")
        return "/done"
    return None


def bare() -> Any:
    from urllib.parse import parse_qs

    def app(environ: Any, start_response: Any) -> list[bytes]:
        path, onward = environ["PATH_INFO"], None
        if environ["REQUEST_METHOD"] == "POST":
            form = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
            onward = submitted(path, parse_qs(form).get("street", [None])[0])
        if onward:
            start_response("303 See Other", [("Location", onward)])
            return []
        start_response("200 OK" if path in PAGES else "404 Not Found", [("Content-Type", "text/html")])
        return [PAGES.get(path, "Nothing here").encode()]

    return app


def flask() -> Any:
    from flask import Flask, redirect, request

    app = Flask("shop")

    def view() -> Any:
        onward = submitted(request.path, request.form.get("street")) if request.method == "POST" else None
        return redirect(onward) if onward else PAGES[request.path]

    for path in PAGES:
        app.add_url_rule(path, path, view, methods=["GET", "POST"])
    return app


def django() -> Any:
    import sys
    from types import ModuleType

    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, HttpResponseRedirect
    from django.urls import path as route

    def view(request: Any) -> Any:
        onward = submitted(request.path, request.POST.get("street")) if request.method == "POST" else None
        return HttpResponseRedirect(onward) if onward else HttpResponse(PAGES[request.path])

    urls = ModuleType("shop_urls")
    urls.urlpatterns = [route(path[1:], view) for path in PAGES]  # type: ignore[attr-defined]
    sys.modules["shop_urls"] = urls
    if not settings.configured:
        settings.configure(ROOT_URLCONF="shop_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="the shop's own", MIDDLEWARE=[])
    return get_wsgi_application()


def pyramid() -> Any:
    from pyramid.config import Configurator
    from pyramid.httpexceptions import HTTPSeeOther
    from pyramid.response import Response

    def view(request: Any) -> Any:
        onward = submitted(request.path, request.POST.get("street")) if request.method == "POST" else None
        return HTTPSeeOther(onward) if onward else Response(PAGES[request.path])

    config = Configurator()
    for path in PAGES:
        config.add_route(path, path)
        config.add_view(view, route_name=path)
    return config.make_wsgi_app()


def bottle() -> Any:
    import bottle

    app = bottle.Bottle()

    def view() -> Any:
        path = bottle.request.path
        onward = submitted(path, bottle.request.forms.get("street")) if bottle.request.method == "POST" else None
        return bottle.redirect(onward, 303) if onward else PAGES[path]

    for path in PAGES:
        app.route(path, ["GET", "POST"], view)
    return app


def falcon() -> Any:
    import falcon

    class Step:
        def on_get(self, request: Any, response: Any) -> None:
            response.content_type, response.text = "text/html", PAGES[request.path]

        def on_post(self, request: Any, response: Any) -> None:
            onward = submitted(request.path, request.get_media().get("street") if request.content_length else None)
            if onward:
                raise falcon.HTTPSeeOther(onward)
            self.on_get(request, response)

    app = falcon.App()
    for path in PAGES:
        app.add_route(path, Step())
    return app


def cherrypy() -> Any:
    import cherrypy

    class Shop:
        @cherrypy.expose
        def default(self, *_segments: str, street: Optional[str] = None, **_others: str) -> str:
            path = cherrypy.request.path_info
            onward = submitted(path, street) if cherrypy.request.method == "POST" else None
            if onward:
                raise cherrypy.HTTPRedirect(onward, 303)
            return PAGES[path]

    cherrypy.config.update({"environment": "embedded", "log.screen": False})
    return cherrypy.Application(Shop(), "")


FRAMEWORKS: dict[str, Callable[[], Any]] = {
    "A bare callable": bare, "Flask": flask, "Django": django, "Pyramid": pyramid, "Bottle": bottle, "Falcon": falcon,
    "CherryPy": cherrypy,
}  # fmt: skip
