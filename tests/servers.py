"""Real WSGI servers, on ports that the system chose, and browsers made of sockets for them: as processes, or in this
one, for tests that look into the application's hands while it works."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Iterator, Optional, Union

HERE = Path(__file__).parent
PATIENCE = 10  # seconds that a visitor goes on asking where the answer is 503
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


class Server:
    """A WSGI server as a process of its own; use it as a context manager. *environment* is added to ours."""

    announcement = ""  # what it says when it listens, with the port in a group

    def __init__(self, *arguments: str, **environment: Union[str, Path]) -> None:
        self._command = [sys.executable, *arguments]
        path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        own = {key: str(value) for key, value in environment.items()}
        self._environment = {**os.environ, **own, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.port = 0

    def __enter__(self) -> Server:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(self._command, env=self._environment, stdout=self._log, stderr=self._log)
        while self._process.poll() is None:
            match = re.search(self.announcement, self.told)
            if match:
                self.port = int(match[1])
                return self
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)  # seconds; it needs the processor more than we do
        raise RuntimeError(f"{self._command} did not start:\n{self.told}")

    @property
    def told(self) -> str:
        """What it has said so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def last_words(self) -> str:
        """What one that can't start says before it gives up."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(self._command, env=self._environment, text=True, timeout=60, **streams).stdout

    def stop(self) -> None:
        """End it as a deployment does: what is under way is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)
            self._process = None
            self._log.close()


class Gunicorn(Server):
    """A gunicorn that serves a module of tests/. `workers`, `threads`: how many."""

    announcement = r"Listening at: http://127\.0\.0\.1:(\d+)"

    def __init__(self, module: str, workers: int = 1, threads: int = 1, **environment: Union[str, Path]) -> None:
        kind = "gthread" if threads > 1 else "sync"
        super().__init__(
            "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", str(workers), "--threads", str(threads),
            "--worker-class", kind, "--graceful-timeout", "5", module, **environment,
        )  # fmt: skip


class Waitress(Server):
    """A waitress that serves a module of tests/."""

    announcement = r"Serving on http://127\.0\.0\.1:(\d+)"

    def __init__(self, module: str, **environment: Union[str, Path]) -> None:
        super().__init__("-m", "waitress", "--listen=127.0.0.1:0", module, **environment)


@contextlib.contextmanager
def waitress_here(application: Any, threads: int = 16) -> Iterator[int]:
    """A waitress in this process that serves *application* while the block runs; its port."""
    from waitress import wasyncore
    from waitress.server import create_server

    server = create_server(application, host="127.0.0.1", port=0, threads=threads)
    loop = threading.Thread(target=server.run)
    loop.start()
    try:
        yield server.effective_port
    finally:
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))  # an empty map ends the loop
        loop.join()
        server.task_dispatcher.shutdown()


@contextlib.contextmanager
def https_here(application: Any, certificate: str) -> Iterator[int]:
    """A cheroot in this process that serves *application* by https; its port. certificate: the path of a PEM file."""
    from cheroot.ssl.builtin import BuiltinSSLAdapter
    from cheroot.wsgi import Server as Cheroot

    # Without the timeout, it would wait at its end for connections that a browser has opened in advance.
    server = Cheroot(("127.0.0.1", 0), application, numthreads=16, shutdown_timeout=0)
    server.ssl_adapter = BuiltinSSLAdapter(certificate, certificate)
    server.prepare()
    loop = threading.Thread(target=server.serve)
    loop.start()
    try:
        yield server.bind_addr[1]
    finally:
        server.stop()
        loop.join()


class Browser:
    """A visitor: a cookie jar and page visits. `refused` holds the reasons of all refusals that it met."""

    def __init__(self, port: int, cookies: Optional[dict[str, str]] = None) -> None:
        self.port = port
        self.cookies = dict(cookies or {})
        self.refused: list[str] = []
        self.page: Optional[str] = None  # the page that the shop showed last
        self.body = b""  # of the last answer

    def request(
        self, method: str, path: str, timeout: float = 30, body: bytes = b"go=1"
    ) -> tuple[int, dict[str, str]]:
        """One request; a POST sends the form *body*. Raises OSError or HTTPException where the server breaks off."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers = {**NAVIGATION, "Cookie": cookie}
            if method == "POST":
                connection.request(method, path, body, {**headers, "Content-Type": "application/x-www-form-urlencoded"})
            else:
                connection.request(method, path, headers=headers)
            response = connection.getresponse()
            self.body = response.read()
        finally:
            connection.close()
        for header in response.headers.get_all("Set-Cookie", []):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response.status, {key.lower(): value for key, value in response.getheaders()}

    def go(self, method: str, path: str) -> Optional[str]:
        """A page visit or a form, and what a browser does next: it follows redirects and refreshes. Returns the page
        of the shop's that it ends on; None where it ends on one of the guard's."""
        patience, hops = time.monotonic() + PATIENCE, 0
        while hops < 12:
            status, headers = self.request(method, path)
            if status == 503 and time.monotonic() < patience:
                continue  # the ledger was too busy to answer in time: Retry-After says to ask again
            if "flowguard-reason" in headers:
                self.refused.append(headers["flowguard-reason"])
            refresh = headers.get("refresh", "").partition("url=")[2]
            onward = headers["location"] if status in (302, 303) else refresh
            if not onward:
                self.page = headers.get("x-page")
                return self.page
            method, path, hops = "GET", onward, hops + 1
        raise AssertionError(f"redirected without end, last to {path}")

    def walk(self, *steps: str) -> Optional[str]:
        """Steps such as ``GET /cart`` or ``POST /payment``, in order."""
        for step in steps:
            self.go(*step.split())
        return self.page
