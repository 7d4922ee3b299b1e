"""Choices that depend on the machine: precision and allocator."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys

import torch

from stlm.errors import ConfigError

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true")


def resolve_precision(name: str) -> str:
    """Lightning's name of a precision; "auto" is bf16-mixed where the hardware multiplies bf16, else fp32.

    Raises:
        ConfigError: unknown precision.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if cpu_has_bf16() else "32-true"


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 matrices in hardware (AVX512-BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("amx_tile"))


def keep_freed_memory() -> None:
    """Tell glibc to reuse large freed blocks instead of returning them to the system.

    Training on a CPU frees and allocates the same large buffers at every step; each return costs page faults. Measured
    on two cores with rows of 512: 601 ms a step against 2,107 ms. Nothing happens where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):
        logger.debug("no glibc mallopt here; large buffers go back to the system after each step")


def return_freed_memory() -> None:
    """Give what training freed back to the system, after `keep_freed_memory` had kept it."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        logger.debug("no glibc malloc_trim here")
