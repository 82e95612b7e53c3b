"""How a hostile client writes a path: every kind of respelling that CONTRACT 8 names, one by one and combined.

Paths are texts here; a byte that is no UTF-8 is a surrogate, as `surrogateescape` has it. All of it follows from a
seed.
"""

from __future__ import annotations

import itertools
import random
import re
from typing import Callable, Iterator, Sequence
from urllib.parse import quote

Mutation = Callable[[random.Random, str], str]

# Put in anywhere: at an edge, between two segments or into a word.
INSERTED: dict[str, Sequence[str]] = {
    "slashes": ["/", "//", "///"],
    "dot segments": ["/.", "/./", "./", "/..", "/../", "../", "/x/../", "x/../", "/x/./..", "/...", "."],
    "parameters": [";", ";x=1", "/;", ";/", "/;x=1/", ";jsessionid=a.b", "..;/", "/..;x/"],
    "backslashes": ["\\", "\\\\", "\\..\\", "\\.\\", "/\\"],
    "escapes": ["%2f", "%2F", "%2f%2f", "%5c", "%2e", "%2e%2e/", "/.%2e/", "%3b", "%3Bx", "%25", "%", "%zz", "%2"],
    "escaped controls": ["%00", "%0a", "%0d%0a", "%09", "%20", "%7f", "%c2%a0", "%e2%80%8b", "%23", "%3f"],
    "deep escapes": ["%252f", "%25252f", "%252e%252e%252f", "%%32%66", "%%37%30", "%u002f", "%25" * 9 + "2f"],
    "bytes that are not UTF-8": ["\udcff", "\udc85", "\udcc3", "\udce2\udc82", "\udcc0\udcaf", "\udce0\udc80\udcaf",
                                 "%ff", "%c3", "%c0%af", "\udced\udca0\udc80"],
    "controls": ["\0", "\n", "\r", "\r\n", "\t", "\x0b", "\x0c", "\x1b", "\x1f", "\x7f", "\x85", "\0.css", "\n/"],
    "spaces": [" ", "  ", "/ ", " /", "\xa0", "\u2003", "\u3000", "+", "\u1680"],
    "what nobody sees": ["\u200b", "\ufeff", "\xad", "\u2060", "\u200d", "\u202e", "\ufe0f", "\u180e", "\U000e0061"],
    "compatibility forms": ["\uff0f", "\uff3c", "\uff0e", "\uff0e\uff0e/", "\u2024", "\u2025/", "\uff05\uff12\uff26",
                            "\uff1b", "\u2100", "\u2215", "\u2044", "\ufffd", "\uff03", "\uff1f"],
    "combining marks": ["\u0301", "\u0338", "\u20e0", "\u0301\u0316"],
    "ends": ["#", "#f", "?", "?x=1", "?step=3"],
    "marks": [",", "~", ":", ":80", "@", "@@", "*", "!", "$", "&", "=", "'", "(", ".css", ".html", "-", "_"],
    "words": ["x", "7", "/x", "/x/", "/index", "/index.html", "/anything", "/0"],
}  # fmt: skip
IN_FRONT = {
    "no slash": [""],
    "a scheme": ["http:/", "http:", "x:/", "HTTP:/", "javascript:/", "http:////"],
    "a scheme and a host": ["http://h/", "http://h:80/", "HTTPS://H/", "http://u@h/", "http://h//", "ftp://h/",
                            "http:///", "http://h;x/", "http://h\\/", "http://h/x/../"],
    "a host": ["//h/", "//h:80/", "h/", "h:80/", "//u@h/../", "///h/"],
    "segments to nowhere": ["/x/../", "/../", "/./", "/../../", "/x/y/../../", "/x//../", "/%2e/", "./", "../"],
    "a star": ["*", "*/", "/*/"],
}  # fmt: skip
AT_THE_END = {
    "a slash": ["/", "//", "/.", "/./", "/%2f", "%2f"],
    "a way back": ["/x/..", "/..", "/x/../", "/%2e%2e", "/x\\.."],
    "something below": ["/anything", "/@@view", "/x.css", ".css", "/index", "/edit", "/pay", "/address"],
    "a line": ["\n", "\r\n", "\r", "\x85", "\u2028", "%0a"],
    "a tail": [";", ";x", "?", "?x", "#", "#f", "%", "%0", "%23", "%3fx", "\0", "\0x", " ", ".", "..", "~", ","],
}
# In place of a number; in place of an item; what some reader takes for another.
NUMBERS = ["+7", "007", "-7", "7_0", "0_7", "\u0667", "\uff17", "7.0", "7e0", "0x7", " 7", "7 ", "\u2466", "\xb2", "-0",
           "7" * 60, "7,0", "7;x", "%37", "%2b7", "\u0967", "\U0001d7df"]  # fmt: skip
