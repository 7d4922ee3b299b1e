"""The plugin's door: light to import, everything it names exists, configs match their dataclasses."""

from __future__ import annotations

from stlm.testing.door import PluginDoor


class TestDoor(PluginDoor):
    module = "stlm_ray"
