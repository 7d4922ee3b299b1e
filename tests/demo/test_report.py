"""The report of `stlm demo`: one self-contained page and one strict JSON file, from whatever a run found."""

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stlm.demo import pictures
from stlm.demo.report import reading, write_report
from stlm.demo.results import DemoResults, Piece, Sample
from stlm.evals.report import spectrogram
from stlm.evals.report.page import sound_uri
from stlm.evals.report.spectrogram import spectrogram_with_units
from stlm.types import Audio, StreamSpec, Units

SPEC = StreamSpec(name="hubert", codebook_sizes=(100,), sample_rate=16_000, hop=640, window=640, fingerprint="f")
EVIL = "<script>alert('&')</script>"
SECTIONS = ("results", "other", "recognition", "losses", "sequences", "samples", "run", "configuration")


def tone(seconds: float = 0.5, rate: int = 16_000) -> Audio:
    times = np.arange(round(seconds * rate)) / rate
    return Audio(samples=(0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32), sample_rate=rate)


def units(*codes: int) -> Units:
    return Units(spec=SPEC, codes=np.array(codes, dtype=np.uint16)[:, None])


def cell(accuracy: float, half: float = 4.0) -> dict[str, object]:
    return {"accuracy": accuracy, "ci95": [accuracy - half, accuracy + half], "n": 217, "items": 434}


def table(text: float, to_speech: float, to_text: float, speech: float) -> dict[str, dict[str, object]]:
    return {"T->T": cell(text), "T->S": cell(to_speech), "S->T": cell(to_text), "S->S": cell(speech)}


CLOZE = {"interleaved": table(91.3, 66.9, 71.2, 78.1), "no_interleaving": table(92.4, 50.8, 48.5, 77.3)}


def curve(end: float) -> list[dict[str, float]]:
    return [
        {"step": n, "tokens": 1000 * n, "loss": end, "loss_text": 8 * 0.8**n + end, "loss_hubert": 5.0 - n / 100}
        for n in range(30)
    ]


def full(text: str = "plain words") -> DemoResults:
    return DemoResults(
        title=f"Title {text}",
        disclaimer=f"A tiny world, not a product voice. {text}",
        facts=[(f"Corpus {text}", f"1,200 sentences {text}")],
        notes=[f"Note {text}"],
        cloze=CLOZE,
        other_tasks={f"grammar {text}": {"interleaved": {"S": cell(61.7)}}},
        recognition={"asr": {"wer": 12.4, "cer": 5.1, "n": 93}, "tts": {"wer": 23.9, "cer": 11.8, "n": 94}},
        losses={"interleaved": curve(0.75), "no_interleaving": curve(1.25)},
        samples=[
            Sample(
                title=f"Speech {text}",
                prompt_text=f"prompt {text}",
                original=tone(),
                resynthesis=tone(),
                generation=tone(rate=24_000),
                generated_text=f"written {text}",
                judge=f"heard {text}",
                judge_source=f"own ASR {text}",
                units=units(*[71] * 6, *[8] * 3, 55, *[71] * 2),
            ),
            Sample(title="Silent", generation=tone(0.0)),
        ],
        sequences=[
            [
                Piece(modality="marker", shown="[Text]"),
                Piece(modality="text", shown=f"the fox {text}"),
                Piece(modality="speech", shown="[Hu3][Hu14]", words=f"ran {text}", audio=tone()),
            ]
        ],
        timings={f"train {text}": 221.4, "evaluate": 41.0},
        details={f"config {text}": {"path": Path("runs"), "rate": np.float32(0.5), "note": text}, "seed": 7},
    )


def bare() -> DemoResults:
    return DemoResults(title="Bare", disclaimer="Only this.", facts=[])


def page_of(results: DemoResults, directory: Path) -> str:
    write_report(results, directory)
    return (directory / "report.html").read_text(encoding="utf-8")


