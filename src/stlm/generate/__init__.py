"""The one sampler and the one scorer."""

from stlm.generate.engine import Engine, Step
from stlm.generate.sampling import GenerationOptions
from stlm.generate.scoring import log_likelihoods

__all__ = ["Engine", "GenerationOptions", "Step", "log_likelihoods"]
