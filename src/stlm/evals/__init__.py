"""Evaluation: requests over documents, scores, intervals."""

from stlm.evals.likelihood import ScoredItem, check_options, score_items
from stlm.evals.statistics import Accuracy, accuracy, by_tag

__all__ = ["Accuracy", "ScoredItem", "accuracy", "by_tag", "check_options", "score_items"]
