"""A large query or form is looked at as a whole: no parameter is missed that a reader of single fields would find."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_parameters import STEPS, fork, keys_of

from flowguard.forms import Doubtful, Field, urlencoded
from flowguard.glance import FEW, MOST, SMALL, Glance, is_large
from flowguard.parameters import MAX_FIELDS, MAX_QUERY, Fork
from flowguard.spelling import Entangled

OTHERS = "&".join(f"other{number}={number}" for number in range(FEW + 1))
TEXT = "text=" + "A+text+of+%C3%BCber%20%31,000+words,%0D%0A" * 200
LARGE = pytest.mark.parametrize("others", [OTHERS, TEXT], ids=["of many fields", "of a long one"])


@LARGE
@pytest.mark.parametrize("where", ["{0}&{1}", "{1}&{0}", "{1}&{0}&{1}"])
@pytest.mark.parametrize(("fields", "expected"), [
    ("", ["/p"]),
    ("step=3", ["/p?step=3", "/p"]),
    ("step=3&step=3", ["/p?step=3", "/p"]),
    ("save&step=4", ["/p?step=4&save", "/p?step=4", "/p"]),
    ("step=3&action=place%5Forder", ["/p?action=place_order&step=3", "/p?step=3", "/p"]),
    ("step=9", ["/p"]),
    ("sTEPs=3&laststep=3&x=step&next=/p?step=3&url=%26step%3D3%26", ["/p"]),
])  # fmt: skip
def test_a_large_form_is_read_like_a_small_one(others, where, fields, expected):
    body = where.format(fields, others)
    assert is_large(body.encode())
    assert keys_of(STEPS, "", body.encode()) == keys_of(STEPS, body) == expected


@LARGE
@pytest.mark.parametrize("field", [
    "Step=3", "step%20=3", "+step=3", "step%00=3", "step%00x=3", "%2573tep=3", "st%C2%ADep=3", "st%FFep=3", "step[]=3",
    "step%5Bx=3", "%EF%BD%93tep=3", "step%EF%BC%BBx=3", "%25%32%35%37%33tep=3", "st%%65p=3", "st\u0131ep=3&\u017ftep=3",
    "x;step=3", "step=3;x=1", "step;x=1", "step=03", "step=%33x", "step=3&step=4", "%73tep=3",
    "%1F=1&step%1F=3", "action=Place_Order&step=3", "_charset_=utf-7", "step=" + "0" * 800 + "3", "st\udcffep=3",
    "%73%74%65%70=3;", "step%252F=3", "s%0At%0Aep%\n=3", "step=3&" * (MOST + 1) + "x",
])  # fmt: skip
def test_what_is_doubtful_in_a_small_form_is_doubtful_in_a_large_one(others, field):
    data = f"{others}&{field}".encode("utf-8", "surrogateescape")
    assert keys_of(STEPS, "", data) is None


def test_names_are_told_apart_as_they_are_in_a_small_form():
    path = fork("/p?a_b", "/p?do[save]", "/p?x%2B1", "/p")
    for field in ("a.b=1", "a+b=1", "a%5Bb=1", "a-%5Fb=1", "DO[save]=1", "do%5Bsave=1", "x+1=2", "x%2B1=1"):
        assert keys_of(path, f"{OTHERS}&{field}") is None
    assert keys_of(path, f"{OTHERS}&a_b=1") == ["/p?a_b", "/p"]
    assert keys_of(path, f"{OTHERS}&do[save]=1") == ["/p?do[save]", "/p"]
    assert keys_of(path, f"{OTHERS}&do[delete]=1") == ["/p"]


def test_where_it_can_not_be_told_in_time_a_large_form_is_doubtful():
    assert keys_of(STEPS, "", f"{OTHERS}&x={'%25' * 600}{'3' * 1201}".encode()) is None


def test_names_that_are_not_ascii_are_looked_for_one_by_one():
    assert keys_of(fork("/p?gr%C3%B6%C3%9Fe", "/p"), f"{OTHERS}&GR%C3%96SSE=1") is None
    assert keys_of(fork("/p?gr%C3%B6%C3%9Fe", "/p"), OTHERS) == ["/p"]
    assert keys_of(fork("/p?gr%C3%B6%C3%9Fe", "/p"), "&" * (MAX_FIELDS - 1)) == ["/p"]
    assert keys_of(fork("/p?gr%C3%B6%C3%9Fe", "/p"), "&" * MAX_FIELDS) is None


def test_a_query_that_no_server_takes_is_doubtful():
    assert keys_of(STEPS, "x" * MAX_QUERY) == ["/p"]
    assert keys_of(STEPS, "x" * (MAX_QUERY + 1)) is None


# --- whatever is in there, what it tells is what a reader of single fields would tell ---------------------------------

FORKS = [
    fork("/p?step=3", "/p?a_b", "/p?do[save]=x"), fork("/p?action=place.order"), fork("/p?@x=1&y-z"), fork("/p?%2541"),
    fork("/p?_"), fork("/p?s", "/p?st%26ep=1", "/p?x%2B1=2", "/p?a%253Db=1"),
]  # fmt: skip
BITS = [
    "step", "STEP", "st", "ep", "a_b", "a.b", "a b", "ab", "do[save]", "do", "[", "]", "save", "action", "place.order",
    "@x", ":x", "y-z", "yz", "A", "%41", "_", "s", "x+1", "+", "%2B", "&", "&", "&", "=", "=", ";", "%26", "%3D", "%3d",
    "%3B", "%00", "%25", "%2541", "%252541", "%25252F", "%2F", "/", "\\", "%5C", "%255C", "%0A", "%1F", "%C2%AD",
    "%EF%BD%93", "%EF%BC%BB", "%EF%BC%85", "41", "%", "%%", "%\n", "\r\n", "%EF%BC%8F", "%C5%BF", "%E2%84%AA",
    "%C4%B1", "%CC%81", "=%CC%B8", "%C3%A9", "ß", "%C3%9F", "%FF", "%e2", "\xa0", "%20", " ", "3", "x", "%253D",
    "%2526", "%73", "%73te%70", "%257", "5", "2", "\x1f", "~", "|", "%7C", "#",
]  # fmt: skip


def told(path: Fork, fields) -> Optional[dict[bytes, bytes]]:
    """What the fields come to; None where that is doubtful."""
    try:
        return dict(path._values(fields()))
    except (Doubtful, Entangled):
        return None


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(FORKS), st.lists(st.sampled_from(BITS), min_size=1, max_size=14).map("".join))
def test_a_glance_tells_nothing_that_a_closer_look_would_not(path: Fork, text: str):
    data, glance = text.encode(), path._glance
    assert glance is not None
    seen = told(path, lambda: glance.fields(data))
    assert seen is None or seen == told(path, lambda: urlencoded(data))


def test_what_is_large_is_so_by_its_bytes_or_by_its_fields():
    assert [is_large(b"x" * SMALL), is_large(b"x" * (SMALL + 1))] == [False, True]
    assert [is_large(b"&" * FEW), is_large(b"&" * FEW + b";")] == [False, True]


def test_a_parameter_is_looked_at_so_often():
    glance = Glance([b"step"], [b"step"])
    assert glance.fields(b"&".join([b"step=%33"] * MOST)) == [Field(b"step", b"3")]
    with pytest.raises(Doubtful):
        glance.fields(b"&".join([b"step=3"] * (MOST + 1)))
