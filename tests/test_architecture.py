"""Who may import whom: a lower layer never imports a higher one, and each library has one user."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "flowguard"
# The layers, from the bottom; a module may import those below it, and those of its own folder.
LAYERS = [
    {"errors"},
    {"core"},
    {"texts", "spelling", "patterns", "findings", "modes", "body", "forms", "wire", "codec"},
    {"config", "paths", "cookie", "ledgers", "pages", "replies"},
    {"refusals", "flow", "reading", "answers", "handle", "notes", "searching", "fences", "diagram", "users",
     "instances", "glance"},
    {"files", "hooks", "records", "exchange", "overlaps", "parameters"},
    {"keeping", "operating", "switching"},
    {"judge", "withholding"},
    {"tracing"},
    {"visit"},
    {"refusing"},
    {"gate"},
    {"watching", "steps"},
    {"passing"},
    {"beaten"},
    {"routing"},
    {"middleware"},
    {"inspector", "playing"},
    {"cli", "deployment"},
    {"environment", "paste"},
    {"__init__", "__main__", "wsgi"},
]
BESIDE = {("pages", "texts"), ("refusals", "replies"), ("paths", "patterns"), ("paths", "spelling"),
          ("patterns", "spelling")}  # fmt: skip
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, in full."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "flowguard":
                found.update(f"flowguard.{alias.name}" for alias in node.names)
    return found


def users_of(library: str) -> set[str]:
    return {str(path.relative_to(PACKAGE)) for path in MODULES
            if any(name.split(".")[0] == library for name in imports(path))}  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_lower_layer_never_imports_a_higher_one(path):
    own = layer_of(path)
    for name in imports(path):
        if not name.startswith("flowguard."):
            continue
        other = name.split(".")[1]
        assert other == own or HEIGHT[other] < HEIGHT[own] or (own, other) in BESIDE, f"{own} imports {other}"


def test_each_library_has_its_one_user():
    assert users_of("itsdangerous") == {"cookie.py"}
    assert users_of("sqlite3") == {"ledgers/sqlite.py"}
    assert users_of("redis") <= {"ledgers/redis.py"}
    assert users_of("pygraphviz") == {"diagram/svg.py"}


def test_the_rules_know_neither_clock_nor_chance_nor_http():
    known = {name.split(".")[0] for path in (PACKAGE / "core").glob("*.py") for name in imports(path)}
    assert known <= {"__future__", "dataclasses", "enum", "functools", "itertools", "typing", "flowguard"}
