"""One checkout of five steps, built in several ways, for `bench.py`: bare, guarded by flowguard, and kept in order by
what people use today. Every way takes the same decision:

- a GET of the current step passes, and so does one of the next step, where the current one was submitted (the cart,
  which may be submitted any number of times, need not be);
- a submission of the current step passes, once; the application answers it by a redirect to the next step;
- everything else is sent to the current step, by a 303.

The cookie is a session cookie, signed, HttpOnly and SameSite=Lax, everywhere. The libraries are configured as their
documentation recommends. Those that aren't installed are left out.
"""

from __future__ import annotations

import hmac
import secrets
import time
import warnings
from hashlib import sha256
from importlib import import_module
from typing import Any, Callable, NamedTuple, Optional, Union

from flowguard import FlowGuard

Application = Callable[[dict[str, Any], Any], Any]

SECRET = "a9f1c83e5b7d2046a9f1c83e5b7d2046"
STEPS = ("/cart", "/shipping", "/payment", "/review", "/done")
PLACE = {path: number for number, path in enumerate(STEPS)}
LIFETIME = 14_400  # seconds

FLOW: dict[str, Any] = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/review"], "submit": True},
    "/review": {"to": ["/done"], "once": True},
    "/done": {},
}


class Site(NamedTuple):
    """One way. bare: the same application without what keeps it in order, whose cost is not counted.

    judges_gets: a GET of a later step is refused; a wizard of formtools judges submissions only.
    prefix: what its steps' paths begin with. form: what a submission of the second step says.
    """

    name: str
    bare: Application
    application: Application
    judges_gets: bool = True
    prefix: str = ""
    form: bytes = b""


class Way(NamedTuple):
    """What a cookie of the hand-written ways holds: the place of the current step, and whether it was submitted."""

    at: int
    done: bool


def verdict(way: Optional[Way], path: str, submission: bool) -> Optional[Way]:
    """The decision: the way as it will be if the request counts; None if it may not pass."""
    place = PLACE[path]
    if way is None:
        return Way(0, False) if place == 0 and not submission else None
    if place == way.at:
        if submission:
            return Way(place, True) if place == 0 or not way.done else None
        return way
    if place == way.at + 1 and not submission and (way.done or way.at == 0):
        return Way(place, False)
    return None


# --- the application, and what is written by hand --------------------------------------------------------------------


