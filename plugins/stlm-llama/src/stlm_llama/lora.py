"""Low-rank adapters through peft, on a whole model or on a quantized one.

In: a model of transformers and options. Out: a `PeftModel` around it, whose layers are changed in place.
"""

from __future__ import annotations

import warnings

import peft
import torch
from transformers import PreTrainedModel

from stlm.interfaces.backbone import LoraOptions


def add_adapter(model: PreTrainedModel, options: LoraOptions) -> peft.PeftModel:
    """Freeze a model and add adapters; named rows of embedding and head are trained in full precision beside them.

    Raises:
        ValueError: it has no layer of a name that the options give.
    """
    rows = list(options.trained_rows)
    config = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(options.modules) if options.modules else "all-linear",
        trainable_token_indices=dict.fromkeys(_table_names(model), rows) if rows else None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return _wrap(model, config)


def dequantized(adapter: peft.PeftModel) -> peft.PeftModel:
    """The same adapter on the same model in its dtype: merging into quantized weights would round what was learnt."""
    learnt = peft.get_peft_model_state_dict(adapter, save_embedding_layers=False)
    config = adapter.peft_config["default"]
    model = adapter.unload()
    assert isinstance(model, PreTrainedModel)
    whole = _wrap(model.dequantize(), config)
    peft.set_peft_model_state_dict(whole, learnt)
    return whole


def _table_names(model: PreTrainedModel) -> list[str]:
    """Names of the modules that hold embedding and head; the embedding's alone where they share a table."""
    names = {module: name for name, module in model.named_modules()}
    holders = (model.get_output_embeddings(), model.get_input_embeddings())
    return list({id(holder.weight): names[holder] for holder in holders}.values())


def _wrap(model: PreTrainedModel, config: peft.PeftConfig) -> peft.PeftModel:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)  # peft's, not ours
        wrapped = peft.get_peft_model(model, config)
    assert isinstance(wrapped, peft.PeftModel)
    return wrapped
