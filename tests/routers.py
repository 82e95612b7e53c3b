"""One site, written for each router as its documentation would have it; none of them knows of flowguard.

Each function makes a WSGI application of it, whose handlers say by `ran(name)` that they run. `ROUTERS` has every
set-up, with the keys that its guard needs.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from types import ModuleType
from typing import Any, Callable, Iterable, NamedTuple
from urllib.parse import parse_qs
from uuid import UUID

Ran = Callable[[str], None]

# The name of each page, and its path in werkzeug's words.
RULES = {
    "cart": "/cart",
    "pay": "/checkout/pay",
    "place": "/checkout/place_order",
    "order": "/orders/<int:number>/pay",
    "user": "/users/<string:name>",
    "step": "/step/<any(address, pay):step>",
    "ticket": "/tickets/<uuid:ticket>",
    "doc": "/docs/<path:place>/edit",
    "page": "/page",
    "about": "/about",
}
STEPS = ("2", "3")  # of /page, told by the parameter `step`
PATTERN = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"  # of a UUID
OPEN = {"page", "about"}  # what no flow declares


def step_of(name: str, step: object) -> str:
    """The page that is asked for: /page is several, and the rest is one each."""
    return f"page {step}" if name == "page" and step in STEPS else name


def flask(ran: Ran, slash: str = "", strict: bool = True, merge: bool = True) -> Any:
    from flask import Flask, request

    app = Flask("site")
    app.url_map.strict_slashes, app.url_map.merge_slashes = strict, merge

    def view(**_values: Any) -> str:
        ran(step_of(request.endpoint, request.values.get("step")))
        return "page"

    for name, rule in RULES.items():
        app.add_url_rule(rule + slash, name, view, methods=["GET", "POST"])
    return app


def mounted_flask(ran: Ran) -> Any:
    """Below /shop: the dispatcher in front has a notion of slashes of its own."""
    from werkzeug.exceptions import NotFound
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(NotFound(), {"/shop": flask(ran)})  # type: ignore[arg-type]


def django(ran: Ran, slash: str = "", append: bool = False) -> Any:
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse
    from django.urls import path, re_path

    def view(request: Any, page: str, **_values: Any) -> Any:
        ran(step_of(page, request.POST.get("step", request.GET.get("step"))))
        return HttpResponse("page")

    rules = {name: rule for name, rule in RULES.items() if name != "step"}
    urls = ModuleType(f"site_urls_{'with' if slash else 'without'}_slash_{append}")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        re_path(rf"^step/(?P<step>address|pay){slash}$", view, {"page": "step"}),
        *(path(rule[1:].replace("string", "str") + slash, view, {"page": name}) for name, rule in rules.items()),
    ]
    sys.modules[urls.__name__] = urls
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="the site's own", LOGGING_CONFIG=None,
                           MIDDLEWARE=["django.middleware.common.CommonMiddleware"])  # fmt: skip
    handler: Any = None

    def app(environ: Any, start_response: Any) -> Any:
        nonlocal handler
        settings.ROOT_URLCONF, settings.APPEND_SLASH = urls.__name__, append  # they are global
        handler = handler or WSGIHandler()
        return handler(environ, start_response)

    return app


def bottle(ran: Ran) -> Any:
    from bottle import Bottle, request

    app = Bottle()

    def view(page: str, **_values: Any) -> str:
        ran(step_of(page, request.params.get("step")))
        return "page"

    own = {
        "order": "/orders/<number:int>/pay", "user": "/users/<name>", "step": "/step/<step:re:address|pay>",
        "ticket": f"/tickets/<ticket:re:{PATTERN}>", "doc": "/docs/<place:path>/edit",
    }  # fmt: skip
    for name, rule in RULES.items():
        app.route(own.get(name, rule), ["GET", "POST"], partial(view, name))
    return app


def falcon(ran: Ran, strip: bool = False) -> Any:
    from falcon import App, HTTPNotFound

    class Page:
        def __init__(self, name: str) -> None:
            self.name = name

        def on_get(self, request: Any, response: Any, place: str = "x/edit", step: str = "pay", **_values: Any) -> None:
            if not place.endswith("/edit") or step not in ("address", "pay"):
                raise HTTPNotFound
            form = (request.content_length and request.get_media({})) or {}
            ran(step_of(self.name, form.get("step", request.get_param("step")) if isinstance(form, dict) else None))
            response.text = "page"

        on_post = on_get

    own = {
        "order": "/orders/{number:int}/pay", "user": "/users/{name}", "step": "/step/{step}",
        "ticket": "/tickets/{ticket:uuid}", "doc": "/docs/{place:path}",
    }  # fmt: skip
    app = App()
    app.req_options.strip_url_path_trailing_slash = strip
    for name, rule in RULES.items():
        app.add_route(own.get(name, rule), Page(name))
    return app


def cherrypy(ran: Ran) -> Any:
    import cherrypy

    def expose(page: str, takes: Callable[..., bool] = lambda: True) -> Any:
        @cherrypy.expose
        def handler(*segments: str, step: object = None, **_parameters: object) -> str:
            if not _fits(takes, segments):
                raise cherrypy.NotFound
            ran(step_of(page, step))
            return "page"

        return staticmethod(handler)

    def tree(**pages: Any) -> Any:
        return type("Tree", (), pages)()

    cherrypy.config.update({"environment": "embedded", "log.screen": False})
    root = tree(
        cart=expose("cart"), page=expose("page"), about=expose("about"),
        checkout=tree(pay=expose("pay"), place_order=expose("place")),
        orders=tree(default=expose("order", lambda number, pay: (int(number), pay)[1] == "pay")),
        users=tree(default=expose("user", lambda name: True)),
        step=tree(default=expose("step", lambda step: step in ("address", "pay"))),
        tickets=tree(default=expose("ticket", lambda ticket: bool(UUID(ticket)))),
        docs=tree(default=expose("doc", lambda first, *others: others[-1] == "edit")),
    )  # fmt: skip
    return cherrypy.Application(root, "")


def _fits(takes: Callable[..., bool], segments: tuple[str, ...]) -> bool:
    try:
        return takes(*segments)
    except (TypeError, ValueError, IndexError):
        return False


def pyramid(ran: Ran) -> Any:
    from pyramid.config import Configurator
    from pyramid.response import Response

    def view(request: Any) -> Any:
        ran(step_of(request.matched_route.name, request.params.get("step")))
        return Response("page")

    own = {
        "order": r"/orders/{number:\d+}/pay", "user": "/users/{name}", "step": "/step/{step:address|pay}",
        "ticket": f"/tickets/{{ticket:{PATTERN}}}", "doc": "/docs/{place:.+}/edit",
    }  # fmt: skip
    config = Configurator()
    for name, rule in RULES.items():
        config.add_route(name, own.get(name, rule))
        config.add_view(view, route_name=name)
    return config.make_wsgi_app()


# As regular expressions, with the last slash left to the visitor.
PATTERNS = {
    "order": r"/orders/(\d+)/pay", "user": "/users/([^/]+)", "step": "/step/(address|pay)", "doc": "/docs/(.+)/edit",
    "ticket": f"/tickets/({PATTERN})",
}  # fmt: skip


def web_py(ran: Ran) -> Any:
    import web

    web.config.debug = False

    def page(name: str) -> Any:
        class Page:
            def GET(self, *_values: str) -> str:
                ran(step_of(name, web.input().get("step")))
                return "page"

            POST = GET

        return Page

    mapping = [item for name, rule in RULES.items() for item in (PATTERNS.get(name, rule) + "/?", page(name))]
    return web.application(mapping, {}).wsgifunc()


def ignoring_case(ran: Ran) -> Any:
    """A dispatcher of somebody's own: patterns without regard to case, `$` at their ends, bytes dropped that are not
    UTF-8."""
    patterns = [(re.compile(f"{PATTERNS.get(name, rule)}/?$", re.IGNORECASE), name) for name, rule in RULES.items()]

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "ignore")
        found = next((name for pattern, name in patterns if pattern.match(path)), None)
        if found is not None:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode("latin-1")
            ran(step_of(found, parse_qs(f"{body}&{environ['QUERY_STRING']}").get("step", [""])[0]))
        start_response("200 OK" if found else "404 Not Found", [("Content-Type", "text/plain")])
        return [b"page"]

    return app


class Router(NamedTuple):
    """A set-up. widened: the keys of pages where the application takes more values than `RULES` says.
    mount, slash: what each path begins and ends with."""

    make: Callable[[Ran], Any]
    widened: dict[str, str] = {}
    mount: str = ""
    slash: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """The key of each guarded page."""
        rules = {name: rule for name, rule in {**RULES, **self.widened}.items() if name not in OPEN}
        return {**{name: self.mount + rule for name, rule in rules.items()},
                **{f"page {step}": f"{self.mount}/page?step={step}" for step in STEPS}}  # fmt: skip


# What Python's own int() takes has a sign.
SIGNED = {"order": "/orders/<int(signed=True):number>/pay"}

ROUTERS: dict[str, Router] = {
    "Flask": Router(flask),
    "Flask with slashes": Router(partial(flask, slash="/"), slash="/"),
    "Flask, not strict": Router(partial(flask, strict=False)),
    "Flask, slashes not merged": Router(partial(flask, merge=False)),
    "Flask with slashes, not strict, not merged": Router(
        partial(flask, slash="/", strict=False, merge=False), slash="/"
    ),
    "Flask, mounted": Router(mounted_flask, mount="/shop"),
    "Django": Router(django),
    "Django, APPEND_SLASH": Router(partial(django, append=True)),
    "Django with slashes": Router(partial(django, slash="/"), slash="/"),
    "Django with slashes, APPEND_SLASH": Router(partial(django, slash="/", append=True), slash="/"),
    "Bottle": Router(bottle, SIGNED),
    "Falcon": Router(falcon, SIGNED),
    "Falcon, last slash stripped": Router(partial(falcon, strip=True), SIGNED),
    "CherryPy": Router(cherrypy, SIGNED),
    "Pyramid": Router(pyramid),
    "web.py": Router(web_py),
    "one that ignores case": Router(ignoring_case),
}


# --- loose ones: they serve a page by paths that nobody named, and need a fence --------------------------------------


def traversal(ran: Ran) -> Any:
    """A tree of resources; the name of a view may follow a resource's path, and what follows that is its own."""
    from pyramid.config import Configurator
    from pyramid.response import Response

    class Pay:
        """The resource at /checkout/pay."""

    def view(_request: Any) -> Any:
        ran("pay")
        return Response("paid")

    config = Configurator(root_factory=lambda request: {"checkout": {"pay": Pay()}})
    for name in ("", "pay", "anything", "x.css"):
        config.add_view(view, name=name)
    return config.make_wsgi_app()


