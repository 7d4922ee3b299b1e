"""Log-likelihoods equal a computation by hand, however they are batched."""

import numpy as np
import pytest
import torch

from stlm.generate import log_likelihoods
from stlm.testing.factories import tiny_system
from stlm.testing.fakes import TinyBackbone, batch_of

SEQUENCES = [np.array(ids) for ids in ([1, 2, 3, 4, 5, 6], [7], [8, 9], [3, 3, 3, 3], [])]


def backbone() -> TinyBackbone:
    return TinyBackbone(12, seed=2).eval()


def by_hand(model: TinyBackbone, ids: list[int]) -> list[float]:
    """One position at a time, with plain Python sums."""
    values = [0.0] if ids else []
    for place in range(1, len(ids)):
        with torch.no_grad():
            logits = model.logits(model(batch_of([ids[:place]])).last)[0, -1].double().numpy()
        values.append(float(logits[ids[place]] - np.log(np.exp(logits).sum())))
    return values


def test_scores_equal_a_computation_by_hand() -> None:
    model = backbone()
    found = log_likelihoods(model, SEQUENCES)
    assert [len(values) for values in found] == [len(ids) for ids in SEQUENCES]
    for values, ids in zip(found, SEQUENCES, strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, by_hand(model, ids.tolist()), atol=1e-5)


@pytest.mark.parametrize("tokens_per_batch", [1, 6, 7, 12, 10_000])
def test_scores_do_not_depend_on_batching(tokens_per_batch: int) -> None:
    model = backbone()
    whole = log_likelihoods(model, SEQUENCES)
    parts = log_likelihoods(model, SEQUENCES, tokens_per_batch=tokens_per_batch)
    for one, two in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_every_batch_keeps_to_its_size_and_progress_is_told() -> None:
    model, sizes, told = backbone(), [], []
    forward = model.forward

    def spy(batch, *more):
        sizes.append(batch.ids.numel())
        return forward(batch, *more)

    model.forward = spy
    log_likelihoods(model, SEQUENCES, tokens_per_batch=12, progress=told.append)
    assert max(sizes) <= 12 and sum(told) == 3, "sequences of one id or none need no pass"


def test_no_sequences_give_no_scores() -> None:
    assert log_likelihoods(backbone(), []) == []


def test_a_likelier_sequence_scores_higher() -> None:
    """Greedy choices are likelier than the same sequence with one of them changed."""
    from stlm.generate import Engine, GenerationOptions

    model = backbone()
    (greedy,) = Engine(model).generate([np.array([1])], GenerationOptions(temperature=0, max_new_tokens=1))
    scores = [log_likelihoods(model, [np.array([1, id])])[0][1] for id in range(12)]
    assert int(np.argmax(scores)) == int(greedy[0])
    assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-5)


def test_a_system_scores_what_follows_the_prompt_without_its_markers() -> None:
    system = tiny_system()
    codec = system.codec
    (total, mean), (other, _) = system.score(["which?"], [" yes", " no"])
    prompt = codec.encode(system.document(["which?"]), eos=False).ids
    whole = codec.encode(system.document(["which?", " yes"]), eos=False).ids
    values = log_likelihoods(system.backbone, [whole])[0][len(prompt) :]
    assert total == pytest.approx(float(values.sum()), abs=1e-4)
    assert mean == pytest.approx(total / 4, abs=1e-4) and other != total


def test_a_marker_between_prompt_and_candidate_conditions_and_is_not_counted() -> None:
    from stlm.system import Text
    from stlm.types import Marker

    system = tiny_system()
    document = (*system.document(["which?"]), Marker(name="[ASR]"), Text("no"))
    whole = system.codec.encode(document, eos=False).ids
    start = len(system.codec.encode(document[:1], eos=False))
    values = log_likelihoods(system.backbone, [whole])[0][start:]
    ((total, mean),) = system.score(["which?"], [[Marker(name="[ASR]"), Text("no")]])
    assert total == pytest.approx(float(values[2:].sum()), abs=1e-4), "[ASR] and [Text] stand before the three bytes"
    assert mean == pytest.approx(total / 3, abs=1e-4)
