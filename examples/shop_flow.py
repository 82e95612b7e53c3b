"""The small shop, guarded: a flow and one line, and the shop stays as it is.

    application = guarded(Shop("shop.db"))
"""

import secrets

from flowguard import FlowGuard

FLOW = {
    "/cart": {"start": True, "to": ["/shipping"], "repeat": True},
    "/shipping": {"to": ["/payment"], "submit": True},
    "/payment": {"to": ["/done"], "once": True},
    "/done": {},
}


def guarded(application):
    """Put *application* behind a guard. The secret is made up, so that nobody deploys one that everybody can read."""
    return FlowGuard(application, FLOW, back="edit", secret_key=secrets.token_urlsafe(32), ledger="memory://")
