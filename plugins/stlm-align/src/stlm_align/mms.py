"""`MmsAligner`: word times by torchaudio's ``MMS_FA`` (Pratap et al., 2023), for romanised text of 1,100 languages.

A word is spelled in its 26 letters and the apostrophe: case folded, marks taken off, other scripts romanised by
uroman. A word that has none of them ("1984") is its star, the symbol that matches any sound. The weights (1.2 GB,
CC-BY-NC 4.0) are downloaded on first use; nothing in them is executed. Each window is normalised by its own mean and
deviation, as the model does with what it is given.
"""

from __future__ import annotations

import pickle
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import Any

import torch

from stlm.errors import ConfigError, PluginError
from stlm.interfaces import Aligner
from stlm.learn.ctc_alignment import align_by_ctc, spelled, symbols_in
from stlm.types import Audio, Word
from stlm_align.recording import samples_at
from stlm_align.windows import Windows, check_windows

SAMPLE_RATE, HOP, REACH = 16000, 320, 400  # of wav2vec 2.0's convolutions
BLANK = 0
STAR = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``mms``.

    Args:
        directory: where the weights lie (``model.pt``) or are downloaded to; empty: torch.hub's own.
        language: ISO 639-3 code that helps uroman; empty: it goes by the script.
        window: seconds heard at once; attention costs its square.
        overlap: seconds that two windows share.
        device: "cpu" or "cuda".
    """

    directory: str = ""
    language: str = ""
    window: float = 30.0
    overlap: float = 4.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_windows(self.window, self.overlap)


def build(config: Config) -> MmsAligner:
    """Raise ConfigError where the weights cannot be had."""
    from torchaudio.pipelines import MMS_FA

    where = {"model_dir": config.directory} if config.directory else {}
    try:
        model = MMS_FA.get_model(dl_kwargs={**where, "weights_only": True})
    except (OSError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"the weights of MMS_FA cannot be loaded ({reason}): check the network, or put the file model.pt from "
            "torchaudio's documentation into a directory and give directory="
        ) from error
    return MmsAligner(model.to(config.device), MMS_FA.get_labels(star=STAR), config)


class MmsAligner(Aligner):
    """Word times from a network with the interface of ``MMS_FA``.

    Args:
        model: samples ``float32[1, N]`` at 16 kHz to log-probabilities ``float32[1, T, V]`` and anything else, one
            frame per 320 samples.
        labels: of the V symbols; the first is CTC's blank, and ``*`` matches any sound.
        config: options; `directory` is not read.
    """

    def __init__(
        self,
        model: Callable[[torch.Tensor], tuple[torch.Tensor, Any]],
        labels: Sequence[str],
        config: Config | None = None,
    ) -> None:
        self.model, self.config = model, config or Config()
        self.symbols = {label: index for index, label in enumerate(labels) if index != BLANK}
        self.star = self.symbols.pop(STAR)
        self.windows = Windows(
            sample_rate=SAMPLE_RATE,
            hop=HOP,
            reach=REACH,
            window=self.config.window,
            overlap=self.config.overlap,
        )

    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        words = spelled(text, self._symbols, self.symbols)
        starred = [replace(word, symbols=word.symbols or (self.star,)) for word in words]
        found = align_by_ctc(
            self.windows.emissions(samples_at(audio, SAMPLE_RATE), self._forward),
            starred,
            audio,
            text,
            seconds_per_frame=HOP / SAMPLE_RATE,
            blank=BLANK,
        )
        # the star fits any sound as well as any other: that says nothing of the word
        return tuple(word if by.symbols else replace(word, score=None) for word, by in zip(found, words, strict=True))

    def _symbols(self, word: str) -> tuple[int, ...]:
        if any(sign.isalpha() and not unicodedata.name(sign, "").startswith("LATIN") for sign in word):
            word = self._uroman.romanize_string(word, lcode=self.config.language or None)
        bare = (sign for sign in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(sign))
        return symbols_in("".join(bare), self.symbols)

    @torch.inference_mode()
    def _forward(self, samples: torch.Tensor) -> torch.Tensor:
        return self.model(samples[None].to(self.config.device))[0][0]

    @cached_property
    def _uroman(self) -> Any:
        try:
            return import_module("uroman").Uroman()
        except ImportError as error:
            raise PluginError(
                "the aligner mms needs uroman for scripts other than Latin: pip install 'stlm-align[uroman]'"
            ) from error
