"""Pulses and noise: what they are, that any stretch is the same, and that a generator learns and speaks from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError, FormatError
from stlm.testing.fakes import AutocorrelationF0
from stlm.types import AlignedUnits, Audio
from stlm_hifigan import recipe as recipes
from stlm_hifigan import vocoder
from stlm_hifigan.checkpoint import load_checkpoint
from stlm_hifigan.corpus import Corpus, Melodist, Segments, encode_corpus
from stlm_hifigan.decoding import Decoder
from stlm_hifigan.excitation import REACH, USUAL_HZ, Excitation, ExcitationOptions, Predictor
from stlm_hifigan.generator import Generator
from stlm_hifigan.learner import Learner
from stlm_hifigan.outcome import checkpoint_of
from stlm_hifigan.recipe import HifiganRecipe

from .conftest import Loudness, melody, tiny

OPTIONS = ExcitationOptions(frames=4, width=8, tone_width=4, bands=16, sample_rate=16000)
HOP = 160
ENCODERS = {"units": Loudness()}
EXCITED = {
    "official": False,
    "excitation_width": 8,
    "excitation_tone_width": 4,
    "excitation_frames": 2,
    "excitation_bands": 8,
}


def excited(f0: torch.Tensor, pulses: float = 0.0, noise: float = 0.0, **more: object) -> Excitation:
    """Of F0 ``[B, T]``, with the same two gains (natural logarithms) everywhere."""
    gains = torch.tensor([pulses, noise])[None, None, :, None].expand(*f0.shape, 2, OPTIONS.bands)
    return Excitation.of(f0, gains, OPTIONS, HOP, **more)  # pyright: ignore[reportArgumentType]


def spectrum(samples: torch.Tensor) -> torch.Tensor:
    """Power by frequency of ``float32[N]``, in steps of 16000 / N Hz."""
    return torch.fft.rfft(samples * torch.hann_window(len(samples))).abs().square()


def test_pulses_have_all_harmonics_of_f0_and_nothing_between() -> None:
    pulses = excited(torch.full((1, 100), 200.0))(0, 16000)[0, 0]
    power = spectrum(pulses)
    harmonics = power[200:7201:200]
    assert harmonics.max() / harmonics.min() < 1.1
    assert power[300:7001:200].max() < 1e-4 * harmonics.min() and power[7400:].max() < 1e-4 * harmonics.min()
    assert pulses[400:-400].square().mean() == pytest.approx(1.0, rel=0.02)


def test_pitch_glides_without_a_jump_of_phase() -> None:
    f0 = torch.linspace(100, 200, 101)[None]
    pulses = excited(f0)(0, 101 * HOP)[0, 0]
    peaks = torch.nonzero(pulses > 0.35 * pulses.max())[:, 0]
    starts = peaks[torch.cat([torch.tensor([True]), peaks.diff() > 20])]
    rates = 16000 / starts.diff().float()
    expected = 100 + 100 * starts[:-1].float() / 16000
    assert len(starts) > 120
    torch.testing.assert_close(rates, expected, rtol=0.04, atol=0)


def test_noise_is_white_and_a_function_of_the_samples_number() -> None:
    f0 = torch.full((2, 200), USUAL_HZ)
    noise = excited(f0, origin=torch.tensor([0, 1600]))(0, 32000)[:, 1]
    torch.testing.assert_close(noise[0, 3200:], noise[1, 1600:-1600])
    inner = noise[0, 320:-320]
    assert inner.mean().abs() < 0.03 and inner.square().mean() == pytest.approx(1.0, rel=0.03)
    power = spectrum(inner[:16384]).unflatten(0, (-1,))[:8192].reshape(16, -1).mean(1)
    assert power.max() / power.min() < 1.4
    correlation = torch.nn.functional.conv1d(inner[None, None], inner[None, None, 500:-500])[0, 0]
    assert correlation.argmax() == 500 and correlation[correlation.argsort()[-2]] < 0.05 * correlation[500]


def test_gains_shape_the_spectrum_in_mel_bands() -> None:
    f0 = torch.full((1, 100), 100.0)
    gains = torch.full((1, 100, 2, 16), -9.0)
    gains[:, :, 1, 8] = 0.0  # a band of noise alone
    pulses, noise = Excitation.of(f0, gains, OPTIONS, HOP)(0, 16000)[0]
    power = spectrum(noise)
    centre = 700 * (np.exp(8 / 15 * np.log1p(16000 / 1400)) - 1)
    assert abs(float(power.argmax()) - centre) < 300
    assert power[int(centre) - 250 : int(centre) + 250].sum() > 0.8 * power.sum()
    assert pulses.square().mean() < 1e-6


def test_any_stretch_is_that_of_the_whole() -> None:
    random = torch.Generator().manual_seed(0)
    f0 = 80 + 300 * torch.rand(2, 30, generator=random)
    gains = torch.randn(2, 30, 2, 16, generator=random)
    excitation = Excitation.of(f0, gains, OPTIONS, HOP, torch.tensor([5, 7]))
    whole = excitation(0, 30 * HOP)
    surrounded = torch.nn.functional.pad(whole, (1000, 1000))
    for first, last in ((0, 1), (3, 77), (160, 320), (161, 4000), (4700, 4800), (-700, 300), (4790, 5800), (-9, 4810)):
        torch.testing.assert_close(
            excitation(first, last), surrounded[:, :, 1000 + first : 1000 + last], atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("step", [3, 10, 29])
@pytest.mark.parametrize("block_values", [2000, 1 << 30])
def test_every_cut_of_an_excited_generator_gives_the_whole(step: int, block_values: int) -> None:
    config = tiny(**EXCITED, upsample_rates=(8, 8, 5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(recipes.generator_options(config, {"dict": 9}, 16000)).requires_grad_(False)
        joined = torch.randn(1, 6, 29)
    excitation = generator.excitation(joined)
    whole = generator(joined, excitation)[0]
    cuts = [(first, min(29, first + step)) for first in range(0, 29, step)]
    decoder = Decoder(generator, block_values=block_values)
    parts = torch.cat([decoder.decode(lambda a, b: joined[0, :, a:b], *cut, 29, excitation) for cut in cuts])
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)
    alone = excitation(0, 29 * 320).sum(1)[0]
    assert (whole - alone).abs().mean() > 1e-3, "the stages add nothing"


def corpus_with_f0() -> Corpus:
    melodist = Melodist(extractor=AutocorrelationF0(), frames=2)
    sung = [melody(index) for index in range(3)]
    return encode_corpus(sung, ENCODERS, style_label="", shortest=10, melodist=melodist)


def learner_of(corpus: Corpus, **changes: object) -> Learner:
    config = tiny(**EXCITED, **changes)
    return Learner(recipes.learner_options(config, corpus, recipes.spectra_options(config, 16000)))


def test_melodies_lie_on_the_units() -> None:
    corpus = corpus_with_f0()
    for index, spoken in enumerate(corpus.spoken):
        assert spoken.melody is not None and spoken.melody.shape == (2, 2 * len(spoken))
        f0, voiced = spoken.melody
        assert np.median(f0[voiced > 0]) == pytest.approx(200 + 70 * index, rel=0.03)
    batch = Segments(corpus, corpus.spoken, 3, 10)(np.random.default_rng(0))
    assert batch["f0"].shape == batch["voiced"].shape == (3, 20) and batch["origin"].shape == (3,)


def test_a_recording_without_a_voice_has_a_usual_f0_and_no_voicing() -> None:
    silence = Audio(samples=np.zeros(16000, np.float32), sample_rate=16000)
    f0, voiced = Melodist(extractor=AutocorrelationF0(), frames=4)(silence, 25, 640)
    assert (f0 == np.float32(USUAL_HZ)).all() and not voiced.any() and len(f0) == 100


def test_a_stretch_with_its_margin_is_told_what_the_whole_is_told() -> None:
    corpus = corpus_with_f0()
    learner = learner_of(corpus)
    segments = Segments(corpus, corpus.spoken[:1], 60, 10, margin=REACH, unknown_voice=0.5)
    batch, (whole,) = segments(np.random.default_rng(0)), corpus.spoken[:1]
    joined = learner.join(batch["rows"]) * batch["inside"]
    found = learner.generator.predictor(joined, batch["inside"], batch["is_known"])
    everything = learner.join(torch.from_numpy(whole.rows)[None])
    known, unknown = (learner.generator.predictor(everything, is_known=torch.tensor([flag])) for flag in (1.0, 0.0))
    starts = set()
    for at in range(60):
        wide = batch["rows"][at, 0, REACH:-REACH].numpy()
        (start,) = (
            i
            for i in range(len(whole) - 9)
            if np.array_equal(corpus.sound(whole)[i * 320 : (i + 10) * 320], batch["samples"][at])
        )
        starts.add(start)
        np.testing.assert_array_equal(wide, whole.rows[0, start : start + 10])
        wanted = known if batch["is_known"][at] else unknown
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one[at, 2 * REACH : 2 * REACH + 20], other[0, 2 * start : 2 * start + 20])
    assert {0, len(whole) - 10} <= starts, "the ends of the recording, where the margin is empty"
    assert {0.0, 1.0} == set(batch["is_known"].tolist())


def test_f0_of_an_unknown_voice_does_not_depend_on_the_speaker() -> None:
    torch.manual_seed(0)
    predictor, joined = Predictor(12, OPTIONS, slice(8, 12)), torch.randn(1, 12, 9)
    other = joined.clone()
    other[:, 8:] = torch.randn(1, 4, 1)
    nobody = torch.zeros(1)
    pitch, gains = predictor(joined, is_known=nobody)
    same, different = predictor(other, is_known=nobody)
    torch.testing.assert_close(pitch, same)
    assert not torch.allclose(gains, different) and not torch.allclose(pitch, predictor(joined)[0])


def test_the_excitation_learns_alone_first() -> None:
    corpus = corpus_with_f0()
    learner = learner_of(corpus, refine_from=1.0)
    batch = Segments(corpus, corpus.spoken, 2, 10)(np.random.default_rng(0))
    joined = learner.join(batch["rows"])
    excitation, losses = learner.excite(joined, batch)
    assert excitation is not None and losses["f0"] > 0
    made = learner.speak(joined, excitation, is_refined=False)
    torch.testing.assert_close(made, excitation(0, made.shape[1]).sum(1))
    made.square().mean().backward()
    assert all(value.grad is None for value in learner.generator.conv_post.parameters())
    assert learner.generator.predictor.filter_out.weight.grad is not None


def test_a_training_leaves_a_vocoder_that_speaks_as_its_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "_melodist", lambda config: Melodist(extractor=AutocorrelationF0(), frames=2))
    config = tiny(**EXCITED, refine_from=0.5)
    HifiganRecipe(config, ENCODERS).train([melody(index) for index in range(4)], tmp_path)
    noted = {"frames": 2, "width": 8, "bands": 8, "tone_width": 4}
    assert json.loads((tmp_path / "config.json").read_text())["excitation"] == noted
    assert not (tmp_path / "official").exists()
    generator = load_checkpoint(tmp_path).generator
    found = vocoder.build(vocoder.Config(path=str(tmp_path), chunk_frames=7))
    codes = np.arange(20, dtype=np.uint16)[:, None] % 10
    made = found.synthesize(AlignedUnits(streams={"loudness": codes}, durations=np.ones(20, np.int32)), voice=1)
    rows = torch.cat([generator.dict.weight[codes[:, 0].astype(int)], generator.spkr.weight[[1] * 20]], dim=1)
    wanted = generator(rows.T[None], generator.excitation(rows.T[None]))[0]
    np.testing.assert_allclose(made.samples, wanted.numpy(), atol=1e-6)
    anybody = found.synthesize(AlignedUnits(streams={"loudness": codes}, durations=np.ones(20, np.int32)))
    usual = found.synthesize(
        AlignedUnits(streams={"loudness": codes}, durations=np.ones(20, np.int32)),
        voice=found._conditioning.defaults.default_voice,
    )
    assert not np.array_equal(anybody.samples, usual.samples), "F0 of anybody is told without a speaker"
    found.save(tmp_path)
    assert (tmp_path / "generator.safetensors").exists()


def test_a_learner_without_discriminators_lowers_every_loss(tmp_path: Path) -> None:
    corpus = corpus_with_f0()
    learner = learner_of(corpus, max_steps=120, refine_from=0.7, adversarial_from=1.0)
    config = tiny(**EXCITED, max_steps=120, refine_from=0.7, adversarial_from=1.0)
    draw = Segments(corpus, corpus.spoken, config.batch_size, config.segment_frames)
    history = recipes.train_module(learner, draw, tmp_path, config, label="test")
    for loss in ("mel", "stft", "f0"):
        first, last = (np.mean([row[loss] for row in rows]) for rows in (history[:5], history[-5:]))
        assert last < 0.8 * first, loss
    assert checkpoint_of(learner, corpus).generator.options.excitation is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"official": True}, "the official layout has no excitation: official=false"),
        ({"excitation_frames": 7}, "excitation has 7 frames for a unit of 320 samples, expected a divisor"),
        ({"excitation_bands": 1}, "two bands at least"),
        ({"refine_from": 2.0}, r"refine_from is a share of the training in 0\.\.1, got 2"),
        ({"f0_extractor": {}}, "f0_extractor is {}, expected a component"),
    ],
)
def test_impossible_excitations_are_config_errors(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        HifiganRecipe(tiny(**{**EXCITED, **changes}), ENCODERS).train([melody(0), melody(1)], tmp_path)


def test_a_config_with_a_broken_excitation_says_which_key() -> None:
    with pytest.raises(FormatError, match="two bands at least"):
        ExcitationOptions(frames=4, width=8, tone_width=4, bands=1, sample_rate=16000)
