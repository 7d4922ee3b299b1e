"""What needs no cluster: impossible options, and whether a node is large enough."""

from __future__ import annotations

import pytest

from stlm.errors import ConfigError
from stlm_ray.runner import Config, has_room


@pytest.mark.parametrize(
    "options", [{"num_cpus": 0}, {"num_gpus": -1.0}, {"memory": -1.0}, {"max_in_flight": 0}, {"retries": -2}]
)
def test_impossible_options_are_config_errors(options: dict) -> None:
    with pytest.raises(ConfigError, match="runner ray needs num_cpus"):
        Config(**options)


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"num_cpus": 4, "num_gpus": 0.0}, True),
        ({"num_cpus": 2, "num_gpus": 0.5}, True),
        ({"num_cpus": 4, "num_gpus": 1.0}, False),
        ({"num_cpus": 1, "num_gpus": 0.0, "memory": 9}, False),
    ],
)
def test_one_node_must_have_all_that_a_task_asks_for(asked: dict, fits: bool) -> None:
    nodes = [{"CPU": 4.0, "memory": 8.0}, {"CPU": 2.0, "GPU": 1.0, "memory": 4.0}]
    assert has_room(nodes, asked) is fits
    assert not has_room([], asked)
