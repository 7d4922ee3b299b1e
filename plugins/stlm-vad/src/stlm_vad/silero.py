"""Silero VAD: the probability of speech every 32 ms, from the weights of the `silero-vad` package (MIT).

The package runs its TorchScript model frame by frame, at 80 times real time on a core. Here all frames of a block go
through the same network at once; the LSTM's state and the last samples are carried to the next block, so that blocks
change nothing and memory does not grow with the recording.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import distribution

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from stlm.learn.threads import one_thread

SAMPLE_RATE = 16000
HOP = 512
CONTEXT = 64
"""Samples before a frame that the network sees with it, and after it by reflection."""
WEIGHTS = "silero_vad/data/silero_vad_16k.safetensors"


class SileroNetwork(nn.Module):
    """The published network for 16 kHz; names as in its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTM(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(
        self, frames: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """``float32[F, CONTEXT + HOP]`` to ``float32[F]`` and the state after them."""
        padded = nn.functional.pad(frames[:, None], (0, CONTEXT), "reflect")
        real, imaginary = self.stft_conv(padded).chunk(2, dim=1)
        hidden = torch.hypot(real, imaginary)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            hidden = layer(hidden).relu()
        hidden, state = self.lstm_cell(hidden[..., 0], state)
        return self.final_conv(hidden.relu().T).sigmoid()[0], state


class SileroDetector:
    """Probabilities of speech; the same for a sound in whatever blocks it comes."""

    def __init__(self) -> None:
        weights = load_file(str(distribution("silero-vad").locate_file(WEIGHTS)))
        # a cell's weights are those of the first layer of an LSTM
        renamed = {f"{name}_l0" if name.startswith("lstm_cell") else name: value for name, value in weights.items()}
        self.network = SileroNetwork().eval()
        self.network.load_state_dict(renamed)

    @torch.inference_mode()
    @one_thread()
    def __call__(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """Blocks ``float32[N]`` at 16 kHz to ``float32[F]``: frame i covers samples ``512 i`` to ``512 (i + 1)``; the
        last is filled up with silence."""
        found: list[np.ndarray] = []
        before, state = np.zeros(CONTEXT, np.float32), None
        for block in blocks:
            before, state = self._frames(np.concatenate([before, block]), state, found)
        rest = len(before) - CONTEXT
        if rest:
            self._frames(np.pad(before, (0, HOP - rest)), state, found)
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def _frames(self, samples: np.ndarray, state, found: list[np.ndarray]):
        """Add the probabilities of all whole frames; what is left, with its context, comes back."""
        count = (len(samples) - CONTEXT) // HOP
        if count:
            frames = torch.from_numpy(samples[: CONTEXT + count * HOP]).unfold(0, CONTEXT + HOP, HOP)
            speech, state = self.network(frames, state)
            found.append(speech.numpy())
        return samples[count * HOP :], state
