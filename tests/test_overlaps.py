"""Rules that share paths: whatever is reported is shown by a path, and what is told apart is not reported."""

from __future__ import annotations

import itertools

import pytest
from werkzeug.routing import Map, Rule

from flowguard.overlaps import Overlap, overlaps


@pytest.mark.parametrize(("rules", "found"), [
    (["/orders/new", "/orders/<id>"], [Overlap(0, 1, "/orders/new")]),
    (["/orders/<id>", "/orders/new"], [Overlap(1, 0, "/orders/new")]),
    (["/orders/new", "/orders/<int:id>"], []),
    (["/a/<x>", "/<y>/b"], [Overlap(0, 1, "/a/b")]),
    (["/a/<x>", "/b/<y>"], []),
    (["/a/<x>", "/a/<x>/c"], []),
    (["/a<int:x>", "/<y>"], [Overlap(0, 1, "/a1")]),
    (["/cart/", "/<x>/"], [Overlap(0, 1, "/cart")]),
    (["/<any(a,b):x>/z", "/<any(c,b):y>/<w>"], [Overlap(0, 1, "/b/z")]),
    (["/<uuid:x>", "/<string(length=36):y>"], [Overlap(0, 1, "/00000000-0000-4000-8000-000000000000")]),
    (["/<int:x>", "/<float:y>"], []),
    (["/<string(minlength=50):x>", "/<int(max=9):y>"], []),
    (["/shop/<path:rest>", "/shop/cart"], [Overlap(1, 0, "/shop/cart")]),
    (["/shop/<path:rest>", "/shop/<a>/<b>"], [Overlap(1, 0, "/shop/x/x")]),
    (["/<path:p>/end", "/x/<q>/end"], [Overlap(1, 0, "/x/x/end")]),
    (["/<path:p>/end", "/x/<q>/fin"], []),
], ids=str)  # fmt: skip
def test_an_overlap_is_shown_by_a_path_and_goes_to_the_rule_that_werkzeug_takes(rules, found):
    assert overlaps(rules) == found


def test_of_three_rules_each_pair_that_really_decides_is_reported():
    """What the first one takes from both others is no matter between these."""
    assert overlaps(["/x", "/<a>", "/<int:b>"]) == [Overlap(0, 1, "/x"), Overlap(2, 1, "/1")]
    assert overlaps(["/X", "/<any(x):a>", "/<any(x,y):b>"]) == []  # of another spelling no rule's path


SEGMENTS = ["a", "b", "a1", "<{}>", "<int:{}>", "b<{}>", "<any(a,c):{}>"]


def test_werkzeug_agrees_on_what_is_found_in_pairs_of_two_segments():
    rules = ["/" + "/".join(segment.format(name) for segment, name in zip(pair, "xy"))
             for pair in itertools.product(SEGMENTS, repeat=2)]  # fmt: skip
    for one, other in itertools.combinations(rules, 2):
        for winner, _, path in overlaps([one, other]):
            known = Map([Rule(one, endpoint="0"), Rule(other, endpoint="1")]).bind("host")
            assert known.match(path)[0] == str(winner)
            assert all(Map([Rule(rule, endpoint="")]).bind("host").test(path) for rule in (one, other))
