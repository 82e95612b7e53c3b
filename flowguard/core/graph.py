"""What can be said of a flow without running it: its strongly connected parts, and the largest run it allows."""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple, Sequence

from flowguard.core.flow import Definition

Graph = Mapping[str, tuple[str, ...]]


class Bound(NamedTuple):
    """How large a run can grow, whatever the visitor does: states in the trail, and transitions in the history that
    the trail does not tell by itself."""

    trail: int
    history: int


def parts(graph: Graph) -> list[tuple[str, ...]]:
    """The strongly connected components, each after those that it leads to (Kosaraju, without recursion)."""
    seen: set[str] = set()
    order = [name for root in graph for name in _postorder(graph, root, seen)]
    backward: dict[str, list[str]] = {name: [] for name in graph}
    for name, onward in graph.items():
        for to in onward:
            backward[to].append(name)
    seen = set()
    found = [tuple(_postorder(backward, root, seen)) for root in reversed(order)]
    return [names for names in reversed(found) if names]


def _postorder(graph: Mapping[str, Sequence[str]], root: str, seen: set[str]) -> Iterator[str]:
    """What can be reached from *root* and was not seen before, each after all that it leads to."""
    if root in seen:
        return
    seen.add(root)
    work = [(root, iter(graph[root]))]
    while work:
        name, onward = work[-1]
        to = next((to for to in onward if to not in seen), None)
        if to is None:
            work.pop()
            yield name
        else:
            seen.add(to)
            work.append((to, iter(graph[to])))


def bound(flow: Definition) -> Bound:
    """The largest trail and history of any run.

    A run is a walk, and a walk passes the components one after the other; within one it may enter every state and take
    every transition, between two it takes one. So the heaviest chain of components is an upper bound. In a flow without
    cycles the history is what the trail says, and needs no room.
    """
    graph = {state.name: tuple(state.to) for state in flow.states.values()}
    components = parts(graph)
    home = {name: number for number, names in enumerate(components) for name in names}
    trail, history = [0] * len(components), [0] * len(components)
    for number, names in enumerate(components):  # what a component leads to comes before it
        inside = sum(home[to] == number for name in names for to in graph[name])
        beyond = {home[to] for name in names for to in graph[name]} - {number}
        trail[number] = len(names) + max((trail[other] for other in beyond), default=0)
        history[number] = inside + max((history[other] + 1 for other in beyond), default=0)
    cyclic = len(components) < len(graph)
    return Bound(max(trail), max(history) if cyclic else 0)
