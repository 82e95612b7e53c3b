"""Two applications as they were written twenty years ago: nobody dares to touch them, and they do what they are told.

`Wizard` keeps its step in the query, `Order` tells its steps apart by the name of the button that was pressed.
"""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import parse_qs

PAGE = ("Content-Type", "text/html")


def read(environ: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Query and form, of each parameter the last value; as PHP does it, but for the names of lists."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode("utf-8", "replace")
    texts = (environ.get("QUERY_STRING", ""), body)
    query, form = ({name: values[-1] for name, values in parse_qs(text, True).items()} for text in texts)
    return query, form


class Wizard:
    """`/index.php?step=N`: name, address, payment, thanks. Every form is posted to its own address. accounts: paid."""

    def __init__(self) -> None:
        self.accounts: list[str] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        query, form = read(environ)
        step = query.get("step", "1")
        if environ["REQUEST_METHOD"] == "POST" and form.get("value"):
            if step == "3":
                self.accounts.append(form["value"])
            start_response("302 Found", [("Location", f"index.php?step={int(step) + 1}"), PAGE])
            return [b""]
        start_response("200 OK", [PAGE])
        return [f"<form method=post>Step {escape(step)} <input name=value><button>Go on</button></form>".encode()]


class Order:
    """`/order`: a GET shows the form; a POST with `preview` the card that was typed, one with `action=place_order` (a
    hidden field of the preview) charges it, any other shows the form again. All of it is answered by pages."""

    def __init__(self) -> None:
        self.charged: list[str] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        _, form = read(environ)
        card = escape(form.get("card", ""))
        start_response("200 OK", [PAGE])
        if environ["REQUEST_METHOD"] == "POST" and form.get("action") == "place_order":
            self.charged.append(card)
            return [f"<h1>Thank you</h1> {card}".encode()]
        if "preview" in form and card.isdigit():
            button = "<input type=hidden name=action value=place_order><button>Pay</button>"
            return [f"<form method=post>{card} <input type=hidden name=card value={card}>{button}</form>".encode()]
        return [b"<form method=post><input name=card><button name=preview>Preview</button></form>"]
