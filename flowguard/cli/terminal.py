"""How the commands speak: clean in a pipe, in every encoding, and in colour where somebody looks at it."""

from __future__ import annotations

import functools
import io
import os
import sys
from typing import Callable, Iterable, Optional, TextIO, TypeVar

from flowguard.errors import Problem

# Select Graphic Rendition (ECMA-48, 8.3.117).
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
# What a shell says of a program that SIGPIPE ended: 128 and the signal's number.
_BROKEN_PIPE = 141

Main = TypeVar("Main", bound=Callable[..., int])


def paint(text: str, style: str, stream: Optional[TextIO] = None) -> str:
    """*text* in that style, if *stream* (standard output) shows colours to somebody (https://no-color.org)."""
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_STYLES[style]}m{text}\033[0m"


def print_problems(problems: Iterable[Problem], stream: Optional[TextIO] = None) -> None:
    """A line for each, its key path in red; on standard output, if no *stream* is given."""
    for where, what in problems:
        print(f"{paint(where, 'red', stream)}: {what}", file=stream)


def clean_pipes(main: Main) -> Main:
    """Let *main* end quietly where its reader goes away (`| head`), and print everything, whatever the encoding."""

    @functools.wraps(main)
    def run(*arguments: object) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            try:
                return main(*arguments)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes once more when it ends, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _BROKEN_PIPE

    return run  # type: ignore[return-value]  # the same signature
