"""Evaluation tasks of the core; plugins bring others through `stlm_eval_tasks`."""

from stlm.evals.tasks.continuation import MirroredContinuation

__all__ = ["MirroredContinuation"]
