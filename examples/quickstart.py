"""The README's quick start, ready to be served: an application that was there before, and eight lines around it.

    python3 examples/quickstart.py [PORT]                                        # http://127.0.0.1:8000/cart
    FLOW_SECRET=… gunicorn --chdir examples --workers 4 quickstart:application   # several processes, one ledger
"""

import contextlib
import os
import secrets
import sys
import tempfile
from wsgiref.simple_server import make_server

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    sys.path.insert(0, os.path.join(ROOT, "tests"))
    import _bootstrap
    _bootstrap.ensure()
    os.environ.setdefault("FLOW_SECRET", secrets.token_urlsafe(32))
    scratch = tempfile.TemporaryDirectory()
    os.chdir(scratch.name)  # where flow.db goes, and is taken away again

ONWARD = {"/cart": "/shipping", "/shipping": "/payment", "/payment": "/done"}
FORM = '<!doctype html><title>{0}</title><h1>{0}</h1><form method="post" action="{0}"><button>Next</button></form>'
THANKS = "<!doctype html><title>Thank you!</title><h1>Thank you!</h1><a href='/cart'>Order again</a>"


def application(environ, start_response):
    """Pages with a button that leads to the next one. It believes whoever asks, and charges whenever it is told to."""
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] == "POST" and path in ONWARD:
        if path == "/payment":
            print("charged", file=environ["wsgi.errors"], flush=True)
        start_response("303 See Other", [("Location", ONWARD[path])])
        return []
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [(FORM.format(path) if path in ONWARD else THANKS).encode()]


from flowguard import FlowGuard

application = FlowGuard(application, {
    "/cart": {"to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}, back="edit", secret_key=os.environ["FLOW_SECRET"], ledger="sqlite:///flow.db")

if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000, application) as server:
        print(f"Guarded: http://127.0.0.1:{server.server_address[1]}/cart; Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
