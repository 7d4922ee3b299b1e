"""Test settings shared by all: one torch thread, as tests run side by side on few cores."""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)

# the plugin below is installed and tested by tests/plugin/test_out_of_tree.py, in a process of its own
collect_ignore = ["fixtures"]

# no deadline: a busy machine is no defect
settings.register_profile("stlm", deadline=None)
settings.load_profile("stlm")
