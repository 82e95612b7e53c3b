"""Pictures of flows: all that is declared is in them, and the programs that they are for take them."""

from __future__ import annotations

import random
import re
import sys
from typing import Any
from xml.etree import ElementTree

import browser
import pytest

from flowguard import Flow
from flowguard.diagram import FORMATS, MissingGraphviz, draw
from flowguard.diagram.drawing import condition_name
from flowguard.diagram.lanes import in_ascii

SHOP = {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}
MERMAID = "11.17.2"  # https://github.com/mermaid-js/mermaid


def nearby(_context: Any) -> bool:
    return True


ORDER = Flow({
    "/start": {"to": ["/login", "/guest"]},
    "/login": {"to": ["/basket"], "submit": True},
    "/guest": {"to": ["/basket"], "submit": True},
    "/basket": {"to": ["/address", "/voucher"], "repeat": True},
    "/voucher": {"to": ["/basket"], "when": nearby},
    "/address": {"to": {"/delivery": True, "/pickup": nearby}, "submit": True},
    "/delivery": {"to": ["/review"], "submit": True, "min_seconds": 3},
    "/pickup": {"to": ["/review"]},
    "/review": {"to": ["pay"], "requires": ["/address", ["/delivery", "/pickup"]]},
    "GET /order/<int:id>/pay": {"state": "pay", "to": ["/thanks", "/pending"], "once": True, "back": "refuse"},
    "POST /order/<int:id>/charge": "pay",
    "/pending": {"to": ["/thanks"], "max_seconds": 600.5},
    "/thanks": {},
    "/help": {"within": ["/delivery", "/address"]},
    "/basket/change": {"undoes": ["/review"]},
}, name="order", back="view", restart=True, reset="/again")  # fmt: skip
ODD_NAME = 'it\'s "odd" <b>&#59; | {x} [y] (z) `1.` *2* - %% \\ end'
ODD = Flow({"/a": {"to": {"odd": nearby}}, "/b<int:n>": {"state": "odd", "to": [ODD_NAME]},
            "/c": {"state": ODD_NAME}, "/d": {"state": "- <i>", "within": ["odd"]}}, name="odd")  # fmt: skip


def picture(format: str, *flows: Flow) -> str:
    return draw([flow.plan for flow in flows], format)


# --- text -------------------------------------------------------------------------------------------------------------


def test_a_flow_of_four_states_is_a_column():
    assert picture("text", Flow(SHOP, name="shop", back="edit")) == """\
shop · back: edit

▶ /cart      start · repeat
│
● /shipping  submit
│
◆ /payment   once
│
■ /done      end
"""


def test_ways_part_and_meet_and_everything_that_is_special_is_said():
    assert picture("text", ORDER) == """\
order · back: view · restart · reset: /again

▶   /start     start · → /login, /guest
├─╮
● │ /login     submit
│ │
│ ● /guest     submit
├─╯
●   /basket    repeat · → /address, /voucher
├─╮
│ ● /voucher   if test_diagram:nearby · ↑ /basket
│
●   /address   submit · → /delivery, /pickup if test_diagram:nearby
├─╮
● │ /delivery  submit · at least 3 s
│ │
│ ● /pickup
├─╯
●   /review    requires /address and (/delivery or /pickup)
│
◆   pay        once · back: refuse · → /thanks, /pending
├─╮ GET /order/<int:id>/pay, POST /order/<int:id>/charge
│ ● /pending   at most 600.5 s
├─╯
■   /thanks    end

beside the steps:
  /help           while at /address or /delivery
  /basket/change  at any time · undoes /review
"""


def test_of_an_ordered_flow_only_what_is_written_is_said_to_be_required():
    flow = {"/a": {"to": ["/b"]}, "/b": {"to": ["/c"]}, "/c": {"to": ["/d"], "requires": [["/a", "/d"]]}, "/d": {}}
    drawn = picture("text", Flow(flow, ordered=True)).splitlines()
    assert drawn[0] == "flow · ordered"
    assert [line for line in drawn if "requires" in line] == ["● /c  requires (/a or /d)"]


