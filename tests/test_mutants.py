"""What the deep run that changes the code takes for granted (see mutants.py)."""

from __future__ import annotations

from pathlib import Path

import mutants
import pytest

PACKAGE = Path(__file__).parent.parent / "flowguard"


def test_every_module_of_the_rules_and_of_the_ledgers_is_changed():
    changed = {module for group in mutants.GROUPS for module in mutants.modules_of(group)}
    files = [*PACKAGE.glob("core/*.py"), *PACKAGE.glob("ledgers/*.py")]
    there = {file.relative_to(PACKAGE).as_posix() for file in files}
    assert there - changed == {"core/__init__.py"}
    assert {f"{name}.py" for name in ("codec", "cookie", "paths", "patterns", "spelling")} <= changed


def test_the_tests_that_are_named_are_there():
    named = {name for group in mutants.GROUPS for name in group.tests.split()}
    assert all((Path(__file__).parent / f"test_{name}.py").exists() for name in named)


def test_every_equivalent_mutant_is_a_change_of_a_module_and_has_its_reason():
    for mutant, reason in mutants.equivalent().items():
        assert reason.endswith("."), mutant
        assert {line[:2] for line in mutant.lines} <= {"- ", "+ "}, mutant
        assert any(mutant.function.startswith(mutants.dotted(module) + ".") for group in mutants.GROUPS
                   for module in mutants.modules_of(group)), mutant  # fmt: skip


def test_every_equivalent_mutant_changes_what_stands_in_its_module():
    """A reason for code that is gone is no reason."""
    for mutant in mutants.equivalent():
        file = PACKAGE / mutants.module_of(mutant)
        lines = {line.strip() for line in file.read_text(encoding="utf-8").splitlines()}
        gone = [line[2:] for line in mutant.lines if line[:2] == "- " and line[2:].strip() not in lines]
        assert gone == [], mutant.function


@pytest.mark.parametrize(
    ("asked", "modules"),
    [
        (["core/run.py"], ["core/run.py"]),
        (["cookie"], ["cookie.py"]),
        (["core/graph", "codec.py"], ["core/graph.py", "codec.py"]),
        (["ledgers/"], ["ledgers/__init__.py", "ledgers/base.py", "ledgers/memory.py", "ledgers/redis.py",
                        "ledgers/sqlite.py"]),
        (["no_such"], []),
    ],
)  # fmt: skip
def test_modules_and_folders_can_be_picked(asked: list[str], modules: list[str]):
    assert [module for _, picked in mutants.picked(asked) for module in picked] == modules


def test_changes_that_share_a_reason_are_told_apart():
    diff = ["- a", "+ b", "- a", "- c", "+ d", "- e"]
    assert list(mutants.changes(diff)) == [("- a", "+ b"), ("- a", "- c", "+ d"), ("- e",)]
