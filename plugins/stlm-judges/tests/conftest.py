"""Tiny recognisers with random weights, saved in the layouts of the published ones."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GenerationConfig,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from stlm.types import Audio

END = "<|endoftext|>"
SPECIAL = ("<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>")


def noise(seconds: float, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds))
    return Audio(samples=samples.astype(np.float32), sample_rate=16000)


@pytest.fixture(scope="session")
def sounds() -> list[Audio]:
    """Two of one length, others of others, and one of two pieces."""
    return [noise(1.0), noise(1.0, 1), noise(0.4, 2), noise(2.3, 3), noise(0.001, 4)]


@pytest.fixture(scope="session")
def whisper_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper"), multilingual=True)


@pytest.fixture(scope="session")
def english_whisper_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper-en"), multilingual=False)


def save_whisper(directory: Path, *, multilingual: bool) -> Path:
    letters = sorted(ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)} | {END: len(letters)}
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (END, *SPECIAL)}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            num_mel_bins=8,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_target_positions=24,
            init_std=1.0,
            decoder_start_token_id=ids["<|startoftranscript|>"],
            **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), ids[END]),
        )
    )
    model.generation_config = GenerationConfig(
        max_length=16,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        no_timestamps_token_id=ids["<|notimestamps|>"],
        is_multilingual=multilingual,
        lang_to_id={name: ids[name] for name in ("<|en|>", "<|de|>")},
        task_to_id={name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        suppress_tokens=list(ids.values()),
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), ids[END]),
    )
    model.save_pretrained(directory)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=8), tokenizer).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def wav2vec2_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With group norms, which see the padding."""
    directory = tmp_path_factory.mktemp("wav2vec2")
    (directory / "letters.json").write_text(json.dumps(letters_of(string.ascii_uppercase)))
    save_wav2vec2(directory, Wav2Vec2CTCTokenizer(str(directory / "letters.json")), feat_extract_norm="group")
    return directory


@pytest.fixture(scope="session")
def mms_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages, each with letters and an adapter of its own."""
    directory = tmp_path_factory.mktemp("mms")
    (directory / "letters.json").write_text(json.dumps({"eng": letters_of("abc"), "deu": letters_of("xyzäö")}))
    tokenizer = Wav2Vec2CTCTokenizer(str(directory / "letters.json"), target_lang="eng")
    model = save_wav2vec2(directory, tokenizer, feat_extract_norm="layer", adapter_attn_dim=4)
    for language, size in (("eng", 8), ("deu", 10)):
        torch.manual_seed(size)
        adapter = {name: 0.5 * torch.randn_like(value) for name, value in model._get_adapters().items()}
        adapter["lm_head.weight"], adapter["lm_head.bias"] = torch.randn(size, 16), torch.randn(size)
        save_file(adapter, directory / f"adapter.{language}.safetensors", metadata={"format": "pt"})
    return directory


def letters_of(letters: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *letters])}


def save_wav2vec2(directory: Path, tokenizer: Wav2Vec2CTCTokenizer, **options: object) -> Wav2Vec2ForCTC:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 4),
        conv_stride=(10, 8, 4),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        initializer_range=1.0,
        **options,
    )
    model = Wav2Vec2ForCTC(config)
    model.save_pretrained(directory)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(directory)
    return model
