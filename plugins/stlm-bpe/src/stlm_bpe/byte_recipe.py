"""`ByteBpeRecipe`: the texts of utterances to a byte-level BPE tokenizer (Radford et al., 2019), as GPT-2 has it.

Every text survives exactly, since every byte is a piece; no normalisation, no space put in front. What it writes loads
as ``hf_tokenizer`` here and by ``AutoTokenizer`` in transformers. 1 million words take some seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from stlm.errors import ConfigError, DataError
from stlm.interfaces import Recipe
from stlm.types import Utterance
from stlm_bpe.recipe import lines_of, sample_lines

log = logging.getLogger(__name__)

BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``byte_bpe``.

    Args:
        vocab_size: number of ids, with 256 bytes and `special_symbols` among them.
        exact_size: False takes `vocab_size` as an upper limit and trains a smaller model where the texts give no more.
        special_symbols: reserved ids, the first of all, in this order; the same strings in user text never become them.
        split_digits: every digit is a piece of its own.
        min_frequency: a pair must be seen so often to be merged.
        max_lines: lines that training sees, a uniform sample of all; 0 takes all.
        seed: decides the sample.
    """

    vocab_size: int = 4096
    exact_size: bool = True
    special_symbols: tuple[str, ...] = ("<unk>", "<s>", "</s>")
    split_digits: bool = True
    min_frequency: int = 2
    max_lines: int = 2_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        symbols = tuple(self.special_symbols)
        if len(set(symbols)) < len(symbols) or not all(symbols):
            raise ConfigError(f"special_symbols must be distinct and not empty, got {symbols}")
        if self.vocab_size < BYTES + len(symbols):
            raise ConfigError(
                f"vocab_size {self.vocab_size} is too small, expected at least {BYTES + len(symbols)}: 256 bytes and "
                f"{len(symbols)} special symbols"
            )


def build(config: Config) -> ByteBpeRecipe:
    return ByteBpeRecipe(config)


class ByteBpeRecipe(Recipe):
    """Trains on bytes; words keep the space before them."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        from transformers import PreTrainedTokenizerFast

        config = self.config
        lines = sample_lines(lines_of(utterances), config.max_lines, np.random.default_rng(config.seed))
        if not lines:
            raise DataError("byte_bpe got no text, expected utterances with text: the corpus is empty or audio only")
        tokenizer = self._tokenizer()
        tokenizer.train_from_iterator(lines, self._trainer())
        size = tokenizer.get_vocab_size()
        if config.exact_size and size != config.vocab_size:
            raise ConfigError(
                f"vocab_size {config.vocab_size} is too large for these texts, expected at most {size}: lower it, give "
                "more text, or take exact_size=false"
            )
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(str(out))
        log.info("trained %d pieces on %d lines", size, len(lines))

    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE())
        digits = [pre_tokenizers.Digits(individual_digits=True)] if self.config.split_digits else []
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def _trainer(self) -> trainers.BpeTrainer:
        return trainers.BpeTrainer(
            vocab_size=self.config.vocab_size,
            min_frequency=self.config.min_frequency,
            special_tokens=list(self.config.special_symbols),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
