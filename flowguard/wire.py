"""WSGI's strings, and what stands behind them: bytes as latin-1 text (PEP 3333), and the host of a request."""

from __future__ import annotations


def native(text: str) -> str:
    """How WSGI has *text*, such as a path that a configuration names."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def raw(text: str) -> bytes:
    """The bytes behind a string of WSGI's; of what is none (there are such servers, and applications), UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def bare_host(netloc: str) -> str:
    """A host without user, port and case."""
    host = netloc.rpartition("@")[2].lower()
    return host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
