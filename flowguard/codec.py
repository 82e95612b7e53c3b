"""A run as a plain text, and back: what a cookie signs (CONTRACT 6), and what a ledger keeps.

The text is URL-safe, its fields (see `_write`) are joined by dots. States are written as short digests of their names,
so that a deployment which adds, moves or removes states still reads the runs that are alive.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache, partial
from operator import methodcaller
from typing import Callable, Mapping, NamedTuple, Optional, Sequence

from flowguard.core.flow import Definition
from flowguard.core.graph import bound
from flowguard.core.run import MAX_VALUE, Numbers, Run, Values, numbers_in, with_numbers

WIDTH = 5  # characters of a state's code: 30 bits, so that a thousand states collide once in two thousand flows
USER = 16  # characters of a user's digest: 96 bits
INSTANCE = 8  # characters of an instance's digest, 48 bits: two of a visitor's orders share a name once in 2 ** 45
MAX_WAYS = 256  # ways that a codec remembers how to read: at most 20 MB, of a flow whose cookies are full
Name = Callable[[str], Optional[str]]  # a state's code to its name; None for one that does not exist
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PLACE = {letter: number for number, letter in enumerate(_ALPHABET)}
# What does not grow: id 16, seq and first 8 hex digits each, three times of up to 12, flags 2, 11 dots, and the sign
# before a history.
_FIXED = 16 + 2 * 8 + 3 * 12 + 2 + 11 + 1


class Codec:
    """A flow's runs as texts, and back."""

    def __init__(self, flow: Definition, variables: Sequence[str] = ()) -> None:
        self._names = tuple(flow.states)
        self._width, self._code = _codes(self._names)
        self._state: dict[int, Mapping[str, str]] = {self._width: {code: name for name, code in self._code.items()}}
        self._variables = frozenset(variables)
        self._bind = flow.bind
        self._last: tuple[Optional[Run], str] = None, ""  # what a submission writes into its cookie and the ledger
        # How far visitors have come is few texts, which many share: each is read, and written, once for all of them.
        self._read_way = lru_cache(MAX_WAYS)(self._way)
        self._write_way = lru_cache(MAX_WAYS)(partial(_write_way, width=self._width, code=self._code.__getitem__))
        self.longest = self._bound(flow, variables)  # characters

    def _bound(self, flow: Definition, variables: Sequence[str]) -> int:
        """The longest text that any run has, whatever the visitor does. The time fields are counted in full."""
        most = bound(flow)
        once = sum(state.once for state in flow.states.values())
        places = 2 * (1 if most.trail <= len(_ALPHABET) else 2)
        values = sum(len(name) + 2 + -(-MAX_VALUE * 4 // 3) for name in variables)
        user = 1 + USER if flow.bind else 0
        return _FIXED + (most.trail + once) * self._width + most.history * places + most.trail // 4 + 1 + values + user

    def encode(self, run: Run) -> str:
        last, text = self._last
        if last is not run:
            text = _write(run, self._write_way)
            self._last = run, text
        return text

    def decode(self, text: str) -> Optional[Run]:
        """The run that *text* holds, without the states that no longer exist; None if it is no text of ours."""
        run = _read(text, self._read_way, self._variables.__contains__)
        return run._replace(user="") if run is not None and run.user and not self._bind else run

    def of_way(self, way: str) -> Optional[Run]:
        """A run of nobody's, at no time, that has come this way (see `apart`)."""
        return self.decode(f".0.0.0.0.0.{way}")

    def know(self, run: Run, text: str) -> None:
        """That *run*, which is about to be written, is written like this."""
        self._last = run, text

    def way(self, run: Run) -> str:
        """How the way of *run* is written."""
        return apart(self.encode(run))[HEAD]

    def _way(self, flags: str, trail: str, history: str, done: str, spent: str) -> Way:
        return _read_way(flags, trail, history, done, spent, self._known(_width(flags)).get)

    def _known(self, width: int) -> Mapping[str, str]:
        """Codes of *width* to names. Another deployment may have written shorter or longer ones; one that two of our
        states share names neither."""
        if width not in self._state:
            shorter: dict[str, list[str]] = {}
            for name in self._names:
                shorter.setdefault(_digest(name)[:width], []).append(name)
            self._state[width] = {code: names[0] for code, names in shorter.items() if len(names) == 1}
        return self._state[width]


class Coded(NamedTuple):
    """A run whose flow is not at hand: its states are named by their codes, of *width* characters."""

    run: Run
    width: int

    @classmethod
    def decode(cls, text: str) -> Optional[Coded]:
        """The run that *text* holds, with all that is in it; None if it is no text of ours."""
        run = _read(text, partial(_read_way, name_of=str), lambda variable: True)
        return None if run is None else cls(run, _width(text.split(".")[6]))

    def encode(self) -> str:
        return _write(self.run, partial(_write_way, width=self.width, code=str))

    def code(self, name: str) -> str:
        """How the state of this name is written here."""
        return _digest(name)[: self.width]


class Way(NamedTuple):
    """How far a run has come: flags, trail, history, done and spent of its text."""

    trail: tuple[str, ...]
    history: tuple[tuple[str, str], ...]
    done: frozenset[str]
    spent: frozenset[str]
    closed: bool


HEAD = 6  # fields of what a run has of its own: id, seq, since first, started; and since then, changed and entered


# Takes a run's text apart: the fields of its head, and in one text its way: all the rest, which many runs share.
apart: Callable[[str], list[str]] = methodcaller("split", ".", HEAD)


def numbers_of(head: Sequence[str]) -> Numbers:
    """What a head says in numbers."""
    seq, started = int(head[1], 16), int(head[3], 16)
    return seq, seq - int(head[2], 16), started, started + int(head[4], 16), started + int(head[5], 16)


def write_head(id: str, numbers: Numbers) -> str:
    seq, first, started, changed, entered = numbers
    return f"{id}.{seq:x}.{seq - first:x}.{started:x}.{changed - started:x}.{entered - started:x}."


def write_later(fields: Sequence[str], more: int, started: int, now: int, enters: bool) -> str:
    """The head of the same run, *more* changes later, of which the last is *now*, and enters a state or doesn't.
    fields: of its text, as they are taken apart."""
    id, seq, since, begun, _, entered, _ = fields
    age = f"{now - started:x}"
    return f"{id}.{_sum(seq, more)}.{_sum(since, more)}.{begun}.{age}.{age if enters else entered}."


@lru_cache(1_024)  # counts are small numbers, mostly
def _sum(count: str, more: int) -> str:
    return f"{int(count, 16) + more:x}"


def _write(run: Run, way_text: Callable[[Way], str]) -> str:
    way = way_text(Way(run.trail, run.history, run.done, run.spent, run.closed))
    text = f"{write_head(run.id, numbers_in(run))}{way}.{_write_values(run.values) if run.values else ''}"
    return f"{text}.{run.user}" if run.user else text


def _write_way(way: Way, width: int, code: Callable[[str], str]) -> str:
    return ".".join((
        f"{width:x}{'f' if way.closed else ''}", "".join([code(name) for name in way.trail]), _write_history(way),
        f"{_mask(way.trail, way.done):x}", "".join([code(name) for name in sorted(way.spent)]),
    ))  # fmt: skip


def _read(text: str, way_of: Callable[..., Way], variable: Callable[[str], bool]) -> Optional[Run]:
    """way_of: of the five fields of a way; variable: whether a rule variable of that name exists."""
    try:
        id_, seq, since, started, changed, entered, flags, trail, history, done, spent, values, *user = text.split(".")
        way = way_of(flags, trail, history, done, spent)
        run = Run(
            "", 0, 0, way.trail, way.history, way.done, way.spent, _read_values(values, variable) if values else (),
            closed=way.closed, user=_read_user(user) if user else "",
        )  # fmt: skip
        return with_numbers(run, id_, numbers_of((id_, seq, since, started, changed, entered)))
    except (ValueError, KeyError, IndexError):
        return None


def _width(flags: str) -> int:
    return int(flags[0], 16)


def _read_way(flags: str, trail: str, history: str, done: str, spent: str, name_of: Name) -> Way:
    width, mask = _width(flags), int(done, 16)
    names = [name_of(code) for code in _split(trail, width)]
    return Way(
        tuple([name for name in names if name is not None]),
        _read_history(history, names),
        frozenset([name for place, name in enumerate(names) if name is not None and mask >> place & 1]),
        frozenset([name for name in map(name_of, _split(spent, width)) if name is not None]),
        flags[1:] == "f",
    )


def _digest(name: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(name.encode("utf-8")).digest()).decode("ascii")


def _codes(names: Sequence[str]) -> tuple[int, dict[str, str]]:
    """The narrowest width, from `WIDTH` on, in which every state has a code of its own."""
    digests = {name: _digest(name) for name in names}
    width = WIDTH
    while len({digest[:width] for digest in digests.values()}) < len(digests):
        width += 1
    return width, {name: digest[:width] for name, digest in digests.items()}


def _split(text: str, width: int) -> list[str]:
    if not width or len(text) % width:
        raise ValueError("cut in the middle of a code")
    return [text[i : i + width] for i in range(0, len(text), width)]


def _mask(trail: Sequence[str], done: frozenset[str]) -> int:
    return sum([1 << place for place, name in enumerate(trail) if name in done]) if done else 0


def _write_history(way: Way) -> str:
    """Empty where the history is the trail, step by step; else pairs of places in the trail."""
    trail, history = way.trail, way.history
    if len(history) == len(trail) - 1 and history == tuple(zip(trail, trail[1:])):
        return ""
    place = {name: number for number, name in enumerate(trail)}
    if len(trail) <= len(_ALPHABET):
        return "-" + "".join([_ALPHABET[place[name]] for step in history for name in step])
    return "+" + "".join(
        [_ALPHABET[place[name] >> 6] + _ALPHABET[place[name] & 63] for step in history for name in step]
    )


def _read_history(text: str, names: Sequence[Optional[str]]) -> tuple[tuple[str, str], ...]:
    if not text:
        steps = list(zip(names, names[1:]))
    elif text[0] == "-":
        places = [_PLACE[letter] for letter in text[1:]]
        steps = [(names[a], names[b]) for a, b in zip(places[::2], places[1::2])]
    else:
        places = [_PLACE[pair[0]] << 6 | _PLACE[pair[1]] for pair in _split(text[1:], 2)]
        steps = [(names[a], names[b]) for a, b in zip(places[::2], places[1::2])]
    return tuple([(a, b) for a, b in steps if a is not None and b is not None])


def _write_values(values: Values) -> str:
    return "~".join(part for name, value in values for part in (name, _pack(value)))


def _pack(value: str) -> str:
    return urlsafe_b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def _read_values(text: str, variable: Callable[[str], bool]) -> Values:
    parts = text.split("~")
    pairs = zip(parts[::2], parts[1::2])
    return tuple([(name, _unpack(value)) for name, value in pairs if variable(name)])


def _read_user(fields: list[str]) -> str:
    (user,) = fields
    if len(user) != USER:
        raise ValueError("no digest of a user")
    return user


def _unpack(value: str) -> str:
    return urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode("utf-8", "surrogatepass")
