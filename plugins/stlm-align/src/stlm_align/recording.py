"""A recording as an aligner takes it: finite samples at its rate."""

from __future__ import annotations

import numpy as np

from stlm.audio import resample
from stlm.errors import DataError
from stlm.types import Audio


def samples_at(audio: Audio, sample_rate: int) -> np.ndarray:
    """``float32[N]``.

    Raises:
        DataError: there are none, or some are not finite.
    """
    if not audio.num_samples or not np.isfinite(audio.samples).all():
        found = "NaN or infinite samples" if audio.num_samples else "no samples"
        raise DataError(f"audio holds {found}, expected finite ones: check what made it")
    return resample(audio, sample_rate).samples