def shop(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["REQUEST_METHOD"] == "POST":
        start_response("303 See Other", [("Location", STEPS[PLACE[environ["PATH_INFO"]] + 1])])
        return [b""]
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [b"<p>A page of the shop"]


def guarded(keys: Any = SECRET) -> Application:
    return FlowGuard(shop, FLOW, secret_key=keys)


def floor() -> Application:
    """As cheap as it gets: one HMAC verified, one made, no library, none of the checks beside the decision."""
    key = sha256(SECRET.encode()).digest()
    needle = "floor="

    def signed(text: str) -> str:
        return f"{text}.{hmac.digest(key, text.encode(), 'sha256').hex()}"

    def read(header: str) -> tuple[Optional[Way], str]:
        begin = header.find(needle)
        if begin < 0:
            return None, ""
        end = header.find(";", begin)
        text, _, signature = header[begin + len(needle) : end if end > 0 else None].rpartition(".")
        if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), signature):
            return None, ""
        visitor, at, done, since = text.split(".")
        if time.time() - int(since, 16) > LIFETIME:
            return None, ""
        return Way(int(at), done == "1"), visitor

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path not in PLACE:
            return shop(environ, start_response)
        way, visitor = read(environ.get("HTTP_COOKIE", ""))
        after = verdict(way, path, environ["REQUEST_METHOD"] != "GET")
        if after is None:
            start_response("303 See Other", [("Location", STEPS[way.at if way else 0]), ("Cache-Control", "no-store")])
            return [b""]
        if after is way:
            return shop(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            text = f"{visitor or secrets.token_urlsafe(12)}.{after.at}.{after.done:d}.{int(time.time()):x}"
            cookie = ("Set-Cookie", f"{needle}{signed(text)}; HttpOnly; Path=/; SameSite=Lax")
            return start_response(status, [*headers, cookie], *exc_info)

        return shop(environ, start)

    return application


# --- the peers -------------------------------------------------------------------------------------------------------


def flask_session() -> Site:
    """Flask's session in a before_request. Bare, there is no secret, and so no session."""
    flask = import_module("flask")

    def made(**config: Any) -> Any:
        app = flask.Flask("shop")
        app.config.update(config)

        @app.get("/<step>")
        def page(step: str) -> str:
            return "<p>A page of the shop"

        @app.post("/<step>")
        def submit(step: str) -> Any:
            return flask.redirect(STEPS[PLACE["/" + step] + 1], 303)

        return app

    app = made(SECRET_KEY=SECRET, SESSION_COOKIE_SAMESITE="Lax")

    @app.before_request
    def judge() -> Any:
        path = flask.request.path
        if path not in PLACE:
            return None
        known = flask.session.get("way")
        way = None if known is None else Way(*known)
        after = verdict(way, path, flask.request.method != "GET")
        if after is None:
            return flask.redirect(STEPS[way.at if way else 0], 303)
        if after is not way:
            flask.session["way"] = after
            flask.session.setdefault("id", secrets.token_urlsafe(12))
        return None

    return Site("Flask's session", made().wsgi_app, app.wsgi_app)


def beaker_session() -> Site:
    """Beaker's session in a cookie, in a middleware."""
    beaker = import_module("beaker.middleware")
    warnings.filterwarnings("ignore", "Invalidating corrupt session")  # a forged one is what we send

    def judge(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path not in PLACE:
            return shop(environ, start_response)
        session = environ["beaker.session"]
        known = session.get("way")
        way = None if known is None else Way(*known)
        after = verdict(way, path, environ["REQUEST_METHOD"] != "GET")
        if after is None:
            start_response("303 See Other", [("Location", STEPS[way.at if way else 0])])
            return [b""]
        if after is not way:
            session["way"] = list(after)
            session.save()
        return shop(environ, start_response)

    return Site("Beaker's session", shop, beaker.SessionMiddleware(judge, {
        "session.type": "cookie", "session.validate_key": SECRET, "session.httponly": True,
        "session.samesite": "Lax", "session.data_serializer": "json",
    }))  # fmt: skip


def django() -> Any:
    """Django, set up once; the middleware stands in this module."""
    settings = import_module("django.conf").settings
    if not settings.configured:
        settings.configure(
            SECRET_KEY=SECRET, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[], LOGGING_CONFIG=None,
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies", SESSION_COOKIE_SAMESITE="Lax",
            USE_I18N=False,
            TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", {"form.html": "<form>{{ form }}</form>"})],
            }}],
        )  # fmt: skip
        import_module("django").setup()
        urlpatterns.extend(django_urls())
    return settings


def django_site(*middleware: str) -> Application:
    settings = django()
    settings.MIDDLEWARE = list(middleware)
    application: Application = import_module("django.core.handlers.wsgi").WSGIHandler()
    return application


urlpatterns: list[Any] = []  # Django looks for them here


def django_urls() -> list[Any]:
    """The shop's pages; where formtools is there, also its wizard, and the plain view of a form beside it."""
    http, urls = import_module("django.http"), import_module("django.urls")

    def page(request: Any, step: str) -> Any:
        if request.method == "POST":
            return http.HttpResponse(status=303, headers={"Location": STEPS[PLACE["/" + step] + 1]})
        return http.HttpResponse("<p>A page of the shop")

    try:
        wizards = wizard_urls(urls)
    except ImportError:
        wizards = []
    return [*wizards, urls.path("<step>", page)]


