"""K-means centroids from a file that holds nothing but numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stlm.errors import ConfigError, DataError, FormatError
from stlm.learn.weights import read_weights

KEY = "centroids"


def read_codebook(path: str) -> torch.Tensor:
    """Centroids ``float32[K, D]`` from ``.safetensors`` (array ``centroids``) or ``.npy``.

    Raises:
        ConfigError: no path, or a format that could run code. DataError: missing or unreadable. FormatError: no such
            array, or another shape.
    """
    if not path:
        raise ConfigError("hubert needs k-means centroids: set codebook to a .safetensors or .npy file, got ''")
    file = Path(path)
    if file.suffix == ".safetensors":
        arrays = read_weights(file)
        if KEY not in arrays:
            raise FormatError(f"{path}: no array {KEY!r}, got {', '.join(sorted(arrays)) or 'none'}")
        centroids = arrays[KEY]
    elif file.suffix == ".npy":
        centroids = _read_npy(file)
    else:
        raise ConfigError(
            f"{path}: centroids must be a .safetensors or .npy file; a pickled scikit-learn k-means could run code "
            "and is not opened: convert it once, numpy.save('codebook.npy', kmeans.cluster_centers_)"
        )
    if centroids.dim() != 2 or not centroids.is_floating_point() or not 0 < len(centroids) <= 1 << 16:
        raise FormatError(
            f"{path}: {KEY} are {centroids.dtype}{list(centroids.shape)}, expected floats [K, D] with K in 1..65536"
        )
    if not bool(centroids.isfinite().all()):
        raise FormatError(f"{path}: {KEY} hold NaN or infinity, expected finite numbers: fit them again")
    return centroids.float().contiguous()


def _read_npy(path: Path) -> torch.Tensor:
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected k-means centroids: check the path")
    try:
        array = np.load(path, allow_pickle=False)
        return torch.from_numpy(np.ascontiguousarray(array))
    except (OSError, ValueError, EOFError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: cannot be read as an array ({reason}), expected numbers saved with numpy.save"
        ) from error
