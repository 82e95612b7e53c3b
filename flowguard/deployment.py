"""What deploying a file by the environment and by PasteDeploy have in common: everything wrong is said at once."""

from __future__ import annotations

import logging
import secrets
from typing import Any, Mapping, Sequence

from werkzeug.exceptions import NotFound

from flowguard.config.places import WRONG
from flowguard.errors import ConfigError, Problem
from flowguard.middleware import FlowGuard


def deploy(
    app: Any, file: Any, secret_key: Any, overrides: Mapping[str, Any], problems: Sequence[Problem]
) -> FlowGuard:
    """The guard of the flows in *file* around *app*.

    problems: what is wrong with the deployment; where they say that something is missing, it is None, or `WRONG`.
    Raises `ConfigError` with them, and with what is wrong in the file.
    """
    right = {name: value for name, value in overrides.items() if value is not WRONG}
    if problems:
        raise ConfigError([*problems, *_problems_of(file, right)])
    _unsilence()
    return FlowGuard.from_file(app, file, secret_key=secret_key, **right)


def _problems_of(file: Any, overrides: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What is wrong in the file: found by a guard that nobody will use, as the one that is wanted can't be made."""
    try:
        if file:
            FlowGuard.from_file(NotFound(), file, secret_key=secrets.token_bytes(32), **overrides)
    except ConfigError as error:
        return error.problems
    return ()


def _unsilence() -> None:
    """Let our loggers speak again. `logging.config` silences those that it finds, unless told otherwise; and where an
    application that sets up its logging is imported by us, it finds ours. A report that nobody sees would be none."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("flowguard.") and isinstance(logger, logging.Logger):
            logger.disabled = False
