"""The deployer's hooks. One that raises is logged and changes nothing."""

from __future__ import annotations

import logging
from typing import Optional

from flowguard.handle import Event, Hook

logger = logging.getLogger("flowguard.hooks")


class Hooks:
    """Calls what the deployer gave; `any` says whether there is anything to call."""

    def __init__(self, entered: Optional[Hook], refused: Optional[Hook], finished: Optional[Hook]) -> None:
        self._entered, self._refused, self._finished = entered, refused, finished
        self.any = bool(entered or refused or finished)

    def entered(self, event: Event) -> None:
        _call(self._entered, event)

    def refused(self, event: Event) -> None:
        _call(self._refused, event)

    def finished(self, event: Event) -> None:
        _call(self._finished, event)


def _call(hook: Optional[Hook], event: Event) -> None:
    if hook is None:
        return
    try:
        hook(event)
    except Exception:
        logger.exception("the hook %r raised for %s of %r", hook, event.kind, event.state)
