"""A drawing as text: the states from the top to the bottom, what leads to what as lines at their left.

    ▶ /cart      start · repeat
    ├─╮
    │ ● /gift    → /pay
    ├─╯
    ● /pay       once
    │
    ■ /done      end

A lane is a column with a line that goes down to one state. A state takes up the lane that waits for it, and opens one
for each state that it leads to and that nobody waits for yet. What leads up again is said in words.
"""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple, Optional, Sequence

from flowguard.core.graph import parts
from flowguard.diagram.drawing import Aside, Box, Drawing

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
# By the sides from which a line enters a cell.
_LINES = {
    0: " ", _UP: "│", _DOWN: "│", _UP | _DOWN: "│", _LEFT | _RIGHT: "─", _UP | _RIGHT: "╰", _DOWN | _RIGHT: "╭",
    _UP | _LEFT: "╯", _DOWN | _LEFT: "╮", _UP | _DOWN | _RIGHT: "├", _UP | _DOWN | _LEFT: "┤",
    _DOWN | _LEFT | _RIGHT: "┬", _UP | _LEFT | _RIGHT: "┴", _UP | _DOWN | _LEFT | _RIGHT: "┼",
}  # fmt: skip
_PLAIN = str.maketrans({
    "│": "|", "─": "-", "├": "|", "┤": "|", "╰": "`", "╯": "'", "╭": ".", "╮": ".", "┬": "-", "┴": "-", "┼": "+",
    "▶": ">", "●": "o", "■": "#", "◆": "*", "→": "->", "↑": "^",
})  # fmt: skip

Lanes = list[Optional[str]]  # the state that each column goes down to


def text(drawings: Sequence[Drawing]) -> str:
    """A page of text, each flow below the other."""
    return "\n".join("\n".join(_flow(one)) + "\n" for one in drawings)


def in_ascii(page: str) -> str:
    """The same for a terminal that has no lines and arrows."""
    return page.replace(" · ", ", ").translate(_PLAIN)


class _Row(NamedTuple):
    """A line of the page: the cells of its lanes, and what stands beside them."""

    cells: str
    name: str = ""
    notes: str = ""


def _flow(drawing: Drawing) -> Iterator[str]:
    yield " · ".join([drawing.name, *drawing.notes])
    yield ""
    rows = list(_rows(drawing))
    lanes = max(len(row.cells) for row in rows)
    names = max(len(row.name) for row in rows if row.notes) if any(row.notes for row in rows) else 0
    for row in rows:
        yield f"{row.cells.ljust(lanes)} {row.name.ljust(names)}  {row.notes}".rstrip()
    if drawing.asides:
        yield "\nbeside the steps:"
        width = max(len(aside.name) for aside in drawing.asides)
        yield from (f"  {aside.name.ljust(width)}  {_beside(aside)}" for aside in drawing.asides)


def _beside(aside: Aside) -> str:
    allowed = "at any time" if aside.within is None else f"while at {' or '.join(aside.within)}"
    undoes = f"undoes {', '.join(aside.undoes)}" if aside.undoes else ""
    return " · ".join(filter(None, [allowed, undoes, ", ".join(aside.paths)]))


def _rows(drawing: Drawing) -> Iterator[_Row]:
    boxes = {box.name: box for box in drawing.boxes}
    onward: dict[str, dict[str, str]] = {name: {} for name in boxes}
    for source, target, condition in drawing.arrows:
        onward[source][target] = condition
    order = _from_the_top(onward)
    place = {name: number for number, name in enumerate(order)}
    lanes: Lanes = []
    for name in order:
        column = lanes.index(name) if name in lanes else _free(lanes)
        lanes[column] = None
        box, down = boxes[name], [to for to in onward[name] if place[to] > place[name]]
        node, links = _node_row(lanes, column, box), _links(lanes, column, down)
        yield _Row(node, name, _words(box, onward[name], down, "┼" in links))
        if name != order[-1] or box.paths:
            yield _Row(links, ", ".join(box.paths))


def _from_the_top(onward: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Every state after those that lead to it, where they don't lead back; else as they were declared."""
    number = {name: place for place, name in enumerate(onward)}
    waiting = parts({name: tuple(to) for name, to in onward.items()})
    home = {name: place for place, names in enumerate(waiting) for name in names}
    before: list[set[int]] = [set() for _ in waiting]
    for name, successors in onward.items():
        for to in successors:
            before[home[to]].add(home[name])
    order: list[str] = []
    left = sorted(range(len(waiting)), key=lambda part: min(number[name] for name in waiting[part]))
    while left:
        part = next(part for part in left if not before[part].intersection(left) - {part})
        left.remove(part)
        order += sorted(waiting[part], key=number.__getitem__)
    return order


def _words(box: Box, onward: Mapping[str, str], down: Sequence[str], crossing: bool) -> str:
    """All that is said of a state. Where it leads is said where its lines alone could be read in another way."""
    up = [to for to in onward if to not in down]
    notes = list(box.notes)
    if crossing or len(down) > 1 or any(onward[to] for to in down):
        notes.append("→ " + ", ".join(_to(to, onward[to]) for to in down))
    if up:
        notes.append("↑ " + ", ".join(_to(to, onward[to]) for to in up))
    return " · ".join(notes)


def _to(name: str, condition: str) -> str:
    return f"{name} if {condition}" if condition else name


# --- lines ------------------------------------------------------------------------------------------------------------


def _free(lanes: Lanes) -> int:
    if None not in lanes:
        lanes.append(None)
    return lanes.index(None)


def _node_row(lanes: Lanes, column: int, box: Box) -> str:
    glyph = "▶" if box.start else "■" if box.end else "◆" if box.once else "●"
    return " ".join(glyph if place == column else "│" if lane else " " for place, lane in enumerate(lanes)).rstrip()


def _links(lanes: Lanes, column: int, down: Sequence[str]) -> str:
    """The row below a state: its lines to the lanes of those that it leads to. Opens those lanes."""
    passing = {place for place, lane in enumerate(lanes) if lane}
    targets = []
    for name in down:
        if name not in lanes:
            own = lanes[column] is None and column not in targets
            lanes[column if own else _free_beside(lanes, column)] = name
        targets.append(lanes.index(name))
    sides = [_UP | _DOWN if place in passing else 0 for place in range(len(lanes))]
    if down:
        sides[column] |= _UP
    for target in targets:
        sides[target] |= _DOWN
        sides[target] |= 0 if target == column else _LEFT if target > column else _RIGHT
    reach = [column, *targets]
    left, right = min(reach), max(reach)
    for place in range(left, right + 1):
        sides[place] |= (_LEFT if place > left else 0) | (_RIGHT if place < right else 0)
    gaps = ["─" if left <= place < right else " " for place in range(len(lanes))]
    while lanes and lanes[-1] is None:
        lanes.pop()
    return "".join(_LINES[side] + gap for side, gap in zip(sides, gaps)).rstrip()


def _free_beside(lanes: Lanes, column: int) -> int:
    """A free lane at the right of *column*, so that branches open to the right."""
    free = [place for place, lane in enumerate(lanes) if lane is None and place > column]
    if not free:
        lanes.append(None)
    return free[0] if free else len(lanes) - 1
