"""Texts at the beginning of an answer: in any charset, in any pieces, packed or not, and never at any cost."""

from __future__ import annotations

import gzip
import sys
import time
import zlib

import pytest

from flowguard.searching import WITHIN, Search

PAGE = "<h1>Danke für Ihre Bestellung</h1>"
TEXT = "Danke für"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def found(*pieces: bytes, texts=(TEXT,), encoding="", content_type="text/html") -> list[str]:
    search = Search(texts, encoding, content_type)
    for piece in pieces:
        search.feed(piece)
    return sorted(search.found)


def one_by_one(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


CHARSETS = {
    "": "utf-8",
    "; charset=utf-8": "utf-8",
    "; charset=ISO-8859-1": "latin-1",
    '; charset="windows-1252"': "cp1252",
    "; charset=utf-16": "utf-16",
    "; charset=utf-7": "utf-7",
    "; charset=klingon": "utf-8",
    "; charset=zlib": "utf-8",
    "; charset=undefined": "utf-8",
    "; charset": "utf-8",
}


@pytest.mark.parametrize(("parameter", "charset"), CHARSETS.items(), ids=[key or "none" for key in CHARSETS])
def test_a_text_is_found_in_the_answers_charset_in_whatever_pieces_it_comes(parameter, charset):
    page = PAGE.encode(charset)
    assert found(page, content_type=f"text/html{parameter}") == [TEXT]
    assert found(*one_by_one(page), content_type=f"text/html{parameter}") == [TEXT]


def test_what_does_not_stand_there_is_not_found():
    assert found(PAGE.encode(), texts=("danke", "Danke  für", "Danke f")) == ["Danke f"]
    assert found(b"Danke f\xfcr") == []  # bytes that are no UTF-8


def test_texts_of_different_lengths_are_found_side_by_side_and_over_the_edges_of_pieces():
    assert found(b"ab", b"cde", b"f", texts=("a", "bc", "abcdef", "f", "x")) == ["a", "abcdef", "bc", "f"]


PACKED = {"gzip": gzip.compress, "x-gzip": gzip.compress, "GZIP ": gzip.compress, "deflate": zlib.compress,
          "Deflate": raw_deflate, "identity": bytes}  # fmt: skip


@pytest.mark.parametrize(("encoding", "pack"), PACKED.items(), ids=[f"{key} {pack.__name__}" for key, pack in
                                                                    PACKED.items()])  # fmt: skip
def test_a_packed_answer_is_unpacked_as_it_comes(encoding, pack):
    packed = pack(PAGE.encode())
    assert found(packed, encoding=encoding) == [TEXT]
    assert found(*one_by_one(packed), encoding=encoding) == [TEXT]


def test_a_gzip_of_several_members_is_one_answer():
    packed = gzip.compress(b"nothing yet, ") + gzip.compress(b"Danke ") + gzip.compress("für".encode())
    assert found(packed, encoding="gzip") == [TEXT]
    assert found(*one_by_one(packed), encoding="gzip") == [TEXT]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", PAGE.encode()),
        ("gzip", gzip.compress(PAGE.encode())[:12]),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"),
        ("gzip", b""),
        ("deflate", b"x"),
        ("deflate", b"\xff\xff\xff"),
    ],
    ids=["not packed at all", "cut off", "broken", "nothing", "one byte", "no deflate"],
)
def test_in_a_broken_stream_there_is_no_text(encoding, packed):
    assert found(packed, PAGE.encode(), encoding=encoding) == []


# Python 3.13 reads on where earlier versions' punycode gave up.
GIVING_UP = ["utf-16", "punycode"] if sys.version_info < (3, 13) else ["utf-16"]


@pytest.mark.parametrize("charset", GIVING_UP)
def test_what_its_codec_gives_up_holds_no_text(charset):
    search = Search([TEXT], content_type=f"text/html; charset={charset}")
    search.feed(b"\x1b" * 60)
    search.feed(b"\xff\xff\xff")
    search.feed(PAGE.encode(charset, "replace"))
    assert (search.over, search.found) == (True, frozenset())


def test_what_was_found_before_a_stream_broke_is_found():
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(PAGE.encode()) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert found(start, b"\xff" * 20, PAGE.encode(), encoding="gzip") == [TEXT]


def test_an_encoding_that_cannot_be_read_is_named():
    with pytest.raises(ValueError, match="'br' can't be searched"):
        Search([TEXT], "br")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_a_text_counts_if_all_of_it_stands_in_the_first_64_kib(pack):
    encoding = "gzip" if pack is gzip.compress else ""
    for before, there in ((WITHIN - 5, ["after"]), (WITHIN - 4, [])):
        assert found(pack(b"x" * before + b"after"), texts=["after"], encoding=encoding) == there
    assert found(b"x" * (WITHIN - 1), b"yz", texts=["y", "z"]) == ["y"]


def test_it_is_over_when_so_much_came_packed_or_unpacked():
    plain, bomb, noise = Search(["z"]), Search(["z"], "gzip"), Search(["z"], "gzip")
    plain.feed(b"x" * (WITHIN - 1))
    assert not plain.over
    plain.feed(b"x")
    assert plain.over
    bomb.feed(gzip.compress(bytes(10_000_000)))
    assert bomb.over
    noise.feed(gzip.compress(b"") * 4000)  # members that hold nothing
    assert noise.over


@pytest.mark.timed
def test_a_bomb_costs_no_more_than_what_is_looked_at():
    packed = gzip.compress(bytes(100_000_000))
    begun = time.process_time()
    for _ in range(10):
        found(packed, encoding="gzip")
    assert time.process_time() - begun < 1  # seconds; unpacking it once takes a third of one
