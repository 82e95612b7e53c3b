"""An application and its guard by the environment alone, so that nothing of the application is edited:

    FLOWGUARD_APP=legacy:application FLOWGUARD_CONFIG=flow.toml FLOWGUARD_SECRET_FILE=secret gunicorn flowguard.wsgi

The variables are those of `flowguard.environment`. Importing this module makes the guard, and raises `ConfigError`
where that is not possible.
"""

import os

from flowguard.environment import guard_from

application = guard_from(os.environ)
