"""The tables of what can be configured: a new key or option is a row (CONTRACT 2)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

from flowguard.config import callables, checks, safeguards
from flowguard.config.checks import Check
from flowguard.config.places import WRONG, Place, did_you_mean
from flowguard.core.flow import EDIT, REFUSE, VIEW


class _Required:
    def __repr__(self) -> str:
        return "(required)"


#: The default of what must be given.
REQUIRED = _Required()


class Setting(NamedTuple):
    """One row of a table: a key or an option, how its value is checked, and what it is if it is left out.

    The default stands as a deployer would write it. None means none, the flow's, or what follows from the rest; then
    None may be written, too.
    """

    name: str
    check: Check
    default: Any = None

    @property
    def value(self) -> Any:
        """The default, as the guard wants it."""
        none = self.default is None or self.default is REQUIRED
        return None if none else self.check(self.default, Place(self.name, []))


def _table(*rows: Setting) -> Mapping[str, Setting]:
    return {row.name: row for row in rows}


STATE_KEYS = _table(
    Setting("state", checks.name),
    Setting("start", checks.flag),
    Setting("end", checks.flag),
    Setting("to", checks.successors, ()),
    Setting("requires", checks.groups, ()),
    Setting("submit", checks.flag, False),
    Setting("once", checks.flag, False),
    Setting("repeat", checks.flag, False),
    Setting("back", checks.choice(REFUSE, VIEW, EDIT)),
    Setting("when", callables.condition),
    Setting("accept", checks.answers),
    Setting("reject", checks.answers),
    Setting("effects", checks.flag, False),
    Setting("min_seconds", checks.duration),
    Setting("max_seconds", checks.duration),
    Setting("on_refusal", checks.on_refusal),
    Setting("within", checks.names),
    Setting("undoes", checks.names),
)
#: What a companion may have; and what else it may have if it undoes something.
COMPANION_KEYS = ("state", "on_refusal", "within", "undoes")
UNDOING_KEYS = ("accept", "reject", "effects")

FLOW_OPTIONS = _table(
    Setting("name", checks.flow_name, "flow"),
    Setting("ordered", checks.flag, False),
    Setting("back", checks.choice(REFUSE, VIEW, EDIT), REFUSE),
    Setting("restart", checks.flag, False),
    Setting("reset", checks.path),
    Setting("fence", checks.fences, ()),
    Setting("open", checks.opened, ()),
    Setting("ttl", checks.duration, 14_400),  # four hours
    Setting("idle", checks.duration),
    Setting("bind", safeguards.whose),
    Setting("instance", checks.variable),
    Setting("vary", checks.variables, ()),
    Setting("parameters", checks.places, {}),
    Setting("reject", checks.globs_only, ("*/login*", "*/signin*")),
    Setting("on_refusal", checks.on_refusal, "auto"),
    Setting("mode", checks.mode, "enforce"),
    Setting("exempt", callables.called_with("the environ")),
    Setting("cookie_name", safeguards.cookie_name),  # none: flowguard-NAME
    Setting("cookie_samesite", safeguards.cookie_samesite, "Lax"),
    Setting("cookie_secure", safeguards.cookie_secure, "auto"),
    Setting("cookie_domain", safeguards.cookie_domain),
    Setting("cookie_path", safeguards.cookie_path, "/"),  # the only one that a `__Host-` cookie may have
    Setting("preflight", checks.flag, False),
    Setting("max_body", checks.size, 1_048_576),  # bytes; 1 MiB
    Setting("entered", callables.hook),
    Setting("refused", callables.hook),
    Setting("finished", callables.hook),
    Setting("texts", checks.texts),
)

GUARD_OPTIONS = _table(
    Setting("secret_key", safeguards.secret, REQUIRED),
    Setting("ledger", checks.anything, "memory://"),
    Setting("ledger_wait", checks.between(0, 60), 2),
    Setting("ledger_lease", checks.seconds, 300),
    Setting("clock", callables.called_with()),  # none: time.time
)


# --- reading by a table ----------------------------------------------------------------------------------------------


def read(
    given: Mapping[Any, Any], table: Mapping[str, Setting], at: Callable[[Any], Place], unknown: Callable[[Any], str]
) -> dict[str, Any]:
    """The value of every row: as given, or the default where it is left out or wrong."""
    values = {row.name: row.value for row in table.values()}
    for name, value in given.items():
        row = table.get(name) if isinstance(name, str) else None
        if row is None:
            at(name).wrong(unknown(name))
        elif value is not None or row.default is not None:
            checked = row.check(value, at(name))
            if checked is not WRONG:
                values[row.name] = checked
    return values


def unknown_key(name: Any) -> str:
    return f"unknown key.{did_you_mean(name, STATE_KEYS)}"


def unknown_option(name: Any) -> str:
    if name in GUARD_OPTIONS:
        return f"is an option of the guard. Write FlowGuard(…, {name}=…)."
    return f"unknown option.{did_you_mean(name, (*FLOW_OPTIONS, *GUARD_OPTIONS))}"
