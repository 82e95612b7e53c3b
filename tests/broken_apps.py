"""Applications that break PEP 3333: whatever stands before them must do as a server would."""

from __future__ import annotations

from typing import Any, Iterable, Iterator

from visitor import Environ

HTML = [("Content-Type", "text/html")]


def starts_twice(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", list(HTML))
    start_response("200 OK", list(HTML))
    return [b"never"]


def never_starts(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return [b"never"]


def yields_before_it_starts(environ: Environ, start_response: Any) -> Iterator[bytes]:
    yield b"never"
    start_response("200 OK", list(HTML))
