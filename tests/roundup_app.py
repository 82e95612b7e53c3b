"""Roundup's classic issue tracker, set up in the directory APPLICATION_HOME; its mail goes to a file."""

import os
from pathlib import Path

from person import ORIGIN
from roundup.admin import AdminTool
from roundup.cgi.wsgi_handler import RequestDispatcher

HOME = Path(os.environ["APPLICATION_HOME"])
TRACKER = HOME / "tracker"
SETTINGS = {
    "tracker_web": f"{ORIGIN}/",
    "admin_email": "admin@tracker.example",
    "mail_domain": "tracker.example",
    "mail_host": "localhost",
    "mail_debug": str(HOME / "mail"),  # the file that mail is written to, instead of being sent
    "password_pbkdf2_default_rounds": "1000",  # a hash of 250,000 would take a good part of the tests' time
    "web_registration_delay": "0",  # seconds; nobody here takes the four that a person is expected to
}


def set_up() -> None:
    admin = AdminTool()
    admin.tracker_home = str(TRACKER)
    admin.do_install(str(TRACKER), ["install", "classic", "sqlite", ",".join(map("=".join, SETTINGS.items()))])
    admin.do_initialise(str(TRACKER), ["initialise", "the password of admin"])


if not TRACKER.exists():
    set_up()
application = RequestDispatcher(str(TRACKER))
