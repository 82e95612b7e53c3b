"""A flow as a picture: as text, for Mermaid, for Graphviz, or as SVG.

What is drawn is worked out once, as a `Drawing` of boxes and arrows whose words say everything without a legend; the
modules below only lay it out. `FORMATS` is their table.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from flowguard.config import Plan
from flowguard.diagram.drawing import Drawing, drawing
from flowguard.diagram.lanes import text
from flowguard.diagram.markup import dot, mermaid
from flowguard.diagram.svg import MissingGraphviz, svg

__all__ = ["FORMATS", "MissingGraphviz", "draw"]

#: By the name of a format. Every one takes the drawings of all flows and returns one document.
FORMATS: Mapping[str, Callable[[Sequence[Drawing]], str]] = {"text": text, "mermaid": mermaid, "dot": dot, "svg": svg}


def draw(plans: Sequence[Plan], format: str = "text") -> str:
    """The flows of *plans* in one of the `FORMATS`. Raises `MissingGraphviz` for SVG without its extra."""
    return FORMATS[format]([drawing(plan) for plan in plans])
