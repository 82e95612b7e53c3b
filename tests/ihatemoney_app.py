"""I Hate Money, a shared budget manager on Flask, set up in the directory APPLICATION_HOME. It sends no mail."""

import logging
import os
from pathlib import Path

from ihatemoney.run import create_app


class Settings:
    SQLALCHEMY_DATABASE_URI = f"sqlite:///{Path(os.environ['APPLICATION_HOME'], 'ihatemoney.db')}"
    SECRET_KEY = "of this test alone, and no secret"
    SESSION_COOKIE_SECURE = False  # it is served without https here
    MAIL_SUPPRESS_SEND = True
    RATELIMIT_ENABLED = False  # many people share an address here


application = create_app(Settings)
# The logging of its migrations silences every logger that is there, and with waitress's the port that it serves on.
logging.getLogger("waitress").disabled = False
