"""Preparation on a Ray cluster."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_runners() -> list[Component]:
    return [
        Component(
            name="ray",
            factory="stlm_ray.runner:build",
            config="stlm_ray.runner:Config",
            summary="the nodes of a Ray cluster; a lost worker's or node's tasks run again elsewhere",
        )
    ]