def json_of(results: DemoResults, directory: Path) -> dict:
    write_report(results, directory)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not strict JSON")

    return json.loads((directory / "results.json").read_text(encoding="utf-8"), parse_constant=refuse)


class Balance(HTMLParser):
    """Collects tags left open or closed twice, and every reference."""

    VOID = ("meta", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes {self.open[-3:]}"


def parsed(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    return parser


def test_user_text_is_escaped_everywhere(tmp_path: Path) -> None:
    page = page_of(full(EVIL), tmp_path)
    assert EVIL not in page
    assert parsed(page).tags.count("script") == 1
    assert page.count("&lt;script&gt;") >= 15


def test_page_is_well_formed_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    page = page_of(full(), tmp_path)
    for reference in parsed(page).references:
        assert reference.startswith(("data:audio/flac;base64,", "data:image/png;base64,", "#", "results.json"))
    assert not re.search(r"https?://|@import|url\(", page)


def test_navigation_names_exactly_the_sections_that_are_there(tmp_path: Path) -> None:
    page = page_of(full(), tmp_path)
    assert tuple(re.findall(r'<section id="(\w+)"', page)) == SECTIONS
    assert tuple(re.findall(r'<a href="#(\w+)"', page)) == SECTIONS


def test_missing_parts_are_left_out(tmp_path: Path) -> None:
    page = page_of(bare(), tmp_path)
    parsed(page)
    assert "Only this." in page
    assert not re.findall(r"<section|<audio|<svg|<table|href=.#", page)


@pytest.mark.parametrize("part", ["cloze", "other_tasks", "recognition", "losses", "samples", "sequences", "details"])
def test_each_part_stands_alone(part: str, tmp_path: Path) -> None:
    page = page_of(dataclasses.replace(bare(), **{part: getattr(full(), part)}), tmp_path)
    parsed(page)
    assert len(re.findall("<section", page)) == 1


def test_page_shows_every_figure(tmp_path: Path) -> None:
    page = page_of(full(), tmp_path)
    cells = [value for cells in CLOZE.values() for value in cells.values()] + [cell(61.7)]
    shown = [f"{number:.1f}" for value in cells for number in (value["accuracy"], *pictures.interval(value))]
    shown += ["217", "12.4", "5.1", "93", "23.9", "11.8", "94", "3 min 41 s", "41.0 s", "1,200 sentences"]
    assert [figure for figure in shown if figure not in page] == []
    assert "interleaved 0.76" in page  # where the smoothed text loss ends


def test_json_is_strict_and_holds_every_figure(tmp_path: Path) -> None:
    results = full()
    found = json_of(results, tmp_path)
    assert found["cloze"] == CLOZE
    assert found["cloze"]["interleaved"]["S->T"] == {"accuracy": 71.2, "ci95": [67.2, 75.2], "n": 217, "items": 434}
    for part in ("other_tasks", "recognition", "timings"):
        assert found[part] == getattr(results, part)
    assert found["losses"]["interleaved"]["curve"] == results.losses["interleaved"]
    assert found["losses"]["interleaved"]["last"]["loss"] == 0.75
    assert found["details"]["config plain words"] == {"path": "runs", "rate": 0.5, "note": "plain words"}
    assert found["facts"] == [{"label": "Corpus plain words", "value": "1,200 sentences plain words"}]


def test_not_a_number_becomes_null_and_leaves_a_gap_in_the_curve(tmp_path: Path) -> None:
    points = [{"step": 0, "tokens": 0, "loss_text": 3.0}, {"step": 1, "tokens": 9, "loss_text": float("nan")}]
    results = dataclasses.replace(bare(), losses={"interleaved": points}, details={"best": np.float64("inf")})
    found = json_of(results, tmp_path)
    assert [point["loss_text"] for point in found["losses"]["interleaved"]["curve"]] == [3.0, None]
    assert found["losses"]["interleaved"]["last"] == {"loss_text": 3.0}
    assert found["details"] == {"best": None}
    assert "nan" not in pictures.loss_curves(results.losses)


def test_loss_panels_compare_the_two_rows_and_keep_tuning_apart() -> None:
    tuned = [{"step": 1, "tokens": 5, "loss_markers": 1.0, "loss_hubert": 2.0, "loss_text": 1.0}]
    picture = pictures.loss_curves({"interleaved": curve(1), "no_interleaving": curve(2), "tuned": tuned})
    panels = picture.split("<figure")[1:]
    assert [re.findall(r'class="chip \w+">(\w+)<', panel) for panel in panels] == [["text"], ["hubert"]] * 2
    assert ["no interleaving" in panel for panel in panels] == [True, True, False, False]
    assert ["tuned" in panel for panel in panels] == [False, False, True, True]


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    write_report(full(), tmp_path / "one")
    write_report(full(), tmp_path / "deep" / "two")
    for name in ("report.html", "results.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "deep" / "two" / name).read_bytes()


def test_sound_survives_the_data_uri() -> None:
    audio = tone(rate=24_000)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sound_uri(audio).split(",")[1])), dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(samples[200:-200], tone().samples[200:-200], atol=1e-3)


@pytest.mark.parametrize(
    ("interleaved", "without", "verdict"),
    [
        (table(91, 67, 71, 78), table(92, 51, 49, 77), "transfer across modalities, in both directions"),
        (table(91, 67, 52, 78), table(92, 51, 49, 77), r"transfer across modalities, in T.→.S only"),
        (table(91, 57, 58, 78), table(92, 54, 55, 77), "not clearly better than without interleaving"),
        (table(91, 51, 52, 78), table(92, 50, 49, 77), "No transfer across modalities"),
        (table(91, 31, 42, 78), table(92, 50, 49, 77), "No transfer across modalities"),
        (table(91, 67, 71, 78), {}, "no run without interleaving to compare"),
    ],
)
def test_verdict_follows_the_intervals(interleaved: dict, without: dict, verdict: str) -> None:
    found, evidence = reading({"interleaved": interleaved} | ({"no_interleaving": without} if without else {}))
    assert re.search(verdict, found)
    assert f"{interleaved['S->T']['accuracy']:.1f}" in evidence


def test_no_verdict_without_directions_across_modalities() -> None:
    assert reading({"interleaved": {"T->T": cell(90)}}) == ("", "")
    assert reading({}) == ("", "")


def test_an_interval_that_touches_chance_is_not_apart_from_it() -> None:
    sides = [pictures.against_chance(cell(accuracy, 4)) for accuracy in (54.0, 54.1, 46.0, 45.9)]
    assert sides == [0, 1, 0, -1]


def test_spectrogram_draws_one_cell_per_run_and_numbers_those_that_fit() -> None:
    picture = spectrogram_with_units(tone(), units(*[71] * 6, *[8] * 3, 55, *[71] * 3))
    assert picture.count('class="unit"') == 4
    assert re.findall(r'class="code"[^>]*>(\d+)<', picture) == ["71", "8", "71"]
    hues = re.findall(r"--hue:(\d+)", picture)
    assert hues[0] == hues[3] != hues[1]
    assert 'x="0.000%" width="48.000%"' in picture  # 6 of 12.5 frames


def test_spectrogram_is_darkest_at_the_tone() -> None:
    levels = spectrogram._ink(spectrogram._log_mel(tone()))
    assert levels.shape == (80, 51)
    loudest = 79 - int(levels[:, 25].argmax())
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82) / 2595) - 1)
    assert edges[loudest] < 440 < edges[loudest + 2]


def test_silence_and_a_few_samples_can_be_drawn() -> None:
    for samples in (np.zeros(1, np.float32), np.zeros(16_000, np.float32)):
        picture = spectrogram_with_units(Audio(samples=samples, sample_rate=16_000))
        assert "nan" not in picture.split("base64")[0]
