"""`python -m flowguard`: the command line."""

import sys

from flowguard.cli import main

sys.exit(main())
