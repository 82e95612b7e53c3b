"""A drawing as SVG: Graphviz lays it out, by the extra `[svg]`."""

from __future__ import annotations

from typing import Sequence

from flowguard.diagram.drawing import Drawing
from flowguard.diagram.markup import dot
from flowguard.errors import FlowguardError


class MissingGraphviz(FlowguardError):
    """Raised where there is nothing that could lay out an SVG."""

    def __str__(self) -> str:
        return (
            "SVG needs Graphviz, which the extra [svg] brings along (for Python 3.10 and newer). "
            "Where you have its program: flowguard graph FILE --format dot | dot -Tsvg"
        )


def svg(drawings: Sequence[Drawing]) -> str:
    """An SVG document. Raises `MissingGraphviz` without the extra."""
    try:
        import pygraphviz
    except ImportError:
        raise MissingGraphviz from None
    drawn: bytes = pygraphviz.AGraph(string=dot(drawings)).draw(format="svg", prog="dot")
    return drawn.decode("utf-8")
