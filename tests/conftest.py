"""Test settings shared by all: one torch thread, as tests run side by side on few cores."""

from __future__ import annotations

import torch

torch.set_num_threads(1)

# the plugin below is installed and tested by tests/plugin/test_out_of_tree.py, in a process of its own
collect_ignore = ["fixtures"]
