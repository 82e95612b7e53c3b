"""The HTML of an answer: one self-contained document, without a script and without anything from outside.

Made to be read by anybody: on a phone of 320 px, in the dark, on paper, aloud, and enlarged.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import NamedTuple

from flowguard.texts import Phrase, primary

# Scripts that are written from right to left, by primary language: the direction of a page follows its language.
RIGHT_TO_LEFT = frozenset(("ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"))

# Colours are told from their background by a contrast of at least 4.5 (WCAG 2.2, 1.4.3), in the light and in the dark.
STYLE = """
:root{color-scheme:light dark;--page:#f3f4f6;--sheet:#fff;--text:#1b1f27;--line:#d5d9e0;--link:#0b4fb3;--on-link:#fff;\
--note:#fff4d6;--note-line:#b27b00}
@media (prefers-color-scheme:dark){:root{--page:#12151b;--sheet:#1c2129;--text:#eceff4;--line:#363d49;--link:#9cc4ff;\
--on-link:#0c1524;--note:#3a2f12;--note-line:#e0b040}}
*{box-sizing:border-box}
html{background:var(--page);color:var(--text);font:100%/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
body{margin:0;padding:min(4rem,5vw) min(2rem,4vw)}
main{max-width:36rem;margin-inline:auto;padding:min(2.5rem,6vw);background:var(--sheet);border:1px solid var(--line);\
border-block-start:.3rem solid var(--link);border-radius:.75rem;overflow-wrap:break-word;hyphens:auto;\
hyphenate-limit-chars:12 5 5}
h1{margin:0 0 .75rem;font-size:clamp(1.4rem,1.1rem + 1.6vw,1.9rem);line-height:1.25;text-wrap:balance}
p{margin:0 0 1rem;text-wrap:pretty}
p:last-child{margin-bottom:0}
.note{padding:.65rem min(.9rem,3vw);background:var(--note);border-inline-start:.3rem solid var(--note-line);\
border-radius:.3rem;font-weight:600}
.ways{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.5rem}
a{display:inline-block;min-height:2.75rem;padding:.55rem min(1.1rem,3vw);border:2px solid var(--link);\
border-radius:.5rem;color:var(--link);font-weight:600;text-wrap:balance;text-underline-offset:.2em;text-decoration-thickness:1px}
a:first-child{background:var(--link);color:var(--on-link)}
a:hover{text-decoration-thickness:3px}
a:focus-visible{outline:3px solid var(--text);outline-offset:3px}
@media (max-width:30rem){a{width:100%;text-align:center}}
@media print{html,main{background:#fff;color:#000}body,main{padding:0}main{border:0}\
.note{border:1px solid #000;background:none}.ways{display:block}\
a,a:first-child{display:block;border:0;padding:0;background:none;color:#000}}
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

# Nothing may be loaded or run and no form sent; the one style sheet is named by its digest, so that no other applies.
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"


class Link(NamedTuple):
    """A way on. `href` is a URL that may be linked: whoever makes it answers for that."""

    href: str
    text: Phrase


class Page(NamedTuple):
    """What a page says. `note`: what must not be overlooked. `advice`: what comes next, beside the links."""

    lang: str
    title: Phrase
    text: Phrase
    note: tuple[Phrase, ...] = ()
    advice: tuple[Phrase, ...] = ()
    links: tuple[Link, ...] = ()


def render(page: Page) -> bytes:
    """The page as an HTML document in UTF-8."""
    noted = [_element(page, "p", phrase, ' class="note"') for phrase in page.note]
    advised = [_element(page, "p", phrase) for phrase in page.advice]
    ways = [f'<p class="ways">{_anchors(page)}</p>'] if page.links else []
    body = "\n".join([_element(page, "h1", page.title), _element(page, "p", page.text), *noted, *advised, *ways])
    return _document(page, f"<style>{STYLE}</style>\n", f"<main>\n{body}\n</main>")


def render_redirect(page: Page) -> bytes:
    """The short document that goes with a redirect: few will ever see it."""
    return _document(page, "", f"<p>{_anchors(page)}</p>")


def _document(page: Page, head: str, body: str) -> bytes:
    text = (
        f'<!DOCTYPE html>\n<html{_language(page.lang)}>\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{_element(page, 'title', page.title)}\n{head}</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    return text.encode("utf-8", "xmlcharrefreplace")


def _anchors(page: Page) -> str:
    return "\n".join(_element(page, "a", link.text, f' href="{escape(link.href)}"') for link in page.links)


def _element(page: Page, name: str, phrase: Phrase, attributes: str = "") -> str:
    """An element with text in it, which says its language where that is not the page's."""
    language = "" if phrase.lang == page.lang else _language(phrase.lang)
    return f"<{name}{attributes}{language}>{escape(phrase.text)}</{name}>"


def _language(lang: str) -> str:
    direction = "rtl" if primary(lang).lower() in RIGHT_TO_LEFT else "ltr"
    return f' lang="{escape(lang)}" dir="{direction}"'
