"""`Recogniser`: sound to log-probabilities of characters, and the files that hold one.

A directory has ``config.json`` (sizes, alphabet) and ``model.safetensors``. Long recordings are computed in pieces that
overlap by what a frame sees, so memory is bounded and the result is that of the whole. Weights are stored as float16:
rounding them changes no transcript and halves the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pad_sequence

from stlm.audio import resample
from stlm.errors import ConfigError, DataError, FormatError
from stlm.learn.weights import entry, load_exactly, read_json, read_weights
from stlm.plugin import make_config
from stlm.types import Audio
from stlm_ctc.features import features_of, log_mel_of
from stlm_ctc.network import Network, NetworkOptions

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PIECE = 3000  # mel frames computed at once, 30 s
BATCH = 12000  # mel frames in one batch, padding included
BLANK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the judge and of the aligner ``ctc``.

    Args:
        path: directory that the recipe ``ctc`` wrote.
        device: where to compute; a CPU core is enough.
    """

    path: str = ""
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of one sound's frames, with what it sees to either side.

    Args:
        sound: its place in the batch.
        start: its first mel frame.
        features: ``float32[T, M]``.
        first, last: of the recogniser's frames, those that count.
    """

    sound: int
    start: int
    features: torch.Tensor
    first: int
    last: int


class Recogniser:
    """A network, its alphabet and its front-end.

    Args:
        network: trained; it is put into evaluation mode.
        alphabet: characters of the symbols 1, 2, …; symbol 0 is CTC's blank.
        sample_rate: of the sound that it hears; others are resampled.
        device: where to compute.
        notes: what else to keep in ``config.json``, such as the error rates on held-out recordings.
    """

    def __init__(
        self,
        network: Network,
        alphabet: Sequence[str],
        *,
        sample_rate: int = 16000,
        device: str = "cpu",
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network.to(device).eval()
        self.alphabet = tuple(alphabet)
        self.sample_rate = sample_rate
        self.device = device
        self.notes = dict(notes or {})
        self.symbols = {character: index for index, character in enumerate(self.alphabet, BLANK + 1)}
        self.log_mel = log_mel_of(network.options.num_mels, sample_rate)

    @property
    def hop(self) -> float:
        """Samples per frame of characters."""
        options = self.network.options
        return self.log_mel.options.hop * options.stride / options.split

    @torch.inference_mode()
    def emissions(self, batch: Sequence[Audio]) -> list[torch.Tensor]:
        """Log-probabilities ``float32[T, V]`` of each sound; none for less than 10 ms.

        Raises:
            DataError: a sound holds samples that are not finite.
        """
        sounds = [features_of(self.log_mel, [self.samples_of(audio)])[0] for audio in batch]
        pieces = [piece for index, features in enumerate(sounds) for piece in self._pieces(index, features)]
        found: dict[tuple[int, int], torch.Tensor] = {}
        for group in _groups(pieces):
            for piece, rows in zip(group, self._forward([piece.features for piece in group]), strict=True):
                found[piece.sound, piece.start] = rows[piece.first : piece.last]
        parts = [[torch.zeros(0, len(self.alphabet) + 1)] for _ in batch]
        for sound, start in sorted(found):
            parts[sound].append(found[sound, start])
        return [torch.cat(rows) for rows in parts]

    def samples_of(self, audio: Audio) -> np.ndarray:
        if not np.isfinite(audio.samples).all():
            raise DataError("audio holds NaN or infinite samples, expected finite ones: check what made it")
        return resample(audio, self.sample_rate).samples

    def _pieces(self, sound: int, features: torch.Tensor) -> Iterator[Piece]:
        options = self.network.options
        length = PIECE // options.stride * options.stride
        for start in range(0, len(features), length):
            before = min(options.reach, start)
            end = min(start + length, len(features))
            first = options.num_frames(before)
            yield Piece(
                sound=sound,
                start=start,
                features=features[start - before : end + options.reach],
                first=first,
                last=first + options.num_frames(end - start),
            )

    def _forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        lengths = torch.tensor([len(rows) for rows in features], device=self.device)
        padded = pad_sequence(list(features), batch_first=True).to(self.device)
        scores, lengths = self.network(padded, lengths)
        return [rows[:length].cpu() for rows, length in zip(scores, lengths.tolist(), strict=True)]

    def read(self, emission: torch.Tensor) -> str:
        """The likeliest symbols ``[T, V]`` with repetitions joined and blanks dropped (greedy decoding)."""
        symbols = torch.unique_consecutive(emission.argmax(1)).tolist()
        return " ".join("".join(self.alphabet[symbol - 1] for symbol in symbols if symbol != BLANK).split())

    def save(self, directory: Path) -> None:
        config = {
            "network": asdict(self.network.options),
            "alphabet": "".join(self.alphabet),
            "sample_rate": self.sample_rate,
            **self.notes,
        }
        (directory / CONFIG).write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        state = {name: value.detach().cpu().half().contiguous() for name, value in self.network.state_dict().items()}
        save_file(state, directory / WEIGHTS)


def load_recogniser(directory: str | Path, device: str = "cpu") -> Recogniser:
    """A recogniser that ``recipe=ctc`` or `Recogniser.save` wrote.

    Raises:
        ConfigError: no directory was given.
        DataError, FormatError: the directory holds no sound recogniser.
    """
    if not str(directory):
        raise ConfigError("the ctc recogniser needs path: train one with `stlm train recipe=ctc data=DIR out=PATH`")
    path = Path(directory) / CONFIG
    content = read_json(path)
    options = make_config(NetworkOptions, entry(content, "network", dict, path), where=str(path))
    alphabet, sample_rate = entry(content, "alphabet", str, path), entry(content, "sample_rate", int, path)
    if not alphabet or len(set(alphabet)) < len(alphabet):
        raise FormatError(f"{path}: the alphabet must be characters that all differ, got {alphabet!r}")
    network = Network(options, len(alphabet) + 1)
    weights = Path(directory) / WEIGHTS
    state = {name: value.float() for name, value in read_weights(weights).items()}
    load_exactly(network, state, weights)
    notes = {key: value for key, value in content.items() if key not in ("network", "alphabet", "sample_rate")}
    return Recogniser(network, alphabet, sample_rate=sample_rate, device=device, notes=notes)


def _groups(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces of like length together, so that little is padded."""
    group: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: len(piece.features)):
        if group and (len(group) + 1) * len(piece.features) > BATCH:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group
