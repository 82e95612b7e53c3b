"""What a server loads to be asked byte by byte: a router's site (ROUTER, a name in `routers`) behind the guard, whose
answers say in `X-Ran` which handler ran and in `X-Judged` as which state the request was judged.

    python raw_site.py SERVER

serves it by one of `SERVERS`, on a port that the system chose.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable
from wsgiref.simple_server import WSGIRequestHandler, make_server

from routers import ROUTERS

from flowguard import FlowGuard

router = ROUTERS[os.environ["ROUTER"]]
ran: list[str] = []
site = router.make(ran.append)


def telling(environ: Any, start_response: Any) -> Any:
    ran.clear()
    handle = environ.get("flowguard.run")
    told: list[Any] = []
    body = b"".join(site(environ, lambda *answer: told.append(answer)))
    status, headers, *_ = told[-1]
    start_response(status, [*headers, ("X-Ran", ",".join(ran)), ("X-Judged", handle.state if handle else "")])
    return [body]


flow = {key: {"state": name, "start": True} for name, key in router.keys.items()}
application = FlowGuard(telling, flow, secret_key="a secret of the tests of raw requests")


def by_wsgiref() -> None:
    class Silent(WSGIRequestHandler):
        def log_message(self, *_arguments: Any) -> None:
            pass

    with make_server("127.0.0.1", 0, application, handler_class=Silent) as server:
        announce(server.server_port)
        server.serve_forever()


def by_werkzeug() -> None:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, application)
    announce(server.port)
    server.serve_forever()


def by_cheroot() -> None:
    from cheroot.wsgi import Server

    server = Server(("127.0.0.1", 0), application, numthreads=1)
    server.prepare()
    announce(server.bind_addr[1])
    server.serve()


def announce(port: int) -> None:
    print(f"Serving on http://127.0.0.1:{port}", flush=True)


SERVERS: dict[str, Callable[[], None]] = {"wsgiref": by_wsgiref, "werkzeug": by_werkzeug, "cheroot": by_cheroot}

if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
