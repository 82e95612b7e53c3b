"""PATH_INFO -> the fence that it is under (CONTRACT 2): for applications that serve a page by paths which nobody named.

Asked after `flowguard.paths`, of what no rule knows. A path is under a fence if any of its readings is; it is open only
as it is spelled. Fences may stand in each other: the innermost decides.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple, Optional, Sequence, Union

from flowguard.paths import DOTS, SLASH, UNREADABLE, Unreadable
from flowguard.patterns import Keys
from flowguard.spelling import FILTER, MANY, ODD, Entangled, Folded, fold, is_spelled, readings
from flowguard.wire import native, raw


class Fence(NamedTuple):
    """prefix: ends in a slash, which the path itself may lack. open: the paths under it that pass; of one that ends in
    a slash, all that is below, too, but for the root, which is that page alone."""

    prefix: str
    open: Sequence[str] = ()


class Fenced(NamedTuple):
    """Under a fence, and not open."""

    index: int  # type: ignore[assignment]  # a result is read by its names: tuple.index is not missed


class _Post:
    """A fence, ready for look-up. key: its segments, folded."""

    def __init__(self, index: int, fence: Fence) -> None:
        self.answer = Fenced(index)
        bare = fence.prefix.rstrip("/")
        self.key = tuple(fold(segment) for segment in bare.split("/")[1:])
        self.plain = b"".join([b"/" + segment for segment in self.key]) + b"/"
        self._paths = {native(twin) for path in fence.open for twin in (path.rstrip("/"), f"{path.rstrip('/')}/")}
        self._below = tuple(native(path) for path in fence.open if path.endswith("/") and path != "/")

    def covers(self, keys: Keys, count: int) -> bool:
        """Is a path of *count* segments under it?"""
        return count >= len(self.key) and all(keys[place] == segment for place, segment in enumerate(self.key))

    def opens(self, path_info: str, plain: bool) -> bool:
        below = path_info.startswith(self._below) and (plain or _has_one_reading(path_info))
        return below or path_info in self._paths


class Fences:
    """All the fences of a guard. first: the number of the first, which `Fenced.index` counts on from."""

    def __init__(self, fences: Iterable[Fence], first: int = 0) -> None:
        posts = [_Post(index, fence) for index, fence in enumerate(fences, first)]
        self._posts = sorted(posts, key=lambda post: -len(post.key))  # the innermost comes first
        self._plain = tuple(post.plain for post in posts)

    def find(self, path_info: str) -> Union[Fenced, Unreadable, None]:
        """The fence that keeps a path out, of those that no rule knows; None if it may pass."""
        data = raw(path_info)
        key = data.translate(FILTER) + b"/"
        odd = ODD in key or "//" in path_info or ("/." in path_info and DOTS.search(path_info))
        plain = not odd and key[0] == SLASH
        if plain and not key.startswith(self._plain):
            return None
        try:
            post = self._over(key) if plain else self._over_any_reading(data)
        except Entangled:
            return UNREADABLE
        return None if post is None or post.opens(path_info, plain) else post.answer

    def _over(self, key: bytes) -> Optional[_Post]:
        return next((post for post in self._posts if key.startswith(post.plain)), None)

    def _over_any_reading(self, data: bytes) -> Optional[_Post]:
        """The innermost fence over any reading of a path."""
        folded = Folded()
        paths = [(folded.of(segments), len(segments)) for segments, _ in readings(data, MANY)]
        return next((post for post in self._posts for keys, count in paths if post.covers(keys, count)), None)


def _has_one_reading(path_info: str) -> bool:
    try:
        text = path_info.encode("latin-1").decode()
    except UnicodeError:
        return False
    return is_spelled(text)
