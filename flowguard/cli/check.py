"""`flowguard check FILE`: would a guard start with it, and does it do what its author means?"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Iterable, Sequence

from flowguard.cli.arguments import add_file, load
from flowguard.cli.terminal import paint, print_problems
from flowguard.errors import ConfigError, Problem
from flowguard.findings import FINDINGS, Finding
from flowguard.inspector import Deployment, Report, inspect

HELP = "say everything that is wrong with a configuration, and what its author may not have meant"


def configure(parser: argparse.ArgumentParser) -> None:
    add_file(parser)
    parser.add_argument("--pages", action="store_true", help="the application answers forms by pages")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="it is served by N processes")
    parser.add_argument("--ignore", action="append", default=[], metavar="ID", choices=FINDINGS,
                        help="leave out the findings of this id; may be repeated")  # fmt: skip
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to say it")


def run(arguments: argparse.Namespace) -> int:
    problems: Sequence[Problem] = ()
    report = Report((), ())
    try:
        report = inspect(load(arguments.file), Deployment(arguments.pages, arguments.workers))
    except ConfigError as error:
        problems = error.problems
    findings = [found for found in report.findings if found.id not in arguments.ignore]
    if arguments.format == "json":
        print(_as_json(problems, findings))
    else:
        _print(arguments.file, problems, findings)
    for name in report.cut_short:
        print(f"{name}: has too many runs to try them all, so something may have gone unseen", file=sys.stderr)
    return 1 if problems or findings else 0


def _as_json(problems: Iterable[Problem], findings: Iterable[Finding]) -> str:
    said = {"errors": [one._asdict() for one in problems], "warnings": [one._asdict() for one in findings]}
    return json.dumps(said, indent=2)


def _print(file: str, problems: Sequence[Problem], findings: Sequence[Finding]) -> None:
    print_problems(problems)
    for found in findings:
        print(f"{paint(found.where, 'yellow')}: {found.what} {found.remedy} {paint(f'[{found.id}]', 'dim')}")
    if not problems and not findings:
        print(f"{file}: {paint('fine', 'green')}")
