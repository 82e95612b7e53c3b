"""A refused request -> the answer: the table of CONTRACT 5, and what holds for every answer."""

from __future__ import annotations

import io
import itertools
import json
import re
from html.parser import HTMLParser
from typing import Any, Callable, Iterable, Optional
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard import pages, refusals, replies
from flowguard.core.passage import Reason
from flowguard.refusals import Form, Refused, answer, form_of
from flowguard.replies import Response
from flowguard.texts import BUILT_IN, ENGLISH, text_problems, words

HOWS = ("auto", "redirect", "conflict")
AGAIN = ("duplicate", "finished")
OTHERS = tuple(reason.value for reason in Reason if reason.value not in (*AGAIN, "unavailable"))

TARGET, LED = "/shop/cart", "/shop/thanks?id=7"

VISIT = Refused(
    flow="shop", reason="skipped", state="/pay", current="/cart", missing=("/cart", ("/a", "/b")), allowed=("/cart",),
    target=TARGET, redirects=True, start="/shop/start", form=Form.PAGE,
)  # fmt: skip
SENT = VISIT._replace(submission=True, form=Form.FORM)
CALL = VISIT._replace(submission=True, form=Form.OTHER)
NOWHERE = {"target": None, "redirects": False}


class Document(HTMLParser):
    """What a page says, and where it leads."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, Optional[str]]] = []
        self.feed(body.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.text += data


def environ(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"QUERY_STRING": ""}
    setup_testing_defaults(made)
    return {**made, **more}


def header(response: Response, name: str) -> Optional[str]:
    values = [value for key, value in response.headers if key.lower() == name.lower()]
    assert len(values) < 2, f"{name} stands twice"
    return values[0] if values else None


def served(response: Response, **more: Any) -> bytes:
    """What a server gets, with the standard library's validator in between."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[..., None]:
        started.append((status, headers))
        return lambda _data: None

    def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        return replies.send(response, environ, start)

    answered = validator(application)(environ(**more), start_response)
    try:
        body = b"".join(answered)
    finally:
        answered.close()
    assert started == [(response.status, response.headers)]
    return body


def said(refused: Refused, how: str = "auto", **more: Any) -> tuple[str, Optional[str], str]:
    """Status, Location and kind of the answer."""
    response = answer(refused, environ(**more), how)
    return response.status[:3], header(response, "Location"), str(header(response, "Content-Type")).split(";")[0]


REDIRECTED = ("303", TARGET, "text/html")
LED_ON = ("303", LED, "text/html")
PAGE = ("409", None, "text/html")
PROBLEM = ("409", None, "application/problem+json")


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
def test_a_visit_of_a_page_that_is_not_open_yet_waits_there(how):
    busy = VISIT._replace(reason="busy", then="/shop/done")
    assert said(busy, how) == PAGE
    assert header(answer(busy, environ(), how), "Refresh") == "5; url=/shop/done"


def test_a_form_that_is_sent_meanwhile_is_redirected_to_what_is_open_now():
    busy = SENT._replace(reason="busy", then="/shop/done")
    assert said(busy, "redirect") == REDIRECTED
    assert header(answer(busy, environ(), "auto"), "Refresh") == "5; url=/shop/done"


@pytest.mark.parametrize("reason", [reason for reason in (*OTHERS, *AGAIN) if reason != "busy"])
@pytest.mark.parametrize(
    ("how", "expected"), [("auto", REDIRECTED), ("redirect", REDIRECTED), ("conflict", PAGE)], ids=HOWS
)
def test_a_page_visit_is_led_to_the_target_unless_conflicts_are_wanted(how, expected, reason):
    assert said(VISIT._replace(reason=reason, led=LED), how) == expected


@pytest.mark.parametrize("reason", AGAIN)
@pytest.mark.parametrize(("how", "expected"), [("auto", LED_ON), ("redirect", LED_ON), ("conflict", PAGE)], ids=HOWS)
def test_a_form_that_was_sent_before_goes_where_the_first_submission_led(how, expected, reason):
    assert said(SENT._replace(reason=reason, led=LED), how) == expected


@pytest.mark.parametrize("reason", AGAIN)
@pytest.mark.parametrize("led", [None, "", "javascript:alert(1)", "/a\r\nSet-Cookie: a=b", " /a", "\x00"])
def test_a_form_that_was_sent_before_goes_to_the_target_where_it_is_not_known_where_the_first_led(reason, led):
    assert said(SENT._replace(reason=reason, led=led)) == REDIRECTED


