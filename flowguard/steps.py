"""What a beaten track remembers: what was decided for those who came one way, and what their answers came to."""

from __future__ import annotations

from typing import Iterator, Optional, Sequence, cast

from flowguard import records
from flowguard.answers import Heard, Told, is_local, read_answer
from flowguard.codec import Codec, numbers_of
from flowguard.core.outcome import Settled
from flowguard.core.passage import NO_RUN, Passage, Refusal
from flowguard.core.precedents import NOW, Precedent, goes_on
from flowguard.core.run import Run, with_numbers
from flowguard.exchange import Headers
from flowguard.gate import needs_the_page
from flowguard.keeping import IN_DOUBT
from flowguard.reading import Environ
from flowguard.records import Led
from flowguard.refusals import AGAIN
from flowguard.refusing import Shape
from flowguard.replies import Response
from flowguard.visit import Kit, caching_of, may_tell

MAX_STEPS = 1_024  # that a flow's `Shelves` hold: some kB each, and 25 where it refuses in eight languages
MAX_REPLIES = 16  # of each step: Locations are many where they name an order
LONG = 256  # characters of a way
USUAL = 400  # characters of an answer's headers; what was made of longer ones is not kept

# An answer of the application: status, Content-Type, Location, and the mount point that the last is read against.
Known = tuple[str, Optional[str], Optional[str], Optional[str]]


class Reply:
    """What an answer of the application comes to.

    way: how the run that it leaves is written; None: as it was. tells: the answer may carry a cookie. goes_on: it is
    the same run, `more` changes later, and has entered a state if `enters`. owned: there is a run, so that it is its
    user's. record: what stands behind the run's text in a ledger, which is to keep it if `keep`.
    """

    __slots__ = ("enters", "goes_on", "keep", "more", "owned", "record", "settled", "tells", "told", "way")

    def __init__(self, told: Told, settled: Settled, way: Optional[str] = None, record: str = "") -> None:
        self.told, self.settled, self.way, self.record = told, settled, way, record
        after = settled.run
        self.tells, self.goes_on, self.keep = may_tell(told.answer), goes_on(after), bool(after.spent)
        self.more, self.enters, self.owned = after.seq, after.entered == NOW, bool(after.trail)


class Step:
    """What comes of one kind of request, for one of a flow's states, of all who have come the same way."""

    __slots__ = (
        "again", "claims", "clock", "codec", "headers", "hooked", "keeper", "kit", "name", "needs_page", "once",
        "passage", "precedent", "record", "refused", "replies", "responses", "run", "way",
    )  # fmt: skip

    def __init__(self, kit: Kit, codec: Codec, name: str, way: str, precedent: Precedent) -> None:
        self.kit, self.codec, self.name, self.way = kit, codec, name, way
        self.clock, self.keeper, self.hooked = kit.clock, kit.keeper, kit.hooks.any
        self.precedent, verdict = precedent, precedent.verdict
        self.run = precedent.run or NO_RUN
        self.refused = verdict if isinstance(verdict, Refusal) else None
        self.again = self.refused is not None and self.refused.reason in AGAIN
        self.passage = cast(Passage, verdict)  # where it is not refused
        claims = self.refused is None and self.passage.claim
        self.claims, self.once = claims and kit.keeper.keeps, claims and kit.is_once(name)
        self.needs_page = self.refused is None and needs_the_page(self.passage)
        vary, caching = ("Vary", "Cookie"), ("Cache-Control", caching_of(kit.flow, name))
        self.headers: tuple[Headers, Headers] = [vary, caching], [vary]  # the second where the application says caching
        self.record = records.behind(self.run.current or "", self.run.spent)
        self.replies: dict[Known, Reply] = {}
        self.responses: dict[Shape, Response] = {}  # where it is refused

    def learn(self, known: Known, heard: Heard, base: Environ) -> Reply:
        """What an answer comes to that is not known yet. base: the environ as the request came."""
        status, _, location, _ = known
        told = read_answer(status, heard, base, self.kit.lookup)
        reply = self._reply(told, self.precedent.settled(told.answer))
        if _is_everybodys(location, told) and sum(map(len, filter(None, known))) <= USUAL:
            if len(self.replies) >= MAX_REPLIES:
                self.replies.clear()
            self.replies[known] = reply
        return reply

    def _reply(self, told: Told, settled: Settled) -> Reply:
        after = settled.run
        if after is self.run:
            return Reply(told, settled)
        record = records.behind(after.current or "", after.spent, self._led(told, settled))
        return Reply(told, settled, self.codec.way(after), record)

    def _led(self, told: Told, settled: Settled) -> Optional[Led]:
        if told.location is None or not self.passage.submission or settled.outcome in IN_DOUBT:
            return None
        return Led(self.passage.state, told.location)


class Shelf(dict[str, Step]):
    """The steps that a lane has learnt, by the way's text."""

    __slots__ = ("_by_end",)

    def __init__(self) -> None:
        super().__init__()
        self._by_end: dict[str, Step] = {}

    def find(self, way: str) -> Optional[Step]:
        """`get` for a way of `LONG` or more: to hash all of it takes longer than to compare it with one whose end is
        the same."""
        end = way[-LONG:]
        step = self._by_end.get(end)
        if step is None or step.way != way:
            step = self.get(way)
            if step is not None:
                self._by_end[end] = step
        return step

    def clear(self) -> None:
        super().clear()
        self._by_end.clear()


class Shelves:
    """All the steps that a flow's lanes have learnt, each on a shelf of its own, `MAX_STEPS` together."""

    def __init__(self) -> None:
        self._shelves: list[Shelf] = []
        self._count = 0

    def new(self) -> Shelf:
        shelf = Shelf()
        self._shelves.append(shelf)
        return shelf

    def put(self, shelf: Shelf, step: Step) -> None:
        """Where there is no place, all the others go: they are learnt anew when somebody comes that way."""
        if self._count >= MAX_STEPS:
            self._count = 0
            for full in self._shelves:
                full.clear()
        shelf[step.way] = step
        self._count += 1

    def __iter__(self) -> Iterator[Step]:
        return (step for shelf in self._shelves for step in shelf.values())


def _is_everybodys(location: Optional[str], told: Told) -> bool:
    """Is it read by nothing but its text and the mount point? Beyond that, a Location is read by the request's host."""
    to = told.answer.to
    return to is None or (to.path is not None and location is not None and is_local(location))


def run_of(pattern: Run, head: Sequence[str], user: str) -> Run:
    """The run of a visitor who has come the way of *pattern*; the first fields of its text are its own, and *user*."""
    run = with_numbers(pattern, head[0], numbers_of(head))
    return run._replace(user=user) if user else run
