"""A person at a browser: pages, forms and links of real applications, over real sockets.

What it sends in which situation is what Chromium was measured to send: a page that is `no-store` is asked for again by
Back and shown from memory otherwise; of a double click, both submissions carry the same cookies, and the answer to the
first is thrown away with its cookies.
"""

from __future__ import annotations

import http.client
from html.parser import HTMLParser
from typing import Any, Iterable, NamedTuple, Optional
from urllib.parse import urlencode, urljoin, urlsplit

HOST = "application.example"  # the name that all applications have to their visitors
ORIGIN = f"http://{HOST}"
HOPS = 10  # redirects that a browser follows at most; Chromium gives up after 20
BOUNDARY = "----a-form-of-the-tests"
PAGE_VISIT = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-User": "?1",
}
PREFETCH = {"Sec-Purpose": "prefetch", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty", "Accept": "*/*"}
SILENT_BUTTONS = ("submit", "image", "button", "reset")  # sent only where they were clicked, or never


class Form(NamedTuple):
    """A form as the page shows it. fields: what would be sent if nothing were typed. buttons: those that submit it."""

    action: str
    method: str
    multipart: bool
    fields: list[tuple[str, str]]
    buttons: list[tuple[str, str]]

    def filled(self, **typed: Any) -> Form:
        """The same with what was typed or chosen; a None is a field that is not sent, a list a choice of several."""
        kept = [(name, value) for name, value in self.fields if name not in typed]
        return self._replace(fields=kept + [(name, str(one)) for name, value in typed.items() for one in listed(value)])

    def clicked(self, button: Optional[str] = None) -> Form:
        """The same with the button of that name or value clicked; without one, what Enter does: the first."""
        chosen = [one for one in self.buttons if button in (None, *one)]
        if button is not None and not chosen:
            raise LookupError(f"no button {button!r} among {self.buttons}")
        return self._replace(fields=self.fields + [one for one in chosen[:1] if one[0]], buttons=[])

    def encoded(self) -> tuple[bytes, str]:
        """The body and its content type."""
        if not self.multipart:
            return urlencode(self.fields).encode(), "application/x-www-form-urlencoded"
        part = '--{}\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
        parts = [part.format(BOUNDARY, name, value) for name, value in self.fields]
        return "".join([*parts, f"--{BOUNDARY}--\r\n"]).encode(), f"multipart/form-data; boundary={BOUNDARY}"


def listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class Reader(HTMLParser):
    """Reads the forms and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []  # (href, words)
        self._select: Optional[list[tuple[str, str, bool]]] = None  # (name, value, selected) of its options
        self._name: Optional[str] = None  # of the select or textarea that is open
        self._words: Optional[list[str]] = None  # of the link or textarea that is open
        self._href = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            multipart = has.get("enctype") == "multipart/form-data"
            self.forms.append(Form(has.get("action", ""), has.get("method", "GET").upper(), multipart, [], []))
        elif tag == "a":
            self._href, self._words = has.get("href", ""), []
        elif self.forms:
            self._start_control(tag, has)

    def _start_control(self, tag: str, has: dict[str, str]) -> None:
        name, form = has.get("name", ""), self.forms[-1]
        if tag == "input" and has.get("type", "text") not in SILENT_BUTTONS:
            chosen = "checked" in has or has.get("type") not in ("checkbox", "radio")
            if name and chosen and has.get("type") != "file":
                form.fields.append((name, has.get("value", "on" if "checked" in has else "")))
        elif tag in ("input", "button") and has.get("type", "submit") in ("submit", "image"):
            form.buttons.append((name, has.get("value", "")))
        elif tag == "select":
            self._name, self._select = name, []
        elif tag == "option" and self._select is not None:
            self._select.append((self._name or "", has.get("value", ""), "selected" in has))
        elif tag == "textarea":
            self._name, self._words = name, []

    def handle_data(self, data: str) -> None:
        if self._words is not None:
            self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._words is not None:
            self.links.append((self._href, "".join(self._words).strip()))
            self._words = None
        elif tag == "textarea" and self._words is not None:
            self.forms[-1].fields.append((self._name or "", "".join(self._words)))
            self._words = None
        elif tag == "select" and self._select is not None:
            chosen = [option for option in self._select if option[2]] or self._select[:1]
            self.forms[-1].fields.extend((name, value) for name, value, _ in chosen)
            self._select = None


class Page(NamedTuple):
    """What the browser shows: the answer that a request ended on. `url`: its path and query. `method`: how it came."""

    method: str
    url: str
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def reason(self) -> Optional[str]:
        return self.headers["Flowguard-Reason"]

    @property
    def forms(self) -> list[Form]:
        return Reader(self.text).forms

    def form(self, having: str = "", action: str = "") -> Form:
        """The first form with that field or button, and that in its action."""
        for form in self.forms:
            names = {name for name, _ in form.fields + form.buttons}
            if (not having or having in names) and action in form.action:
                return form
        raise LookupError(f"no form with {having!r} on {self.url} ({self.status}):\n{self.text}")

    @property
    def links(self) -> list[tuple[str, str]]:
        """Where the links lead, and their words."""
        return [(urljoin(self.url, href), words) for href, words in Reader(self.text).links]

    def link(self, words: str) -> str:
        """Where the first link leads that has *words* in its text or its address."""
        for href, text in self.links:
            if words in text or words in href:
                return href
        raise LookupError(f"no link {words!r} on {self.url} ({self.status}):\n{self.text}")


class Person:
    """Somebody with a browser of their own. `refused` holds the reasons of all refusals that they met."""

    def __init__(self, port: int, language: str = "en") -> None:
        self.port = port
        self.language = language
        self.cookies: dict[str, str] = {}
        self.refused: list[str] = []
        self.pages: list[Page] = []  # as the browser's history: the last is shown

    @property
    def page(self) -> Page:
        return self.pages[-1]

    def twin(self) -> Person:
        """Another tab that has gone apart, or a thief: the same cookies for now, a history of its own."""
        made = Person(self.port, self.language)
        made.cookies, made.pages = dict(self.cookies), list(self.pages)
        return made

    # What people do.

    def open(self, url: str, **headers: str) -> Page:
        """Type the address, or follow a link."""
        return self.show(self.ask("GET", url, **headers))

    def follow(self, words: str) -> Page:
        return self.open(self.page.link(words))

    def submit(self, form: Form, button: Optional[str] = None, **typed: Any) -> Page:
        """Fill the form, and click a button."""
        return self.show(self.answer(self.send(form.filled(**typed).clicked(button))))

    def double_click(self, form: Form, button: Optional[str] = None, **typed: Any) -> Page:
        """Fill the form, and click twice before the answer has come."""
        ready = form.filled(**typed).clicked(button)
        first, second = self.send(ready), self.send(ready)
        self.answer(first, keep=False)
        return self.show(self.answer(second))

    def stop_and_submit(self, form: Form, button: Optional[str] = None, **typed: Any) -> Page:
        """Fill the form, click, press Stop where the server has taken it already, and click again."""
        ready = form.filled(**typed).clicked(button)
        self.answer(self.send(ready), keep=False)
        return self.show(self.answer(self.send(ready)))

    def reload(self) -> Page:
        """Ask for the page again. Of the answer to a form, that is the page alone: nobody confirms the dialog."""
        return self.again(self.ask("GET", self.page.url, **{"Cache-Control": "max-age=0"}))

    def back(self) -> Page:
        self.pages.pop()
        if self.page.method != "GET" or "no-store" not in self.page.headers.get("Cache-Control", ""):
            return self.page
        return self.again(self.ask("GET", self.page.url))

    def again(self, page: Page) -> Page:
        self.pages.pop()
        return self.show(page)

    def show(self, page: Page) -> Page:
        self.pages.append(page)
        return page

    # What their machines do.

    def ask(self, method: str, url: str, follow: bool = True, **headers: str) -> Page:
        return self.answer(self.start(method, url, None, headers), follow)

    def prefetch(self, url: str) -> Page:
        return self.ask("GET", url, follow=False, **PREFETCH)

    def send(self, form: Form) -> Started:
        """The form is on its way; nothing has been read yet."""
        url = urljoin(self.page.url, form.action)
        body, kind = form.encoded()
        if form.method == "GET":
            return self.start("GET", f"{url.partition('?')[0]}?{urlencode(form.fields)}", None, {})
        return self.start("POST", url, body, {"Content-Type": kind, "Origin": ORIGIN})

    def start(self, method: str, url: str, body: Optional[bytes], headers: dict[str, str]) -> Started:
        parts = urlsplit(url)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        sent = {**PAGE_VISIT, "Host": HOST, "Accept-Language": self.language, **headers}
        if self.pages:
            sent["Referer"] = urljoin(ORIGIN, self.page.url)
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, sent)
        return Started(method, path, connection)

    def answer(self, started: Started, follow: bool = True, keep: bool = True) -> Page:
        """What the browser shows of it, with the redirects followed; *keep*: with the cookies stored."""
        for _ in range(HOPS):
            page = started.read()
            if not keep:
                return page
            self.store(page.headers.get_all("Set-Cookie", []))
            if page.reason is not None:
                self.refused.append(page.reason)
            if not follow or "Location" not in page.headers:
                return page
            onward = urlsplit(urljoin(page.url, page.headers["Location"]))
            started = self.start("GET", onward._replace(scheme="", netloc="", fragment="").geturl(), None, {})
        raise AssertionError(f"redirected without end, last to {started.url}")

    def store(self, headers: Iterable[str]) -> None:
        for header in headers:
            pair, _, attributes = header.partition(";")
            name, _, value = pair.partition("=")
            if "max-age=0" in attributes.lower().replace(" ", ""):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value


class Started(NamedTuple):
    """A request that was sent, and whose answer is not read yet."""

    method: str
    url: str
    connection: http.client.HTTPConnection

    def read(self) -> Page:
        try:
            response = self.connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            self.connection.close()
        return Page(self.method, self.url, response.status, response.headers, text)
