"""Fixtures that more than one module's tests use."""

import signal

from applications import bare, guarded, site  # noqa: F401  (as below)
from browser import chromium  # noqa: F401  (as below)
from redis_server import redis_server, redis_url  # noqa: F401  (fixtures: pytest finds them by their names)

# Whoever is started in the background ignores SIGINT, and so would the servers that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
