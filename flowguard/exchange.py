"""One call of the wrapped application, by PEP 3333: the answer goes through as it comes, never buffered or delayed.

Every call of start_response is read and passed on at once, with our headers. What the answer means is settled when its
first byte is about to be sent, when it ends without one, or when it is given up; until then a later start_response
with exc_info may still change it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, Optional

Headers = list[tuple[str, str]]
Write = Callable[[bytes], object]

# The calls of guards that are at work on a request stand in its environ under this key, each a list of that guard,
# which is emptied when the call returns: a middleware outside may keep the environ, or a copy, for another request,
# and that one is judged anew.
CALLS = "flowguard.calls"


class Exchange:
    """Calls the application for one request, and is the answer's iterable where something is still to be settled. A
    subclass says what the answer means. What an instance begins with stands in the class: most never get further."""

    settled_already = False  # the answer, as it was started, changes nothing, and nobody waits for it
    _started = False
    _unsettled = True
    _result: Any = None
    _chunks: Optional[Iterator[bytes]] = None
    _write: Optional[Write] = None  # the server's, for whoever writes before everything is settled

    def __init__(self, start_response: Any) -> None:
        self._start = start_response

    # --- what a subclass says -----------------------------------------------------------------------------------

    def answered(self, status: str, headers: Headers) -> Headers:
        """The application has started its answer: the headers to send in place of *headers*."""
        raise NotImplementedError

    def settle(self) -> None:
        """The first byte is about to be sent, or none will come: what was answered counts. Called once."""
        raise NotImplementedError

    def raised(self) -> None:
        """The application raised before the first byte. Called once, in place of `settle`."""
        raise NotImplementedError

    # --- the call -----------------------------------------------------------------------------------------------

    def call(self, app: Any, environ: Any) -> Iterable[bytes]:
        """The answer's body. The application's own iterable, untouched, where nothing has to be settled any more."""
        try:
            result: Iterable[bytes] = app(environ, self.start_response)
        except BaseException:
            self._fail()
            raise
        if self._started and self._unsettled and type(result) in (list, tuple):
            self._unsettled = False
            self.settle()
        if not self._unsettled or (self._started and self.settled_already):
            return result
        self._result = result
        return self

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Write:
        if self._unsettled:
            headers = self.answered(status, headers)
        self._started = True
        write: Write = self._start(status, headers, exc_info) if exc_info else self._start(status, headers)
        if not self._unsettled:
            return write
        self._write = write
        return self._settle_and_write

    def _settle_and_write(self, data: bytes) -> object:
        if data:
            self._settle()
        assert self._write is not None
        return self._write(data)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._chunks is None:
                self._chunks = iter(self._result)
            chunk = next(self._chunks)
        except StopIteration:
            self._settle()
            raise
        except BaseException:
            self._fail()
            raise
        if chunk:
            self._settle()
        return chunk

    def close(self) -> None:
        """The server is done with the answer, or has given it up: it ends here."""
        try:
            self._settle()
        finally:
            close = getattr(self._result, "close", None)
            self._result = None
            if close is not None:
                close()

    def _settle(self) -> None:
        if not self._unsettled:
            return
        if not self._started:
            self._fail()
            return
        self._unsettled = False
        self.settle()

    def _fail(self) -> None:
        if self._unsettled:
            self._unsettled = False
            self.raised()
