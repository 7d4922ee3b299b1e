"""Train a language model, or a tokenizer or vocoder by its recipe.

  stlm train experiment=NAME [KEY=VALUE …]           configs/experiment/NAME.yaml over configs/train.yaml
  stlm train recipe=NAME data=DIR out=DIR            a plugin's recipe, such as hubert_pretrain, hifigan or bpe

Experiments read shards from data.speech=DIR data.text=DIR data.paired=DIR and unit encoders from data.units=DIR; each
needs those that it names. At the end stands what each corpus gave: tokens, their share as asked and as given, epochs.
For a recipe data=DIR is a folder of recordings, short for source=folder source.path=DIR. Go on with an interrupted
training by repeating its command with trainer.resume=true (a recipe: resume=true).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stlm.cli import ranks

if TYPE_CHECKING:
    from stlm.lightning.data import CorpusAccount


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/train.yaml or recipe.yaml"
    )


def run(arguments: argparse.Namespace) -> int:
    if any(item.startswith("recipe=") for item in arguments.overrides):
        return train_recipe(arguments.overrides)
    return train_model(arguments.overrides)


def train_model(overrides: list[str]) -> int:
    from stlm.config.hydra import load_config
    from stlm.config.run import train
    from stlm.config.schema import TrainConfig

    config = load_config("train", TrainConfig, overrides)
    report = train(config)
    if not ranks.is_first():
        return 0
    seen = ", ".join(f"{count:,} {name}" for name, count in report.tokens_seen.items())
    print(f"{config.out}: {report.steps} steps, tokens seen: {seen}")
    print("\n".join(corpora_table(report.corpora)))
    return 0


def corpora_table(corpora: Sequence[CorpusAccount]) -> list[str]:
    """What each corpus gave to a run, a line each below a head."""
    width = max(len(name) for name in ("corpus", *(corpus.name for corpus in corpora)))
    head = f"{'corpus':<{width}}  utterances          tokens    asked    given  epochs"
    lines = [
        f"{corpus.name:<{width}}  {corpus.utterances:>10,}  {corpus.tokens:>14,}  {corpus.weight:>7.1%}  "
        f"{corpus.share:>7.1%}  {corpus.epochs:>6.2f}"
        for corpus in corpora
    ]
    return [head, *lines]


def train_recipe(overrides: list[str]) -> int:
    from stlm.config.hydra import load_config, with_folder
    from stlm.config.run import run_recipe
    from stlm.config.schema import RecipeConfig

    config = load_config("recipe", RecipeConfig, with_folder(overrides))
    run_recipe(
        config.recipe,
        config.source,
        config.out,
        limit=config.limit,
        resume=config.resume,
        overwrite=config.overwrite,
    )
    print(f"{config.out}: trained by {config.recipe['name']}")
    return 0
