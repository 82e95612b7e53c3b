"""The modes of the flows in a file, which may be changed there while the server runs (CONTRACT 2)."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Mapping, Union

from flowguard import paths
from flowguard.config import configure
from flowguard.errors import ConfigError
from flowguard.files import Configuration, read_file, with_options
from flowguard.flow import Flow
from flowguard.modes import ModeFile


def read_followed(
    path: Union[str, os.PathLike[str]], overrides: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
) -> Configuration:
    """The file at *path* with *overrides*, in which the mode of each flow is what the file says at the time; all the
    rest is as it is now. A mode that is overridden, or that stands in a file of its own, is not followed.

    clock: seconds, monotonic. Raises `ConfigError` like `read_file`.
    """
    found = read_file(path).override(overrides)
    if "mode" in overrides:
        return found
    followed = os.path.abspath(path)  # wherever the process goes
    try:
        modes = _modes(followed, overrides)
    except ConfigError:  # it is said by the guard that is made of the flows
        return found

    def follow(flow: Flow) -> Flow:
        name = flow.options.get("name", "flow")
        if not isinstance(modes.get(name), str):
            return flow
        return with_options(flow, {"mode": ModeFile(followed, partial(_mode, name, overrides), clock, of=name)})

    return replace(found, flows=tuple(follow(flow) for flow in found.flows))


def _modes(file: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The mode of each flow of a file in which all is right: what is written half may be anything."""
    found = read_file(file).override(overrides)
    plans, _ = configure(
        found.flows, {}, secret_key=secrets.token_bytes(32), check_rules=paths.problems, known=found.problems,
        **found.guard,
    )  # fmt: skip
    return {plan.definition.name: plan.options.mode for plan in plans}


def _mode(flow: str, overrides: Mapping[str, Any], file: str) -> str:
    """The mode of *flow*. Raises ValueError, as `ModeFile` wants it, where the file says none."""
    try:
        mode = _modes(file, overrides).get(flow)
    except ConfigError as error:
        problems = "; ".join(str(problem).replace(f"{file}: ", "", 1) for problem in error.problems)
        raise ValueError(f"can't be used: {problems}") from error
    if isinstance(mode, str):
        return mode
    raise ValueError(
        f"has no flow {flow!r} any more. Start the server anew." if mode is None else
        f"says of {flow!r} that its mode stands in another file. Start the server anew."
    )  # fmt: skip
