"""Train a language model, or a tokenizer or vocoder by its recipe.

  stlm train experiment=NAME [KEY=VALUE …]           configs/experiment/NAME.yaml over configs/train.yaml
  stlm train recipe=NAME data=DIR out=DIR            a plugin's recipe, such as hubert_pretrain, hifigan or bpe

data=DIR is a folder of recordings, short for source=folder source.path=DIR. Go on with an interrupted training by
repeating its command with trainer.resume=true (a recipe: resume=true).
"""

from __future__ import annotations

import argparse


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
    seen = ", ".join(f"{count:,} {name}" for name, count in report.tokens_seen.items())
    print(f"{config.out}: {report.steps} steps, tokens seen: {seen}")
    return 0


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
