"""Arguments that more than one command takes."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from werkzeug.exceptions import NotFound

from flowguard.middleware import FlowGuard


def add_file(parser: argparse.ArgumentParser) -> None:
    """The configuration: `arguments.file`, a path that can be read. Another is wrong usage."""
    parser.add_argument("file", metavar="FILE", type=_readable, help="the configuration, a TOML file")


def _readable(path: str) -> str:
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None


def load(file: str, app: Any = None, **overrides: Any) -> FlowGuard:
    """A guard of the configuration, to be looked at. Making one finds all that is wrong, but for a secret, which no
    file has: any will do. Raises `ConfigError`."""
    return FlowGuard.from_file(app or NotFound(), file, **{"secret_key": secrets.token_bytes(32), **overrides})