@pytest.mark.parametrize("reason", OTHERS)
@pytest.mark.parametrize(("how", "expected"), [("auto", PAGE), ("redirect", REDIRECTED), ("conflict", PAGE)], ids=HOWS)
def test_a_form_that_is_refused_for_another_reason_gets_a_page_unless_redirects_are_wanted(how, expected, reason):
    assert said(SENT._replace(reason=reason, led=LED), how) == expected


@pytest.mark.parametrize("reason", [*OTHERS, *AGAIN])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("submission", [True, False])
def test_a_script_gets_a_problem_whatever_is_wanted(reason, how, submission):
    assert said(CALL._replace(reason=reason, led=LED, submission=submission), how) == PROBLEM


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "target",
    [
        {"redirects": False},
        NOWHERE,
        {"target": None},
        {"target": "//evil/"},
        {"target": "/\\evil"},
        {"target": "cart"},
        {"redirects": False, "target_method": "POST"},
    ],
    ids=["a GET would not pass", "a variable is unknown", "none", "a host", "a backslash", "relative", "only a POST"],
)
@pytest.mark.parametrize("refused", [VISIT, SENT, SENT._replace(reason="duplicate")], ids=["visit", "form", "again"])
def test_where_no_get_can_pass_there_the_answer_is_a_page_and_never_a_redirect(how, target, refused):
    response = answer(refused._replace(**target), environ(), how)
    assert (response.status, response.redirected) == ("409 Conflict", False)
    assert Document(response.body).links == []


@pytest.mark.parametrize("how", ["auto", "redirect"])
def test_a_visit_in_a_stuck_run_gets_a_page_that_links_the_current_state_and_the_start(how):
    response = answer(VISIT._replace(stuck=True), environ(), how)
    document = Document(response.body)
    assert response.status == "409 Conflict"
    assert document.links == [TARGET, "/shop/start"]
    assert "outcome of your last submission is not known" in document.text


def test_a_stuck_run_whose_target_is_the_start_links_it_once():
    response = answer(VISIT._replace(stuck=True, start=TARGET), environ())
    assert Document(response.body).links == [TARGET]


@pytest.mark.parametrize("refused", [VISIT, SENT._replace(reason="duplicate")], ids=["visit", "form"])
def test_a_visitor_who_is_sent_in_circles_gets_a_page_in_place_of_the_next_redirect(refused):
    response = answer(refused._replace(looping=True), environ())
    document = Document(response.body)
    assert (response.status, response.redirected) == ("409 Conflict", False)
    assert document.links == [TARGET, "/shop/start"]
    assert "to and fro" in document.text


@pytest.mark.parametrize("refused", [SENT, CALL], ids=["form", "script"])
def test_redirects_before_it_do_not_change_an_answer_that_is_none_anyway(refused):
    assert answer(refused._replace(looping=True), environ()) == answer(refused, environ())


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("how", HOWS)
def test_without_the_ledger_it_is_a_503_and_never_a_redirect(form, how):
    response = answer(SENT._replace(form=form, reason="unavailable"), environ(), how)
    assert response.status == "503 Service Unavailable"
    assert header(response, "Retry-After") == "5"
    assert header(response, "Flowguard-Reason") == "unavailable"
    assert not response.redirected


# --- what sort of request it is --------------------------------------------------------------------------------------

NAVIGATES = {"HTTP_SEC_FETCH_MODE": "navigate"}
ACCEPTS = {"HTTP_ACCEPT": "application/xhtml+xml, text/html;q=0.9, */*;q=0.8"}


@pytest.mark.parametrize(
    ("headers", "navigates"),
    [
        pytest.param(NAVIGATES, True, id="a navigation"),
        pytest.param({**NAVIGATES, "HTTP_ACCEPT": "*/*"}, True, id="a navigation, whatever it accepts"),
        pytest.param({**NAVIGATES, "HTTP_X_REQUESTED_WITH": "x"}, True, id="a navigation of an app's web view"),
        pytest.param({**ACCEPTS, "HTTP_SEC_FETCH_MODE": "cors"}, False, id="a fetch that accepts pages"),
        pytest.param({**ACCEPTS, "HTTP_SEC_FETCH_SITE": "same-origin"}, False, id="a Sec-Fetch header without a mode"),
        pytest.param(ACCEPTS, True, id="an old browser"),
        pytest.param({"HTTP_ACCEPT": "TEXT/HTML"}, True, id="an odd spelling of text/html"),
        pytest.param({"HTTP_ACCEPT": "text/html;level=1"}, True, id="text/html with a parameter"),
        pytest.param({**ACCEPTS, "HTTP_X_REQUESTED_WITH": "XMLHttpRequest"}, False, id="an old browser's XHR"),
        pytest.param({**ACCEPTS, "HTTP_HX_REQUEST": "true"}, False, id="htmx without Sec-Fetch headers"),
        pytest.param({**ACCEPTS, "HTTP_X_INERTIA": "true"}, False, id="Inertia without Sec-Fetch headers"),
        pytest.param({"HTTP_ACCEPT": "*/*"}, False, id="curl"),
        pytest.param({"HTTP_ACCEPT": "text/html;q=0, */*"}, False, id="anything but text/html"),
        pytest.param({"HTTP_ACCEPT": "application/json"}, False, id="an API's client"),
        pytest.param({}, False, id="no header at all"),
    ],
)
def test_a_page_visit_is_known_by_its_headers(headers, navigates):
    assert form_of(headers, False) is (Form.PAGE if navigates else Form.OTHER)
    assert form_of(headers, True) is (Form.FORM if navigates else Form.OTHER)


