"""`BpeRecipe`: the texts of utterances to a SentencePiece BPE model. 1 million words take some seconds."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceTrainer

from stlm.errors import ConfigError, DataError
from stlm.interfaces import Recipe
from stlm.types import Utterance
from stlm_bpe.sentencepiece_encoder import MODEL, SPACE

log = logging.getLogger(__name__)

BYTES = 256
SPECIAL_SYMBOLS = ("<unk>", "<s>", "</s>")  # ids 0, 1, 2 as in Llama
LONGEST_LINE = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``bpe``.

    Args:
        exact_size: False takes `vocab_size` as an upper limit and trains a smaller model where the texts give no more.
        vocab_size: number of ids, with 3 specials (unknown, begin, end), 256 bytes and `user_symbols` among them.
        user_symbols: strings that always are one id of their own, also inside user text.
        character_coverage: share of the characters that get an id; the rare rest is spelt in bytes.
        split_digits: every digit is a piece of its own.
        max_lines: lines that training sees, a uniform sample of all; 0 takes all.
        seed: decides the sample.
    """

    vocab_size: int = 4096
    exact_size: bool = True
    user_symbols: tuple[str, ...] = ()
    character_coverage: float = 0.9995
    split_digits: bool = True
    max_lines: int = 2_000_000
    seed: int = 0


def build(config: Config) -> BpeRecipe:
    return BpeRecipe(config)


class BpeRecipe(Recipe):
    """Trains with identity normalisation, byte fallback and no dummy prefix: every text survives exactly.

    A space goes in front of every training text, since running text starts that way after a marker.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        symbols = tuple(self.config.user_symbols)
        for symbol in symbols:
            if not symbol or {" ", SPACE} & set(symbol) or symbol in SPECIAL_SYMBOLS or symbols.count(symbol) > 1:
                raise ConfigError(
                    f"user_symbols must be distinct words without spaces, other than {', '.join(SPECIAL_SYMBOLS)}; "
                    f"got {symbol!r} in {symbols}"
                )

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        lines = sample_lines(lines_of(utterances), self.config.max_lines, np.random.default_rng(self.config.seed))
        if not lines:
            raise DataError("bpe got no text, expected utterances with text: the corpus is empty or has audio only")
        (out / MODEL).write_bytes(self._model(lines))
        log.info("trained %d pieces on %d lines", self.config.vocab_size, len(lines))

    def _model(self, lines: list[str]) -> bytes:
        written = io.BytesIO()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=written,
                model_type="bpe",
                vocab_size=self.config.vocab_size,
                hard_vocab_limit=self.config.exact_size,
                user_defined_symbols=list(self.config.user_symbols),
                character_coverage=self.config.character_coverage,
                split_digits=self.config.split_digits,
                byte_fallback=True,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                add_dummy_prefix=False,
                split_by_whitespace=True,
                unk_id=0,
                bos_id=1,
                eos_id=2,
                pad_id=-1,
                max_sentence_length=LONGEST_LINE,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise self._explain(str(error)) from error
        return written.getvalue()

    def _explain(self, reason: str) -> ConfigError:
        size = self.config.vocab_size
        if high := re.search(r"Vocabulary size too high.*?<= (\d+)", reason):
            return ConfigError(
                f"vocab_size {size} is too large for these texts, expected at most {high[1]}: lower it "
                "or give more text"
            )
        if low := re.search(r"smaller than required_chars. \d+ vs (\d+)", reason):
            fixed = len(SPECIAL_SYMBOLS) + BYTES + len(self.config.user_symbols)
            return ConfigError(
                f"vocab_size {size} is too small, expected more than {low[1]} ({fixed} fixed ids and "
                f"{int(low[1]) - fixed} characters): raise it or lower character_coverage"
            )
        return ConfigError(f"SentencePiece cannot train with these options: {' '.join(reason.split())}")


def lines_of(utterances: Iterable[Utterance]) -> Iterator[str]:
    """Non-empty lines, each with a space in front. A line break inside a piece would be of no use."""
    for utterance in utterances:
        for line in (utterance.text or "").splitlines():
            if stripped := line.strip():
                yield f" {stripped}"


def sample_lines(lines: Iterator[str], size: int, rng: np.random.Generator) -> list[str]:
    """A uniform sample without replacement (reservoir, algorithm R), or all lines."""
    kept: list[str] = []
    for index, line in enumerate(lines):
        if not size or index < size:
            kept.append(line)
        elif (place := int(rng.integers(index + 1))) < size:
            kept[place] = line
    return kept
