"""Queries and forms, read strictly: what two applications could read differently is doubtful."""

from __future__ import annotations

from io import BytesIO
from typing import Optional

import pytest
from werkzeug.test import EnvironBuilder

from flowguard.forms import MAX_LINES, UNUSUAL, Doubtful, Field, form, urlencoded

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=X"
NAMED = b'Content-Disposition: form-data; name="step"'


def fields(data: bytes, kind: str) -> Optional[list[tuple[bytes, Optional[bytes]]]]:
    """The fields, sorted; None if they are doubtful."""
    try:
        return sorted(form(data, kind))
    except Doubtful:
        return None


def part(headers: bytes = NAMED, value: bytes = b"3") -> bytes:
    return b"--X\r\n" + headers + b"\r\n\r\n" + value + b"\r\n--X--\r\n"


@pytest.mark.parametrize(("data", "expected"), [
    pytest.param(b"a=1&b=2", [(b"a", b"1"), (b"b", b"2")], id="pairs"),
    pytest.param(b"a&b=&=c", [(b"", b"c"), (b"a", b""), (b"b", b"")], id="with empty names and values"),
    pytest.param(b"%61+b=c%20d%E4", [(b"a b", b"c d\xe4")], id="decoded to bytes"),
    pytest.param(b"a=%zz&%=1", [(b"%", b"1"), (b"a", b"%zz")], id="with what encodes nothing as it stands"),
    pytest.param(b"a=1=2", [(b"a", b"1=2")], id="parted at the first equals sign"),
    pytest.param(b"a=1&a=1&a=2", [(b"a", b"1"), (b"a", b"2")], id="each once"),
])  # fmt: skip
def test_a_query_is_read_as_its_fields(data, expected):
    assert sorted(urlencoded(data)) == expected


def test_what_a_semicolon_could_part_has_no_certain_value():
    assert set(urlencoded(b"a=1;b=2")) == {Field(b"a", None), Field(b"b", None), Field(b"a", b"1;b=2")}


@pytest.mark.parametrize("kind", [
    FORM, FORM.upper(), f"{FORM}; charset=UTF-8", f'{FORM};charset="utf-8"', f"{FORM};", f"{FORM}; charset=iso-8859-15",
    f"{FORM}; charset=windows-1252",
])  # fmt: skip
def test_a_form_is_known_by_its_content_type(kind):
    assert fields(b"a=1", kind) == [(b"a", b"1")]


@pytest.mark.parametrize("kind", [
    "", "text/plain", "application/json", "x", f"{FORM}, text/plain", f"text/plain, {FORM}", f"{FORM}; charset=utf-7",
    f"{FORM}; charset=utf-16", f"{FORM}; charset=cp500", f"{FORM}; charset=utf-8; charset=latin1", f"{FORM}; x=y",
    f"{FORM}; charset=utf-8, {FORM}", f"{FORM}x", f"{FORM};charset=utf-8\u20ac",
])  # fmt: skip
def test_another_content_type_or_two_are_doubtful(kind):
    assert fields(b"a=1", kind) is None


@pytest.mark.parametrize(("charset", "doubtful"), [("UTF-8", False), ("windows-1252", False), ("UTF-16", True)])
def test_the_forms_charset_may_stand_in_a_field_of_its_own(charset, doubtful):
    data = f"_charset_={charset}&step=3".encode()
    assert (fields(data, FORM) is None) is doubtful
    parts = part(b'Content-Disposition: form-data; name="_charset_"', charset.encode())
    assert (fields(parts, MULTIPART) is None) is doubtful


# --- multipart -------------------------------------------------------------------------------------------------------

