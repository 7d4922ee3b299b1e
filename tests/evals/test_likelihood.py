"""The scoring contract: what counts, what conditions, and that a score is what a hand would compute."""

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError, DataError
from stlm.evals import accuracy, score_items
from stlm.generate import log_likelihoods
from stlm.interfaces import ChoiceItem, EvalTask
from stlm.system import SpeechTextLM
from stlm.testing.factories import make_sounds, tiny_system
from stlm.testing.fakes import LongerText
from stlm.types import Audio, Marker, Speech, TextSpan


class Fixed(EvalTask):
    def __init__(self, *items: ChoiceItem) -> None:
        self._items = items

    def items(self):
        yield from self._items


def choice(prompt, *candidates, answer: int = 0, id: str = "i") -> ChoiceItem:
    return ChoiceItem(id=id, group="g", prompt=prompt, candidates=candidates, answer=answer)


def text(content: str) -> TextSpan:
    return TextSpan(text=content)


def noise(seconds: float, seed: int = 0) -> Speech:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)) * np.linspace(
        0.01, 4, int(16000 * seconds)
    )
    return Speech(audio=Audio(samples=samples.astype(np.float32), sample_rate=16000))


@pytest.fixture
def system() -> SpeechTextLM:
    return tiny_system(seed=3)


def by_hand(system: SpeechTextLM, prompt, candidate, *, full: bool) -> tuple[float, int]:
    """Symbols decide: text bytes and units count, everything in brackets that is a marker or begins does not."""
    codec = system.codec
    ids = codec.encode(system.document([*prompt, *candidate]), eos=False).ids
    start = 0 if full else len(codec.encode(system.document(prompt), eos=False).ids)
    markers = {codec.format.bos, *(codec.format.vocabulary.id_of(name) for name in ("[Text]", "[Speech]", "[ASR]"))}
    values = log_likelihoods(system.backbone, [ids])[0]
    counted = [place for place in range(start, len(ids)) if int(ids[place]) not in markers]
    return float(values[counted].sum()), len(counted)


CASES = {
    "text to text": ([text("a b")], [text(" c d")]),
    "text to speech": ([text("a b")], [noise(0.3)]),
    "speech to text": ([noise(0.3)], [text("c d")]),
    "speech to speech": ([noise(0.3)], [noise(0.4, 1)]),
    "few-shot": ([Marker(name="[ASR]"), noise(0.2), text("x"), Marker(name="[ASR]"), noise(0.2, 2)], [text("y z")]),
    "no prompt": ([], [text("c d")]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("span", ["continuation", "full"])
def test_sums_and_counts_equal_a_computation_by_hand(system: SpeechTextLM, case: str, span: str) -> None:
    prompt, candidate = CASES[case]
    other = [text(" something else")]
    (scored,) = score_items(system, Fixed(choice(prompt, candidate, other)), span=span)
    for total, count, pieces in zip(scored.sums, scored.counts, (candidate, other), strict=True):
        expected, length = by_hand(system, prompt, pieces, full=span == "full" or not prompt)
        assert count == length
        assert total == pytest.approx(expected, abs=1e-4)


def test_the_two_spans_differ_by_what_the_prompt_scores(system: SpeechTextLM) -> None:
    item = choice([text("a b")], [text(" c")], [text(" d")])
    (full,) = score_items(system, Fixed(item), span="full")
    (rest,) = score_items(system, Fixed(item), span="continuation")
    assert full.counts == (6, 6) and rest.counts == (2, 2), "[Text] a space and three bytes stand before"
    assert full.sums[0] - rest.sums[0] == pytest.approx(full.sums[1] - rest.sums[1], abs=1e-4)


def test_items_keep_their_order_however_they_are_batched(system: SpeechTextLM) -> None:
    items = [choice([text("a")], [text(" b" * (n % 4 + 1))], [noise(0.1 * (n % 3 + 1))], id=str(n)) for n in range(9)]
    whole = score_items(system, Fixed(*items))
    for batch in (1, 4):
        parts = score_items(system, Fixed(*items), batch=batch)
        assert [item.id for item in parts] == [str(n) for n in range(9)]
        for one, two in zip(whole, parts, strict=True):
            np.testing.assert_allclose(one.sums, two.sums, atol=1e-4)


def test_audio_that_occurs_twice_is_encoded_once(system: SpeechTextLM) -> None:
    seen = []
    encoder = system.encoders["energy"]
    original = encoder.encode

    def spy(batch):
        seen.extend(batch)
        return original(batch)

    encoder.encode = spy
    one, two = (Speech(audio=sound) for sound in make_sounds()[:2])
    score_items(system, Fixed(choice([one], [one], [two]), choice([two], [one], [two], id="j")))
    assert len(seen) == 2


def test_a_model_that_knows_the_answer_is_right() -> None:
    """The road from ids to accuracy, with a backbone that likes long runs of letters."""
    system = tiny_system()
    with torch.no_grad():
        system.backbone.head.weight.zero_()
        for parameter in system.backbone.norm.parameters():
            parameter.zero_()
        system.backbone.norm.bias[0] = 1.0
        system.backbone.head.weight[:256, 0] = 5.0
        system.backbone.head.weight[ord(" "), 0] = -5.0
    assert accuracy(score_items(system, LongerText()), reduce="mean").accuracy == 100.0


def test_scoring_leaves_dropout_out(system: SpeechTextLM) -> None:
    system.backbone.train()
    score_items(system, LongerText())
    assert not system.backbone.training


def test_what_cannot_be_scored_says_so(system: SpeechTextLM) -> None:
    with pytest.raises(ConfigError, match="span must be one of continuation, full, got 'all'"):
        score_items(system, LongerText(), span="all")
    with pytest.raises(DataError, match="no items"):
        score_items(system, Fixed())


EMPTY = Speech(audio=Audio(samples=np.zeros(10, np.float32), sample_rate=16000))


@pytest.mark.parametrize("span", ["continuation", "full"])
def test_a_candidate_of_which_nothing_counts_never_wins(system: SpeechTextLM, span: str, caplog) -> None:
    good = choice([text("a")], [text(" b")], [text(" c")], id="good")
    for empty in ([EMPTY], [text("")], []):
        bad = choice([text("a")], [text(" b")], empty, answer=1, id="bad")
        scored = score_items(system, Fixed(good, bad), span=span)
        assert [item.is_scored for item in scored] == [True, False]
    assert "1 of 2 items have a candidate of which no id counts (the first: bad)" in caplog.text
    with pytest.raises(DataError, match="every item has a candidate of which no id counts"):
        score_items(system, Fixed(bad), span=span)
