"""A small shop, the way such shops were written fifteen years ago: plain WSGI, SQLite, and faith in its visitors.

It charges whenever something is posted to /payment, and sends a parcel whenever somebody with a filled cart looks at
/done. It takes any spelling of its addresses, any method, and any visitor's word for who he is. It has never heard of
flowguard, and nothing here may be mended: examples/demo.py shows what a guard in front of it is worth.
"""

import contextlib
import posixpath
import secrets
import sqlite3
from html import escape
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

PRICE = 12  # euros, for a book: it is the only thing that the shop sells

SCHEMA = """
CREATE TABLE visitors (id TEXT PRIMARY KEY, books INTEGER DEFAULT 0, address TEXT DEFAULT '', sent INTEGER DEFAULT 0);
CREATE TABLE charges (visitor TEXT, euros INTEGER);
CREATE TABLE parcels (visitor TEXT, books INTEGER, address TEXT);
"""

LAYOUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="stylesheet" href="/static/shop.css"></head>
<body><nav><a href="/">Shop</a> <a href="/cart">Cart</a> <a href="/about">About</a></nav>
<h1>{title}</h1>
{body}
</body></html>
"""


class Shop:
    """The application. *terminal* is called for every charge: it is the bank, and takes the time that it takes."""

    def __init__(self, database, terminal=lambda: None):
        self.database = database
        self.terminal = terminal
        self.execute(SCHEMA)

    def __call__(self, environ, start_response):
        path = posixpath.normpath("/" + environ["PATH_INFO"].lower().partition(";")[0]).strip("/")
        page = getattr(self, "page_" + (path.replace("/", "_").replace(".", "_") or "home"), self.missing)
        status, headers, body = page(Visit(self, environ))
        content = body.encode()
        start_response(status, [*headers, ("Content-Length", str(len(content)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

    def execute(self, script, *values):
        """Run one statement with *values*, or a script without, and return the rows."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=10, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")  # it is nobody's money, and there are slow disks
            return db.execute(script, values).fetchall() if values else db.executescript(script).fetchall()

    def page_home(self, visit):
        return visit.page("A small shop", '<p>One book, 12 &euro;.</p><p><a href="/cart">Put it into the cart</a></p>')

    def page_about(self, visit):
        return visit.page("About us", "<p>Selling the same book since 2009.</p>")

    def page_static_shop_css(self, visit):
        return "200 OK", [("Content-Type", "text/css")], "body { font-family: sans-serif; max-width: 40em }\n"

    def page_cart(self, visit):
        if visit.submits:
            if visit.sent:  # the last order is on its way: this is another
                self.execute("UPDATE visitors SET books = 0, sent = 0 WHERE id = ?", visit.id)
            self.execute("UPDATE visitors SET books = books + ? WHERE id = ?", visit.number("books"), visit.id)
            return visit.redirect("/cart")
        return visit.page("Your cart", f"<p>Books: {visit.books}</p>" + form(
            "/cart", '<label>Add <input name="books" value="1" size="2"></label>', "Add to cart")
            + '<p><a href="/shipping">To shipping</a></p>')

    def page_shipping(self, visit):
        error = ""
        if visit.submits:
            address = visit.field("address")
            if address:
                self.execute("UPDATE visitors SET address = ? WHERE id = ?", address, visit.id)
                return visit.redirect("/payment")
            error = "<p><strong>Where shall it go?</strong></p>"
        return visit.page("Shipping", error + form(
            "/shipping", f'<label>Address <input name="address" value="{escape(visit.address)}"></label>', "Continue"))

    def page_payment(self, visit):
        if visit.submits:
            self.terminal()
            self.execute("INSERT INTO charges VALUES (?, ?)", visit.id, visit.books * PRICE)
            return visit.redirect("/done")
        return visit.page("Payment", f"<p>{visit.books * PRICE} &euro; for {visit.books} books, to "
                          f"{escape(visit.address) or '(no address)'}</p>"
                          + form("/payment", '<label>Card <input name="card" value="4111"></label>', "Pay"))

    def page_done(self, visit):
        if visit.books and not visit.sent:
            self.execute("INSERT INTO parcels VALUES (?, ?, ?)", visit.id, visit.books, visit.address)
            self.execute("UPDATE visitors SET sent = 1 WHERE id = ?", visit.id)
        return visit.page("Thank you!", f"<p>Your {visit.books} books are on their way.</p>")

    def missing(self, visit):
        return visit.page("No such page", "", status="404 Not Found")


class Visit:
    """One request, and what the shop knows of the visitor who sent it."""

    def __init__(self, shop, environ):
        cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
        self.is_new = "visitor" not in cookies
        self.id = secrets.token_hex(8) if self.is_new else cookies["visitor"].value
        shop.execute("INSERT OR IGNORE INTO visitors (id) VALUES (?)", self.id)
        (self.books, self.address, self.sent), = shop.execute(
            "SELECT books, address, sent FROM visitors WHERE id = ?", self.id)
        method = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE") or environ["REQUEST_METHOD"]
        self.submits = method.upper() not in ("GET", "HEAD", "OPTIONS")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        self.form = parse_qs(environ["wsgi.input"].read(length).decode("utf-8", "replace")) if self.submits else {}

    def field(self, name):
        return self.form.get(name, [""])[0].strip()

    def number(self, name):
        return int(self.field(name)) if self.field(name).isdecimal() else 0

    def page(self, title, body, status="200 OK"):
        return status, self.headers(), LAYOUT.format(title=title, body=body)

    def redirect(self, path):
        return "303 See Other", [("Location", path), *self.headers()], ""

    def headers(self):
        cookie = [("Set-Cookie", f"visitor={self.id}; Path=/; HttpOnly")] if self.is_new else []
        return [("Content-Type", "text/html; charset=utf-8"), *cookie]


def form(action, fields, button):
    return f'<form method="post" action="{action}"><p>{fields} <button>{button}</button></p></form>'
