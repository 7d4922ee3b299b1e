"""Units of pieces, edges, silence, saving; damaged files are one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from stlm.errors import ConfigError, DataError, FormatError, PluginError
from stlm.types import Audio
from stlm_pitch.checkpoint import load_checkpoint
from stlm_pitch.contour import contour
from stlm_pitch.encoder import CHUNK, Config, PitchVqvaeEncoder, build

from .conftest import RATE, Levels, random_vqvae, settings, spoken, write


@pytest.fixture
def quick(vqvae_path: Path) -> PitchVqvaeEncoder:
    return PitchVqvaeEncoder(load_checkpoint(vqvae_path), Levels())


@pytest.fixture(scope="module")
def encoder(vqvae_path: Path) -> PitchVqvaeEncoder:
    return build(Config(path=str(vqvae_path)))


def audio(samples: np.ndarray) -> Audio:
    return Audio(samples=samples.astype(np.float32), sample_rate=RATE)


def test_the_stream_is_pitch_at_12_and_a_half_hertz(encoder: PitchVqvaeEncoder) -> None:
    spec = encoder.spec
    assert (spec.name, spec.codebook_sizes, spec.sample_rate, spec.hop) == ("pitch", (16,), 16000, 1280)
    assert (spec.chunk, spec.shortest, spec.frame_rate_hz) == (1_600_000, 1280, 12.5)


def test_units_are_those_of_the_network_on_the_contour(encoder: PitchVqvaeEncoder) -> None:
    sound = spoken(2)
    rows = contour(*encoder._f0.extractor.extract(sound), sound.num_samples, encoder._checkpoint.contour)
    vqvae = random_vqvae()
    want = vqvae.quantize(vqvae.encode(rows[None]))[0]
    (units,) = encoder.encode([sound])
    np.testing.assert_array_equal(units.codes[:, 0], want)
    assert len(np.unique(units.codes)) > 3, "a checkpoint that cannot tell sounds apart tests nothing"


@pytest.mark.parametrize("length", [0, 1, 1199, 1200, 1279, 1280, 2479, 2480, 2560, 16000])
def test_lengths_at_the_edges(quick: PitchVqvaeEncoder, length: int) -> None:
    (units,) = quick.encode([audio(spoken(1.1).samples[:length])])
    want = (length // 80 + 1) // 16 if length >= 1280 else 0
    assert len(units) == want == quick.spec.num_frames(length)


@pytest.mark.parametrize("extra", [0, 1279, 1280, 40_000])
def test_long_audio_is_encoded_in_independent_pieces(quick: PitchVqvaeEncoder, extra: int) -> None:
    samples = np.tile(spoken(5).samples, 21)[: CHUNK + extra]
    samples *= np.linspace(0.2, 1, len(samples), dtype=np.float32)
    (whole,) = quick.encode([audio(samples)])
    first, rest = quick.encode([audio(samples[:CHUNK]), audio(samples[CHUNK:])])
    assert len(whole) == 1250 + len(rest) == quick.spec.num_frames(len(samples))
    np.testing.assert_array_equal(whole.codes, np.concatenate([first.codes, rest.codes]))
    assert len(np.unique(whole.codes)) > 2


def test_silence_and_noise_have_units(encoder: PitchVqvaeEncoder) -> None:
    """The contour of both is zero, so their units are the same, by length alone."""
    noise = np.random.default_rng(0).normal(0, 0.05, RATE)
    silent, noisy = encoder.encode([audio(np.zeros(RATE)), audio(noise)])
    assert len(silent) == (RATE // 80 + 1) // 16
    np.testing.assert_array_equal(silent.codes, noisy.codes)
    vqvae = random_vqvae()
    want = vqvae.quantize(vqvae.encode(torch.zeros(1, 2, RATE // 80 + 1)))[0]
    np.testing.assert_array_equal(silent.codes[:, 0], want)


def test_a_constant_factor_on_f0_matters_and_a_shift_does_not(vqvae_path: Path) -> None:
    """Norm features: the mean goes, the excursion in Hz stays."""

    class Moved(Levels):
        def __init__(self, factor: float, shift: float) -> None:
            self.factor, self.shift = factor, shift

        def extract(self, audio: Audio) -> tuple[np.ndarray, np.ndarray]:
            f0, voiced = super().extract(audio)
            return np.where(voiced, self.factor * f0 + self.shift, 0).astype(np.float32), voiced

    checkpoint, sound = load_checkpoint(vqvae_path), spoken(4)

    def codes(factor: float, shift: float) -> np.ndarray:
        return PitchVqvaeEncoder(checkpoint, Moved(factor, shift)).encode([sound])[0].codes

    assert np.mean(codes(1, 0) == codes(1, 64)) > 0.95
    assert np.mean(codes(1, 0) == codes(2.5, 0)) < 0.95


def test_audio_that_is_not_finite_is_an_error(quick: PitchVqvaeEncoder) -> None:
    with pytest.raises(DataError, match="NaN"):
        quick.encode([audio(np.full(2000, np.nan))])


def test_what_is_chosen_is_saved(vqvae_path: Path, tmp_path: Path) -> None:
    """A run directory loads an encoder by its path alone."""
    options = {"threshold": 0.3}
    encoder = build(Config(path=str(vqvae_path), stream="f0", f0_options=options))
    encoder.save(tmp_path)
    again = build(Config(path=str(tmp_path)))
    assert again.spec == encoder.spec and again.spec.name == "f0"
    assert {file.name for file in tmp_path.iterdir()} == {"config.yaml", "model.safetensors"}
    assert build(Config(path=str(tmp_path), stream="pitch")).spec.name == "pitch", "options win over what was saved"


def test_the_fingerprint_follows_all_that_decides_the_units(vqvae_path: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", features="f0_interp,vuv")
    changed = write(tmp_path / "changed")
    state = random_vqvae().state_dict()
    torch.save({"model": {**state, "vq.level_blocks.0.k": state["vq.level_blocks.0.k"] + 1}}, changed / "model.pt")
    made = [
        build(Config(path=str(vqvae_path))),
        build(Config(path=str(vqvae_path), f0_options={"threshold": 0.1})),
        build(Config(path=str(other))),
        build(Config(path=str(changed))),
        PitchVqvaeEncoder(load_checkpoint(vqvae_path), Levels()),
    ]
    assert len({encoder.fingerprint for encoder in made}) == len(made)
    explicit = Config(path=str(vqvae_path), f0="fcpe", f0_options={"threshold": 0.05, "device": "cpu"})
    assert build(explicit).fingerprint == made[0].fingerprint


def test_praat_can_take_the_place_of_fcpe(vqvae_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("parselmouth", reason="needs stlm-pitch[praat]")
    encoder = build(Config(path=str(vqvae_path), f0="praat", f0_options={"hop": 80}))
    (units,) = encoder.encode([spoken(2)])
    assert len(units) == encoder.spec.num_frames(2 * RATE)
    encoder.save(tmp_path)
    np.testing.assert_array_equal(build(Config(path=str(tmp_path))).encode([spoken(2)])[0].codes, units.codes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": ""}, ConfigError, "needs path"),
        ({"f0": "fcpee"}, PluginError, "did you mean 'fcpe'"),
        ({"f0_options": {"treshold": 1}}, ConfigError, "did you mean 'threshold'"),
    ],
)
def test_wrong_options_are_explained(vqvae_path: Path, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        build(Config(**{"path": str(vqvae_path), **options}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "log_f0,vuv"}, "key 'features' is 'log_f0,vuv'"),
        ({"features": 3}, "'features' holds int, expected str"),
        ({"sampling_rate": 22050}, "'sampling_rate' is 22050, expected 16000"),
        ({"encoder_params": None}, "'encoder_params' holds NoneType"),
        ({"encoder_params__dilation_growth": 3}, "did you mean 'dilation_growth_rate'"),
        ({"encoder_params__res_scale": True}, "unknown key 'res_scale'"),
        ({"encoder_params__levels": 2}, "encoder_params: key 'levels' is 2, expected 1"),
        ({"encoder_params__downs_t": 4}, "'downs_t' holds int|'downs_t' is 4, expected a list"),
        ({"encoder_params__downs_t": [4, 4]}, r"'downs_t' is \[4, 4\], expected a list of one number"),
        ({"encoder_params__strides_t": [3]}, "expected an even stride"),
        ({"encoder_params__width": "wide"}, "'width' is 'wide', expected a positive integer"),
        ({"encoder_params__m_conv": 0.1}, "leaves no channel"),
        ({"encoder_params__input_emb_width": 3}, "expected 2: F0 and voicing"),
        ({"decoder_params__output_emb_width": 7}, r"\[6, 6, 7\], expected three equal numbers"),
        ({"decoder_params__downs_t": [3]}, "16 frames one in encoder_params and 8"),
        ({"vq_params__l_bins": 0}, "'l_bins' is 0"),
        ({"vq_params__l_bins": 70_000}, "expected at most 65536"),
        ({"vq_params__l_bins": 17}, r"'vq\.level_blocks\.0\.k' has shape \[16, 6\], expected \[17, 6\]"),
        ({"vq_params__levels": 2}, "vq_params: key 'levels' is 2"),
        ({"encoder_params__depth": 3}, "no key 'encoder"),
        ({"decoder_params__depth": 1}, "unexpected key 'decoder"),
        ({"stlm": [1]}, "'stlm' holds list"),
    ],
)
def test_settings_that_do_not_fit_are_format_errors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        load_checkpoint(write(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("switch", ["res_scale", "dilation_cycle", "reverse_decoder_dilation"])
def test_switches_that_are_off_are_allowed(tmp_path: Path, switch: str) -> None:
    load_checkpoint(write(tmp_path, **{f"encoder_params__{switch}": None}))


@pytest.mark.parametrize("key", ["features", "vq_params", "decoder_params"])
def test_a_misspelt_key_is_suggested(tmp_path: Path, key: str) -> None:
    write(tmp_path)
    content = settings()
    content[key[:-1]] = content.pop(key)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(FormatError, match=rf"no key '{key}' \(did you mean '{key[:-1]}'\?\)"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["a: [1", "- 1", "x: !!python/object/apply:os.getcwd []", "\x00"])
def test_yaml_that_is_no_plain_mapping_is_a_data_error(tmp_path: Path, text: str) -> None:
    write(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(DataError, match=r"config\.yaml") as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_and_damaged_weights(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.yaml: no such file"):
        load_checkpoint(tmp_path)
    weights = write(tmp_path) / "model.pt"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"model\.pt: cannot be read"):
        load_checkpoint(tmp_path)
    torch.save({"model": Path("somewhere")}, weights)
    with pytest.raises(DataError, match="Python objects"):
        load_checkpoint(tmp_path)
    torch.save({"modell": {}}, weights)
    with pytest.raises(FormatError, match=r"no key 'model' \(did you mean 'modell'\?\)"):
        load_checkpoint(tmp_path)
    weights.unlink()
    with pytest.raises(DataError, match=r"model\.pt: no such file"):
        load_checkpoint(tmp_path)


def test_loading_leaves_the_global_generator_alone(vqvae_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_checkpoint(vqvae_path)
    assert torch.equal(torch.get_rng_state(), before)
