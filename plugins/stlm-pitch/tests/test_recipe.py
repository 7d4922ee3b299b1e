"""What was trained loads and gives F0 back; a training goes on exactly; poor corpora are one clear line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from stlm.errors import ConfigError, DataError
from stlm.learn.f0_error import compare
from stlm.types import Audio, Utterance
from stlm_pitch import encoder
from stlm_pitch.checkpoint import load_checkpoint
from stlm_pitch.contour import ContourOptions, contour
from stlm_pitch.decode import decoded
from stlm_pitch.melodies import melodies_of
from stlm_pitch.recipe import REPORT, Config, PitchVqvaeRecipe, report
from stlm_pitch.training import PitchTraining

from .conftest import RATE, Levels, spoken

SMALL: dict[str, Any] = {
    "num_units": 16,
    "emb_width": 16,
    "width": 16,
    "depth": 1,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "max_steps": 20,
    "checkpoint_every": 5,
    "held_out": 0.2,
    "accelerator": "cpu",
}


def corpus(number: int = 10, seconds: float = 2.5) -> list[Utterance]:
    return [
        Utterance(id=str(seed), audio=spoken(seconds, seed), speaker=f"speaker {seed % 3}") for seed in range(number)
    ]


@pytest.fixture(autouse=True)
def cheap_f0(monkeypatch: pytest.MonkeyPatch) -> None:
    """F0 from the level of the sound, in place of FCPE."""
    from stlm_pitch import recipe

    class Choice(recipe.F0Choice):
        @classmethod
        def of(cls, name: str, options: Any, device: str) -> recipe.F0Choice:
            return recipe.F0Choice(extractor=Levels(), name=name, options=options)

    monkeypatch.setattr(recipe, "F0Choice", Choice)


def train(out: Path, recordings: list[Utterance], **changes: Any) -> Path:
    out.mkdir(exist_ok=True)
    PitchVqvaeRecipe(Config(**{**SMALL, **changes})).train(recordings, out)
    return out


def units_of(out: Path, sound: Audio) -> np.ndarray:
    quick = encoder.PitchVqvaeEncoder(load_checkpoint(out), Levels())
    return quick.encode([sound])[0].codes[:, 0]


def test_what_was_trained_is_an_encoder_whose_units_give_back_f0(tmp_path: Path) -> None:
    out = train(tmp_path / "out", corpus(), max_steps=100)
    figures = json.loads((out / REPORT).read_text())
    assert figures["recordings"] == 2
    assert figures["f0_frame_error_50hz"] < 0.15
    assert 4 < figures["perplexity"] <= 16
    trained = encoder.build(encoder.Config(path=str(out)))
    assert (trained.spec.name, trained.spec.codebook_sizes, trained.spec.hop) == ("pitch", (16,), 1280)
    sound = corpus()[0].audio
    assert isinstance(sound, Audio)
    units = units_of(out, sound)
    vqvae = load_checkpoint(out).vqvae
    plain = contour(*Levels().extract(sound), sound.num_samples, ContourOptions(subtract_mean=False))
    f0 = decoded(vqvae, units, float(plain[0][plain[1] > 0].mean()))
    assert compare((plain[0] * plain[1]).numpy()[: len(f0)], f0).rate < 0.15


def test_the_official_layout_reads_it_too(tmp_path: Path) -> None:
    out = train(tmp_path / "out", corpus())
    settings = yaml.safe_load((out / "config.yaml").read_text())
    assert settings["vq_params"] == {"l_bins": 16, "emb_width": 16, "mu": 0.99, "levels": 1}
    ours = load_checkpoint(out)
    settings.pop("stlm")
    official = tmp_path / "official"
    official.mkdir()
    (official / "config.yaml").write_text(yaml.safe_dump(settings))
    torch.save({"model": ours.vqvae.state_dict()}, official / "model.pt")
    theirs = load_checkpoint(official)
    assert all(torch.equal(value, theirs.vqvae.state_dict()[name]) for name, value in ours.vqvae.state_dict().items())


def test_a_finished_network_takes_and_gives_hertz(tmp_path: Path) -> None:
    """Dividing F0 before, or in the weights, is the same; so is voicing above 0 or, in the weights, above a half."""
    recipe = PitchVqvaeRecipe(Config(**SMALL))
    rows = [melody.rows for melody in melodies_of(corpus(3), Levels(), ContourOptions())]
    module: PitchTraining = recipe._module(rows)
    module.codebook.train()(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))
    vqvae = module.finished()
    seen = rows[0][None, :, :480]
    scaled = torch.stack([seen[:, 0] / module.scale_hz, seen[:, 1]], 1)
    torch.testing.assert_close(vqvae.encode(seen), module.vqvae.encode(scaled), atol=1e-5, rtol=1e-4)
    codes = vqvae.quantize(vqvae.encode(seen))
    inner = module.vqvae.decoder(module.codebook.entries[codes].transpose(1, 2))
    outer = vqvae.decode(codes)
    torch.testing.assert_close(outer[:, 0], inner[:, 0] * module.scale_hz, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(outer[:, 1] - 0.5, inner[:, 1])


def test_a_network_that_repeats_one_code_is_reported_as_such() -> None:
    module = PitchVqvaeRecipe(Config(**SMALL))._module([torch.ones(2, 32)])
    melodies = melodies_of(corpus(3), Levels(), ContourOptions())
    figures = report(module.finished(), melodies)
    assert figures["perplexity"] == pytest.approx(1)
    assert figures["codes_used"] == pytest.approx(1 / 16)
    assert figures["f0_frame_error_50hz"] > 0.25, "voice comes and goes, and one code cannot say when"


def test_silent_and_unvoiced_corpora_are_refused(tmp_path: Path) -> None:
    silent = [Utterance(id="a", audio=Audio(samples=np.zeros(RATE, np.float32), sample_rate=RATE))]
    with pytest.raises(DataError, match="are silent"):
        train(tmp_path / "a", silent)
    hiss = np.random.default_rng(0).normal(0, 5e-4, RATE).astype(np.float32)
    with pytest.raises(DataError, match="found no voice in any, expected speech"):
        train(tmp_path / "b", [Utterance(id="a", audio=Audio(samples=hiss, sample_rate=RATE))])
    with pytest.raises(DataError, match="0 recordings"):
        train(tmp_path / "c", [])


def test_too_little_speech_for_the_codebook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="speech for 80 units and has 16 codebook entries, expected at least 10 units"):
        train(tmp_path / "a", corpus(4, 2.15), held_out=0.25)


def test_one_speaker_and_a_poor_result_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alone = [Utterance(id=item.id, audio=item.audio, speaker="anna") for item in corpus()]
    with caplog.at_level(logging.WARNING):
        train(tmp_path / "a", alone, max_steps=1)
    assert "all 10 recordings are of one speaker, anna" in caplog.text
    assert "the units are poor" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"), [("num_units", 0), ("held_out", 0.7), ("features", "f0"), ("max_steps", 0), ("batch_size", 0)]
)
def test_impossible_options_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        Config(**{name: value})