HEADERS = ("HTTP_ACCEPT", "HTTP_ACCEPT_LANGUAGE", "HTTP_SEC_FETCH_MODE", "HTTP_HX_REQUEST", "HTTP_X_INERTIA")
junk = st.text() | st.text(alphabet='tex/hml;q=0.19,*- "\\\0\xff', max_size=40) | st.integers() | st.none()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(HEADERS, junk)), st.sampled_from(list(Reason)), st.booleans())
def test_no_header_makes_an_answer_fail(headers, reason, submission):
    form = form_of(headers, submission)
    response = answer(SENT._replace(reason=reason.value, form=form), headers)
    assert header(response, "Flowguard-Reason") == reason.value
    refusals.too_large(headers)


# --- what holds for every answer -------------------------------------------------------------------------------------

nasty = st.text(max_size=30) | st.sampled_from(
    ['"><script>alert(1)</script>', "/a\r\nX: y", "//evil", "/\\evil", "/%0d"]
)
urls = st.one_of(st.none(), nasty, nasty.map("/".__add__), st.just(TARGET), st.just("https://pay.example/x?y=1#z"))
anything = st.builds(
    Refused,
    flow=nasty,
    reason=st.sampled_from([reason.value for reason in Reason]),
    state=nasty,
    current=st.none() | nasty,
    missing=st.tuples(nasty, st.tuples(nasty, nasty)),
    allowed=st.tuples(nasty),
    target=urls,
    redirects=st.booleans(),
    target_method=st.sampled_from([None, "GET", "POST"]),
    led=urls,
    start=urls,
    stuck=st.booleans(),
    uncertain=st.booleans(),
    looping=st.booleans(),
    retry_after=st.sampled_from([None, 0, 1, 90]),
    submission=st.booleans(),
    form=st.sampled_from(Form),
)
LANGUAGES = ("", "de-AT, en;q=0.5")


def whatever_is_asked(refused: Refused, how: str, language: str = "") -> Response:
    """The answer, after everything that must hold for each was looked at."""
    asked = environ(HTTP_ACCEPT_LANGUAGE=language, HTTP_HX_REQUEST="true", HTTP_X_INERTIA="true")
    response = answer(refused, asked, how)
    assert served(response) == response.body
    assert header(response, "Flowguard-Reason") == refused.reason
    assert header(response, "Cache-Control") == "no-store"
    assert {"accept", "cookie", "sec-fetch-mode", "x-requested-with", "hx-request"} <= varies(response)
    assert header(response, "Content-Length") == str(len(response.body))
    assert response.status == ("503 Service Unavailable" if refused.reason == "unavailable" else "409 Conflict") or (
        response.status == "303 See Other" and response.redirected
    )
    assert response.redirected == (header(response, "Location") is not None)
    if refused.reason in ("busy", "too_fast", "unavailable") or refused.retry_after is not None:
        assert int(str(header(response, "Retry-After"))) > 0
    assert_leads_only_where_it_may(response, refused)
    return response


def varies(response: Response) -> set[str]:
    return set(str(header(response, "Vary")).lower().split(", "))


def assert_leads_only_where_it_may(response: Response, refused: Refused) -> None:
    """One hop, to a path of ours, or to what the application said; every header fit for the wire."""
    html = str(header(response, "Content-Type")).startswith("text/html")
    ways = Document(response.body).links if html else []
    refresh = header(response, "Refresh")
    ways += [refresh.partition("url=")[2]] if refresh else []
    ways += [value for name, value in response.headers if name in ("Location", "HX-Redirect", "X-Inertia-Location")]
    theirs = replies.foreign(refused.led) if refused.submission and refused.reason in AGAIN else None
    for way in ways:
        assert way == theirs or re.fullmatch(r"/(?![/\\])[!-~]*|/", way), way
        assert way == theirs or refused.redirects or refused.stuck or refused.uncertain or refused.looping
    assert all(re.fullmatch(r"[ -~]*", value) for _, value in response.headers)


