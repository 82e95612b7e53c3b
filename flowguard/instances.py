"""A flow's cookies where there is one run for each value of a rule variable (the option `instance`, CONTRACT 2 and 6).

Each run has a cookie of its own, whose name ends in a digest of the value; at most `MOST` of them at a time, so that
the header stays small. That a cookie was given another's name is for the rules to see (`core.passage.foreign`).
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode

from flowguard.codec import INSTANCE, Codec
from flowguard.cookie import MAX_CANDIDATES, Attributes, Cookie, Found, Seal, looks_signed, name_and_value
from flowguard.core.run import Run, Values

MOST = 4  # runs of a flow that a browser holds at a time


class InstanceCookie(Cookie):
    """One flow's cookies, one for each value of *variable*, in one of their two shapes: secure or not."""

    def __init__(
        self, name: str, codec: Codec, seal: Seal, attributes: Attributes, secure: bool, variable: str
    ) -> None:
        super().__init__(name, codec, seal, attributes, secure)
        self._variable = variable
        self._stem = f"{self.name}-"
        self._pattern = name_and_value(f"{re.escape(self._stem)}[A-Za-z0-9_-]{{{INSTANCE}}}")
        self.longest += 1 + INSTANCE

    def read(self, header: str, values: Values = ()) -> Found:
        """The run of the path's instance; and what there is of others. A path that has none (a reset, another spelling)
        has no run."""
        value = dict(values).get(self._variable)
        name = "" if value is None else self._name(value)
        pairs = self._pattern.findall(header) if self._stem in header else []
        found = self._newest([token for other, token in pairs if other == name])
        # Another application's cookie may be named as if it were of an instance: it is left alone.
        others = dict(pair for pair in pairs if pair[0] != name and looks_signed(pair[1]))
        return found._replace(name=name, others=tuple(others.items()))

    def every(self, header: str) -> list[Found]:
        cookies: dict[str, list[str]] = {}
        for name, token in self._pattern.findall(header):
            cookies.setdefault(name, []).append(token)
        found = [self._newest(tokens)._replace(name=name) for name, tokens in cookies.items()]
        return [one for one in found if one.run is not None and self._is_its_own(one.run, one.name)]

    def sent(self, run: Run, found: Found) -> list[str]:
        """Where there would be too many, those go that were changed longest ago."""
        surplus = len(found.others) - (MOST - 1)
        if surplus <= 0:
            return [self._written(run, f"{found.name}=")]
        looked_at = found.others[: MOST + MAX_CANDIDATES]
        oldest = sorted(looked_at, key=lambda pair: self._changed(pair[1]))
        return [self._written(run, f"{found.name}="), *(self._gone(name) for name, _ in oldest[:surplus])]

    def forgotten(self, run: Run, found: Found) -> list[str]:
        return [self._gone(found.name)]

    def _name(self, value: str) -> str:
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
        return self._stem + urlsafe_b64encode(digest).decode("ascii")[:INSTANCE]

    def _is_its_own(self, run: Run, name: str) -> bool:
        value = dict(run.values).get(self._variable)
        return value is not None and self._name(value) == name

    def _changed(self, token: str) -> int:
        """When the run in a cookie was changed last, in milliseconds; what is none of ours was never."""
        run = self._newest([token]).run
        return -1 if run is None else run.changed

    def _gone(self, name: str) -> str:
        """The Set-Cookie that takes a cookie away."""
        return f"{name}=; Max-Age=0{self._after}"
