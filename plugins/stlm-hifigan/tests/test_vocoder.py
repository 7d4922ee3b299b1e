"""Durations, voices, styles, and what happens where a stream is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import AlignedUnits
from stlm_hifigan.conditioning import draw
from stlm_hifigan.generator import frames_of
from stlm_hifigan.vocoder import Config, HifiganVocoder, build

from .conftest import BASE, EXPRESSIVE, HOP, NUM_UNITS, random_generator, write

Make = Callable[..., AlignedUnits]


@pytest.fixture(scope="module")
def base(base_path: Path) -> HifiganVocoder:
    return build(Config(path=str(base_path)))


@pytest.fixture(scope="module")
def expressive(expressive_path: Path) -> HifiganVocoder:
    return build(Config(path=str(expressive_path)))


def textbook(tables: dict[str, tuple[int, int]], rows: dict[str, np.ndarray]) -> np.ndarray:
    """The whole signal from the module itself, with rows by table, ``[T]`` each."""
    generator = random_generator(tables)
    joined = torch.cat([getattr(generator, name).weight[torch.from_numpy(rows[name])] for name in tables], dim=1)
    return generator(joined.T[None])[0].numpy()


def codes(units: AlignedUnits, stream: str = "hubert") -> np.ndarray:
    return units.streams[stream][:, 0].astype(np.int64)


def test_base_joins_unit_speaker_and_style_by_default_and_by_name(base: HifiganVocoder, make_units: Make) -> None:
    units = make_units(9, durations=np.ones(9))
    rows = {"dict": codes(units), "spkr": np.full(9, 2), "style": np.full(9, 8)}
    got = base.synthesize(units).samples
    np.testing.assert_allclose(got, textbook(BASE, rows), atol=1e-6)
    rows |= {"spkr": np.full(9, 1), "style": np.full(9, 5)}
    for voice, style in (("ben", "style-5"), (1, 5), ("1", "5")):
        np.testing.assert_allclose(base.synthesize(units, voice, style).samples, textbook(BASE, rows), atol=1e-6)
    assert base.voices == ("anna", "ben", "cleo", "dan") and len(base.styles) == 12
    assert base.streams == ("hubert",) and base.optional_streams == ()


def test_expressive_joins_unit_pitch_style_and_speaker(expressive: HifiganVocoder, make_units: Make) -> None:
    units = make_units(9, durations=np.ones(9), pitch=9, style=100)
    rows = {
        "dict": codes(units),
        "f0_dict": codes(units, "pitch"),
        "style_dict": codes(units, "style"),
        "spkr": np.full(9, 2),
    }
    np.testing.assert_allclose(expressive.synthesize(units).samples, textbook(EXPRESSIVE, rows), atol=1e-6)
    rows |= {"style_dict": np.full(9, 44), "spkr": np.full(9, 0)}
    np.testing.assert_allclose(expressive.synthesize(units, 0, 44).samples, textbook(EXPRESSIVE, rows), atol=1e-6)
    assert expressive.optional_streams == ("pitch", "style")
    assert expressive.voices == ("0", "1", "2", "3")


def test_durations_repeat_rows_of_all_streams(expressive: HifiganVocoder, make_units: Make) -> None:
    units = make_units(4, durations=[2, 0, 1, 3], pitch=9, style=100)
    long = AlignedUnits(
        streams={name: np.repeat(codes, [2, 0, 1, 3], axis=0) for name, codes in units.streams.items()},
        durations=np.ones(6, np.int32),
    )
    got = expressive.synthesize(units).samples
    assert len(got) == 6 * HOP
    np.testing.assert_array_equal(got, expressive.synthesize(long).samples)


def test_predicted_frames_round_halves_to_even_and_are_at_least_one() -> None:
    frames = torch.tensor([0.5, 1.5, 2.5, 3.5, 0.0, -0.9, 1.49, 4.51, 100.0], dtype=torch.float64)
    assert frames_of(torch.log(frames + 1).float().double()).dtype == torch.int64
    exact = torch.tensor([1.5, 2.5, 3.5, 4.5], dtype=torch.float64)  # exp(x) - 1 for an x that exp meets exactly
    logs = torch.log(exact)
    assert ((torch.exp(logs) - 1) * 2 == (exact - 1) * 2).all(), "the halves below must be exact"
    assert frames_of(logs).tolist() == [1, 2, 2, 4]
    assert frames_of(torch.log(frames[4:] + 1)).tolist() == [1, 1, 1, 5, 100]


def test_the_duration_predictor_by_hand(base: HifiganVocoder, make_units: Make) -> None:
    """Conv, ReLU, norm; again; linear: in NumPy, with explicit sums."""
    units = codes(make_units(7))
    state = {name: value.double().numpy() for name, value in random_generator(BASE).state_dict().items()}

    def layer(hidden: np.ndarray, conv: str, norm: str) -> np.ndarray:
        weight, bias = state[f"dur_predictor.{conv}.0.weight"], state[f"dur_predictor.{conv}.0.bias"]
        padded = np.pad(hidden, ((1, 1), (0, 0)))
        made = np.stack([np.einsum("oik,ki->o", weight, padded[t : t + 3]) + bias for t in range(len(hidden))])
        made = np.maximum(made, 0)
        made = (made - made.mean(1, keepdims=True)) / np.sqrt(made.var(1, keepdims=True) + 1e-5)
        return made * state[f"dur_predictor.{norm}.weight"] + state[f"dur_predictor.{norm}.bias"]

    hidden = layer(layer(state["dict.weight"][units], "conv1", "ln1"), "conv2", "ln2")
    logs = hidden @ state["dur_predictor.proj.weight"][0] + state["dur_predictor.proj.bias"]
    frames = np.exp(logs) - 1
    assert np.abs(frames - np.floor(frames) - 0.5).min() > 1e-3, "another seed: this one is a tie"
    want = np.maximum(np.rint(frames), 1).astype(int)
    assert len(set(want.tolist())) > 1
    np.testing.assert_array_equal(base.durations(units), want)
    got = base.synthesize(make_units(7))
    assert got.num_samples == want.sum() * HOP
    np.testing.assert_array_equal(got.samples, base.synthesize(make_units(7, durations=want)).samples)


@pytest.mark.parametrize("length", [1, 2])
def test_very_short_sequences_are_spoken(base: HifiganVocoder, make_units: Make, length: int) -> None:
    audio = base.synthesize(make_units(length))
    assert audio.num_samples >= length * HOP and np.isfinite(audio.samples).all()


def test_without_a_predictor_each_unit_is_one_frame(tmp_path: Path, make_units: Make) -> None:
    vocoder = build(Config(path=str(write(tmp_path, BASE, durations=False))))
    assert vocoder.synthesize(make_units(11)).num_samples == 11 * HOP


def test_missing_style_is_drawn_by_the_units_and_said(
    expressive: HifiganVocoder, make_units: Make, caplog: pytest.LogCaptureFixture
) -> None:
    units = make_units(9, durations=np.ones(9), pitch=9)
    with caplog.at_level(logging.WARNING):
        got = expressive.synthesize(units).samples
    assert "no stream 'style'" in caplog.text
    style = draw((71, 68, 98), codes(units))
    assert style in (71, 68, 98) and f"style {style}" in caplog.text
    np.testing.assert_array_equal(got, expressive.synthesize(units, style=style).samples)


def test_the_draw_follows_the_units_and_not_their_durations() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw((71, 68, 98), rng.integers(0, 500, 8)) for _ in range(300)]
    assert all(70 < drawn.count(style) < 130 for style in (71, 68, 98))
    sequence = np.array([3, 1, 1, 4])
    assert draw((71, 68, 98), sequence) == draw((71, 68, 98), np.repeat(sequence, [2, 1, 3, 1]))


def test_missing_pitch_is_the_mean_of_its_table_and_said(
    expressive: HifiganVocoder, make_units: Make, caplog: pytest.LogCaptureFixture
) -> None:
    units = make_units(9, durations=np.ones(9), style=100)
    with caplog.at_level(logging.WARNING):
        got = expressive.synthesize(units).samples
    assert "no stream 'pitch'" in caplog.text
    generator = random_generator(EXPRESSIVE)
    parts = [
        generator.dict.weight[torch.from_numpy(codes(units))],
        generator.f0_dict.weight.mean(0).expand(9, -1),
        generator.style_dict.weight[torch.from_numpy(codes(units, "style"))],
        generator.spkr.weight[2].expand(9, -1),
    ]
    np.testing.assert_allclose(got, generator(torch.cat(parts, dim=1).T[None])[0].numpy(), atol=1e-6)


def test_chunks_change_nothing(base_path: Path, base: HifiganVocoder, make_units: Make) -> None:
    units = make_units(90)
    for chunk_frames in (1, 13, 64):
        other = build(Config(path=str(base_path), chunk_frames=chunk_frames)).synthesize(units).samples
        np.testing.assert_allclose(other, base.synthesize(units).samples, atol=1e-6)


def test_what_is_chosen_is_saved(expressive_path: Path, tmp_path: Path, make_units: Make) -> None:
    """A run directory loads a vocoder by its path alone."""
    chosen = Config(
        path=str(expressive_path),
        stream="units",
        pitch_stream="f0",
        style_stream="mood",
        default_voice=1,
        fallback_styles=(5,),
    )
    vocoder = build(chosen)
    vocoder.save(tmp_path)
    again = build(Config(path=str(tmp_path)))
    assert again.streams == ("units",) and again.optional_streams == ("f0", "mood")
    streams = make_units(6, pitch=9).streams
    units = AlignedUnits(streams={"units": streams["hubert"], "f0": streams["pitch"]})
    got = again.synthesize(units).samples
    np.testing.assert_array_equal(got, vocoder.synthesize(units).samples)
    np.testing.assert_array_equal(got, vocoder.synthesize(units, voice=1, style=5).samples)
    assert not np.array_equal(got, vocoder.synthesize(units, voice=2, style=5).samples)
    assert build(Config(path=str(tmp_path), stream="hubert")).streams == ("hubert",), "options win over what was saved"


def test_names_are_saved(base: HifiganVocoder, tmp_path: Path) -> None:
    base.save(tmp_path)
    again = build(Config(path=str(tmp_path)))
    assert (again.voices, again.styles) == (base.voices, base.styles)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"voice": "anne"}, "did you mean 'anna'"),
        ({"voice": 4}, r"no voice 4, expected a number within 0\.\.3"),
        ({"voice": -1}, "no voice -1"),
        ({"style": "style-99"}, "did you mean 'style-9'"),
        ({"style": 12}, r"within 0\.\.11"),
    ],
)
def test_unknown_voices_and_styles_are_config_errors(
    base: HifiganVocoder, make_units: Make, asked: dict[str, str | int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        base.synthesize(make_units(3), **asked)


def test_a_vocoder_without_tables_has_no_choice(tmp_path: Path, make_units: Make) -> None:
    path = write(tmp_path, {"dict": BASE["dict"]}, multispkr=None, multistyle=None)
    vocoder = build(Config(path=str(path)))
    assert vocoder.voices == vocoder.styles == ()
    assert vocoder.synthesize(make_units(3)).num_samples > 0
    with pytest.raises(ConfigError, match="one voice"):
        vocoder.synthesize(make_units(3), voice=0)
    with pytest.raises(ConfigError, match="one style"):
        vocoder.synthesize(make_units(3), style=0)


def test_codes_out_of_range_are_format_errors(expressive: HifiganVocoder) -> None:
    def units(**streams: list[int]) -> AlignedUnits:
        return AlignedUnits(streams={name: np.array([row], np.uint16).T for name, row in streams.items()})

    with pytest.raises(FormatError, match=rf"'hubert': code 500 is outside 0\.\.{NUM_UNITS - 1}"):
        expressive.synthesize(units(hubert=[1, 500]))
    with pytest.raises(FormatError, match=r"'pitch': code 9 is outside 0\.\.8"):
        expressive.synthesize(units(hubert=[1, 2], pitch=[9, 1]))
    with pytest.raises(FormatError, match=r"shape \[2, 2\], expected \[N, 1\]"):
        expressive.synthesize(AlignedUnits(streams={"hubert": np.zeros((2, 2), np.uint16)}))


@pytest.mark.parametrize("durations", [np.array([1, -1, 1], np.int32), np.array([1.0, 2.0, 1.0])])
def test_impossible_durations_are_data_errors(base: HifiganVocoder, make_units: Make, durations: np.ndarray) -> None:
    with pytest.raises(DataError, match="durations must be"):
        base.synthesize(make_units(3).with_durations(durations))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp8"}, "precision must be one of fp32, bf16"),
        ({"chunk_frames": 0}, "chunk_frames must be positive"),
        ({"default_voice": 7}, r"default_voice is 7, expected 0\.\.3"),
        ({"default_style": 99}, r"default_style is 99, expected 0\.\.11"),
        ({"path": ""}, "needs path"),
    ],
)
def test_impossible_options_are_config_errors(base_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Config(**{"path": str(base_path), **changes}))
