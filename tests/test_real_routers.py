"""Whatever a real router serves as a guarded page was judged as that page, or never reached it (CONTRACT 8).

Mutated paths and parameters (see `mutations`) in front of real applications (see `routers`). FLOWGUARD_DEEP=1
multiplies the volume by 50.
"""

from __future__ import annotations

import io
import logging
import os
import random
from pathlib import Path
from typing import Any, Iterable, Iterator, NamedTuple, Optional

import pytest
from mutations import UUID, mutants, parameters, path_info
from routers import LOOSE, OPEN, ROUTERS, Loose, Router
from visitor import SECRET

from flowguard import FlowGuard

DEEP = 50 if os.environ.get("FLOWGUARD_DEEP") == "1" else 1
MUTANTS = 1_200 * DEEP  # paths before each router
QUERIES = 300 * DEEP  # queries and forms
LOOSE_MUTANTS = 300 * DEEP

PATHS = [
    "/cart", "/checkout/pay", "/checkout/place_order", "/orders/7/pay", "/users/jo", "/step/pay", f"/tickets/{UUID}",
    "/docs/a/b/edit", "/page", "/about",
]  # fmt: skip
# Each of these is served by one router or another.
LAX = ["cart", "//cart", "/CART", "/cart\xff", "/cart\n", "/docs//a/b/edit"]
# Odd, and no business of the flow's.
UNRELATED = [
    "/", "", "*", "//", "/.", "/..", "/%", "/%00", "/\0", "/\xff", "/static/app.css", "//static//app.css", "/a/../b",
    "/a;b", "/a\\b",
    "/Cartoon", "/cart.css", "/cart/x", "/checkout", "/checkout/", "/checkout/pays", "/orders/7", "/orders/x/pay",
    "/orders/7/pay/x", "/users", "/users/jo/x", "/step/other", "/tickets/9e3b8f0a", "/docs/edit", "/pages", "/a b",
    "/.well-known/acme-challenge/x-y_z", "http://h/other", "/x/http://h/cart", "/wiki/Special:Search", "/about",
    "/" + "a" * 8_000, "/" + "%61" * 2_000, "/caf\xc3\xa9", "/c\xc3\xa1rt", "/about/", "/ABOUT", "//about", "/page/x",
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,  # the frameworks are only where everything is
    pytest.mark.filterwarnings("ignore"),  # some of them warn of themselves when they are imported
]


class Answer(NamedTuple):
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class Site:
    """An application behind a guard, each of whose states is a start: it passes, and is judged."""

    def __init__(self, make: Any, keys: dict[str, str], **options: Any) -> None:
        self.ran: list[str] = []  # the handlers that ran for the last request
        self.judged: Optional[str] = None  # the state that the guard let it through as
        self._app = make(self.ran.append)
        flow = {key: {"state": name, "start": True} for name, key in keys.items()}
        self._guard = FlowGuard(self._pass_on, flow, secret_key=SECRET, **options)

    def _pass_on(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        handle = environ.get("flowguard.run")
        self.judged = None if handle is None else handle.state
        try:
            chunks = self._app(environ, start_response)
            body = b"".join(chunks)
            getattr(chunks, "close", lambda: None)()
            return [body]
        except Exception as error:  # an application that can't stand such a path
            start_response("500 Internal Server Error", [])
            return [repr(error).encode("utf-8", "replace")]

    def ask(self, path: str, query: str = "", form: bytes = b"", bare: bool = False, **more: Any) -> Answer:
        """bare: the application alone."""
        self.ran.clear()
        self.judged = None
        environ = {
            "REQUEST_METHOD": "POST" if form else "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
            "CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(form)),
            "SERVER_NAME": "h", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "h",
            "REMOTE_ADDR": "127.0.0.1", "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(form), "wsgi.errors": io.StringIO(), "wsgi.multithread": False,
            "wsgi.multiprocess": False, "wsgi.run_once": False, **more,
        }  # fmt: skip
        started: list[Any] = []
        app = self._pass_on if bare else self._guard
        body = app(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
        return Answer(*started[-1], b"".join(body))

    def serves(self, path: str) -> bool:
        """Does the application alone run a guarded handler?"""
        self.ask(path, bare=True)
        return not OPEN.issuperset(self.ran)

    @property
    def missed(self) -> bool:
        """Was a guarded page served without having been judged as that?"""
        return any(name not in OPEN and name != self.judged for name in self.ran)


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """The frameworks log every path that they don't know."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module", params=ROUTERS)
def router(request: pytest.FixtureRequest) -> Router:
    return ROUTERS[request.param]


@pytest.fixture(scope="module")
def site(router: Router) -> Site:
    return Site(router.make, router.keys)


def test_a_router_serves_no_guarded_page_by_a_path_that_was_not_judged_as_it(router: Router, site: Site) -> None:
    seed, served = list(ROUTERS.values()).index(router), 0
    for text in mutants(seed, [router.mount + path + router.slash for path in PATHS], MUTANTS):
        path = path_info(text)
        site.ask(path, "step=2")
        assert not site.missed, (path, site.ran, site.judged)
        served += bool(site.ran)
    assert served > MUTANTS / 50


def test_each_serves_some_page_by_a_path_that_is_not_declared(router: Router, site: Site) -> None:
    """There is something to miss."""
    served = [path for path in (f"{router.mount}{path}{router.slash}" for path in LAX) if site.serves(path)]
    assert served
    for path in served:
        assert (site.ask(path).status[:3], site.ran) == ("308", [])


def test_nor_by_parameters_that_were_not_judged_as_it(router: Router, site: Site) -> None:
    rng, served = random.Random(2), 0
    path = f"{router.mount}/page{router.slash}"
    for _ in range(QUERIES):
        query, form = parameters(rng), rng.choice([b"", parameters(rng).encode("latin-1")])
        site.ask(path, query, form)
        assert not site.missed, (query, form, site.ran, site.judged)
        served += bool(site.ran)
    assert served > QUERIES / 10


def test_what_is_odd_and_unrelated_is_answered_as_without_a_guard(router: Router, site: Site) -> None:
    for path in UNRELATED:
        alone, ran = site.ask(router.mount + path, bare=True), list(site.ran)
        assert site.ask(router.mount + path) == alone, path
        assert (site.ran, site.judged) == (ran, None), path


# --- loose routers ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=LOOSE)
def loose(request: pytest.FixtureRequest) -> Loose:
    return LOOSE[request.param]


def test_a_loose_router_serves_a_page_by_paths_that_only_a_fence_closes(loose: Loose) -> None:
    keys = {"pay": "/checkout/pay"}
    without, fenced = Site(loose.make, keys), Site(loose.make, keys, fence=[loose.fence])
    for path in loose.beside:
        without.ask(path)
        assert without.missed, path
        assert fenced.ask(path).status == "409 Conflict"
        assert fenced.ran == []
    for text in mutants(9, ["/checkout/pay", *loose.beside], LOOSE_MUTANTS):
        fenced.ask(path_info(text))
        assert not fenced.missed, text
    fenced.ask("/checkout/pay")
    assert (fenced.ran, fenced.judged) == (["pay"], "pay")


def test_the_readme_names_them() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    passage = readme.split("**Applications that serve a page by paths which nobody named.**")[1]
    told = " ".join(passage.partition("```")[0].split())
    assert [name for name in LOOSE if name not in told] == []
