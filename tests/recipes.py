"""The README's recipes for frameworks, as code."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def recipes() -> dict[str, str]:
    """The code of each recipe by the names that stand in bold before it."""
    section = README.split("\n### Frameworks\n")[1].split("\n## ")[0]
    found = re.findall(r"^\*\*([^*]+)\.\*\*.*?^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return {name: code for names, code in found for name in names.split(", ")}


def recipe(name: str) -> str:
    return recipes()[name]
