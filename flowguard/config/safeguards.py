"""Checks of what a guard's safety hangs on: its secrets and its cookies."""

from __future__ import annotations

import re
from typing import Any

from flowguard.config.callables import called_with
from flowguard.config.checks import choice
from flowguard.config.keys import TOKEN
from flowguard.config.places import Place, kind

# --- cookies ---------------------------------------------------------------------------------------------------------


def cookie_name(value: object, place: Place) -> Any:
    if not isinstance(value, str) or not TOKEN.fullmatch(value):
        return place.wrong(f"is {kind(value)}. Write a token: letters, digits, '-', '_' or '.'.")
    # Browsers compare the prefixes without regard to case (RFC 6265bis, 4.1.3).
    if value.lower().startswith(("__host-", "__secure-")):
        return place.wrong(f"is {kind(value)}. Leave the prefix out: '__Host-' is set in front where it is possible.")
    return value


def cookie_samesite(value: object, place: Place) -> Any:
    if value is None:
        return place.wrong("is None. Write 'None', in quotes, or leave it out for 'Lax'.")
    return choice("Lax", "Strict", "None")(value, place)


def cookie_secure(value: object, place: Place) -> Any:
    if isinstance(value, bool) or value == "auto":
        return value
    return place.wrong(f"is {kind(value)}. Write 'auto', True or False.")


def cookie_domain(value: object, place: Place) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\.?[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*", value):
        return value
    return place.wrong(f"is {kind(value)}. Write a host name such as 'example.org'.")


def cookie_path(value: object, place: Place) -> Any:
    """Printable ASCII but ``;`` (RFC 6265, 4.1.1: path-value), so that it can't add an attribute or a header."""
    if isinstance(value, str) and re.fullmatch(r"/[!-:<-~]*", value):
        return value
    return place.wrong(f"is {kind(value)}. Write a path that begins with '/', in printable ASCII without ';'.")


# --- users -----------------------------------------------------------------------------------------------------------


def whose(value: object, place: Place) -> Any:
    """An environ key, ``cookie:NAME``, or a callable or its dotted name; no environ key has a colon."""
    if callable(value):
        return _from_environ(value, place)
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        return place.wrong(f"is {kind(value)}. Write an environ key such as 'REMOTE_USER', or 'cookie:NAME', or give a "
                           "callable.")  # fmt: skip
    scheme, colon, name = value.partition(":")
    if scheme == "cookie":
        if TOKEN.fullmatch(name):
            return value
        return place.wrong(f"is {kind(value)}. Write the cookie's name behind it, such as 'cookie:customer'.")
    return _from_environ(value, place) if colon else value


_from_environ = called_with("the environ")


# --- secrets ---------------------------------------------------------------------------------------------------------

# Half of what HMAC-SHA-256 can use, and what itsdangerous' documentation shows as the least: os.urandom(16).
MIN_SECRET = 16  # bytes
# Of the least that is worth anything, 16 random hexadecimal digits, fewer differ once in 2.4 million times.
MIN_VARIETY = 5  # different bytes

_REMEDY = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'."
_PLACEHOLDER = re.compile(
    r"[\W_]*(?:(?:change|replace|insert|please|this|me|my|your|our|the|a|is|it|in|to|with|here|super|very|top|secret|key|"
    r"dev|development|default|password|placeholder|insecure|django|flask|flowguard|prod|production|random|string|value|"
    r"todo|xxx)[\W_]*)+",
    re.IGNORECASE,
)


def signing_keys(secret_key: Any) -> tuple[Any, ...]:
    """The keys as a tuple, oldest first: the last signs, all verify."""
    return (secret_key,) if isinstance(secret_key, (str, bytes)) else tuple(secret_key)


def secret(value: Any, place: Place) -> Any:
    """Text, bytes, or a list of them. No message shows a key."""
    if value is None:
        return place.wrong(f"is missing. {_REMEDY}")
    if isinstance(value, (str, bytes)):
        return _one_secret(value, place)
    if not isinstance(value, (list, tuple)):
        return place.wrong(f"is of type {type(value).__name__}. Give text, bytes, or a list of them, oldest first.")
    if not value:
        return place.wrong(f"is an empty list. {_REMEDY}")
    for position, item in enumerate(value):
        _one_secret(item, place.item(position))
    return value


def _one_secret(value: Any, place: Place) -> Any:
    if not isinstance(value, (str, bytes)):
        return place.wrong(f"is of type {type(value).__name__}. Give text or bytes.")
    try:
        raw = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        return place.wrong("has characters that UTF-8 can't write.")
    if _is_placeholder(raw):
        return place.wrong(f"is a placeholder that anybody can guess. {_REMEDY}")
    if len(raw) < MIN_SECRET:
        return place.wrong(f"has {len(raw)} bytes, and needs at least {MIN_SECRET}. {_REMEDY}")
    if len(set(raw)) < MIN_VARIETY:
        return place.wrong(f"has only {len(set(raw))} different bytes. {_REMEDY}")
    return value


def _is_placeholder(raw: bytes) -> bool:
    """Is it nothing but the words of those who mean to write a secret later? Random bytes are hardly ever a text."""
    try:
        return _PLACEHOLDER.fullmatch(raw.decode()) is not None
    except UnicodeDecodeError:
        return False