def catch_all(ran: Ran) -> Any:
    """One route; the last word of the path is the page, whatever it is dressed in."""
    from flask import Flask, abort

    app = Flask("site")

    @app.route("/<path:path>", methods=["GET", "POST"])
    def page(path: str) -> str:
        if re.sub(r"\W", "", path.rstrip("/").rpartition("/")[2].partition(".")[0]).lower() != "pay":
            abort(404)
        ran("pay")
        return "page"

    return app


def any_arguments(ran: Ran) -> Any:
    import cherrypy

    class Checkout:
        @cherrypy.expose
        def pay(self, *_segments: str, **_parameters: object) -> str:
            ran("pay")
            return "page"

    class Root:
        checkout = Checkout()

    cherrypy.config.update({"environment": "embedded", "log.screen": False})
    return cherrypy.Application(Root(), "")


def by_beginning(ran: Ran) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/checkout/pay"):
            ran("pay")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"page"]

    return app


def unanchored(ran: Ran) -> Any:
    import web

    web.config.debug = False

    class Page:
        def GET(self) -> str:
            ran("pay")
            return "page"

        POST = GET

    return web.application(["/checkout/pay.*", Page], {}).wsgifunc()


class Loose(NamedTuple):
    """fence: what closes it. beside: paths that serve the page and are no spelling of its declared one."""

    make: Callable[[Ran], Any]
    fence: str
    beside: tuple[str, ...]


_BELOW = ("/checkout/pay/x", "/checkout/pay/x/y")
# By their names in the README.
LOOSE = {
    "Pyramid's traversal": Loose(
        traversal, "/checkout/", ("/checkout/pay/anything", "/checkout/@@pay", "/checkout/pay/x.css")
    ),
    "A catch-all route": Loose(catch_all, "/", ("/pay", "/x/pay.html", "/checkout/pay/pay")),
    "a CherryPy handler that takes `*args`": Loose(any_arguments, "/checkout/", _BELOW),
    "a dispatcher by `startswith`": Loose(by_beginning, "/checkout/", ("/checkout/payment", *_BELOW)),
    "an unanchored pattern": Loose(unanchored, "/checkout/", ("/checkout/payment", *_BELOW)),
}
