"""The one sampler: greedy equals transformers, batches equal singles, rows stop by themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from stlm.errors import ConfigError, DataError
from stlm.generate import Engine, GenerationOptions
from stlm.generate.sampling import COLDEST, choose, row_generator
from stlm.interfaces import BackboneCache, BackboneLM, Hidden
from stlm.testing.fakes import TinyBackbone

GREEDY = GenerationOptions(temperature=0.0, max_new_tokens=12)
PROMPTS = [np.array(ids) for ids in ([1, 2, 3, 4, 5, 6, 7], [9], [4, 4, 8], [11, 3, 5, 2])]


class CountingBackbone(BackboneLM):
    """The next id is the last one plus one, modulo the vocabulary: a model without weights."""

    def __init__(self, vocab_size: int = 10) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.eye(vocab_size) * 9.0)
        self.fed: list[tuple[int, int]] = []

    def forward(self, batch, cache=None, layers=()):
        self.fed.append(tuple(batch.ids.shape))
        return Hidden(last=torch.nn.functional.one_hot((batch.ids + 1) % len(self.table), len(self.table)).float())

    def logits(self, hidden):
        return hidden @ self.table

    def new_cache(self):
        return RowCache()

    def extend(self, vocab_size, generator):
        raise NotImplementedError

    def save(self, directory):
        raise NotImplementedError


class RowCache(BackboneCache):
    length = 0

    def select(self, rows):
        pass


def counting(prompts, options=GREEDY, vocab_size: int = 10, **more) -> list[list[int]]:
    found = Engine(CountingBackbone(vocab_size)).generate([np.array(prompt) for prompt in prompts], options, **more)
    return [ids.tolist() for ids in found]


def tiny() -> TinyBackbone:
    return TinyBackbone(20, seed=4).eval()


def test_a_model_that_counts_goes_on_counting() -> None:
    assert counting([[3, 4]], GenerationOptions(temperature=0, max_new_tokens=4)) == [[5, 6, 7, 8]]


@pytest.mark.parametrize("seed", range(4))
def test_greedy_equals_transformers_in_fp32(seed: int) -> None:
    backbone = pytest.importorskip("stlm_llama.backbone")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    prompts = [torch.randint(1, 60, (length,)) for length in (9, 3, 6)]
    options = GenerationOptions(temperature=0.0, max_new_tokens=24)
    ours = Engine(backbone.HuggingFaceBackbone(model)).generate([prompt.numpy() for prompt in prompts], options)
    for prompt, got in zip(prompts, ours, strict=True):
        theirs = model.generate(prompt[None], do_sample=False, max_new_tokens=24)[0, len(prompt) :]
        assert got.tolist() == theirs.tolist()
    longest = max(len(prompt) for prompt in prompts)
    padded = torch.stack([torch.nn.functional.pad(prompt, (longest - len(prompt), 0)) for prompt in prompts])
    mask = torch.stack([torch.arange(longest) >= longest - len(prompt) for prompt in prompts]).long()
    theirs = model.generate(padded, attention_mask=mask, do_sample=False, max_new_tokens=24)[:, longest:]
    assert [got.tolist() for got in ours] == theirs.tolist()


@pytest.mark.parametrize("options", [GREEDY, GenerationOptions(temperature=1.0, max_new_tokens=12, seed=3)])
def test_a_ragged_batch_gives_what_singles_give(options: GenerationOptions) -> None:
    engine = Engine(tiny())
    together = engine.generate(PROMPTS, options)
    (first,) = engine.generate(PROMPTS[:1], options)
    assert together[0].tolist() == first.tolist()
    if options is GREEDY:
        singles = [engine.generate([prompt], options)[0].tolist() for prompt in PROMPTS]
        assert [ids.tolist() for ids in together] == singles


def test_rows_draw_from_generators_of_their_own() -> None:
    """Row 1 gets what it gets, whoever stands beside it and whenever they stop."""
    engine, options = Engine(tiny()), GenerationOptions(temperature=1.0, max_new_tokens=10, seed=5)
    full = engine.generate(PROMPTS, options)
    other = engine.generate([PROMPTS[3], PROMPTS[1]], options)
    assert full[1].tolist() == other[1].tolist()
    stopped = engine.generate(PROMPTS, options, stop_ids=[int(full[0][0])])
    expected = full[1].tolist()
    stop = int(full[0][0])
    assert stopped[1].tolist() == (expected[: expected.index(stop) + 1] if stop in expected else expected)


def test_prompts_of_one_length_and_the_same_text_differ_by_row() -> None:
    engine, options = Engine(tiny()), GenerationOptions(temperature=1.0, max_new_tokens=16, seed=5)
    one, two = engine.generate([PROMPTS[0], PROMPTS[0]], options)
    assert one.tolist() != two.tolist()


def test_equal_seeds_repeat_and_others_do_not() -> None:
    engine = Engine(tiny())
    found = [
        engine.generate(PROMPTS[:1], GenerationOptions(temperature=1.0, max_new_tokens=16, seed=seed))[0].tolist()
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_each_row_stops_at_its_own_stop_id_which_is_kept() -> None:
    assert counting([[1], [5], [7]], stop_ids=[8]) == [[2, 3, 4, 5, 6, 7, 8], [6, 7, 8], [8]]


def test_a_stop_sequence_ends_a_row_when_it_was_written_in_full() -> None:
    assert counting([[1], [4]], stop_sequences=[[5, 6], [3, 9]]) == [[2, 3, 4, 5, 6], [5, 6]]
    assert counting([[4]], stop_sequences=[[4, 5]])[0][:3] == [5, 6, 7], "the prompt is no part of it"
    assert len(counting([[4]], stop_sequences=[[]])[0]) == 12, "an empty sequence stops nothing"


def test_finished_rows_leave_the_batch() -> None:
    backbone = CountingBackbone()
    Engine(backbone).generate([np.array([1, 2, 3]), np.array([7])], GREEDY, stop_ids=[9])
    assert backbone.fed == [(2, 3), (2, 1), *[(1, 1)] * 4]


def test_steps_come_one_by_one_and_say_which_is_the_last() -> None:
    steps = Engine(CountingBackbone()).stream(
        [np.array([6]), np.array([1])], GenerationOptions(temperature=0, max_new_tokens=3), stop_ids=[8]
    )
    assert [(step.row, step.id, step.is_last) for step in steps] == [
        *((0, 7, False), (1, 2, False)),
        *((0, 8, True), (1, 3, False)),
        (1, 4, True),
    ]


def test_only_allowed_ids_are_chosen() -> None:
    allowed = np.zeros(20, bool)
    allowed[[3, 7, 11]] = True
    for options in (GREEDY, GenerationOptions(temperature=1.5, top_p=1.0, max_new_tokens=40)):
        (got,) = Engine(tiny()).generate(PROMPTS[:1], options, allowed=allowed)
        assert set(got.tolist()) <= {3, 7, 11}


def test_rows_of_the_backbone_beyond_the_format_are_never_chosen() -> None:
    """Published checkpoints pad their embedding: 32,512 rows for 32,503 ids."""
    (got,) = Engine(tiny()).generate(
        PROMPTS[:1], GenerationOptions(temperature=2.0, top_p=1.0, max_new_tokens=60), allowed=np.ones(6, bool)
    )
    assert set(got.tolist()) <= set(range(6)) and len(set(got.tolist())) > 2


def test_empty_requests_are_answered() -> None:
    engine = Engine(tiny())
    assert engine.generate([], GREEDY) == []
    (none,) = engine.generate(PROMPTS[:1], GenerationOptions(max_new_tokens=0))
    assert none.tolist() == []
    with pytest.raises(DataError, match="empty prompt"):
        engine.generate([PROMPTS[0], np.array([], np.int64)], GREEDY)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": 1e-300},
        {"top_p": 0},
        {"top_p": 1.2},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"max_new_tokens": -1},
    ],
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match="generation needs"):
        GenerationOptions(**options)


def frequencies(logits: torch.Tensor, options: GenerationOptions, draws: int = 4000) -> np.ndarray:
    generator = row_generator(0, 0)
    drawn = [choose(logits, options, generator) for _ in range(draws)]
    return np.bincount(drawn, minlength=len(logits)) / draws


LOGITS = torch.log(torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15]))


def test_sampling_follows_the_probabilities() -> None:
    got = frequencies(LOGITS, GenerationOptions(temperature=1.0, top_p=1.0))
    np.testing.assert_allclose(got, [0.1, 0.4, 0.05, 0.3, 0.15], atol=0.03)


def test_temperature_sharpens() -> None:
    got = frequencies(LOGITS, GenerationOptions(temperature=0.5, top_p=1.0))
    expected = np.array([0.1, 0.4, 0.05, 0.3, 0.15]) ** 2
    np.testing.assert_allclose(got, expected / expected.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.3, [1]), (0.4, [1]), (0.45, [1, 3]), (0.69, [1, 3]), (0.75, [1, 3, 4]), (1.0, [0, 1, 2, 3, 4])],
)
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p: float, kept: list[int]) -> None:
    got = frequencies(LOGITS, GenerationOptions(temperature=1.0, top_p=top_p), draws=800)
    assert np.flatnonzero(got).tolist() == kept
    share = np.array([0.1, 0.4, 0.05, 0.3, 0.15])[kept]
    np.testing.assert_allclose(got[kept], share / share.sum(), atol=0.06)


def test_top_k_keeps_the_k_likeliest() -> None:
    got = frequencies(LOGITS, GenerationOptions(temperature=1.0, top_p=1.0, top_k=2), draws=400)
    assert np.flatnonzero(got).tolist() == [1, 3]


def test_forbidden_ids_are_never_drawn() -> None:
    logits = LOGITS.clone()
    logits[[1, 3]] = -torch.inf
    got = frequencies(logits, GenerationOptions(temperature=1.0, top_p=1.0), draws=400)
    assert np.flatnonzero(got).tolist() == [0, 2, 4]


def test_the_coldest_temperature_is_greedy() -> None:
    assert frequencies(LOGITS, GenerationOptions(temperature=COLDEST), draws=20).max() == 1.0
