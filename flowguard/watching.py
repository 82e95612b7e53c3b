"""Report mode: nothing is refused, and nothing is changed. What would have been refused is logged, and the run follows
what the visitor does as if it had been legal (CONTRACT 2).

Somebody watches an application so for a week that nobody dares to touch. So whatever goes wrong in here is logged, and
the application answers as if nobody had watched.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Iterable, Mapping, Optional, TypeVar, Union

from flowguard.body import hand_over_body, lost_body, new_body
from flowguard.cookie import Found
from flowguard.core.flow import Condition
from flowguard.core.following import as_if_legal
from flowguard.core.passage import Agrees, Reason, Refusal
from flowguard.core.run import Run, Values
from flowguard.exchange import Headers
from flowguard.gate import Gate, Select
from flowguard.handle import RunHandle
from flowguard.judge import Asked, Judge, Judged
from flowguard.modes import ENFORCE, OFF
from flowguard.notes import NO_NOTE
from flowguard.reading import Environ, StartResponse, is_preflight
from flowguard.searching import Search
from flowguard.visit import Visit

logger = logging.getLogger("flowguard.decision")
hooks_logger = logging.getLogger("flowguard.hooks")

Result = TypeVar("Result")


class _Onlooker(Judge):
    """Judges without a claim; a condition that raises is logged, and counts as no."""

    def judge(self, asked: Asked, brought: Found) -> Judged:
        run = brought.run
        if run is None:
            return self._on_nothing(asked, Reason.BAD_COOKIE if brought.present else None)
        return self.on(asked, self._keeper.newest_or_cookie(run, brought.text, asked.now))

    def _asker(self, asked: Asked, run: Optional[Run], name: str) -> Agrees:
        agrees, raised = super()._asker(asked, run, name), set()

        def quietly(condition: Condition) -> bool:
            if id(condition) in raised:
                return False
            try:
                return agrees(condition)
            except Exception:  # whatever it is, nobody is to meet it
                raised.add(id(condition))
                logger.exception("report mode: the condition %r raised, and counts as no", condition)
                return False

        return quietly

    def _check_body(self, environ: Environ) -> None:
        """Too large for a condition: that is no matter of the application's, which has it whole."""
        if lost_body(environ):
            new_body(environ)


class Watch(Gate):
    """Stands where a flow's gate would stand, and lets everybody through."""

    judge = _Onlooker

    def serve(
        self, environ: Environ, start_response: StartResponse, select: Select, args: Mapping[str, Any], values: Values,
        others: tuple[str, ...] = (),
    ) -> Iterable[bytes]:  # fmt: skip
        """Watch a request for one of the flow's paths; the application answers it."""
        visit = _quietly(None, self._visit, environ, start_response, select, args, values, others)
        if visit is None:
            return self._app(environ, start_response)
        return self._call(visit, environ)

    def refuse_path(
        self, environ: Environ, start_response: StartResponse, select: Select, spelling: Optional[str]
    ) -> Iterable[bytes]:
        """Another spelling of one of our paths, or a path under a fence: the application answers it."""
        _quietly(None, self._report_path, environ, select)
        return self._app(environ, start_response)

    def reset(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The guard answers nothing itself."""
        return self._app(environ, start_response)

    def put_off(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """A prefetch or a prerender: the visitor is not there yet, so nothing follows it."""
        return self._app(environ, start_response)

    # --- its parts ----------------------------------------------------------------------------------------------

    def _visit(
        self, environ: Environ, start_response: StartResponse, select: Select, args: Mapping[str, Any], values: Values,
        others: tuple[str, ...],
    ) -> Optional[_WatchedVisit]:
        if self._options.preflight and is_preflight(environ):
            return None
        asked = self._asked(environ, select, args, values, others)
        brought = self._brought(asked)._replace(note=NO_NOTE)
        judged = self._judge.judge(asked, brought.found)
        passage = judged.verdict
        if isinstance(passage, Refusal):
            self._refuser.would_refuse(asked, judged, brought)
            attempt = self._judge.attempt(asked, asked.names[-1], agrees=judged.attempt.agrees)
            passage = as_if_legal(self.flow, judged.run, attempt)
        handle = RunHandle(self.flow, judged.run, passage.state, asked.now, judged.attempt.agrees)
        environ["flowguard.run"] = handle
        hand_over_body(environ)
        return _WatchedVisit(self._kit, environ, environ.copy(), judged, passage, brought, handle, start_response)

    def _report_path(self, environ: Environ, select: Select) -> None:
        asked = self._asked(environ, select, {}, ())
        brought = self._brought(asked)
        self._refuser.would_refuse(asked, self._judge.standing(asked, brought.found, Reason.PATH), brought)


class _WatchedVisit(Visit):
    """Reads the application's answer, and adds nothing to it but the run's cookie."""

    def answered(self, status: str, headers: Headers) -> Headers:
        return _quietly(headers, super().answered, status, headers)

    def settle(self) -> None:
        _quietly(None, super().settle)

    def raised(self) -> None:
        _quietly(None, super().raised)

    def search(self, status: str, headers: Headers) -> Optional[Search]:
        return _quietly(None, super().search, status, headers)

    def decided(self, search: Search) -> bool:
        return _quietly(True, super().decided, search)

    def _headers(self, headers: Headers) -> Headers:
        return self._without_word(headers) + self._set_cookies()


def _quietly(otherwise: Result, function: Callable[..., Result], *args: Any) -> Result:
    """What *function* returns; if it raises, *otherwise*, and a line in the log."""
    try:
        return function(*args)
    except Exception:  # whatever it is, it is not the visitor's fault, nor the application's
        logger.exception("report mode: %s failed, and the application answers all the same", function.__qualname__)
        return otherwise


class Duty:
    """Who judges a flow's requests: its gate, its watch, or nobody.

    mode: one of the three words, or what says one each time that it is called. exempt: says of an environ whether
    nobody judges it, whatever the mode.
    """

    def __init__(
        self, gate: Gate, watch: Watch, mode: Union[str, Callable[[], str]],
        exempt: Optional[Callable[[Environ], object]],
    ) -> None:  # fmt: skip
        self.gate, self.flow = gate, gate.flow
        self.mode: Callable[[], str] = (lambda: mode) if isinstance(mode, str) else mode
        self._watch, self._exempt = watch, exempt
        self.always = mode == ENFORCE and exempt is None  # it is always the gate: nobody has to be asked

    def now(self, environ: Environ) -> Optional[Gate]:
        """Whoever judges this request; None: it passes untouched."""
        mode = self.mode()
        if mode == OFF or (self._exempt is not None and self._is_exempt(environ)):
            return None
        return self.gate if mode == ENFORCE else self._watch

    def _is_exempt(self, environ: Environ) -> bool:
        assert self._exempt is not None
        try:
            return bool(self._exempt(environ))
        except Exception:  # a visitor's header must neither make an error nor open the gate
            hooks_logger.exception("exempt=%r raised, and exempts nobody", self._exempt)
            return False