@given(anything, st.sampled_from(HOWS), st.sampled_from(LANGUAGES))
def test_every_answer_is_whole_and_leads_nowhere_else(refused, how, language):
    whatever_is_asked(refused, how, language)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("reason", [reason.value for reason in Reason])
def test_every_reason_is_answered_in_every_form(reason, form, how):
    flags = itertools.product([True, False], [TARGET, None], [LED, None], [True, False], [True, False], [True, False])
    for redirects, target, led, stuck, looping, submission in flags:
        refused = SENT._replace(
            reason=reason, form=form, redirects=redirects, target=target, led=led, stuck=stuck, looping=looping,
            submission=submission,
        )  # fmt: skip
        whatever_is_asked(refused, how)


@given(anything, st.sampled_from(HOWS))
def test_nothing_that_came_from_outside_becomes_markup(refused, how):
    response = answer(refused._replace(form=Form.FORM), environ(), how)
    document = Document(response.body)
    assert set(document.tags) <= {"html", "head", "meta", "title", "style", "body", "main", "h1", "p", "a"}
    names = {name for name, _ in document.attributes}
    assert names <= {"lang", "dir", "charset", "name", "content", "class", "href"}


@pytest.mark.parametrize("refused", [SENT, CALL, VISIT], ids=["page", "problem", "redirect"])
def test_a_head_gets_the_headers_of_a_get_and_no_body(refused):
    response = answer(refused, environ())
    assert served(response, REQUEST_METHOD="HEAD") == b""
    assert replies.send(response, {}, lambda *_: lambda _data: None) == [response.body]


def test_sending_leaves_the_answer_as_it_was():
    response = answer(SENT, environ())
    replies.send(response, environ(), lambda _status, headers, *_: headers.append(("X", "y")))
    assert header(response, "X") is None


# --- problems --------------------------------------------------------------------------------------------------------


def problem(refused: Refused, **more: Any) -> Any:
    return json.loads(answer(refused, environ(**more)).body)


def test_a_problem_tells_a_script_all_that_is_known():
    assert problem(CALL) == {
        "type": "urn:flowguard:skipped",
        "title": "Something comes first",
        "status": 409,
        "detail": "A step before this one is not finished yet. Please finish that one first. "
        "What you typed was not taken.",
        "flow": "shop",
        "reason": "skipped",
        "state": "/pay",
        "current": "/cart",
        "missing": ["/cart", ["/a", "/b"]],
        "allowed": ["/cart"],
        "target": TARGET,
    }


def test_a_problem_names_the_method_where_a_get_does_not_reach_the_target():
    refused = CALL._replace(redirects=False)
    assert problem(refused._replace(target_method="POST"))["target_method"] == "POST"
    assert "target_method" not in problem(refused._replace(target_method="GET"))


def test_a_problem_without_a_target_says_so():
    assert problem(CALL._replace(target=None, current=None))["target"] is None


def test_a_problem_has_one_title_for_each_type():
    known, unknown = problem(CALL), problem(CALL._replace(uncertain=True))
    assert known["title"] == unknown["title"]
    assert "not known" in unknown["detail"]


def test_a_problem_speaks_the_language_of_the_visitor():
    assert problem(CALL, HTTP_ACCEPT_LANGUAGE="de")["title"] == "Vorher fehlt noch etwas"


def test_the_status_of_a_problem_is_the_status():
    assert problem(CALL._replace(reason="unavailable"))["status"] == 503


@pytest.mark.parametrize(
    ("key", "name"),
    [("HTTP_HX_REQUEST", "HX-Redirect"), ("HTTP_X_INERTIA", "X-Inertia-Location")],
    ids=["htmx", "Inertia"],
)
def test_a_script_that_would_swallow_a_redirect_is_told_where_the_page_should_go(key, name):
    def told(refused: Refused, value: str = "true") -> Optional[str]:
        return header(answer(refused, environ(**{key: value})), name)

    assert told(CALL) == TARGET
    assert told(CALL._replace(reason="duplicate", led=LED)) == LED
    assert told(CALL._replace(redirects=False)) is None
    assert told(CALL._replace(reason="unavailable")) is None
    assert told(CALL, "false") is None
    assert told(SENT) is None


# --- pages -----------------------------------------------------------------------------------------------------------


