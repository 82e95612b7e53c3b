"""A drawing for the programs that lay graphs out: Mermaid (in a README, an issue, a wiki) and Graphviz."""

from __future__ import annotations

import re
from html import escape
from textwrap import wrap
from typing import Callable, Iterator, NamedTuple, Sequence

from flowguard.diagram.drawing import Aside, Box, Drawing

_WIDTH = 40  # characters of a line in a box


def _lines(box: Box) -> list[str]:
    return [*wrap(" · ".join(box.notes), _WIDTH), *box.paths]


def _aside_lines(aside: Aside) -> list[str]:
    """Where a companion is allowed is said by its lines, but for one that is allowed everywhere."""
    return [*(["at any time"] if aside.within is None else []), *aside.paths]


class Ids(NamedTuple):
    """The nodes' names in a document: those of states and companions may be any text."""

    states: dict[str, str]
    asides: dict[str, str]


def _ids(drawing: Drawing, number: int) -> Ids:
    return Ids(
        {box.name: f"f{number}s{place}" for place, box in enumerate(drawing.boxes)},
        {aside.name: f"f{number}c{place}" for place, aside in enumerate(drawing.asides)},
    )


def _document(drawings: Sequence[Drawing], head: str, part: Callable[[Drawing, int], Iterator[str]], foot: str) -> str:
    lines = [line for number, drawing in enumerate(drawings) for line in part(drawing, number)]
    return "\n".join([head, *(f"    {line}" for line in lines), foot]).strip() + "\n"


# --- Mermaid ----------------------------------------------------------------------------------------------------------

_CLASSES = """\
    classDef state fill:#fff,stroke:#555,color:#111
    classDef start fill:#e3f4e3,stroke:#2a7a2a,color:#111
    classDef once fill:#fdeccc,stroke:#b36b00,stroke-width:3px,color:#111
    classDef finish fill:#e4e9f7,stroke:#2f4b99,stroke-width:3px,color:#111
    classDef aside fill:#fff,stroke:#777,stroke-dasharray:4 3,color:#111"""


def mermaid(drawings: Sequence[Drawing]) -> str:
    """A flowchart, from the top to the bottom."""
    return _document(drawings, "flowchart TD", _mermaid_flow, _CLASSES)


def _mermaid_flow(drawing: Drawing, number: int) -> Iterator[str]:
    ids = _ids(drawing, number)
    yield f'subgraph f{number}["{_mermaid_text(" · ".join([drawing.name, *drawing.notes]))}"]'
    yield "    direction TB"
    for box in drawing.boxes:
        opening, closing, look = _mermaid_shape(box)
        yield f'    {ids.states[box.name]}{opening}"{_mermaid_label(box.name, _lines(box))}"{closing}:::{look}'
    for aside in drawing.asides:
        yield f'    {ids.asides[aside.name]}["{_mermaid_label(aside.name, _aside_lines(aside))}"]:::aside'
    for source, target, condition in drawing.arrows:
        label = f'|"if {_mermaid_text(condition)}"|' if condition else ""
        yield f"    {ids.states[source]} -->{label} {ids.states[target]}"
    for aside in drawing.asides:
        yield from (f'    {ids.states[name]} -.-|"while here"| {ids.asides[aside.name]}' for name in aside.within or ())
        yield from (f'    {ids.asides[aside.name]} -.->|"undoes"| {ids.states[name]}' for name in aside.undoes)
    yield "end"
    yield f"style f{number} fill:none,stroke:#bbb"


def _mermaid_shape(box: Box) -> tuple[str, str, str]:
    """Round where a run begins or ends; six corners for what happens once."""
    if box.start:
        return "([", "])", "start"
    if box.once:
        return "{{", "}}", "once"
    return ("([", "])", "finish") if box.end else ("[", "]", "state")


def _mermaid_label(name: str, lines: Sequence[str]) -> str:
    return "<br>".join([f"<b>{_mermaid_text(name)}</b>", *(_mermaid_text(line) for line in lines)])


def _mermaid_text(text: str) -> str:
    """Whatever Mermaid, its Markdown or HTML may take for its own becomes a number."""
    return re.sub(r"[^\w /:,·()]", lambda match: f"#{ord(match[0])};", text)


# --- Graphviz ---------------------------------------------------------------------------------------------------------

_GRAPH = """\
digraph flowguard {
    graph [fontname="Helvetica", nodesep=0.4, ranksep=0.45, pad=0.2]
    node [fontname="Helvetica", fontsize=12, shape=box, margin="0.16,0.08"]
    node [style=filled, fillcolor=white, color="#555555"]
    edge [fontname="Helvetica", fontsize=10, color="#555555"]"""


def dot(drawings: Sequence[Drawing]) -> str:
    """A digraph in Graphviz's language, from the top to the bottom."""
    return _document(drawings, _GRAPH, _dot_flow, "}")


def _dot_flow(drawing: Drawing, number: int) -> Iterator[str]:
    ids = _ids(drawing, number)
    yield f"subgraph cluster_{number} {{"
    yield f'    color="#bbbbbb"; label={_dot_label(drawing.name, drawing.notes)}'
    for box in drawing.boxes:
        yield f"    {ids.states[box.name]} [label={_dot_label(box.name, _lines(box))}{_dot_look(box)}]"
        if box.start:
            yield f'    {ids.states[box.name]}_in [label="", shape=circle, width=0.15, fillcolor="#2a7a2a"]'
            yield f"    {ids.states[box.name]}_in -> {ids.states[box.name]}"
    for aside in drawing.asides:
        label = _dot_label(aside.name, _aside_lines(aside))
        yield f'    {ids.asides[aside.name]} [label={label}, style="dashed,filled"]'
    for source, target, condition in drawing.arrows:
        label = f" [label={_dot_html(f' if {condition} ')}]" if condition else ""
        yield f"    {ids.states[source]} -> {ids.states[target]}{label}"
    for aside in drawing.asides:
        own = ids.asides[aside.name]
        here = '[style=dashed, dir=none, label=" while here "]'
        yield from (f"    {ids.states[name]} -> {own} {here}" for name in aside.within or ())
        undoes = '[style=dashed, constraint=false, label=" undoes "]'
        yield from (f"    {own} -> {ids.states[name]} {undoes}" for name in aside.undoes)
    yield "}"


def _dot_look(box: Box) -> str:
    """Round where a run begins, a double border where it ends, six corners for what happens once."""
    look = {"shape": "hexagon", "fillcolor": "#fdeccc", "color": "#b36b00", "penwidth": "2"} if box.once else {}
    if box.start:
        look = {"fillcolor": "#e3f4e3", **look, "style": "rounded,filled"}
    if box.end:
        look["peripheries"] = "2"
    return "".join(f', {name}="{value}"' for name, value in look.items())


def _dot_label(name: str, lines: Sequence[str]) -> str:
    smaller = "".join(f'<BR/><FONT POINT-SIZE="10">{escape(line)}</FONT>' for line in lines)
    return f"<<B>{escape(name)}</B>{smaller}>"


def _dot_html(text: str) -> str:
    return f"<{escape(text)}>"
