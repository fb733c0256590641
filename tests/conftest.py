"""Settings for all tests."""

import os

# Tiny networks lose time to a second thread, and a fixed count keeps runs comparable bit for bit.
# The environment variable also reaches the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from hypothesis import settings

torch.set_num_threads(1)

# A busy machine must not fail a property test for slowness, and a failure must come again.
settings.register_profile("rlkit", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("rlkit")
