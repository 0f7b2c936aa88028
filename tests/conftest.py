"""What holds for every test: how hypothesis searches."""

import os

from hypothesis import HealthCheck, settings

# Speed belongs into bench/: a busy machine must not fail a property. CI looks at the same examples each time.
settings.register_profile("slipway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("slipway"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "slipway")
