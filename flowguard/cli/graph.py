"""`flowguard graph FILE`: the flows of a configuration as a picture."""

from __future__ import annotations

import argparse
import sys

from flowguard.cli.arguments import add_file, load
from flowguard.diagram import FORMATS, MissingGraphviz, draw
from flowguard.diagram.lanes import in_ascii

HELP = "draw the flows of a configuration"


def configure(parser: argparse.ArgumentParser) -> None:
    add_file(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="as what to draw it; text if left out")
    parser.add_argument("--flow", metavar="NAME", help="draw this flow only")


def run(arguments: argparse.Namespace) -> int:
    plans = [gate.plan for gate in load(arguments.file).gates]
    chosen = [plan for plan in plans if arguments.flow in (None, plan.definition.name)]
    if not chosen:
        known = ", ".join(plan.definition.name for plan in plans)
        print(f"flowguard graph: no flow {arguments.flow!r} in {arguments.file}. It has: {known}", file=sys.stderr)
        return 2
    try:
        page = draw(chosen, arguments.format)
    except MissingGraphviz as error:
        print(f"flowguard graph: {error}", file=sys.stderr)
        return 2
    print(_shown(page) if arguments.format == "text" else page, end="")
    return 0


def _shown(page: str) -> str:
    """As standard output can show it: with lines and arrows, or without."""
    try:
        page.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return in_ascii(page)
    return page
