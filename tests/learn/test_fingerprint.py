"""A fingerprint changes with everything that matters and with nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from stlm.learn.fingerprint import fingerprint

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.int64)}


@dataclass(frozen=True)
class Options:
    hop: int = 640


def test_it_is_the_same_on_every_machine_and_day() -> None:
    assert fingerprint(ARRAYS, {"hop": 640}) == "ca8e0f758ce68318c281976870676e72b9ae0d10244eb0163e3fb8fca6c9de85"


def test_order_and_container_do_not_matter() -> None:
    tensors = {name: torch.from_numpy(array) for name, array in reversed(ARRAYS.items())}
    assert fingerprint(tensors, Options()) == fingerprint(ARRAYS, {"hop": 640})


def test_values_names_shapes_types_and_options_matter() -> None:
    others = [
        fingerprint({**ARRAYS, "a": ARRAYS["a"] + 1}, {"hop": 640}),
        fingerprint({"c": ARRAYS["a"], "b": ARRAYS["b"]}, {"hop": 640}),
        fingerprint({**ARRAYS, "a": ARRAYS["a"].reshape(3, 2)}, {"hop": 640}),
        fingerprint({**ARRAYS, "b": ARRAYS["b"].astype(np.int32)}, {"hop": 640}),
        fingerprint(ARRAYS, {"hop": 320}),
    ]
    assert len({fingerprint(ARRAYS, {"hop": 640}), *others}) == 6