def page(refused: Refused, how: str = "conflict", **more: Any) -> Document:
    return Document(answer(refused, environ(**more), how).body)


@pytest.mark.parametrize("reason", [reason.value for reason in Reason])
def test_a_page_says_what_happened_what_was_not_taken_and_where_to_go_on(reason):
    document = page(SENT._replace(reason=reason))
    assert str(ENGLISH[reason]["title"]) in document.text
    assert str(ENGLISH[reason]["text"]) in document.text
    assert "was not taken." in document.text
    assert document.links == [TARGET]


def test_a_page_visit_is_not_told_of_anything_typed():
    assert "typed" not in page(VISIT).text


@pytest.mark.parametrize("reason", ["duplicate", "finished", "busy"])
def test_where_something_was_sent_before_only_what_was_typed_this_time_was_not_taken(reason):
    assert "What you typed this time was not taken." in page(SENT._replace(reason=reason)).text


def test_after_an_uncertain_submission_only_what_was_typed_this_time_was_not_taken():
    assert "What you typed this time was not taken." in page(SENT._replace(uncertain=True)).text


@pytest.mark.parametrize("reason", ["busy", "unavailable"])
def test_a_page_of_what_passes_by_waiting_says_that_and_nothing_else(reason):
    refused = SENT._replace(reason=reason, stuck=True, uncertain=True)
    assert str(ENGLISH[reason]["text"]) in page(refused).text


def test_a_link_leads_to_the_very_url():
    assert page(SENT._replace(target="/a?b=1&copy=2&x='")).links == ["/a?b=1&copy=2&x='"]
    assert b"&amp;copy=2" in answer(SENT._replace(target="/a?b=1&copy=2"), environ()).body


def test_a_page_of_an_uncertain_submission_says_that_its_outcome_is_not_known():
    document = page(SENT._replace(reason="duplicate", uncertain=True))
    assert "outcome of your last submission is not known" in document.text
    assert document.links == [TARGET, SENT.start]


@pytest.mark.parametrize("reason", AGAIN)
def test_a_form_that_is_sent_again_while_its_outcome_is_not_known_gets_the_page_that_says_so(reason):
    refused = SENT._replace(reason=reason, uncertain=True)
    assert [answer(refused, environ(), how).status[:3] for how in HOWS] == ["409", "303", "409"]
    assert "outcome of your last submission is not known" in page(refused, "auto").text


def test_a_target_that_takes_only_a_post_is_described_and_not_linked():
    document = page(SENT._replace(redirects=False, target_method="POST"))
    assert document.links == []
    assert "use the button there" in document.text


@pytest.mark.parametrize("refused", [SENT._replace(redirects=False), SENT._replace(target=None)])
def test_where_there_is_nothing_to_link_the_page_says_so(refused):
    document = page(refused)
    assert document.links == []
    assert "no page that we could lead you to" in document.text


def test_a_page_without_a_run_leads_to_the_first_step():
    assert "Go to the first step" in page(VISIT._replace(reason="not_started", current=None)).text


def test_a_page_that_replaces_a_redirect_to_the_result_links_the_result():
    document = page(SENT._replace(reason="duplicate", led=LED))
    assert document.links == [LED]
    assert "Go on to the result" in document.text


def test_a_busy_page_goes_on_by_itself_without_a_script():
    response = answer(SENT._replace(reason="busy"), environ())
    assert response.status == "409 Conflict"
    assert header(response, "Refresh") == f"5; url={TARGET}"
    assert "goes on by itself" in Document(response.body).text


def test_a_busy_page_leads_to_the_result_where_there_will_be_one():
    waiting = page(SENT._replace(reason="busy", then="/shop/done"))
    assert waiting.links == ["/shop/done"]
    assert str(ENGLISH["result"]) in waiting.text
    assert str(ENGLISH["go_on"]) in page(SENT._replace(reason="busy")).text


@pytest.mark.parametrize("reason", [reason.value for reason in Reason if reason is not Reason.BUSY])
def test_no_other_page_goes_on_by_itself(reason):
    assert header(answer(SENT._replace(reason=reason), environ(), "conflict"), "Refresh") is None


def test_a_busy_page_stays_where_it_cannot_go_on():
    response = answer(SENT._replace(reason="busy", redirects=False), environ())
    assert header(response, "Refresh") is None
    assert "goes on by itself" not in Document(response.body).text


