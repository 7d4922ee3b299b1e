"""Units that tell styles apart; clusters as classes; exact resumption; poor corpora are one clear line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2ForSequenceClassification, Wav2Vec2Model

from stlm.errors import ConfigError, DataError, FormatError
from stlm.learn.kmeans import assign
from stlm.learn.sounds import Recordings
from stlm.types import Audio, Utterance
from stlm_style import encoder
from stlm_style.classifier import read_classifier
from stlm_style.filters import start_as_filters
from stlm_style.model import classifier_upon, new_classifier, quantized
from stlm_style.pooling import frames_per_second, means
from stlm_style.recipe import REPORT, Config, StyleUnitsRecipe, labels_of
from stlm_style.report import accuracies, meanings_of, normalised_information
from stlm_style.training import OCTAVES, Clips, coloured, normalised

RATE = 16000
SMALL: dict[str, Any] = {
    "num_units": 6,
    "projection": 16,
    "hidden_size": 32,
    "num_layers": 1,
    "conv_dim": (32, 32),
    "conv_kernel": (400, 4),
    "conv_stride": (320, 2),
    "positions": 8,
    "clip_seconds": (1.0, 2.0),
    "batch_seconds": 8.0,
    "semitones": 0.0,
    "colour_db": 1.0,
    "learning_rate": 3e-3,
    "warmup_steps": 5,
    "max_steps": 12,
    "checkpoint_every": 4,
    "held_out": 0.2,
    "accelerator": "cpu",
    "precision": "32-true",
}


def buzz(style: str, seed: int, seconds: float = 2.3) -> Utterance:
    """A hum, low and even or high and swinging."""
    rng = np.random.default_rng([seed, len(style)])
    time = np.arange(int(seconds * RATE)) / RATE
    swing = 0.02 if style == "calm" else 0.25
    hertz = (
        rng.uniform(90, 150)
        * (1 if style == "calm" else 1.7)
        * (1 + swing * np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6)))
    )
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    samples = 0.1 * sum(np.sin(n * phase) / n for n in range(1, 8)) + rng.normal(0, 1e-3, len(time))
    audio = Audio(samples=samples.astype(np.float32), sample_rate=RATE)
    return Utterance(id=f"{style} {seed}", audio=audio, labels={"style": style}, speaker=f"speaker {seed % 3}")


def corpus(number: int = 6) -> list[Utterance]:
    return [buzz(style, seed) for seed in range(number) for style in ("calm", "excited")]


def train(out: Path, recordings: list[Utterance], **changes: Any) -> Path:
    out.mkdir(exist_ok=True)
    StyleUnitsRecipe(Config(**{**SMALL, **changes})).train(recordings, out)
    return out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("trained"), corpus(15), max_steps=80)


def test_units_tell_styles_apart_in_sounds_never_heard(trained: Path) -> None:
    figures = json.loads((trained / REPORT).read_text())
    assert figures["recordings"] == 6
    assert figures["recording_accuracy"] >= 0.8
    assert set(figures["units"]) == {"calm", "excited"}
    units = encoder.build(encoder.Config(path=str(trained)))
    assert (units.spec.codebook_sizes, units.spec.hop, units.spec.frame_rate_hz) == ((6,), RATE, 1.0)
    fresh = [buzz(style, seed) for seed in range(100, 108) for style in ("calm", "excited")]
    found = units.encode([item.audio for item in fresh])
    right = [
        figures["units"][code] == item.labels["style"]
        for item, codes in zip(fresh, found, strict=True)
        for code in codes.codes[:, 0]
    ]
    assert np.mean(right) > 0.75


def test_transformers_loads_it_and_agrees(trained: Path) -> None:
    model = Wav2Vec2ForSequenceClassification.from_pretrained(trained).eval().requires_grad_(False)
    units = encoder.build(encoder.Config(path=str(trained)))
    for item in corpus(3):
        wave = torch.from_numpy(normalised(item.audio.samples))[None]
        rows = means(model.projector(model.wav2vec2(wave).last_hidden_state[0]), frames_per_second(640))
        expected = model.classifier(rows).argmax(1).tolist()
        assert units.encode([item.audio])[0].codes[:, 0].tolist() == expected


def test_the_classes_are_the_nearest_centroids() -> None:
    model = new_classifier(Config(**SMALL).sizes, 2, seed=0)
    generator = torch.Generator().manual_seed(0)
    centroids = torch.randn(20, 16, generator=generator)
    rows = torch.randn(500, 16, generator=generator)
    state = quantized(model, centroids).state
    scores = rows @ state["classifier.weight"].T + state["classifier.bias"]
    assert torch.equal(scores.argmax(1), assign(rows, centroids))


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_a_trained_model_is_what_it_begins_with(tmp_path: Path, kind: str) -> None:
    sizes = {**Config(**SMALL).sizes, "layerdrop": 0.1}
    torch.manual_seed(1)
    model = Wav2Vec2Model(Wav2Vec2Config(**sizes)) if kind == "wav2vec2" else HubertModel(HubertConfig(**sizes))
    model.eval().save_pretrained(tmp_path / "base")
    began = classifier_upon(str(tmp_path / "base"), 16, 3, seed=0).eval()
    wave = torch.from_numpy(normalised(corpus(1)[0].audio.samples))[None]
    with torch.no_grad():
        torch.testing.assert_close(
            began.wav2vec2(wave).last_hidden_state, model(wave).last_hidden_state, atol=1e-5, rtol=1e-4
        )
    out = train(tmp_path / "out", corpus(), path=str(tmp_path / "base"), max_steps=3)
    first = "feature_extractor.conv_layers.0.conv.weight"
    stored = read_classifier(out).state
    assert torch.equal(stored[f"wav2vec2.{first}"], model.state_dict()[first]), "the front-end is frozen"
    assert not torch.equal(
        stored["wav2vec2.encoder.layers.0.attention.q_proj.weight"],
        model.state_dict()["encoder.layers.0.attention.q_proj.weight"],
    )
    assert encoder.build(encoder.Config(path=str(out))).spec.codebook_sizes == (6,)


def test_a_directory_without_a_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such directory"):
        train(tmp_path / "a", corpus(), path=str(tmp_path / "nowhere"))
    read_classifier_of = new_classifier(Config(**SMALL).sizes, 2, seed=0)
    stored = quantized(read_classifier_of, torch.zeros(2, 16))
    for name in [name for name in stored.state if "pos_conv" in name]:
        del stored.state[name]
    (tmp_path / "base").mkdir()
    stored.save(tmp_path / "base", 0)
    with pytest.raises(FormatError, match=r"no key 'encoder\.pos_conv_embed\.conv\.weight'"):
        train(tmp_path / "b", corpus(), path=str(tmp_path / "base"))


def test_filters_have_their_frequencies_and_one_norm() -> None:
    model = new_classifier(Config(**SMALL).sizes, 2, seed=0)
    start_as_filters(model, 100.0, 3000.0)
    rows = model.wav2vec2.feature_extractor.conv_layers[0].conv.weight.detach().numpy()[:, 0]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    peaks = np.abs(np.fft.rfft(rows, RATE)).argmax(1)
    assert abs(peaks[0] - 100) < 15
    assert abs(peaks[7] - 3000) < 5
    np.testing.assert_allclose(rows[:8], -rows[16:24], atol=1e-6)  # a phase and its opposite
    with pytest.raises(ConfigError, match="0 < lowest < highest"):
        start_as_filters(model, 3000.0, 100.0)


def test_clips_draw_every_label_alike_and_are_normalised() -> None:
    items = [buzz("calm", 0)] + [buzz("excited", seed) for seed in range(9)]
    labels = np.array([0] + [1] * 9)
    clips = Clips(
        Recordings(items, RATE),
        labels,
        seconds=(1.0, 4.0),
        batch_seconds=8.0,
        speed=0.1,
        semitones=2.0,
        colour_db=3.0,
        snr_db=10.0,
    )
    drawn = [clips(np.random.default_rng(step)) for step in range(40)]
    assert {tuple(waves.shape) for waves, _ in drawn} == {(8, 16000), (2, 64000)}
    assert abs(float(torch.cat([found for _, found in drawn]).float().mean()) - 0.5) < 0.12
    waves = torch.cat([waves.flatten(0) for waves, _ in drawn])
    assert abs(float(waves.mean())) < 1e-3
    assert float(waves.var()) == pytest.approx(1, abs=1e-2)
    again, _ = clips(np.random.default_rng(3))
    assert torch.equal(again, drawn[3][0])


def test_a_colour_is_a_smooth_gain_drawn_at_each_octave() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 1
    gains = 20 * np.log10(np.abs(np.fft.rfft(coloured(click, np.random.default_rng(0), 6.0))))
    drawn = np.random.default_rng(0).normal(0, 6.0, len(OCTAVES))
    np.testing.assert_allclose(gains[[125, 250, 500, 1000, 2000, 4000]], drawn[1:-1], atol=0.01)
    np.testing.assert_allclose(gains[:62], drawn[0], atol=0.01)
    assert min(drawn[4:6]) < gains[1500] < max(drawn[4:6])


def test_labels_come_from_the_label_or_the_speaker_and_missing_ones_are_named() -> None:
    names, labels = labels_of(corpus(2), "style")
    assert (names, labels.tolist()) == (["calm", "excited"], [0, 1, 0, 1])
    assert labels_of(corpus(3), "speaker")[0] == ["speaker 0", "speaker 1", "speaker 2"]
    with pytest.raises(DataError, match=r"4 of 4 recordings have no label 'emotion'.*there are style \(4\), speaker"):
        labels_of(corpus(2), "emotion")
    with pytest.raises(DataError, match="all 3 recordings have style 'calm', expected at least two kinds"):
        labels_of([buzz("calm", seed) for seed in range(3)], "style")


def test_too_few_seconds_for_the_units_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 28 s of recordings for 60 units of a second"):
        train(tmp_path / "a", corpus(), num_units=60)


def test_a_result_near_chance_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed = [
        Utterance(id=item.id, audio=item.audio, labels={"style": "ab"[seed // 2 % 2]})
        for seed, item in enumerate(corpus(20))
    ]
    with caplog.at_level(logging.WARNING):
        train(tmp_path / "a", mixed, max_steps=1, held_out=0.5)
    assert "hardly tell the 2 labels apart" in caplog.text


def test_accuracies_counted_by_hand() -> None:
    units = np.array([0, 0, 1, 2, 2, 1])
    assert meanings_of(units, np.array([0, 0, 1, 1, 0, 1]), 4, 2).tolist() == [0, 1, 0, 0]
    owners, labels = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1])
    found = accuracies(units, owners, labels, np.array([0, 1, 0, 0]))
    assert found["unit_accuracy"] == pytest.approx(3 / 6)
    assert found["recording_accuracy"] == pytest.approx(1 / 2)


def test_information_is_one_for_a_renaming_and_none_for_independence() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert normalised_information(np.array([2, 0, 1, 2, 0, 1]), labels) == pytest.approx(1)
    assert normalised_information(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == pytest.approx(0, abs=1e-12)
    halves = normalised_information(np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1]))
    assert halves == pytest.approx(2 * np.log(2) / (np.log(2) + np.log(4)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_units", 0),
        ("held_out", 0.9),
        ("speed", 1.5),
        ("clip_seconds", ()),
        ("filters_hz", (1.0,)),
        ("batch_seconds", 0.0),
    ],
)
def test_impossible_options_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        Config(**{name: value})


def test_sizes_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="the sizes make no wav2vec2"):
        new_classifier({**Config(**SMALL).sizes, "conv_kernel": [400]}, 2, seed=0)
