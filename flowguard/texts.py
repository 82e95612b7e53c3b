"""The words of the pages and problems that answer a refusal, by language.

The flow's option `texts` replaces words and adds languages. It has the shape of `BUILT_IN`::

    texts = {
        "en": {                                        # a language tag, as in Accept-Language
            "duplicate": {"title": "Already paid", "text": "You are not charged twice."},
            "go_on": "Back to your order",
        },
        "nl": {"duplicate": {"title": "Al betaald", "text": "U betaalt niet nog eens."}},
    }

- A *situation* has a `title` and a `text`: every reason of CONTRACT 5, and `unknown` (the outcome of the last
  submission is not known), `looping` (guard and application send the visitor to and fro), `too_large` (413).
- A *phrase* is one text: `not_taken`, `not_taken_again` (after something that was sent before), `go_on`, `result` and
  `begin` (the texts of the links: to where the visitor was, to where the first submission led or will lead, to the
  first step), `by_form` (the step has only a form), `no_way` (there is nothing to link), `refreshes` (the page goes on
  by itself), `wait` and, from two minutes on, `wait_long` (where ``{seconds}`` and ``{minutes}`` stand for their
  number).

All of it is plain text and escaped. What is left out is taken from the built-in words of the language, then of its
primary language (`de` for `de-CH`), then from English; such a passage says in the page which language it is in.
`text_problems` tells what is wrong with such a mapping.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import Iterable, Iterator, Mapping, NamedTuple, Optional, Union

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

Texts = Mapping[str, Mapping[str, Union[str, Mapping[str, str]]]]

NO_TEXTS: Texts = {}
DEFAULT = "en"
PARTS = ("title", "text")
MOST = 500  # characters of an Accept-Language that are read
USUAL = 100  # characters of an Accept-Language, of browsers; what was made of longer ones is not kept

# A language tag, as far as it goes into an attribute and a header (RFC 5646, 2.1).
TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")

ENGLISH: Mapping[str, Union[str, Mapping[str, str]]] = {
    "not_started": {
        "title": "Please start with the first step",
        "text": "You have not begun here yet. If you had, your browser may have blocked the cookie that this site "
        "needs to know where you are.",
    },
    "illegal": {
        "title": "This step cannot be opened now",
        "text": "The steps come in a set order, and this one cannot be reached from where you are.",
    },
    "duplicate": {
        "title": "We have this already",
        "text": "This step was received before, so it is not done a second time.",
    },
    "skipped": {
        "title": "Something comes first",
        "text": "A step before this one is not finished yet. Please finish that one first.",
    },
    "condition": {
        "title": "This step is not open right now",
        "text": "Something that this step needs is not there yet, or has changed.",
    },
    "too_fast": {
        "title": "One moment, please",
        "text": "This step opens only after a short while. Then you can go on.",
    },
    "expired": {
        "title": "The time has run out",
        "text": "We can keep your steps only for a limited time, and that time is over. Nothing more was done.",
    },
    "finished": {
        "title": "You have finished",
        "text": "All the steps are done, so nothing can be changed here any more.",
    },
    "busy": {
        "title": "We are still working on it",
        "text": "What you sent before is still being worked on. Nothing is done twice.",
    },
    "bad_cookie": {
        "title": "Please start again",
        "text": "We could not tell where you were. This can happen after a change to this site.",
    },
    "wrong_user": {
        "title": "Please start with your own account",
        "text": "These steps were begun under another sign-in. You can start again under yours.",
    },
    "path": {
        "title": "We could not open this page",
        "text": "We could not tell which step this address or this form belongs to.",
    },
    "unavailable": {
        "title": "Please try again in a moment",
        "text": "Right now we cannot check whether this was sent before. So that nothing is done twice, we stopped "
        "here.",
    },
    "unknown": {
        "title": "We do not know whether it worked",
        "text": "The outcome of your last submission is not known. Please check first whether it arrived: there may be "
        "a message with a confirmation. So that nothing is done twice, we do not send it again.",
    },
    "looping": {
        "title": "We stopped going in circles",
        "text": "This site kept sending you to and fro. That is our fault, not yours. Please try again in a moment.",
    },
    "too_large": {
        "title": "This is too large to send",
        "text": "What was sent is larger than this site takes. Please go back in your browser and send less.",
    },
    "not_taken": "What you typed was not taken.",
    "not_taken_again": "What you typed this time was not taken.",
    "go_on": "Go on to where you were",
    "result": "Go on to the result",
    "begin": "Go to the first step",
    "by_form": "To go on, go back in your browser and use the button there.",
    "no_way": "There is no page that we could lead you to from here. Please go back in your browser, or try again "
    "later.",
    "refreshes": "This page goes on by itself in a few seconds.",
    "wait": "It takes about {seconds}\N{NO-BREAK SPACE}seconds more.",
    "wait_long": "It takes about {minutes}\N{NO-BREAK SPACE}minutes more.",
}

GERMAN: Mapping[str, Union[str, Mapping[str, str]]] = {
    "not_started": {
        "title": "Bitte beginnen Sie mit dem ersten Schritt",
        "text": "Hier haben Sie noch nicht begonnen. Falls doch, hat Ihr Browser vielleicht das Cookie abgelehnt, an "
        "dem diese Website erkennt, wo Sie gerade sind.",
    },
    "illegal": {
        "title": "Dieser Schritt ist jetzt nicht an der Reihe",
        "text": "Die Schritte haben eine feste Reihenfolge, und dieser lässt sich von Ihrer jetzigen Stelle aus nicht "
        "öffnen.",
    },
    "duplicate": {
        "title": "Das liegt uns bereits vor",
        "text": "Diesen Schritt haben wir schon erhalten. Er wird nicht ein zweites Mal ausgeführt.",
    },
    "skipped": {
        "title": "Vorher fehlt noch etwas",
        "text": "Ein früherer Schritt ist noch nicht abgeschlossen. Bitte schließen Sie zuerst diesen ab.",
    },
    "condition": {
        "title": "Dieser Schritt ist gerade nicht möglich",
        "text": "Etwas, das für diesen Schritt nötig ist, fehlt noch oder hat sich geändert.",
    },
    "too_fast": {
        "title": "Einen Moment, bitte",
        "text": "Dieser Schritt öffnet sich erst nach kurzer Zeit. Dann geht es weiter.",
    },
    "expired": {
        "title": "Die Zeit ist abgelaufen",
        "text": "Wir können Ihre Schritte nur für begrenzte Zeit aufbewahren, und diese Zeit ist vorbei. Es wurde "
        "nichts weiter ausgeführt.",
    },
    "finished": {
        "title": "Sie sind bereits fertig",
        "text": "Alle Schritte sind abgeschlossen. Deshalb lässt sich hier nichts mehr ändern.",
    },
    "busy": {
        "title": "Wir sind noch dabei",
        "text": "Was Sie vorhin gesendet haben, wird noch bearbeitet. Es wird nichts doppelt ausgeführt.",
    },
    "bad_cookie": {
        "title": "Bitte beginnen Sie noch einmal",
        "text": "Wir konnten nicht erkennen, wo Sie waren. Das kann vorkommen, wenn diese Website geändert wurde.",
    },
    "wrong_user": {
        "title": "Bitte beginnen Sie mit Ihrem eigenen Konto",
        "text": "Diese Schritte wurden unter einer anderen Anmeldung begonnen. Unter Ihrer eigenen können Sie neu "
        "beginnen.",
    },
    "path": {
        "title": "Diese Seite ließ sich nicht öffnen",
        "text": "Wir konnten nicht erkennen, zu welchem Schritt diese Adresse oder dieses Formular gehört.",
    },
    "unavailable": {
        "title": "Bitte versuchen Sie es gleich noch einmal",
        "text": "Wir können im Moment nicht prüfen, ob dies schon einmal gesendet wurde. Damit nichts doppelt "
        "geschieht, haben wir hier angehalten.",
    },
    "unknown": {
        "title": "Wir wissen nicht, ob es geklappt hat",
        "text": "Es ist nicht bekannt, was aus Ihrer letzten Eingabe geworden ist. Bitte prüfen Sie zuerst, ob sie "
        "angekommen ist: Vielleicht haben Sie eine Bestätigung erhalten. Damit nichts doppelt geschieht, senden wir "
        "sie nicht noch einmal.",
    },
    "looping": {
        "title": "Hier ging es im Kreis",
        "text": "Diese Website hat Sie immer wieder hin- und hergeschickt. Das liegt an uns, nicht an Ihnen. Bitte "
        "versuchen Sie es gleich noch einmal.",
    },
    "too_large": {
        "title": "Das ist zu groß",
        "text": "Was gesendet wurde, ist größer, als diese Website annimmt. Bitte gehen Sie im Browser zurück und "
        "senden Sie weniger.",
    },
    "not_taken": "Ihre Eingaben wurden nicht übernommen.",
    "not_taken_again": "Ihre erneuten Eingaben wurden nicht übernommen.",
    "go_on": "Dort weiter, wo Sie waren",
    "result": "Weiter zum Ergebnis",
    "begin": "Zum ersten Schritt",
    "by_form": "Um fortzufahren, gehen Sie bitte im Browser zurück und verwenden Sie dort die Schaltfläche.",
    "no_way": "Von hier aus können wir Sie zu keiner Seite weiterleiten. Bitte gehen Sie im Browser zurück, oder "
    "versuchen Sie es später noch einmal.",
    "refreshes": "Diese Seite geht in wenigen Sekunden von selbst weiter.",
    "wait": "Es dauert noch etwa {seconds}\N{NO-BREAK SPACE}Sekunden.",
    "wait_long": "Es dauert noch etwa {minutes}\N{NO-BREAK SPACE}Minuten.",
}

BUILT_IN: Texts = {"en": ENGLISH, "de": GERMAN}


class Phrase(NamedTuple):
    """A text, and the language that it is in."""

    text: str
    lang: str


class Words(NamedTuple):
    """The words in one language, with what falls in where it has none."""

    lang: str
    texts: Texts = NO_TEXTS

    def title(self, situation: str) -> Phrase:
        return self._find(situation, "title")

    def text(self, situation: str) -> Phrase:
        return self._find(situation, "text")

    def phrase(self, key: str) -> Phrase:
        return self._find(key, None)

    def _find(self, key: str, part: Optional[str]) -> Phrase:
        for lang in dict.fromkeys((self.lang, primary(self.lang), primary(self.lang).lower(), DEFAULT)):
            for table in (self.texts, BUILT_IN):
                text = _entry(table, lang, key, part)
                if text is not None:
                    return Phrase(text, lang)
        raise KeyError(key)


def words(accept_language: str, texts: Texts = NO_TEXTS) -> Words:
    """The words in the visitor's language: the best of Accept-Language that there is, by itself or by its primary
    language ("lookup", RFC 4647, 3.4), else English. Does not raise, whatever the header says."""
    best = _best_once if len(accept_language) <= USUAL else _best
    return Words(best(accept_language[:MOST], (*BUILT_IN, *texts)), texts)


def _best(accept_language: str, tags: tuple[str, ...]) -> str:
    offers = {tag.lower(): tag for tag in tags}
    for tag, quality in parse_accept_header(accept_language, LanguageAccept):
        found = offers.get(tag.lower()) or offers.get(primary(tag).lower())
        if found is not None and quality > 0:
            return found
    return DEFAULT


_best_once = lru_cache(256)(_best)


def primary(tag: str) -> str:
    """`de` of `de-CH`."""
    return tag.partition("-")[0]


def _entry(table: Texts, lang: str, key: str, part: Optional[str]) -> Optional[str]:
    entry = table.get(lang, {}).get(key)
    if part is not None:
        entry = entry.get(part) if isinstance(entry, Mapping) else None
    return entry if isinstance(entry, str) else None


# --- what is wrong with a deployer's words ---------------------------------------------------------------------------


def text_problems(texts: object) -> list[str]:
    """What is wrong with the option `texts`, a sentence for each thing, led by its key path; empty if nothing is."""
    return list(_problems(texts))


def _problems(texts: object) -> Iterator[str]:
    if not isinstance(texts, Mapping):
        yield f"texts: is {texts!r}, not a mapping from languages to words."
        return
    for lang, table in texts.items():
        where = f"texts[{lang!r}]"
        if not isinstance(lang, str) or not TAG.fullmatch(lang):
            yield f"{where}: is no language tag. Write one like 'en' or 'de-CH'."
        if isinstance(table, Mapping):
            for key, value in table.items():
                yield from _word_problems(f"{where}[{key!r}]", key, value)
        else:
            yield f"{where}: is {table!r}, not a mapping from names to words."


def _word_problems(where: str, key: object, value: object) -> Iterator[str]:
    known = ENGLISH.get(key) if isinstance(key, str) else None
    if known is None:
        yield f"{where}: unknown key.{_meant(key, ENGLISH)}"
    elif isinstance(known, str):
        yield from _text_problems(where, value)
    elif isinstance(value, Mapping):
        for part, text in value.items():
            yield from _part_problems(f"{where}[{part!r}]", part, text)
    else:
        yield f"{where}: is {value!r}, not a mapping with 'title' and 'text'."


def _part_problems(where: str, part: object, value: object) -> Iterator[str]:
    if part in PARTS:
        yield from _text_problems(where, value)
    else:
        yield f"{where}: unknown key.{_meant(part, PARTS)}"


def _text_problems(where: str, value: object) -> Iterator[str]:
    if not isinstance(value, str) or not value.strip():
        yield f"{where}: is {value!r}, not a text."


def _meant(key: object, known: Iterable[str]) -> str:
    close = get_close_matches(str(key), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
