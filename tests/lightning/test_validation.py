"""Held-out losses: what they are by hand, that training does not notice them, and that no document is left out."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from stlm.config import build, run
from stlm.config.schema import FeedConfig, MixtureSource, TrainConfig, TrainerConfig
from stlm.errors import ConfigError, DataError
from stlm.feed import FeedSource
from stlm.feed.stream import DocumentRandom
from stlm.interleave import Unimodal
from stlm.lightning.validation import Validation
from stlm.store import ShardSet
from stlm.system import SpeechTextLM
from stlm.testing.factories import make_corpus, tiny_system, write_shards
from stlm.testing.plugin import fake_registry
from stlm.testing.tiny_backbone import batch_of

LENGTH, SEED = 48, 5


def held_out(system: SpeechTextLM, sources: Sequence[FeedSource], **more: int) -> Validation:
    options = {"every": 2, "num_documents": 7, "rows": 3, "length": LENGTH, "seed": SEED, **more}
    return Validation(lambda: sources, system.codec, **options)


def by_hand(system: SpeechTextLM, source: FeedSource, number: int) -> dict[str, float]:
    """Mean losses by block and over all of the first documents, each computed alone."""
    vocabulary, found = system.codec.format.vocabulary, defaultdict(list)
    utterances = [item for item in source.utterances() if source.interleaver.accepts(item)][:number]
    for utterance in utterances:
        document = source.interleaver.interleave(utterance, DocumentRandom(SEED).of(0, utterance.id))
        sequence = system.codec.encode(document)
        ids = sequence.ids[:LENGTH].tolist()
        with torch.no_grad():
            logits = system.backbone.logits(system.backbone(batch_of([ids])).last)[0]
        losses = functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none").tolist()
        for id, counts, loss in zip(ids[1:], sequence.loss[1:], losses, strict=False):
            block = next(item.name for item in reversed(vocabulary.blocks) if id >= vocabulary.offset(item.name))
            for name in (f"/{block}", "") if counts else ():
                found[name].append(loss)
    return {f"valid/{source.name}{name}": sum(losses) / len(losses) for name, losses in found.items()}


def logged(out: Path) -> dict[int, dict[str, float]]:
    """Held-out losses of a run by step, from its CSV file."""
    found: dict[int, dict[str, float]] = {}
    with (out / "logs" / "part-00" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            losses = {name: float(value) for name, value in row.items() if name.startswith("valid/") and value}
            found |= {int(row["step"]): losses} if losses else {}
    return found


def test_losses_are_those_of_each_document_by_itself(train: Any, sources: list[FeedSource], tmp_path: Path) -> None:
    system = tiny_system()
    train(system, max_steps=5, callbacks=[held_out(system, sources)])
    found = logged(tmp_path / "run")
    assert list(found) == [2, 4, 5]
    expected = by_hand(system, sources[0], 7) | by_hand(system, sources[1], 7)
    assert {"valid/speech", "valid/speech/energy", "valid/mixed", "valid/mixed/text"} <= expected.keys()
    assert found[5] == pytest.approx(expected, abs=1e-5)
    assert found[2]["valid/mixed"] > found[5]["valid/mixed"]


def test_training_does_not_notice_it(train: Any, sources: list[FeedSource]) -> None:
    plain, watched = tiny_system(), tiny_system()
    one = train(plain, out="plain", accumulate=2)
    two = train(watched, accumulate=2, callbacks=[held_out(watched, sources, every=1)])
    assert [row["loss"] for row in one.history] == [row["loss"] for row in two.history]
    for name, weight in plain.backbone.state_dict().items():
        assert torch.equal(weight, watched.backbone.state_dict()[name]), name


def test_a_set_without_a_document_is_refused(train: Any, tmp_path: Path) -> None:
    system = tiny_system()
    silent = write_shards(tmp_path / "text", make_corpus(8, streams=()))
    empty = FeedSource(name="books", shards=silent, interleaver=Unimodal("speech"))
    with pytest.raises(DataError, match=r"^validation.books: its policy accepts no utterance of .*text: it needs"):
        train(system, callbacks=[held_out(system, [empty])])


@pytest.mark.parametrize("wrong", [{"every": -1}, {"num_documents": 0}])
def test_numbers_that_are_none_are_refused(sources: list[FeedSource], wrong: Mapping[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"validate_every >= 0 and validation_documents >= 1, got "):
        held_out(tiny_system(), sources, **wrong)


@pytest.mark.parametrize("number", [1, 6, 7, 9])
def test_two_ranks_have_all_documents_between_them(sources: list[FeedSource], number: int) -> None:
    validation = held_out(tiny_system(), sources, num_documents=number)
    documents = validation._read(sources[1])
    ranks = [
        list(validation._batches(documents, SimpleNamespace(world_size=2, global_rank=rank)))  # pyright: ignore
        for rank in (0, 1)
    ]
    assert len(ranks[0]) == len(ranks[1]) and len(documents) == number
    found = [
        ids[segments > 0].tolist()
        for batch in [*ranks[0], *ranks[1]]
        for ids, segments, labels in zip(batch.ids, batch.segments, batch.labels, strict=True)
        if (labels != -100).any()
    ]
    assert sorted(found) == sorted(document.ids.tolist() for document in documents)


def test_a_config_names_its_held_out_sets(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = fake_registry()
    monkeypatch.setattr(build, "default_registry", lambda: registry)
    speech = MixtureSource(shards=str(shards), interleaver={"name": "unimodal"})
    config = TrainConfig(
        out=str(tmp_path / "run"),
        seed=SEED,
        mixture={"speech": speech},
        validation={"heard": speech},
        validation_documents=4,
        feed=FeedConfig(length=LENGTH, rows=2, pool=4),
        optimizer={"_target_": "torch.optim.AdamW", "lr": 1e-3},
        trainer=TrainerConfig(max_steps=3, precision="32-true", accelerator="cpu", progress=False, report_every=1),
    )
    system = tiny_system()
    run.train(config, system)
    source = FeedSource(name="heard", shards=ShardSet(shards), interleaver=Unimodal("speech"))
    assert logged(tmp_path / "run") == {3: pytest.approx(by_hand(system, source, 4), abs=1e-5)}
    missing = replace(config, out=str(tmp_path / "other"), validation={"heard": replace(speech, shards="nowhere")})
    with pytest.raises(ConfigError, match="heard: nowhere: no such directory of shards"):
        run.train(missing, tiny_system())