def wizard_urls(urls: Any) -> list[Any]:
    forms, generic = import_module("django.forms"), import_module("django.views.generic")
    views, http = import_module("formtools.wizard.views"), import_module("django.http")

    class Step(forms.Form):  # type: ignore[misc, name-defined]
        name = forms.CharField()

    class Plain(generic.FormView):  # type: ignore[misc, name-defined]
        form_class, template_name, success_url = Step, "form.html", "/done"

    class Wizard(views.NamedUrlCookieWizardView):  # type: ignore[misc, name-defined]
        template_name = "form.html"

        def done(self, form_list: Any, **options: Any) -> Any:
            return http.HttpResponse("done")

    steps = [(path[1:], Step) for path in STEPS]
    wizard = Wizard.as_view(steps, url_name="step", done_step_name="finished")
    return [urls.path("wizard/<step>", wizard, name="step"), urls.path("plain/<step>", Plain.as_view())]


def signed_cookies(get_response: Any) -> Any:
    """The middleware on Django's signed cookies."""
    responses = import_module("django.http")

    def middleware(request: Any) -> Any:
        path = request.path
        if path not in PLACE:
            return get_response(request)
        known = request.get_signed_cookie("way", "", max_age=LIFETIME)
        visitor, at, done = known.split(".") if known else ("", "", "")
        way = Way(int(at), done == "1") if known else None
        after = verdict(way, path, request.method != "GET")
        if after is None:
            return responses.HttpResponse(status=303, headers={"Location": STEPS[way.at if way else 0]})
        response = get_response(request)
        if after is not way:
            value = f"{visitor or secrets.token_urlsafe(12)}.{after.at}.{after.done:d}"
            response.set_signed_cookie("way", value, httponly=True, samesite="Lax")
        return response

    return middleware


def session(get_response: Any) -> Any:
    """The middleware on Django's session."""
    responses = import_module("django.http")

    def middleware(request: Any) -> Any:
        path = request.path
        if path not in PLACE:
            return get_response(request)
        known = request.session.get("way")
        way = None if known is None else Way(*known)
        after = verdict(way, path, request.method != "GET")
        if after is None:
            return responses.HttpResponse(status=303, headers={"Location": STEPS[way.at if way else 0]})
        if after is not way:
            request.session["way"] = after
            request.session.setdefault("id", secrets.token_urlsafe(12))
        return get_response(request)

    return middleware


def django_session() -> Site:
    """Django's session, kept in a signed cookie."""
    kept = "django.contrib.sessions.middleware.SessionMiddleware"
    return Site("Django's session", django_site(), django_site(kept, f"{__name__}.session"))


def django_cookies() -> Site:
    return Site("Django's signed cookies", django_site(), django_site(f"{__name__}.signed_cookies"))


def formtools_wizard() -> Site:
    """The named wizard in a cookie, over the view of a plain form. Its own judgement: it lets a GET skip steps."""
    import_module("formtools.wizard.views")
    application = django_site()

    def plain(environ: dict[str, Any], start_response: Any) -> Any:
        environ["PATH_INFO"] = environ["PATH_INFO"].replace("/wizard/", "/plain/")
        return application(environ, start_response)

    return Site("formtools' wizard", plain, application, judges_gets=False, prefix="/wizard",
                form=b"wizard-current_step=shipping&shipping-name=somebody&name=somebody")  # fmt: skip


PEERS = (flask_session, django_session, django_cookies, beaker_session, formtools_wizard)


def sites() -> tuple[list[Site], list[str]]:
    """All that can be built here, flowguard first; and, of the others, what is missing."""
    built = [Site("flowguard", shop, guarded()), Site("by hand", shop, floor())]
    tried = [_tried(peer) for peer in PEERS]
    return (built + [one for one in tried if isinstance(one, Site)], [one for one in tried if isinstance(one, str)])


def _tried(peer: Callable[[], Site]) -> Union[Site, str]:
    try:
        return peer()
    except ImportError as error:
        return f"{peer.__name__.replace('_', ' ')} (no {error.name})"
