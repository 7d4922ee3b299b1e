"""CTC aligners: the models' own symbols, long sounds in windows, and what is missing as one clear line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError, DataError, PluginError
from stlm.learn import published
from stlm.types import Audio
from stlm_align import mms, wav2vec2_ctc
from stlm_align.windows import Windows, reach_of

Noise = Callable[..., Audio]


def aligner_of(path: Path, **options: object) -> wav2vec2_ctc.Wav2Vec2Aligner:
    return wav2vec2_ctc.build(wav2vec2_ctc.Config(model=str(path), **options))


def test_text_is_spelled_in_the_models_letters(ctc_path: Path) -> None:
    aligner = aligner_of(ctc_path)
    assert {"A", "Z", "'"} <= set(aligner.symbols) and "<pad>" not in aligner.symbols
    assert (aligner.blank, aligner.space) == (1, 4)
    assert (aligner.windows.hop, aligner.windows.reach) == (320, 10 + 7 * 10 + 3 * 80)


def test_a_language_has_letters_and_an_adapter_of_its_own(languages_path: Path, noise: Noise) -> None:
    german, english = (aligner_of(languages_path, language=code) for code in ("deu", "eng"))
    assert set(german.symbols) == set("xyzäö") and set(english.symbols) == set("abc")
    assert german.align(noise(1.0), "Äx ö")[0].text == "Äx"
    with pytest.raises(DataError, match="no character that the recogniser knows"):
        german.align(noise(1.0), "abc")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        aligner_of(languages_path, language="fra")


def test_times_are_on_the_clock_of_the_audio(ctc_path: Path, noise: Noise) -> None:
    aligner, fine = aligner_of(ctc_path), noise(1.5)
    doubled = Audio(samples=np.repeat(fine.samples, 2), sample_rate=32000)
    (word,) = aligner.align(doubled, "word")
    assert word.end > 0 and (word.start % 640, word.end % 640) == (0, 0)


def test_a_missing_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        aligner_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_defaults_are_the_published_models() -> None:
    assert published.ENGLISH_MODEL == "facebook/wav2vec2-large-960h-lv60-self"
    assert published.MANY_LANGUAGES_MODEL == "facebook/mms-1b-all"


@pytest.mark.parametrize("config", [wav2vec2_ctc.Config, mms.Config])
@pytest.mark.parametrize("wrong", [{"window": 0.5}, {"overlap": -1.0}, {"window": 4.0, "overlap": 2.5}])
def test_impossible_windows_are_config_errors(config: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="window must be"):
        config(**wrong)


@pytest.mark.parametrize("num_frames", [1, 9, 10, 11, 16, 17, 40])
def test_windows_join_to_the_frames_of_the_whole(num_frames: int) -> None:
    """A network that sees nothing but its frame, so that the windows' frames must be those of the whole."""
    windows = Windows(sample_rate=10, hop=2, reach=5, window=2.0, overlap=0.6)
    heard: list[int] = []

    def forward(samples: torch.Tensor) -> torch.Tensor:
        heard.append(len(samples))
        return samples.unfold(0, 5, 2)

    samples = np.arange(5 + 2 * (num_frames - 1) + 1, dtype=np.float32)
    found = windows.emissions(samples, forward)
    assert torch.equal(found, torch.from_numpy(samples).unfold(0, 5, 2))
    assert max(heard) <= 5 + 2 * 9 and len(heard) == max(1, -(-(num_frames - 3) // 7))


def test_windows_refuse_what_has_no_frame_and_models_of_another_kind() -> None:
    windows = Windows(sample_rate=10, hop=2, reach=5, window=2.0, overlap=0.0)
    with pytest.raises(DataError, match="too short to align"):
        windows.emissions(np.zeros(4, np.float32), lambda samples: samples[:, None])
    with pytest.raises(ConfigError, match="cannot be aligned with"):
        windows.emissions(np.zeros(5, np.float32), lambda samples: samples[:, None])


def test_the_reach_of_wav2vec2_is_25_milliseconds() -> None:
    assert reach_of((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)) == mms.REACH == 400


@pytest.fixture
def romanised(mms_path: Path, small_mms: None) -> mms.MmsAligner:
    return mms.build(mms.Config(directory=str(mms_path)))


def spelling(aligner: mms.MmsAligner, word: str) -> str:
    letters = {index: label for label, index in aligner.symbols.items()}
    return "".join(letters[symbol] for symbol in aligner._symbols(word))


def test_mms_spells_latin_letters_without_marks(romanised: mms.MmsAligner) -> None:
    assert [spelling(romanised, word) for word in ("Élan’s", "Straße", "twenty-one", "B2B", "1984")] == [
        "elan's",
        "strasse",
        "twentyone",
        "bb",
        "",
    ]


def test_mms_romanises_other_scripts(romanised: mms.MmsAligner, noise: Noise) -> None:
    pytest.importorskip("uroman", reason="needs stlm-align[uroman]")

    class Known:
        def romanize_string(self, word: str, lcode: str | None) -> str:
            return {"мир": "mir"}[word]

    romanised.__dict__["_uroman"] = Known()
    assert spelling(romanised, "мир") == "mir"
    assert [word.text for word in romanised.align(noise(1.0), "мир!")] == ["мир"]


@pytest.mark.slow
def test_uroman_romanises() -> None:
    uroman = pytest.importorskip("uroman", reason="needs stlm-align[uroman]")
    assert uroman.Uroman().romanize_string("мир", lcode=None) == "mir"


def test_mms_says_how_to_get_uroman(romanised: mms.MmsAligner, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uroman", None)
    with pytest.raises(PluginError, match=r"pip install 'stlm-align\[uroman\]'"):
        romanised.align(noise(1.0), "мир")


def test_mms_gives_a_star_to_what_it_cannot_spell() -> None:
    """A network that is sure of "a" in frames 10 to 19 and of "b" from frame 40; any sound may lie between."""
    labels = ("-", "a", "b", "*")

    def model(samples: torch.Tensor) -> tuple[torch.Tensor, None]:
        rows = torch.full((1, (samples.shape[1] - 400) // 320 + 1, 4), 0.01)
        rows[:, :, 0], rows[:, 10:20, 1], rows[:, 40:, 2], rows[:, :, 3] = 0.1, 0.97, 0.97, 1.0
        return rows.log(), None

    found = mms.MmsAligner(model, labels).align(Audio(samples=np.zeros(16000, np.float32), sample_rate=16000), "a 7 b")
    assert [word.text for word in found] == ["a", "7", "b"]
    assert [word.score is None for word in found] == [False, True, False]
    assert found[0].end <= 20 * 320 and found[2].start >= 40 * 320
    assert found[1].end - found[1].start > 15 * 320


def test_mms_weights_are_read_as_data_only(tmp_path: Path, small_mms: None) -> None:
    torch.save({"model": Path("anything")}, tmp_path / "model.pt")
    with pytest.raises(ConfigError, match="weights of MMS_FA cannot be loaded") as caught:
        mms.build(mms.Config(directory=str(tmp_path)))
    assert "\n" not in str(caught.value)
