"""Published layouts load, languages are chosen, and what is missing is one clear line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError, PluginError
from stlm.learn import published
from stlm.learn.error_rates import error_rates
from stlm.types import Audio
from stlm_judges import pocketsphinx, wav2vec2_ctc, whisper
from stlm_judges.pieces import cut_at_pauses, transcribe_pieces

READ_SPEECH = next(
    (path for parent in Path(__file__).resolve().parents if (path := parent / "shared/data/real/read").is_dir()), None
)


def whisper_judge(path: Path, **options: object) -> whisper.WhisperJudge:
    return whisper.build(whisper.Config(model=str(path), **options))


def test_whisper_reads_something_else_in_another_language(whisper_path: Path, sounds: list[Audio]) -> None:
    told = {
        language: whisper_judge(whisper_path, language=language).transcribe(sounds[:2]) for language in ("en", "de")
    }
    assert all(all(texts) for texts in told.values())
    assert told["en"] != told["de"]
    assert whisper_judge(whisper_path, language="german").transcribe(sounds[:2]) == told["de"]
    assert len(whisper_judge(whisper_path, language="").transcribe(sounds[:2])) == 2


def test_whisper_names_languages_that_it_does_not_know(whisper_path: Path, english_whisper_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not know the language 'fr'"):
        whisper_judge(whisper_path, language="fr")
    with pytest.raises(ConfigError, match="knows English alone, got language 'de'"):
        whisper_judge(english_whisper_path, language="de")


def test_whisper_for_english_alone_is_told_no_language(english_whisper_path: Path, sounds: list[Audio]) -> None:
    assert all(whisper_judge(english_whisper_path).transcribe(sounds[:2]))


def test_whisper_reads_long_sounds_in_pieces(whisper_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16000 * 65).astype(np.float32)
    judge = whisper_judge(whisper_path)
    pieces = [Audio(samples=piece, sample_rate=16000) for piece in cut_at_pauses(samples, 16000, 30.0)]
    whole = judge.transcribe([Audio(samples=samples, sample_rate=16000)])[0]
    assert len(pieces) == 3
    assert whole.split() == " ".join(judge.transcribe(pieces)).split()


def test_wav2vec2_reads_each_sound_as_if_alone(wav2vec2_path: Path, sounds: list[Audio]) -> None:
    judge = wav2vec2_ctc.build(wav2vec2_ctc.Config(model=str(wav2vec2_path)))
    together = judge.transcribe(sounds)
    assert together == [judge.transcribe([sound])[0] for sound in sounds]
    assert len(set(together)) > 2 and together[-1] == ""


def test_mms_loads_the_adapter_and_letters_of_a_language(mms_path: Path, sounds: list[Audio]) -> None:
    said = {
        language: "".join(
            wav2vec2_ctc.build(wav2vec2_ctc.Config(model=str(mms_path), language=language)).transcribe(sounds)
        )
        for language in ("eng", "deu")
    }
    assert set(said["eng"]) & set("abc") and not set(said["eng"]) & set("xyzäö")
    assert set(said["deu"]) & set("xyzäö") and not set(said["deu"]) & set("abc")


def test_mms_names_a_language_that_it_lacks(mms_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        wav2vec2_ctc.build(wav2vec2_ctc.Config(model=str(mms_path), language="fra"))


@pytest.mark.parametrize("module", [whisper, wav2vec2_ctc])
def test_a_missing_model_is_one_clear_line(module, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        module.build(module.Config(model=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_the_defaults_are_the_published_models() -> None:
    assert whisper.Config().model == "openai/whisper-medium"
    assert published.ENGLISH_MODEL == "facebook/wav2vec2-large-960h-lv60-self"
    assert published.MANY_LANGUAGES_MODEL == "facebook/mms-1b-all"


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (whisper.Config, {"beams": 0}),
        (whisper.Config, {"dtype": "int8"}),
        (wav2vec2_ctc.Config, {"longest": 0.1}),
        (pocketsphinx.Config, {"longest": 0.0}),
    ],
)
def test_impossible_options_are_config_errors(config, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        config(**wrong)


def test_pocketsphinx_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(PluginError, match=r"pip install 'stlm-judges\[pocketsphinx\]'"):
        pocketsphinx.build(pocketsphinx.Config())


@pytest.mark.skipif(READ_SPEECH is None, reason="needs the folder shared/data/real/read with recordings")
def test_pocketsphinx_reads_real_english() -> None:
    pytest.importorskip("pocketsphinx", reason="needs stlm-judges[pocketsphinx]")
    from stlm.audio import read_audio

    rows = [json.loads(line) for line in (READ_SPEECH / "manifest.jsonl").read_text().splitlines()]
    rows = sorted((row for row in rows if row["text"] and row["duration"] > 3), key=lambda row: row["duration"])[:4]
    sounds = [read_audio(READ_SPEECH / row["audio"]) for row in rows]
    rates = error_rates(pocketsphinx.build(pocketsphinx.Config()).transcribe(sounds), [row["text"] for row in rows])
    assert rates["wer"] < 60


def test_pieces_join_to_the_whole_and_are_cut_where_it_is_quiet() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 50000).astype(np.float32)
    samples[14000:14640] = 0
    pieces = cut_at_pauses(samples, 16000, 1.0)
    np.testing.assert_array_equal(np.concatenate(pieces), samples)
    assert max(len(piece) for piece in pieces) <= 16000
    assert 14000 <= len(pieces[0]) <= 14640


def test_silent_pieces_are_not_read_and_texts_keep_their_order() -> None:
    loud, mute = np.ones(16000, np.float32), np.zeros(16000, np.float32)
    batch = [Audio(samples=samples, sample_rate=16000) for samples in (mute, np.concatenate([loud, mute, loud]), loud)]
    asked: list[int] = []

    def read(pieces):
        asked.extend(len(piece) for piece in pieces)
        return [f"  {len(asked)}.{place} " for place in range(len(pieces))]

    texts = transcribe_pieces(batch, read, sample_rate=16000, longest=1.0)
    assert texts[0] == "" and texts[2] == f"{len(asked)}.{len(asked) - 1}"
    assert len(texts[1].split()) == len(asked) - 1


def test_broken_samples_are_a_data_error() -> None:
    broken = Audio(samples=np.full(1600, np.nan, np.float32), sample_rate=16000)
    with pytest.raises(DataError, match="NaN"):
        transcribe_pieces([broken], lambda pieces: [], sample_rate=16000, longest=1.0)
