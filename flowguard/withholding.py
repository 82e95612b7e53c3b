"""An answer that is held back until its beginning says what it means (`accept` and `reject` by ``"body:TEXT"``).

Stands between an `exchange.Exchange` and the application, and is the application's server until the answer is let go:
headers and bytes wait here, and an application that fails may still put another answer in their place. Then they leave
unchanged, in the pieces in which they came, and the rest goes through as it comes. (PEP 3333 would have an empty string
yielded for each piece that waits; but then the headers would have to leave first, and they hold the run.)
"""

from __future__ import annotations

from collections import deque
from typing import Any, Iterable, Iterator, Optional, Protocol

from flowguard.exchange import Headers, Write
from flowguard.reading import Application, Environ, StartResponse
from flowguard.searching import Search


class Reader(Protocol):
    """Whoever is told what stands in the answer."""

    def search(self, status: str, headers: Headers) -> Optional[Search]:
        """The application has started an answer: what is to be looked for in it; None if nothing is."""

    def decided(self, search: Search) -> bool:
        """Is the answer's meaning known by what was found so far, whatever may still come?"""


class Withheld:
    """The application's answer to one request, and the iterable of it as long as anything waits."""

    __slots__ = ("_chunks", "_held", "_reader", "_result", "_search", "_start", "_started", "_write")

    def __init__(self, reader: Reader, start_response: StartResponse) -> None:
        self._reader = reader
        self._start = start_response
        self._started: Optional[tuple[str, Headers]] = None  # how the answer is to be started
        self._search: Optional[Search] = None
        self._held: deque[bytes] = deque()
        self._write: Optional[Write] = None  # the server's; until it is there, everything waits
        self._result: Any = None
        self._chunks: Optional[Iterator[bytes]] = None

    def call(self, app: Application, environ: Environ) -> Iterable[bytes]:
        """The answer's body: the application's own iterable where nothing waits any more."""
        result = app(environ, self.start_response)
        if self._write is not None:
            return result
        self._result = result
        return self

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Write:
        if self._write is not None:
            write: Write = self._start(status, headers, exc_info)
            return write
        if self._started is not None and not exc_info:
            raise AssertionError("start_response() was called a second time, without exc_info")
        self._started = (status, list(headers))
        self._held.clear()
        self._search = self._reader.search(*self._started)
        return self._let_go() if self._search is None else self.write

    def write(self, data: bytes) -> None:
        """PEP 3333's write(), as long as the answer waits."""
        if self._write is None:
            self._take(data)
        else:
            self._held.append(data)
        while self._write is not None and self._held:
            self._write(self._held.popleft())

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self._result)
        while self._write is None:
            try:
                chunk = next(self._chunks)
            except StopIteration:
                if self._started is None:
                    raise
                self._let_go()
                break
            if self._search is None:  # nothing waits; or no answer was started: the server has a word for that
                return chunk
            self._take(chunk)
        return self._held.popleft() if self._held else next(self._chunks)

    def close(self) -> None:
        close = getattr(self._result, "close", None)
        if close is not None:
            close()

    def _take(self, data: bytes) -> None:
        assert self._search is not None
        self._held.append(data)
        self._search.feed(data)
        if self._reader.decided(self._search) or self._search.over:
            self._let_go()

    def _let_go(self) -> Write:
        assert self._started is not None
        self._write = self._start(*self._started)
        return self._write