def test_several_flows_stand_below_each_other():
    lines = picture("text", Flow({"/a": {}}, name="one"), Flow({"/b": {}}, name="two")).splitlines()
    assert lines == ["one", "", "▶ /a  start · end", "", "two", "", "▶ /b  start · end"]


def test_a_line_that_crosses_another_is_told_in_words():
    flow = Flow({"/a": {"to": ["/b", "/d", "/c"]}, "/b": {"to": ["/c"]}, "/c": {"to": ["/d"]}, "/d": {}})
    assert picture("text", flow).splitlines()[2:7] == [
        "▶     /a  start · → /b, /d, /c", "├─┬─╮", "● │ │ /b  → /c", "╰─┼─┤", "  │ ● /c",
    ]  # fmt: skip


def test_a_terminal_without_lines_gets_letters():
    drawn = in_ascii(picture("text", ORDER))
    assert drawn.isascii()
    assert drawn.splitlines()[2:6] == [
        ">   /start     start, -> /login, /guest", "|-.", "o | /login     submit", "| |",
    ]  # fmt: skip


def some_flow(dice: random.Random) -> Flow:
    names = [f"/{number}" for number in range(dice.randint(2, 12))]
    likely = dice.choice([0.1, 0.2, 0.4])
    return Flow({name: {"to": [to for to in names if to != name and dice.random() < likely]} for name in names})


def read_back(drawn: str) -> set[tuple[str, str]]:
    """The transitions that a reader sees: where they are told in words, those; elsewhere, along the lines."""
    lines = [f"{line:<60}" for line in drawn.splitlines()[2:]]
    found: set[tuple[str, str]] = set()
    for row, line in enumerate(lines):
        node = re.match(r"([^▶●■]*)[▶●■][ │]* (/\w+)(.*)", line)
        if node is None:
            continue
        up, down = (re.search(f"{arrow} ([^·]*)", node[3]) for arrow in "↑→")
        told = [to.strip() for words in (up, down) if words for to in words[1].split(",")]
        if down is None and row + 1 < len(lines):
            told += follow(lines, row + 1, len(node[1]))
        found |= {(node[2], to) for to in told}
    return found


def follow(lines: list[str], row: int, column: int) -> list[str]:
    """Along the one line that begins below a state, to where it ends."""
    cell = lines[row][column]
    if cell in "╰├┤╯" and not (cell in "├┤" and lines[row][column + (1 if cell == "├" else -1)] != "─"):
        step = 1 if cell in "╰├" else -1
        column += step
        while lines[row][column] in "─┼":
            column += step
    elif cell != "│":
        return []
    while lines[row][column] not in "▶●■":
        row += 1
    name = re.search(r"/\w+", lines[row])
    return [name[0]] if name else []


def test_whoever_reads_the_lines_and_words_reads_the_flow():
    dice = random.Random(11)
    for _ in range(300):
        flow = some_flow(dice)
        drawn = picture("text", flow)
        assert read_back(drawn) == {(s.name, to) for s in flow.definition.states.values() for to in s.to}, drawn


def test_no_state_stands_above_one_that_leads_to_it_and_not_back():
    dice = random.Random(12)
    for _ in range(100):
        flow = some_flow(dice)
        order = re.findall(r"^[^/]*[▶●■][ │]* (/\w+)", picture("text", flow), re.MULTILINE)
        assert sorted(order) == sorted(flow.definition.states)
        acyclic = all(order.index(to) > order.index(s.name) for s in flow.definition.states.values() for to in s.to)
        assert acyclic or "↑" in picture("text", flow)


# --- conditions -------------------------------------------------------------------------------------------------------


class Stock:
    def __call__(self, _context: Any) -> bool:
        return True

    def enough(self, _context: Any) -> bool:
        return True


@pytest.mark.parametrize(("condition", "name"), [
    (None, ""), (nearby, "test_diagram:nearby"), (lambda context: True, "a condition"),
    (Stock(), "test_diagram:Stock"), (Stock().enough, "test_diagram:Stock.enough"),
], ids=["none", "a function", "a lambda", "an object", "a method"])  # fmt: skip
def test_a_condition_is_called_by_its_dotted_name(condition, name):
    assert condition_name(condition) == name