@pytest.mark.parametrize(
    ("seconds", "time"),
    [(1, "2 seconds"), (2, "2 seconds"), (119, "119 seconds"), (120, "2 minutes"), (601, "11 minutes")],
)
def test_a_visitor_who_was_too_fast_learns_how_long_to_wait(seconds, time):
    response = answer(SENT._replace(reason="too_fast", retry_after=seconds), environ())
    assert header(response, "Retry-After") == str(seconds)
    assert f"It takes about {time} more." in Document(response.body).text.replace("\N{NO-BREAK SPACE}", " ")


def test_a_page_may_load_run_and_send_nothing():
    response = answer(SENT, environ())
    assert header(response, "Content-Security-Policy") == pages.POLICY
    assert pages.POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert header(response, "X-Content-Type-Options") == "nosniff"
    assert header(response, "Referrer-Policy") == "same-origin"
    assert b"<script" not in response.body


def test_a_redirect_leaves_the_referrer_of_the_next_request_alone():
    assert header(answer(VISIT, environ()), "Referrer-Policy") is None


def test_a_redirect_has_a_short_page_that_links_the_way():
    response = answer(VISIT, environ())
    assert Document(response.body).links == [TARGET]
    assert len(response.body) < 500


# --- the words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", BUILT_IN)
def test_there_are_words_for_every_reason(lang):
    situations = {key for key, value in BUILT_IN[lang].items() if not isinstance(value, str)}
    assert situations == {reason.value for reason in Reason} | {"unknown", "looping", "too_large"}
    assert set(BUILT_IN[lang]) == set(ENGLISH)
    assert text_problems(BUILT_IN) == []


@pytest.mark.parametrize("lang", BUILT_IN)
def test_the_words_are_for_people(lang):
    everything = [
        text for value in BUILT_IN[lang].values() for text in ([value] if isinstance(value, str) else value.values())
    ]
    jargon = re.compile(
        r"\b(session|request|token|invalid|ung\xfcltig|error|fehler|illegal|forbidden|verboten|state|server|"
        r"transition|http|wrong|falsch)\b",
        re.IGNORECASE,
    )
    for text in everything:
        assert not jargon.search(text)
        assert all(len(sentence.split()) <= 25 for sentence in re.split(r"[.:]", text))


@pytest.mark.parametrize(
    ("accepted", "lang"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT, en;q=0.5", "de"),
        ("DE-ch", "de"),
        ("fr, de;q=0.8, en;q=0.5", "de"),
        ("fr, en;q=0.8, de;q=0.5", "en"),
        ("de;q=0, en", "en"),
        ("de;q=0", "en"),
        ("fr", "en"),
        ("*", "en"),
        (";;,=", "en"),
    ],
)
def test_a_visitor_is_spoken_to_in_the_language_that_the_browser_asks_for(accepted, lang):
    response = answer(SENT, environ(HTTP_ACCEPT_LANGUAGE=accepted))
    assert header(response, "Content-Language") == lang
    assert f'<html lang="{lang}" dir="ltr">' in response.body.decode()


def test_a_deployers_words_replace_ours_one_by_one():
    texts = {"en": {"duplicate": {"title": "Paid & done"}, "result": "Your receipt"}}
    response = answer(SENT._replace(reason="duplicate", led=LED), environ(), "conflict", texts)
    text = response.body.decode()
    assert "<h1>Paid &amp; done</h1>" in text
    assert "is not done a second time" in text
    assert ">Your receipt</a>" in text
    assert ' lang="en" dir="ltr">' in text
    assert text.count("lang=") == 1


def test_a_deployers_language_says_where_english_falls_in():
    texts = {"ar": {"duplicate": {"title": "تم"}}}
    response = answer(SENT._replace(reason="duplicate"), environ(HTTP_ACCEPT_LANGUAGE="ar"), "conflict", texts)
    text = response.body.decode()
    assert '<html lang="ar" dir="rtl">' in text
    assert "<h1>تم</h1>" in text
    assert '<p lang="en" dir="ltr">This step' in text


@pytest.mark.parametrize("tag", ["de-CH", "DE"])
def test_a_variety_of_a_language_falls_back_on_the_language(tag):
    said = words("de-CH", {tag: {"duplicate": {"title": "Schon erledigt"}, "begin": 7}})
    assert said.lang == tag
    assert said.title("duplicate") == ("Schon erledigt", tag)
    assert said.title("busy") == ("Wir sind noch dabei", "de")
    assert said.phrase("begin").lang == "de"


def test_a_word_that_nobody_has_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        words("").phrase("no such phrase")


