"""Units, strings and sound of the official tokenizers, against the reference's outputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio

from stlm.errors import StlmError
from stlm.parts import open_parts
from stlm.types import AlignedUnits, as_codes
from stlm_spiritlm.legacy import LegacyTokenizer

STREAMS = ("hubert", "pitch", "style")
TOLERANCE = 1e-4


def check_goldens(kit: Path, checkpoint: Path, size: str) -> str:
    """The kit's own comparison, as a user would run it."""
    command = [sys.executable, str(kit / "check_goldens.py"), "--adapter", "stlm_spiritlm.kit_adapter"]
    command += ["--ckpt", str(checkpoint), "--goldens", str(kit / "goldens_A"), "--size", size]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_the_kit_finds_no_mismatch_on_the_tiny_checkpoint(kit: Path, checkpoint: Path) -> None:
    assert check_goldens(kit, checkpoint, "tiny").endswith("mismatches 0")


@pytest.mark.slow
def test_the_kit_finds_no_mismatch_on_the_full_size_checkpoint(kit: Path, make_checkpoint) -> None:
    assert check_goldens(kit, make_checkpoint("full", "--no-lm"), "full").endswith("mismatches 0")


def units_in_chunks(checkpoint: Path, samples: np.ndarray, chunk: int) -> dict[str, str]:
    """Expressive units with another length of the independently encoded pieces."""
    options = {f"encoders.{name}.chunk": chunk for name in STREAMS}
    parts = open_parts("spiritlm-expressive", checkpoint, options)
    encoders = {name: parts.build(f"encoders/{name}") for name in STREAMS}
    return LegacyTokenizer(encoders, parts.build("vocoder")).encode_units(samples)


@pytest.mark.parametrize(
    ("case", "chunk"),
    [("max_wav_chunk_24000", 24000), ("max_wav_chunk_40000", 40000), ("max_wav_chunk_remainder_dropped", 92871)],
)
def test_pieces_are_encoded_alone_and_a_short_rest_is_dropped(
    checkpoint: Path, expected: dict[str, Any], wav, case: str, chunk: int
) -> None:
    golden = expected["encode_variants"][case]
    found = units_in_chunks(checkpoint, wav(golden["source"]), chunk)
    assert found == {name: golden[name] for name in STREAMS}


def test_resampled_audio_gives_the_units_of_the_reference(
    tokenizers: dict[str, LegacyTokenizer], expected: dict[str, Any], wav
) -> None:
    golden = expected["encode_variants"]["resample_16k_22050_16k_torchaudio_default"]
    resample = torchaudio.functional.resample
    samples = resample(resample(torch.from_numpy(wav(golden["source"])), 16000, 22050), 22050, 16000)
    assert len(samples) == golden["n"]
    assert tokenizers["expr"].encode_units(samples) == {name: golden[name] for name in STREAMS}


def compare_sound(samples: np.ndarray, golden: dict[str, Any], goldens: Path, case: str) -> None:
    assert len(samples) == golden["n"]
    head, mid = (np.load(goldens / "npy_tiny" / f"{case}.{part}.npy") for part in ("head", "mid"))
    np.testing.assert_allclose(samples[: len(head)], head, atol=TOLERANCE)
    start = golden["mid_start"]
    np.testing.assert_allclose(samples[start : start + len(mid)], mid, atol=TOLERANCE)
    rms = float(np.sqrt((samples.astype(np.float64) ** 2).mean()))
    assert rms == pytest.approx(golden["rms"], abs=TOLERANCE)


def test_the_vocoder_alone_takes_speakers_styles_and_repeated_units(
    tokenizers: dict[str, LegacyTokenizer], expected: dict[str, Any], goldens: Path
) -> None:
    """The reference's vocoder drops repeated units itself where it predicts durations; here the caller does."""
    case = "base_vocoder_call_dedup_style0"
    golden = expected["vocoder"][case]
    codes = np.array(golden["hubert"].split(), int)
    codes = codes[np.append(True, codes[1:] != codes[:-1])]
    vocoder = tokenizers["base"].vocoder
    sound = vocoder.synthesize(AlignedUnits(streams={"hubert": as_codes(codes)}), voice=1, style=0)
    compare_sound(sound.samples, golden, goldens, case)
    case = "base_vocoder_call_defaults"
    golden = expected["vocoder"][case]
    codes = np.array(golden["hubert"].split(), int)
    frames = AlignedUnits(streams={"hubert": as_codes(codes)}, durations=np.ones(len(codes), np.int32))
    compare_sound(vocoder.synthesize(frames).samples, golden, goldens, case)


def test_a_short_tail_of_pitch_and_style_takes_their_last_unit(
    tokenizers: dict[str, LegacyTokenizer], expected: dict[str, Any], goldens: Path
) -> None:
    case = "expr_vocoder_short_pitch_padded"
    golden = expected["vocoder"][case]
    units = {name: " ".join(map(str, golden[name])) for name in STREAMS}
    samples = tokenizers["expr"].decode(units, speaker_id=golden["speaker_id"], dur_pred=False)
    compare_sound(samples, golden, goldens, case)


def test_what_fails_in_the_reference_is_spoken_or_is_one_clear_line(
    tokenizers: dict[str, LegacyTokenizer], expected: dict[str, Any]
) -> None:
    """Missing pitch is mended; what has no meaning (no unit, unit 500, lengths that do not fit) is an error."""
    mended = {"expr_no_pitch_string", "expr_hubert_only_string"}
    for case, golden in expected["vocoder_exceptions"].items():
        tokenizer = tokenizers[case.split("_")[0]]
        given = golden.get("string")
        if given is None:
            given = {name: " ".join(map(str, golden[name])) for name in STREAMS}
        if golden["result"] == "no exception" or case in mended:
            assert len(tokenizer.decode(given)) > 0, case
        else:
            with pytest.raises(StlmError):
                tokenizer.decode(given)


def test_silence_has_expressive_units(tokenizers: dict[str, LegacyTokenizer], expected: dict[str, Any], wav) -> None:
    """The reference fails on a file without any voiced frame."""
    case = "a12_edge_silence_2s"
    assert "expressive_exception" in expected["encode"][case]
    units = tokenizers["expr"].encode_units(wav(case))
    assert units["hubert"] == expected["encode"][case]["hubert"]
    assert len(units["pitch"].split()) == (32000 // 80 + 1) // 16 and len(units["style"].split()) == 2
