"""`flowguard check FILE`: would a guard start with it?"""

from __future__ import annotations

import argparse
import secrets

from werkzeug.exceptions import NotFound

from flowguard.cli.arguments import add_file
from flowguard.cli.terminal import paint, print_problems
from flowguard.errors import ConfigError
from flowguard.middleware import FlowGuard

HELP = "say everything that is wrong with a configuration"


def configure(parser: argparse.ArgumentParser) -> None:
    add_file(parser)


def run(arguments: argparse.Namespace) -> int:
    try:
        # A guard is what finds all of it: a secret is not in the file, and any will do.
        FlowGuard.from_file(NotFound(), arguments.file, secret_key=secrets.token_bytes(32))
    except ConfigError as error:
        print_problems(error.problems)
        return 1
    print(f"{arguments.file}: {paint('fine', 'green')}")
    return 0