@pytest.mark.parametrize(
    ("texts", "problems"),
    [
        ({}, []),
        ({"nl": {"duplicate": {"title": "Al betaald"}, "go_on": "Verder"}}, []),
        ("en", ["texts: is 'en', not a mapping from languages to words."]),
        ({"en_GB": {}}, ["texts['en_GB']: is no language tag. Write one like 'en' or 'de-CH'."]),
        ({7: {}}, ["texts[7]: is no language tag. Write one like 'en' or 'de-CH'."]),
        ({"en": "x"}, ["texts['en']: is 'x', not a mapping from names to words."]),
        ({"en": {"dublicate": {}}}, ["texts['en']['dublicate']: unknown key. Did you mean 'duplicate'?"]),
        ({"en": {7: "x"}}, ["texts['en'][7]: unknown key."]),
        ({"en": {"go_on": {"title": "x"}}}, ["texts['en']['go_on']: is {'title': 'x'}, not a text."]),
        ({"en": {"go_on": " "}}, ["texts['en']['go_on']: is ' ', not a text."]),
        ({"en": {"busy": "x"}}, ["texts['en']['busy']: is 'x', not a mapping with 'title' and 'text'."]),
        ({"en": {"busy": {"titel": "x"}}}, ["texts['en']['busy']['titel']: unknown key. Did you mean 'title'?"]),
        ({"en": {"busy": {"title": 7}}}, ["texts['en']['busy']['title']: is 7, not a text."]),
        (
            {"en": {"a": "x", "busy": {"text": ""}}},
            ["texts['en']['a']: unknown key.", "texts['en']['busy']['text']: is '', not a text."],
        ),
    ],
)
def test_what_is_wrong_with_a_deployers_words_is_said_all_at_once(texts, problems):
    assert text_problems(texts) == problems


# --- where to --------------------------------------------------------------------------------------------------------


@given(st.text())
def test_a_path_of_ours_stays_on_this_host_and_in_its_line(text):
    for url in (text, "/" + text, "/a/" + text):
        way = replies.local(url)
        assert way is None or re.fullmatch(r"/([!-.0-\[\]-~][!-~]*)?", way)
        assert replies.local(way) == way


@given(st.text())
def test_a_url_of_the_applications_never_ends_its_line_nor_runs(text):
    way = replies.foreign(text)
    assert way is None or re.fullmatch(r"[!-~]+", way)
    assert replies.foreign(way) == way


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("/d\xc3\xa9j\xc3\xa0?a=b c&d=%20", "/d%C3%A9j%C3%A0?a=b%20c&d=%20"),
        ("/\u0142", "/%C5%82"),
        ("/a\r\nSet-Cookie: b=c", "/a%0D%0ASet-Cookie:%20b=c"),
        ("/", "/"),
        ("//evil", None),
        ("/\\evil", None),
        ("https://evil/", None),
        ("", None),
        (None, None),
    ],
)
def test_a_path_of_ours_is_percent_quoted(url, way):
    assert replies.local(url) == way


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("https://pay.example/a?b=c#d", "https://pay.example/a?b=c#d"),
        ("HTTP://[::1]:80/", "HTTP://[::1]:80/"),
        ("thanks", "thanks"),
        ("?step=3", "?step=3"),
        ("/\\evil", "/%5Cevil"),
        ("/\xc3\xa9", "/%C3%A9"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("shop-app://thanks", None),
        ("java\tscript:alert(1)", None),
        (" javascript:alert(1)", None),
        ("/a\nb", None),
        ("", None),
    ],
)
def test_a_url_of_the_applications_is_used_again_only_where_a_browser_would_go(url, way):
    assert replies.foreign(url) == way


# --- the body is read first ------------------------------------------------------------------------------------------


