"""A real Chromium for tests, by Playwright, and the two things that tests of pages need with it.

    from browser import serving, violations, visiting      # `chromium` is a fixture, known by conftest.py

    @pytest.mark.browser
    def test_a_page(chromium):
        with serving(application) as url, visiting(chromium) as page:
            page.goto(url + "/cart")
            assert violations(page) == []

The browser is the one that FLOWGUARD_TEST_BROWSER names, or else the first of `BROWSERS` on the PATH. Where something
is missing, the test is skipped and says what to install; in CI, and where FLOWGUARD_STRICT is set, it fails.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Iterator
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

# The first two are what people have, and keep pages alive for Back (bfcache); the last has no such cache, so that the
# tests of it are skipped there.
BROWSERS = ("chromium", "google-chrome", "chromium-headless-shell")
BROWSERS_OF_PEOPLE = BROWSERS[:2]

# The last three: a test asks no server but its own.
ARGUMENTS = ("--disable-background-networking", "--disable-component-update", "--no-first-run")

AXE = "4.14.1"  # https://github.com/dequelabs/axe-core
CACHE = Path(__file__).resolve().parent.parent / ".venv"


def missing(what: str, hint: str) -> Any:
    """Skip the test, or fail it where nothing may be missing."""
    message = f"{what} is missing: {hint}"
    if os.environ.get("CI") or os.environ.get("FLOWGUARD_STRICT"):
        pytest.fail(message)
    pytest.skip(message)


def executable() -> str:
    named = os.environ.get("FLOWGUARD_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    hint = "apt-get install chromium, or name a Chromium in FLOWGUARD_TEST_BROWSER"
    return named or str(missing("a browser", hint))


@contextlib.contextmanager
def browser(*arguments: str, **options: Any) -> Iterator[Any]:
    """A headless Chromium; *arguments* and *options* are added to those of Playwright's `launch`."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright", "pip install playwright")
    program = executable()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=all_arguments(*arguments), **options)
        try:
            yield running
        finally:
            running.close()


def all_arguments(*further: str) -> list[str]:
    # Chromium's sandbox needs a user that is not root.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [*ARGUMENTS, *sandbox, *further]


@contextlib.contextmanager
def another(chromium: Any, *arguments: str, **options: Any) -> Iterator[Any]:
    """A second Chromium beside *chromium*, with what the first one has not: see `browser`."""
    running = chromium.browser_type.launch(executable_path=executable(), args=all_arguments(*arguments), **options)
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def profile(chromium: Any, directory: Path) -> Iterator[Any]:
    """A page of a Chromium that keeps its profile in *directory*: what it keeps on the disk, the next one there has."""
    context = chromium.browser_type.launch_persistent_context(
        str(directory), executable_path=executable(), args=all_arguments()
    )
    try:
        yield context.pages[0]
    finally:
        context.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One Chromium for the whole session; every test opens a context of its own in it."""
    with browser() as running:
        yield running


@contextlib.contextmanager
def visiting(chromium: Any, **options: Any) -> Iterator[Any]:
    """A page in a context of its own: no cookies, and *options* of Playwright's `new_context`."""
    context = chromium.new_context(**options)
    try:
        yield context.new_page()
    finally:
        context.close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser keeps connections open that nothing comes through any more


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(application: Any) -> Iterator[str]:
    """Serve *application* on a free port of this machine while the block runs; its URL, without a last slash."""
    server = make_server("127.0.0.1", 0, application, server_class=_Server, handler_class=_Silent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong with the page that is shown, a line for each kind; also what it could not decide."""
    page.evaluate(axe())  # not add_script_tag: our pages allow no script
    found = page.evaluate("axe.run({resultTypes: ['violations', 'incomplete']})")
    return [
        f"{each['id']}: {each['help']}: " + ", ".join(str(node["target"]) for node in each["nodes"])
        for each in found["violations"] + found["incomplete"]
    ]


def axe() -> str:
    return fetched("axe-core", AXE, "axe.min.js")


def fetched(package: str, version: str, file: str) -> str:
    """A file of a package of npm's, fetched once and kept beside the environments of the tests."""
    kept = CACHE / f"{package}-{version}.min.js"
    if not kept.exists():
        npm = shutil.which("npm")
        hint = f"install Node.js with npm, which fetches it, or put {file} to {kept.relative_to(CACHE.parent)}"
        _keep(kept, _fetch(npm, package, version, file) if npm else str(missing(package, hint)))
    return kept.read_text("utf-8")


def _fetch(npm: str, package: str, version: str, file: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        command = [npm, "pack", "--silent", f"{package}@{version}"]
        ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        packed = next(Path(directory).glob("*.tgz"), None)
        if packed is None:
            return str(missing(package, f"npm could not fetch it: {ended.stderr.strip()}"))
        with tarfile.open(fileobj=io.BytesIO(packed.read_bytes())) as archive:
            found = archive.extractfile(f"package/{file}")
            assert found is not None
            return found.read().decode("utf-8")


def _keep(place: Path, text: str) -> None:
    """All at once, for another run may be looking."""
    place.parent.mkdir(exist_ok=True)
    new = place.with_suffix(f".{os.getpid()}")
    new.write_text(text, "utf-8")
    new.replace(place)
