"""What a server loads to serve a framework's shop: the shop of `framework_apps`, put behind the guard by the README's
recipe for that framework. FRAMEWORK: the recipe's name, as the README has it."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import recipes
from framework_apps import FRAMEWORKS

from flowguard import FlowGuard

FLOW = {
    "/cart": {"to": ["/shipping"]},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}

shop = ModuleType("shop")  # the deployer's module, which the recipes import
shop.app = FRAMEWORKS[os.environ["FRAMEWORK"]]()  # type: ignore[attr-defined]
sys.modules["shop"] = shop

names = {"FLOW": FLOW, "SECRET": "a secret of the tests of frameworks", "FlowGuard": FlowGuard}
exec(recipes.recipe(os.environ["FRAMEWORK"]), names)  # noqa: S102 - that is what it is for
application = names["application"]
