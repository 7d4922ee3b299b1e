"""The recipe as a whole: it learns, goes on exactly, and what it writes is what it trained."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from stlm.errors import ConfigError, DataError
from stlm.learn.training import train_module
from stlm.plugin import make_config
from stlm.testing.contracts import RecipeContract
from stlm.types import AlignedUnits, Utterance
from stlm_hifigan import recipe as recipes
from stlm_hifigan import vocoder
from stlm_hifigan.corpus import Corpus, Segments, encode_corpus
from stlm_hifigan.generator import Generator
from stlm_hifigan.learner import Learner
from stlm_hifigan.outcome import checkpoint_of
from stlm_hifigan.recipe import Config, HifiganRecipe, divided

from .conftest import Loudness, melody, tiny

ENCODERS = {"units": Loudness(), "pitch": Loudness("pitch", 1280, 9), "style": Loudness("style", 8000, 6)}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return encode_corpus([melody(index) for index in range(3)], ENCODERS, style_label="", shortest=10)


def learner_of(config: Config, corpus: Corpus) -> Learner:
    return Learner(recipes.learner_options(config, corpus, recipes.spectra_options(config, 16000)))


def trained(config: Config, corpus: Corpus, out: Path, learner: Learner | None = None) -> tuple[Learner, list[dict]]:
    learner = learner or learner_of(config, corpus)
    draw = Segments(corpus, corpus.spoken, config.batch_size, config.segment_frames)
    return learner, train_module(learner, draw, out, config, label="test")


class TestRecipeContract(RecipeContract):
    component = "hifigan"

    @pytest.fixture
    def recipe(self) -> HifiganRecipe:
        return HifiganRecipe(tiny(official=False, checkpoint_every=1), ENCODERS)

    @pytest.fixture
    def utterances(self) -> list[Utterance]:
        return [melody(index) for index in range(4)]

    def build_trained(self, path: Path) -> vocoder.HifiganVocoder:
        return vocoder.build(vocoder.Config(path=str(path)))


def test_it_learns_to_sound_like_three_melodies(corpus: Corpus, tmp_path: Path) -> None:
    config = tiny(max_steps=40, adversarial_from=1.0, duration_weight=5.0, report_every=1)
    _, history = trained(config, corpus, tmp_path)
    for loss in ("mel", "stft", "duration"):
        first, last = (np.mean([row[loss] for row in rows]) for rows in (history[:5], history[-5:]))
        assert last < 0.8 * first, loss


def test_discriminators_join_after_their_share_of_the_training(corpus: Corpus, tmp_path: Path) -> None:
    learner, history = trained(tiny(max_steps=4, adversarial_from=0.5), corpus, tmp_path)
    assert [row["discriminator"] > 0 for row in history] == [False, False, True, True]
    assert [row["features"] > 0 for row in history] == [False, False, True, True]
    start = learner_of(tiny(), corpus).discriminators.state_dict()
    assert not torch.equal(learner.discriminators.state_dict()["scales.1.score.bias"], start["scales.1.score.bias"])


def test_an_interrupted_training_goes_on_to_the_same_weights_and_optimizers(corpus: Corpus, tmp_path: Path) -> None:
    class Interrupted(Learner):
        def training_step(self, batch, index):
            if index == 3:
                raise KeyboardInterrupt
            return super().training_step(batch, index)

    whole, _ = trained(tiny(), corpus, tmp_path / "whole")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained(tiny(), corpus, tmp_path / "broken", Interrupted(learner_of(tiny(), corpus).options))
    resumed, history = trained(tiny(), corpus, tmp_path / "broken")
    assert [row["step"] for row in history] == [1, 2, 3, 4]
    for (name, one), two in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    for one, two in zip(whole.trainer.optimizers, resumed.trainer.optimizers, strict=True):
        states = [found.state_dict()["state"] for found in (one, two)]
        assert states[0].keys() == states[1].keys() and states[0]
        for key, entries in states[0].items():
            assert all(torch.equal(value, states[1][key][name]) for name, value in entries.items())


@pytest.mark.parametrize("layout", [".", "official"])
def test_what_is_written_speaks_as_the_generator_that_was_trained(layout: str, corpus: Corpus, tmp_path: Path) -> None:
    learner, _ = trained(tiny(), corpus, tmp_path / "course")
    checkpoint = checkpoint_of(learner, corpus)
    (tmp_path / "official").mkdir()
    if layout == ".":
        checkpoint.save(tmp_path, checkpoint.extras)
    else:
        checkpoint.save_official(tmp_path / layout, checkpoint.extras)
    found = vocoder.build(vocoder.Config(path=str(tmp_path / layout)))
    spoken = corpus.spoken[1]
    with torch.no_grad():
        wanted = learner.generator(learner.join(torch.from_numpy(spoken.rows)[None]))[0].numpy()
    streams = {"loudness": "dict", "pitch": "f0_dict", "style": "style_dict"}
    units = AlignedUnits(
        streams={name: corpus.row(spoken, table)[:, None].astype(np.uint16) for name, table in streams.items()},
        durations=np.ones(len(spoken), np.int32),
    )
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(found.synthesize(units, voice="singer 1").samples, wanted, atol=1e-5)
    assert found.voices == ("singer 0", "singer 1")
    assert found.accepts == {encoder.spec.name: encoder.spec.fingerprint for encoder in ENCODERS.values()}
    assert found.synthesize(AlignedUnits(streams={"loudness": units.streams["loudness"]})).num_samples > 0


def test_the_official_layout_holds_the_official_keys(corpus: Corpus, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(learner_of(tiny(), corpus), corpus)
    checkpoint.save_official(tmp_path, checkpoint.extras)
    state = torch.load(tmp_path / "generator.pt", weights_only=True)["generator"]
    assert state["ups.0.weight_g"].shape == (32, 1, 1) and "conv_pre.weight" not in state
    assert {"dur_predictor.conv1.0.weight", "resblocks.2.convs2.1.weight_v", "f0_dict.weight"} <= state.keys()
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["model_in_dim"] == 24 and settings["code_hop_size"] == 320
    assert (settings["num_f0_tokens"], settings["f0_hop_size"]) == (9, 1280)
    assert (settings["num_style_tokens"], settings["style_hop_size"]) == (6, 8000)


def test_a_whole_training_leaves_a_vocoder_both_layouts_curves_and_a_report(tmp_path: Path) -> None:
    config = tiny(num_samples=1, duration_width=0, held_out=0.5, scales=0, periods=())
    HifiganRecipe(config, {"units": Loudness()}).train([melody(index) for index in range(4)], tmp_path)
    for path in (tmp_path, tmp_path / "official"):
        assert vocoder.build(vocoder.Config(path=str(path))).streams == ("loudness",)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["trained_on"] == {"recordings": 2, "seconds": 2.0}
    assert report["held_out"]["recordings"] == 2 and report["held_out"]["mel_l1"] > 0
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_what_is_held_out_is_never_learnt_from(corpus: Corpus) -> None:
    many = [corpus.spoken[0]] * 50
    kept, held_out = divided(many, 0.1, seed=1)
    assert (len(kept), len(held_out)) == (45, 5)
    kept, held_out = divided(corpus.spoken, 0.01, seed=1)
    assert (len(kept), len(held_out)) == (2, 1) and held_out[0].recording not in {item.recording for item in kept}
    assert divided(corpus.spoken[:1], 0.5, seed=1) == (corpus.spoken[:1], [])


def test_durations_are_learnt_utterance_by_utterance(corpus: Corpus) -> None:
    learner = learner_of(tiny(), corpus)
    batch = Segments(corpus, corpus.spoken, 2, 10)(np.random.default_rng(0))
    both = learner.duration_loss(batch["units"], batch["durations"])
    single = [learner.duration_loss([u], [d]) * len(u) for u, d in zip(batch["units"], batch["durations"], strict=True)]
    torch.testing.assert_close(both, sum(single) / sum(map(len, batch["units"])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upsample_rates": (8, 8, 4), "upsample_kernels": (16, 16, 8)}, "make 256 samples of a unit, but one of"),
        ({"segment_frames": 1}, "segment_frames 1 are 320 samples, expected at least 513"),
        ({"precision": "16-mixed"}, "bf16-mixed or 32-true"),
        ({"upsample_kernels": (16, 16, 10)}, "hifigan: upsample_kernel_sizes: 10 with rate 5"),
        ({"betas": (0.9,)}, "betas are two numbers"),
        ({"held_out": 1.0}, "held_out is a share"),
        ({"adversarial_from": 1.5}, "adversarial_from is a share"),
        ({"mel_window": 1022}, "multiples of 4"),
        ({"scale_groups": (1,)}, "expected equally many"),
        ({"scale_groups": (1, 3)}, "3 groups do not divide 4 and 8 channels"),
    ],
)
def test_impossible_options_are_config_errors(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        HifiganRecipe(tiny(**changes), {"units": Loudness()}).train([melody(0), melody(1)], tmp_path)


def test_encoders_are_built_by_name_and_must_be_of_speech(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoders\.units is 'hubert', expected a component with its options"):
        HifiganRecipe(tiny(encoders={"units": "hubert"})).train([melody(0)], tmp_path)
    with pytest.raises(ConfigError, match="expected units"):
        HifiganRecipe(tiny()).train([melody(0)], tmp_path)


def test_the_tiny_recipe_has_at_most_a_million_and_a_half_parameters_with_all_streams() -> None:
    file = resources.files("stlm_hifigan.configs") / "recipe" / "hifigan_tiny.yaml"
    config = make_config(Config, {k: v for k, v in yaml.safe_load(file.read_text()).items() if k != "name"}, where="")
    generator = recipes.generator_options(config, {"dict": 500, "f0_dict": 64, "style_dict": 100, "spkr": 43}, 16000)
    assert generator.hop == 640
    assert sum(value.numel() for value in Generator(generator).parameters()) <= 1_500_000


def test_a_training_that_explodes_is_an_error_and_writes_no_vocoder(tmp_path: Path) -> None:
    config = tiny(learning_rate=1e30, max_steps=20)
    with pytest.raises(DataError, match="expected a number: lower learning_rate"):
        HifiganRecipe(config, {"units": Loudness()}).train([melody(index) for index in range(3)], tmp_path)
    assert not (tmp_path / "config.json").exists()
