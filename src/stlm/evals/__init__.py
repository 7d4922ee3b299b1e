"""Evaluation: requests over documents, scores, intervals."""

from stlm.evals.likelihood import ScoredItem, score_items
from stlm.evals.statistics import Accuracy, accuracy, by_tag

__all__ = ["Accuracy", "ScoredItem", "accuracy", "by_tag", "score_items"]