# As recorded from the clients themselves.
CLIENTS = {
    "Chromium": (
        "multipart/form-data; boundary=----WebKitFormBoundaryTAwqPTQCn0O2gb5w",
        b'------WebKitFormBoundaryTAwqPTQCn0O2gb5w\r\nContent-Disposition: form-data; name="step"\r\n\r\n3\r\n'
        b'------WebKitFormBoundaryTAwqPTQCn0O2gb5w\r\nContent-Disposition: form-data; name="f"; filename="a%22b.txt"'
        b"\r\nContent-Type: text/plain\r\n\r\n--X\r\nfile\r\n\r\n------WebKitFormBoundaryTAwqPTQCn0O2gb5w--\r\n",
    ),
    "a Java client": (
        "multipart/form-data; charset=UTF-8; boundary=----=_Part_1_2.3",
        b'------=_Part_1_2.3\r\nContent-Disposition: form-data; name="step"\r\nContent-Type: text/plain; charset=UTF-8'
        b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n3\r\n"
        b'------=_Part_1_2.3\r\nContent-Disposition: form-data; name="f"; filename="C:\\a.txt"\r\n'
        b"Content-Length: 4\r\n\r\nfile\r\n------=_Part_1_2.3--",
    ),
    "a Python client": (
        'multipart/form-data; boundary="abc"',
        b"\r\n--abc\r\nContent-Disposition: form-data; name=step\r\n\r\n3\r\n"
        b"--abc\r\nContent-Disposition: form-data; name=\"f\"; filename*=utf-8''%C3%A4\r\n\r\nfile\r\n--abc--\r\n",
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_clients_send_is_read(client):
    kind, data = CLIENTS[client]
    assert fields(data, kind) == [(b"f", None), (b"step", b"3")]


def test_what_werkzeugs_test_client_sends_is_read():
    builder = EnvironBuilder(method="POST", data={"step": "3", "f": (BytesIO(b"file"), "a.txt")})
    environ = builder.get_environ()
    assert fields(environ["wsgi.input"].read(), environ["CONTENT_TYPE"]) == [(b"f", None), (b"step", b"3")]


def test_a_form_without_fields_is_read():
    assert fields(b"--X--\r\n", MULTIPART) == []


@pytest.mark.parametrize("data", [
    pytest.param(b"", id="nothing"),
    pytest.param(b"x" + part(), id="something before the first boundary"),
    pytest.param(part() + b"--X\r\n", id="something after the last one"),
    pytest.param(part()[:-9], id="no end"),
    pytest.param(part()[:-4], id="no last boundary"),
    pytest.param(part().replace(b"\r\n", b"\n"), id="lines that end otherwise"),
    pytest.param(part(value=b"\n--X\n" + NAMED + b"\n\n4"), id="a boundary after a bare line feed"),
    pytest.param(part(value=b"1\r\n--XY\r\n" + NAMED + b"\r\n\r\n4"), id="a boundary that goes on"),
    pytest.param(part(value=b"1\r\n--X \r\n" + NAMED + b"\r\n\r\n4"), id="a boundary before a space"),
    pytest.param(part(value=b"say --X"), id="a boundary within a line"),
    pytest.param(b"--X\r\n" + NAMED + b"\r\n--X--\r\n", id="a part without a value"),
    pytest.param(part(b"Content-Type: text/plain"), id="a part without a name"),
    pytest.param(part(b"Content-Disposition: form-data"), id="a field without a name"),
    pytest.param(part(b'Content-Disposition: attachment; name="step"'), id="a part that is no form's"),
    pytest.param(part(b'Content-Disposition: form-data; name="a"; name="step"'), id="two names in one"),
    pytest.param(part(NAMED + b'\r\nContent-Disposition: form-data; name="a"'), id="two names in two"),
    pytest.param(part(b"Content-Disposition: form-data; name*=utf-8''step"), id="an encoded name"),
    pytest.param(part(b"Content-Disposition: form-data; name='step'"), id="other quotes"),
    pytest.param(part(b'Content-Disposition: form-data; name="st\\ep"'), id="a backslash in a name"),
    pytest.param(part(b'Content-Disposition: form-data; name="a"; filename="b\\"; name="step"'), id="a hidden quote"),
    pytest.param(part(b'Content-Disposition: form-data; name="a"; filename="b\\"'), id="a backslash before a quote"),
    pytest.param(part(b'Content-Disposition: form-data;\r\n name="step"'), id="a folded header"),
    pytest.param(part(b'Content-Disposition : form-data; name="step"'), id="a space before the colon"),
    pytest.param(part(b'Content-Disposition: form-data; name="st\0ep"'), id="a control character in a header"),
    pytest.param(part(b'Content-Disposition: form-data; name="a"; filename="\xe4"'), id="a header that is not UTF-8"),
    pytest.param(part(NAMED + b"\r\nContent-Type: multipart/mixed; boundary=Y"), id="parts within a part"),
    pytest.param(part(NAMED + b"\r\nContent-Type: text/plain; charset=utf-16"), id="a charset of its own"),
    pytest.param(part(NAMED + b"\r\nContent-Transfer-Encoding: base64", b"Mw=="), id="an encoding of its own"),
    pytest.param(part(NAMED + b"\r\nContent-Length: 100"), id="a length that swallows the next part"),
])  # fmt: skip
def test_a_multipart_form_is_doubtful_with(data):
    assert fields(data, MULTIPART) is None


def test_a_multipart_form_of_more_than_a_thousand_lines_of_headers_is_doubtful():
    texts = b"--X\r\n" + b"--X\r\n".join([NAMED + b"\r\n\r\n1\r\n"] * (MAX_LINES - 3 * UNUSUAL))
    file = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: text/plain'
    end = b"\r\n\r\n1\r\n--X--\r\n"
    assert len(fields(texts + file + b"\r\nX: 1" + end, MULTIPART)) == MAX_LINES - 3 * UNUSUAL + 1
    assert fields(texts + file + b"\r\nX: 1\r\nY: 2" + end, MULTIPART) is None


@pytest.mark.parametrize("kind", [
    "multipart/form-data", "multipart/mixed; boundary=X", "multipart/form-data; boundary=X; boundary=Y",
    "multipart/form-data; boundary=X, multipart/form-data; boundary=Y", 'multipart/form-data; boundary="X',
    "multipart/form-data; boundary=", "multipart/form-data; boundary=X; x=y", 'multipart/form-data; boundary="X Y"',
    "multipart/form-data; boundary=" + "X" * 201, "multipart/form-data; boundary='X'",
])  # fmt: skip
def test_no_boundary_or_two_are_doubtful(kind):
    assert fields(part(), kind) is None
