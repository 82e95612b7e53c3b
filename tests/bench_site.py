"""What gunicorn serves for `bench.py`: the checkout bare and guarded, beside a page that tells what its process has
spent."""

from __future__ import annotations

import time
from typing import Any, Callable

import checkouts

SPENT = "/spent"  # nanoseconds of the process's own time, so far


def telling(application: Callable[..., Any]) -> Callable[..., Any]:
    def site(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != SPENT:
            return application(environ, start_response)
        body = b"%d" % time.process_time_ns()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return site


bare = telling(checkouts.shop)
guarded = telling(checkouts.guarded())
