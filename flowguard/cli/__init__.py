"""The command line, `flowguard COMMAND …`; a command is a row of `COMMANDS` and a module.

Exit codes: 0 fine, 1 something was found, 2 wrong usage (argparse's own). What was asked for goes to standard output,
everything else to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Optional, Protocol, Sequence

import flowguard
from flowguard.cli import check, explain, graph, ledger
from flowguard.cli.terminal import clean_pipes, print_problems
from flowguard.errors import ConfigError


class Command(Protocol):
    """What the module of a command has."""

    #: What it does, in a line of `flowguard --help`.
    HELP: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit code. A `ConfigError` is printed, and is a finding."""


COMMANDS: dict[str, Command] = {"check": check, "graph": graph, "explain": explain, "ledger": ledger}


@clean_pipes
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line *argv* (without the program's name; None for that of the process); its exit code.

    Raises `SystemExit` for `--help`, `--version` and wrong usage, as argparse does.
    """
    arguments = _parser().parse_args(argv)
    _see_the_working_directory()
    run: Command = COMMANDS[arguments.command]
    try:
        return run.run(arguments)
    except ConfigError as error:
        print_problems(error.problems, sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowguard", description="Looks at the flows that guard an application.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"flowguard {flowguard.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.configure(commands.add_parser(name, help=command.HELP, description=command.HELP, allow_abbrev=False))
    return parser


def _see_the_working_directory() -> None:
    """Dotted names in a configuration are looked up where the application stands, as servers do it."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
