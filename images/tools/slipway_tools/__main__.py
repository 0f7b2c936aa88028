"""`python -m slipway_tools`: the entry point of the tools image."""

import sys

from slipway_tools.cli import main

sys.exit(main())