UUID = "9e3b8f0a-6a5e-4a52-8f39-3a1f0f6f1c11"
UUIDS = [
    UUID.upper(), UUID.replace("-", ""), "{" + UUID + "}", "urn:uuid:" + UUID, UUID.replace("-", "", 2), UUID[:-1],
    UUID.replace("9e", "\uff19e"), UUID.replace("-", "\u2010"), "uuid:" + UUID, UUID + "}", "-" + UUID,
]  # fmt: skip
_TWINS = {
    "i": "\u0131\u0130", "s": "\u017f", "k": "\u212a", "a": "\u0430\u1d43", "p": "\u24df", "o": "\xba\u24ea",
    "e": "\u212f", "/": "\uff0f\u2215\\", "_": "-.~! ", "-": "_.\u2010", ".": "\u2024\uff0e", "1": "\xb9\u2460",
    "7": "\u0667\uff17",
}  # fmt: skip


def _insert(tokens: Sequence[str]) -> Mutation:
    def mutate(rng: random.Random, text: str) -> str:
        joints = [0, len(text), *(place.start() for place in re.finditer("/", text))]
        place = rng.choice(joints) if rng.random() < 0.5 else rng.randrange(len(text) + 1)
        return text[:place] + rng.choice(tokens) + text[place:]

    return mutate


def _in_front(tokens: Sequence[str]) -> Mutation:
    return lambda rng, text: rng.choice(tokens) + text[text[:1] == "/" :]


def _at_the_end(tokens: Sequence[str]) -> Mutation:
    return lambda rng, text: text + rng.choice(tokens)


def _at_a_place(change: Callable[[random.Random, str], str]) -> Mutation:
    """Change one character."""

    def mutate(rng: random.Random, text: str) -> str:
        place = rng.randrange(len(text)) if text else 0
        return text[:place] + change(rng, text[place : place + 1]) + text[place + 1 :]

    return mutate


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _escape(rng: random.Random, char: str) -> str:
    return rng.choice([_escaped(char), _escaped(char).upper(), _escaped(char).replace("%", "%25"),
                       _escaped(_escaped(char)), _escaped(char).replace("%", "%2525")])  # fmt: skip


def _escape_all(rng: random.Random, text: str) -> str:
    return rng.choice([_escaped(text), "/" + _escaped(text[1:]), text.replace("/", "%2f"), text.replace("/", "%252F")])


def _widen(_rng: random.Random, char: str) -> str:
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char


def _beautify(_rng: random.Random, char: str) -> str:
    """A mathematical letter or digit."""
    for first, last, there in ("a", "z", 0x1D41A), ("A", "Z", 0x1D400), ("0", "9", 0x1D7CE):
        if first <= char <= last:
            return chr(there + ord(char) - ord(first))
    return char


def _change_case(rng: random.Random, text: str) -> str:
    return rng.choice([text.upper(), text.title(), text.swapcase(), "".join(rng.choice([c, c.upper()]) for c in text)])


def _turn_slashes(rng: random.Random, text: str) -> str:
    return text.replace("/", rng.choice(["\\", "//", "/./", "\uff0f", ";/", "/;/", "%2f", "\\/", "/%2e/"]))