# --- for other programs -----------------------------------------------------------------------------------------------


def test_every_format_has_everything_that_is_special():
    for format in set(FORMATS) - {"svg"}:
        drawn = picture(format, ORDER)
        for words in ("back: view", "restart", "start", "submit", "repeat", "once", "end", "requires /address and",
                      "nearby", "at least 3 s", "/help", "undoes", "/review", "/order/"):  # fmt: skip
            assert words.replace(".", "#46;") in drawn or words in drawn, f"{words} is missing for {format}"


def test_mermaid_gets_a_node_for_each_state_and_an_arrow_for_each_transition():
    drawn = picture("mermaid", Flow(SHOP, name="shop"))
    assert drawn.splitlines()[:9] == [
        "flowchart TD",
        '    subgraph f0["shop"]',
        "        direction TB",
        '        f0s0(["<b>/cart</b><br>start · repeat"]):::start',
        '        f0s1["<b>/shipping</b><br>submit"]:::state',
        '        f0s2{{"<b>/payment</b><br>once"}}:::once',
        '        f0s3(["<b>/done</b><br>end"]):::finish',
        "        f0s0 --> f0s1",
        "        f0s1 --> f0s2",
    ]


@pytest.mark.browser
@pytest.mark.parametrize("flows", [(Flow(SHOP, name="shop"),), (ORDER,), (ODD, ORDER)], ids=["four", "twelve", "odd"])
def test_mermaid_takes_it_and_shows_the_names_as_they_are(flows, chromium):
    with browser.visiting(chromium) as page:
        page.set_content('<pre class="mermaid"></pre>')
        page.evaluate("text => document.querySelector('pre').textContent = text", picture("mermaid", *flows))
        page.add_script_tag(content=browser.fetched("mermaid", MERMAID, "dist/mermaid.min.js"))
        page.evaluate("mermaid.initialize({startOnLoad: false})")
        page.evaluate("mermaid.run()")
        labels = page.locator("g.node b").all_inner_texts()
        arrows = page.locator("path.flowchart-link").count()
    steps = [flow.definition for flow in flows]
    assert sorted(labels) == sorted(name for one in steps for name in (*one.states, *one.companions))
    beside = sum(len(c.within or ()) + len(c.undoes) for one in steps for c in one.companions.values())
    assert arrows == sum(len(s.to) for one in steps for s in one.states.values()) + beside


@pytest.fixture
def graphviz():
    if sys.version_info < (3, 10):
        pytest.skip("pygraphviz brings Graphviz along for Python 3.10 and newer")
    try:
        import pygraphviz
    except ImportError:
        browser.missing("pygraphviz", "pip install pygraphviz")
    return pygraphviz


@pytest.mark.slow  # Graphviz comes along for Python 3.10 and newer
@pytest.mark.parametrize("flows", [(Flow(SHOP, name="shop"),), (ORDER,), (ODD, ORDER)], ids=["four", "twelve", "odd"])
def test_graphviz_reads_every_state_and_transition(flows, graphviz):
    graph = graphviz.AGraph(string=picture("dot", *flows))
    steps = [flow.definition for flow in flows]
    starts = sum(len(one.starts) for one in steps)
    assert graph.number_of_nodes() == sum(len(one.states) + len(one.companions) for one in steps) + starts
    beside = sum(len(c.within or ()) + len(c.undoes) for one in steps for c in one.companions.values())
    assert graph.number_of_edges() == sum(len(s.to) for one in steps for s in one.states.values()) + starts + beside


@pytest.mark.slow
@pytest.mark.parametrize("flow", [Flow(SHOP, name="shop"), ORDER, ODD], ids=["four", "twelve", "odd"])
def test_an_svg_shows_the_names_as_they_are(flow, graphviz):
    drawn = ElementTree.fromstring(picture("svg", flow))  # noqa: S314 - it was drawn a moment ago
    texts = {"".join(text.itertext()).replace("\xa0", " ") for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {*flow.definition.states, *flow.definition.companions, flow.definition.name} <= texts


def test_an_svg_without_graphviz_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(MissingGraphviz, match=r"extra \[svg\].*dot -Tsvg"):
        picture("svg", ORDER)
