"""Test settings shared by all: one torch thread, as tests run side by side on few cores."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
