"""Arguments that more than one command takes."""

from __future__ import annotations

import argparse


def add_file(parser: argparse.ArgumentParser) -> None:
    """The configuration: `arguments.file`, a path that can be read. Another is wrong usage."""
    parser.add_argument("file", metavar="FILE", type=_readable, help="the configuration, a TOML file")


def _readable(path: str) -> str:
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