class Body(io.BytesIO):
    """A request's body, which remembers how it was read."""

    sizes: list[int]

    def __init__(self, size: int, breaks: bool = False) -> None:
        super().__init__(b"x" * size)
        self.sizes, self.breaks = [], breaks

    def read(self, size: Optional[int] = -1, /) -> bytes:
        assert size is not None
        assert size > 0, "might never end"
        self.sizes.append(size)
        if self.breaks:
            raise OSError("the visitor is gone")
        return super().read(size)


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "more", "read"),
    [
        pytest.param(100, {"CONTENT_LENGTH": "60"}, 60, id="as long as it says"),
        pytest.param(100, {"CONTENT_LENGTH": "900"}, 100, id="to its end, where it is shorter than it says"),
        pytest.param(2 * MIB, {"CONTENT_LENGTH": str(2 * MIB)}, MIB, id="up to one MiB"),
        pytest.param(100, {"CONTENT_LENGTH": "9" * 5000}, 100, id="to its end, where the length is absurd"),
        pytest.param(100, {"CONTENT_LENGTH": "0" * 30 + "60"}, 60, id="as long as it says, behind zeros"),
        pytest.param(100, {"CONTENT_LENGTH": "0", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
                     100, id="to its end, where a length stands beside an encoding"),
        pytest.param(100, {"wsgi.input_terminated": True}, 100, id="to its end, where the server ends it"),
        pytest.param(2 * MIB, {"wsgi.input_terminated": True}, MIB, id="up to one MiB, where the server ends it"),
        pytest.param(100, {"CONTENT_LENGTH": "60", "wsgi.input_terminated": True}, 60, id="by its length first"),
        pytest.param(100, {}, 0, id="not at all without a length, where the server would wait"),
        pytest.param(100, {"CONTENT_LENGTH": ""}, 0, id="not at all with an empty length"),
        pytest.param(100, {"CONTENT_LENGTH": None}, 0, id="not at all with a length that is none"),
        pytest.param(100, {"CONTENT_LENGTH": "0"}, 0, id="not at all where there is none"),
        pytest.param(100, {"CONTENT_LENGTH": "-5"}, 0, id="not at all with a negative length"),
        pytest.param(100, {"CONTENT_LENGTH": "1_0"}, 0, id="not at all with a length of Python's spelling"),
        pytest.param(100, {"CONTENT_LENGTH": "\u0661", "wsgi.input_terminated": True}, 0, id="not with odd digits"),
    ],
)
def test_the_body_of_a_refused_request_is_read(size, more, read):
    body = Body(size)
    replies.drain({"wsgi.input": body, **more})
    assert body.tell() == read
    assert all(size <= 64 * 1024 for size in body.sizes)


def test_a_body_that_breaks_off_is_survived():
    body = Body(100, breaks=True)
    replies.drain({"wsgi.input": body, "CONTENT_LENGTH": "100"})
    replies.drain({"CONTENT_LENGTH": "100"})
    assert body.sizes == [100]


# --- other answers ---------------------------------------------------------------------------------------------------


def test_a_speculation_is_put_off_and_not_kept():
    response = replies.speculation()
    assert response.status == "503 Service Unavailable"
    assert header(response, "Cache-Control") == "no-store"
    assert header(response, "Location") is None
    assert served(response) == response.body


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/shop/cart", "", "/shop/cart"),
        ("/shop/cart", "a=b&c=%zz", "/shop/cart?a=b&c=%zz"),
        ("/d%C3%A9j%C3%A0", "q=\xe9", "/d%C3%A9j%C3%A0?q=%E9"),
        ("/cart", "a=\r\nSet-Cookie: b=c", "/cart?a=%0D%0ASet-Cookie:%20b=c"),
        ("/cart", '"><x#y', "/cart?%22%3E%3Cx%23y"),
        ("/cart", "\u0142", "/cart?%C5%82"),
    ],
)
def test_another_spelling_is_led_to_the_declared_one_with_its_query(path, query, location):
    response = replies.respelt(path, query)
    assert response.status == "308 Permanent Redirect"
    assert header(response, "Location") == location
    assert header(response, "Cache-Control") == "no-store"
    assert response.redirected
    assert served(response) == response.body


def test_a_spelling_that_would_lead_to_another_host_leads_nowhere():
    response = replies.respelt("//evil/cart", "a=b")
    assert (response.status, header(response, "Location")) == ("404 Not Found", None)


def test_a_query_that_is_too_long_to_be_sent_back_is_a_414():
    query = "x" * replies.MAX_QUERY
    assert dict(replies.respelt("/cart", query).headers)["Location"] == f"/cart?{query}"
    assert replies.respelt("/cart", query + "x") == replies.too_long()


def test_a_path_that_is_too_long_is_a_414():
    response = replies.too_long()
    assert response.status.startswith("414 ")
    assert served(response) == response.body


def test_a_method_that_is_not_taken_is_a_405_with_those_that_are():
    response = replies.method_not_allowed(["GET", "POST"])
    assert response.status.startswith("405 ")
    assert header(response, "Allow") == "GET, POST"
    assert served(response) == response.body


@pytest.mark.parametrize(
    ("asked", "kind"), [(None, "text/plain"), ({}, "text/plain"), (NAVIGATES, "text/html")], ids=["", "API", "form"]
)
def test_a_body_that_is_too_large_is_a_413_and_a_page_for_people(asked, kind):
    response = refusals.too_large(asked)
    assert response.status.startswith("413 ")
    assert str(header(response, "Content-Type")).startswith(kind)
    assert served(response) == response.body
    if kind == "text/html":
        assert "was not taken" in Document(response.body).text
