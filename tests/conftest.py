"""Hypothesis in two profiles: the same examples on every run in CI, new ones elsewhere.

No example has a deadline, since machines that run tests are not alike.
"""

import os

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
