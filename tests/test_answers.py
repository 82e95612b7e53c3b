"""The application's answer as the rules see it."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from flowguard.answers import MAX_WRITTEN, NOWHERE, Place, destination, hear, read_answer, rooted, status_of
from flowguard.core.outcome import Answer, Destination, Overrule

BASE = {"wsgi.url_scheme": "https", "HTTP_HOST": "Shop.example:8443", "SCRIPT_NAME": "/s", "PATH_INFO": "/a/b"}
PLACES = {
    "/": Place("root", True, ()),
    "/a/b": Place("here", True, ()),
    "/a/c": Place("there", True, (("id", "7"),)),
    "/img": Place("img", False, ()),
    "/caf\xc3\xa9": Place("caf\u00e9", True, ()),
}


def lookup(path: str, _query: str) -> Place:
    return PLACES.get(path, NOWHERE)


@pytest.mark.parametrize(
    ("status", "number"),
    [
        ("200 OK", 200), ("404", 404), ("", 0), ("20", 0), ("OK", 0), (" 200", 0), ("2\u00b20 OK", 0),
        ("\u0662\u0660\u0660", 0),
    ],
)
def test_a_status_line_that_no_server_takes_is_no_status(status: str, number: int):
    assert status_of(status) == number


@pytest.mark.parametrize(
    ("location", "state", "path"),
    [
        ("/s/a/c", "there", "/a/c"),
        ("/s", "root", "/"),
        ("/s/", "root", "/"),
        ("c", "there", "/a/c"),
        ("./c", "there", "/a/c"),
        ("../a/c", "there", "/a/c"),
        ("?x=1", "here", "/a/b"),
        ("#top", "here", "/a/b"),
        ("", "here", "/a/b"),
        ("/s/a/%63", "there", "/a/c"),
        ("/s/caf%C3%A9", "caf\u00e9", "/caf\u00e9"),
        ("/s/caf\xc3\xa9", "caf\u00e9", "/caf\u00e9"),
        ("/s/caf%E9", None, "/caf\ufffd"),
        ("/s/\u20ac", None, "/\u20ac"),
        ("/s/img", None, "/img"),
        ("/s/elsewhere", None, "/elsewhere"),
        ("https://shop.example/s/a/c", "there", "/a/c"),
        ("http://SHOP.EXAMPLE:80/s/a/c?x=1", "there", "/a/c"),
        ("//shop.example/s/a/c", "there", "/a/c"),
        ("https://user@shop.example/s/a/c", "there", "/a/c"),
        ("/shop/a/c", None, None),
        ("/a/c", None, None),
        ("../../../a/c", None, None),
        ("https://other.example/s/a/c", None, None),
        ("//other.example/s/a/c", None, None),
        ("https://shop.example.evil/s/a/c", None, None),
        ("mailto:a@shop.example", None, None),
        ("http://[", None, None),
        ("http://[::1]/s/a/c", None, None),
        ("/\\other.example", None, None),
    ],
)
def test_a_location_is_read_below_the_mount_point_on_the_same_host(
    location: str, state: Optional[str], path: Optional[str]
):
    found = destination(location, BASE, lookup)
    assert (found.state, found.path) == (state, path)


def test_a_destination_has_its_values_its_query_and_its_whole_address():
    there = Destination("there", "/s/a/c?x=1&y", "/a/c", "x=1&y", (("id", "7"),))
    assert destination("/s/a/c?x=1&y", BASE, lookup) == there
    assert destination("/other?x", BASE, lookup) == Destination(None, "https://Shop.example:8443/other?x")
    assert destination("https://pay.example/?x", BASE, lookup) == Destination(None, "https://pay.example/?x")


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("[::1]:8000", "http://[::1]/x"),
        ("[::1]", "http://[::1]:8000/x"),
    ],
)
def test_hosts_are_compared_without_their_ports(host: str, location: str):
    assert destination(location, {"HTTP_HOST": host}, lookup).path == "/x"


@pytest.mark.parametrize("way", ["a/../", "/a/../", "//shop.example/s/a/../", "%61/%2E%2E/", "\\"])
def test_a_location_of_a_path_that_no_server_takes_leads_nowhere(way: str):
    endless = way * (MAX_WRITTEN // len(way) + 1)
    assert destination(endless, BASE, lookup) == Destination(None, endless)
    assert rooted(endless, BASE) == endless
    assert destination("/s/a/c?" + endless, BASE, lookup).state == "there"
    assert rooted("c?" + endless, BASE) == "/s/a/c?" + endless


# Each would be read as a path, if a Location were resolved against it, or if an application wrote it into one.
ODD_HOSTS = [
    "x/a/c#", "x/a/c?", "x:/a/c?", "x:80/a/c#", "/a/c?", ":80/a/c?", "?", "#", "x/", "x/a/c/../", "user@x/a/c?", "@",
    "x\\a", "[::1]/a/c?", "[::1", "x y", "x\r\ny", "x\x00", "\xff", "", ":80", "::", "x:y",
]  # fmt: skip


@pytest.mark.parametrize("host", ODD_HOSTS, ids=ascii)
@pytest.mark.parametrize(
    "given", ["?error=1", "#top", "", "b?error=1", "/a/b", "http://{}/a/b?error=1", "//{}/a/b", "http:{}"]
)
def test_no_host_whatever_is_read_as_a_path(given: str, host: str):
    base = {"HTTP_HOST": host, "PATH_INFO": "/a/b", "QUERY_STRING": "", "wsgi.url_scheme": "http"}
    found = destination(given.format(host), base, lookup)
    assert found.state in (None, "here")
    if "{}" not in given:
        assert found.state == "here"  # it stays understood, whatever the host


@pytest.mark.parametrize("hosts", ["a.example, b.example:8080", " [::1]:80 ,c", ",".join(["a"] * 512), ""])
def test_the_hosts_of_proxies_on_the_way_are_no_odd_ones(hosts: str):
    assert destination("https://pay.example/x", {**BASE, "HTTP_X_FORWARDED_HOST": hosts}, lookup).url[-2:] == "/x"


@pytest.mark.parametrize("hosts", ["a.example, b/login", "a,,b", "a" * 1_025, ",".join(["a"] * 30_000)])
def test_a_location_says_nothing_where_a_host_was_made_up(hosts: str):
    found = destination("https://pay.example/x", {**BASE, "HTTP_X_FORWARDED_HOST": hosts}, lookup)
    assert found == Destination(None, "http://host.invalid/")
    assert destination("/s/a/c", {**BASE, "HTTP_X_FORWARDED_HOST": hosts}, lookup).state == "there"


@pytest.mark.parametrize("location", ["http:///x", "http://:80/x", "javascript:/x", "http:x", "https:/x", "ftp://me/x"])
def test_a_location_without_a_host_or_of_another_kind_leads_elsewhere(location: str):
    found = destination(location, {"HTTP_HOST": "", "SERVER_NAME": "you"}, lookup)
    assert (found.state, found.path) == (None, None)


ROOTED = [
    ("/x", "/x"), ("//x/y", "//x/y"), ("https://x/y", "https://x/y"), ("mailto:x", "mailto:x"),
    (" mailto:x", " mailto:x"),
    ("c", "/s/a/c"), ("./c?x#y", "/s/a/c?x#y"), ("../c", "/s/c"), ("../../../c", "/c"), ("?x", "/s/a/b?x"),
    ("", "/s/a/b?q"), ("#x", "/s/a/b?q#x"), ("caf\xc3\xa9", "/s/a/caf\xc3\xa9"), (" c ", "/s/a/c"),
]  # fmt: skip


@pytest.mark.parametrize(("location", "kept"), ROOTED)
def test_where_a_redirect_leads_is_kept_for_every_page(location: str, kept: str):
    assert rooted(location, {**BASE, "QUERY_STRING": "q"}) == kept


@pytest.mark.parametrize("mount", ["//evil", "/\\evil", "\\evil"])
def test_no_mount_point_makes_a_host_of_it(mount: str):
    assert rooted("c", {"SCRIPT_NAME": mount, "PATH_INFO": "/a/b"}) in ("/evil/a/c", "/%5Cevil/a/c")


def test_without_a_host_header_the_servers_name_is_the_host():
    assert destination("http://me/a/c", {"SERVER_NAME": "me"}, lookup).state == "there"
    assert destination("c", {"SERVER_NAME": "me", "PATH_INFO": "/a/b"}, lookup).state == "there"


HTML = ("Content-Type", "text/html")


@pytest.mark.parametrize(
    ("status", "headers", "answer", "led", "said"),
    [
        ("200 OK", [HTML], Answer(200, True), None, None),
        ("200 OK", [("content-type", "application/xhtml+xml; charset=x")], Answer(200, True), None, None),
        ("200 OK", [("Content-Type", "application/json")], Answer(200), None, None),
        ("200 OK", [], Answer(200), None, None),
        ("200 OK", [("Location", "/s/a/c")], Answer(200), None, None),
        ("304 Not Modified", [("Location", "/s/a/c")], Answer(304), None, None),
        ("300 Multiple Choices", [("Location", "/s/a/c")], Answer(300), None, None),
        ("302 Found", [], Answer(302), None, None),
        ("200 OK", [("FLOWGUARD", " Reset ")], Answer(200, overrule=Overrule.RESET), None, "reset"),
        ("200 OK", [("flowguard", "done")], Answer(200), None, "done"),
        ("200 OK", [("flowguard", "")], Answer(200), None, ""),
    ],
)
def test_an_answer_is_its_status_its_kind_and_what_it_says(
    status: str, headers: Any, answer: Answer, led: Optional[str], said: Optional[str]
):
    assert read_answer(status, hear(headers), BASE, lookup) == (answer, led, said, False)


def test_an_answer_may_say_how_it_is_cached():
    assert read_answer("200 OK", hear([("cache-CONTROL", "public")]), BASE, lookup).cached


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_five_statuses_are_redirects_where_they_have_a_location(status: str):
    answer, led, said, _ = read_answer(status, hear([("location", "/s/a/c")]), BASE, lookup)
    assert (answer.to, led, said) == (Destination("there", "/s/a/c", "/a/c", "", (("id", "7"),)), "/s/a/c", None)
