"""The rules, pure: no WSGI, no cookie, no clock, no store, no randomness. Start reading in `passage`."""