def _number(rng: random.Random, text: str) -> str:
    return re.sub("(?<=/)7(?=/|$)", lambda _: rng.choice(NUMBERS), text)


def _uuid(rng: random.Random, text: str) -> str:
    return text.replace(UUID, rng.choice(UUIDS))


def _swap(rng: random.Random, text: str) -> str:
    place = rng.randrange(max(1, len(text) - 1))
    return text[:place] + text[place + 1 : place + 2] + text[place : place + 1] + text[place + 2 :]


KINDS: dict[str, Mutation] = {
    **{f"inserted: {name}": _insert(tokens) for name, tokens in INSERTED.items()},
    **{f"in front: {name}": _in_front(tokens) for name, tokens in IN_FRONT.items()},
    **{f"at the end: {name}": _at_the_end(tokens) for name, tokens in AT_THE_END.items()},
    "a character escaped": _at_a_place(_escape),
    "all escaped": _escape_all,
    "a full-width character": _at_a_place(_widen),
    "a mathematical character": _at_a_place(_beautify),
    "a character's twin": _at_a_place(lambda rng, char: rng.choice(_TWINS.get(char, char or "x"))),
    "a character left out": _at_a_place(lambda _rng, _char: ""),
    "a character doubled": _at_a_place(lambda _rng, char: char * 2),
    "two characters swapped": _swap,
    "another case": _change_case,
    "other slashes": _turn_slashes,
    "another number": _number,
    "another UUID": _uuid,
}


def mutants(seed: int, paths: Sequence[str], count: int, depth: int = 3) -> Iterator[str]:
    """*count* texts, each one to *depth* mutations away from one of *paths*: half of them one, every kind and path in
    turn."""
    rng = random.Random(seed)
    kinds = list(KINDS.values())
    singly = itertools.cycle(itertools.product(kinds, paths))
    for number in range(count):
        if number % 2:
            text = rng.choice(paths)
            for kind in rng.choices(kinds, k=rng.randint(2, depth)):
                text = kind(rng, text)
            yield text
        else:
            kind, text = next(singly)
            yield kind(rng, text)


def path_info(text: str) -> str:
    """As a server hands it over that decodes nothing."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def target(text: str) -> bytes:
    """As it may stand in a request line: what would end it there is escaped, all the rest is as it is."""
    unquoted = bytes({*range(0x21, 0x100)} - {0x23, 0x3F})
    return quote(text.encode("utf-8", "surrogateescape"), safe=unquoted).encode("latin-1")


# --- parameters -------------------------------------------------------------------------------------------------------

_NAMES = [
    *("step",) * 6, "Step", "step[]", "step[0]", "step[", "st%65p", "%73%74%65%70", "st%2565p", "step%00", "step%00x",
    "step.", "+step", "step+", "step%20", "\uff53tep", "s\u200btep", "step%ff", "amp;step", "x", "steps", "_charset_",
]  # fmt: skip
_VALUES = [
    "2", "2", "3", "3", "1", "", "02", "+2", "%2b2", "2%00", "2%00x", "%32", "%2532", "\uff12", "\u0662", "2.0", "2e0",
    "2+", "2%20", "%092", "2,3", "2;step=3", "2%26step=3", "0x2", "2#", "2%ff", "utf-7", "2x", "two",
]  # fmt: skip
_PARTS = ["&", "&", "&", "&", "&", ";", "&&", "&amp;", "%26", "?", ","]


def parameters(rng: random.Random) -> str:
    """A query, or a form: up to three parameters, most of which ask for a step, in one spelling or another."""
    pairs = [rng.choice(_NAMES) + rng.choice(["=", "=", "=", "=", "", "==", "%3d"]) + rng.choice(_VALUES)
             for _ in range(rng.randint(0, 3))]  # fmt: skip
    return path_info("".join(pair + rng.choice(_PARTS) for pair in pairs)[: rng.choice([-1, None, None])])
