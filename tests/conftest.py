"""How hypothesis draws its examples: the same ones on every run, unless HYPOTHESIS_PROFILE=random.

A test that fails for one seed in a thousand must not stop someone else's change.  Run with the profile
`random` to look for new examples; pytest then prints how to repeat a failure.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
