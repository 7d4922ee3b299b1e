"""One thread inside, what there was outside."""

from __future__ import annotations

import pytest
import torch

from stlm.learn.threads import one_thread


def test_it_holds_inside_and_leaves_no_trace_even_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
