"""Hydra groups of this plugin: `source` and `eval_task`."""
