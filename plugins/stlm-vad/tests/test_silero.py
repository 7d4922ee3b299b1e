"""The network is the published one, and blocks of any length give the same probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stlm.learn.threads import one_thread
from stlm_vad.silero import CONTEXT, HOP, SAMPLE_RATE, SileroDetector, SileroNetwork


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Two seconds of a buzz whose formant glides, between seconds of faint noise."""
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    centre = 500 + 400 * np.sin(2 * np.pi * 3 * time)
    tones = 120.0 * np.arange(1, 30)[:, None]
    buzz = (np.exp(-(((tones - centre) / 150) ** 2)) * np.sin(2 * np.pi * tones * time)).sum(0)
    noise = np.random.default_rng(0).normal(0, 1e-3, 4 * SAMPLE_RATE)
    noise[SAMPLE_RATE : 3 * SAMPLE_RATE] += 0.1 * buzz * (1 + np.sin(2 * np.pi * 4 * time))
    return noise.astype(np.float32)


def test_it_hears_when_somebody_speaks(sound: np.ndarray) -> None:
    speech = SileroDetector()([sound])
    assert len(speech) == len(sound) // HOP
    assert speech[: SAMPLE_RATE // HOP - 1].max() < 0.5 < speech[40:90].mean()


@pytest.mark.parametrize("sizes", [(7, 500, 6, 40000), (512,) * 50, (50001,)])
def test_blocks_change_nothing(sound: np.ndarray, sizes: tuple[int, ...]) -> None:
    detector = SileroDetector()
    blocks = np.split(sound, np.cumsum(sizes))
    np.testing.assert_allclose(detector(blocks), detector([sound]), atol=1e-5)


def test_the_last_frame_is_filled_up(sound: np.ndarray) -> None:
    detector = SileroDetector()
    assert len(detector([sound[: HOP + 1]])) == 2 and len(detector([])) == 0
    np.testing.assert_array_equal(detector([sound[: HOP + 1]]), detector([sound[: HOP + 1], np.zeros(HOP - 1, "f4")]))


def test_with_the_weights_of_the_package_s_model_it_says_what_that_model_says(sound: np.ndarray) -> None:
    with one_thread():  # importing the package sets the number of threads
        from silero_vad import load_silero_vad

    published = load_silero_vad()
    theirs = [value for name, value in published.state_dict().items() if name.startswith("_model.")]
    network = SileroNetwork().eval()
    assert len(theirs) == len(network.state_dict())
    network.load_state_dict(dict(zip(network.state_dict(), theirs, strict=True)))
    frames = torch.from_numpy(sound).split(HOP)[:-1]
    with torch.inference_mode():
        one_by_one = [published(frame, SAMPLE_RATE).item() for frame in frames]
        padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
        at_once, _ = network(torch.from_numpy(padded).unfold(0, CONTEXT + HOP, HOP)[: len(frames)], None)
    np.testing.assert_allclose(at_once.numpy(), one_by_one, atol=1e-4)
