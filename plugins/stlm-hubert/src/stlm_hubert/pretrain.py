"""`HubertPretrainRecipe`: recordings to a Hugging Face HuBERT, by masked prediction of k-means clusters.

Hsu et al., "HuBERT: self-supervised speech representation learning by masked prediction of hidden units" (2021). The
first iteration predicts clusters of cepstra, the second (`teacher`) clusters of a layer of the first one's model. The
settings of the world's tiny model, a few minutes on two cores, are in ``hubert_tiny.yaml``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import HubertConfig, HubertModel

from stlm.errors import ConfigError
from stlm.interfaces import Recipe
from stlm.learn.sounds import Recordings, warn_of_one_speaker
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.learn.training import TrainingOptions, train_module
from stlm.learn.weights import compact, round_to_half
from stlm.types import Utterance
from stlm_hubert.filterbank import start_as_filterbank
from stlm_hubert.frames import CepstralFrames, Frames
from stlm_hubert.masked_prediction import MaskedPrediction
from stlm_hubert.model_25hz import SAMPLE_RATE
from stlm_hubert.pretrained import PREPROCESSOR, normalizes, read_pretrained
from stlm_hubert.rows import Distortion, Rows, frames_in
from stlm_hubert.targets import cluster_targets

REPORT = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(TrainingOptions):
    """Options of the component ``hubert_pretrain``: those of all trainings, and these.

    Args:
        teacher: directory of an earlier model whose frames are clustered; "" clusters cepstra.
        teacher_layer: of it, 1 for the first.
        start: directory of a model to go on from; "" starts from nothing. Its sizes count.
        num_clusters: K.
        cluster_sample: frames that k-means sees.
        normalize_cepstra: within each recording (`CepstralFrames`).
        hidden_size, num_layers, num_heads, feed_forward: of the transformer.
        conv_dim, conv_kernel, conv_stride: of the convolutions over the wave, at 16 kHz.
        filterbank: start the first convolution as band-pass filters on the mel scale; it needs a wide kernel.
        position_kernel, position_groups: of the convolution that stands for positions.
        dropout: of the layers; attention_dropout and activation_dropout inside them.
        feature_dropout: after the projection of the convolutions' output.
        layer_drop: probability that a layer is left out in a step.
        layer_norm_first: pre-norm layers and layer norm in every convolution, as the large models have.
        normalize: bring each wave to mean 0 and variance 1; the official layout of 25 Hz units knows False only.
        projection, temperature: of the prediction.
        mask_share, mask_span: share of frames at which a mask of so many frames starts.
        unmasked_weight: of the loss on frames that are seen.
        feature_gradient: what the gradient of the convolutions is multiplied by.
        batch_seconds, crop_seconds: audio of a batch, and of each of its rows.
        distorted: share of the pieces with another speed, gain or noise, and the targets of the clean ones.
        speed, gain_db, noise: how far at most (`Distortion`).
        weight_decay, betas: of AdamW.
        half: whether the weights are rounded to float16 in the end; their file is half as long.
    """

    teacher: str = ""
    teacher_layer: int = 6
    start: str = ""
    num_clusters: int = 100
    cluster_sample: int = 1_000_000
    normalize_cepstra: bool = False
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    feed_forward: int = 3072
    conv_dim: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    filterbank: bool = False
    position_kernel: int = 128
    position_groups: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    feature_dropout: float = 0.1
    layer_drop: float = 0.05
    layer_norm_first: bool = False
    normalize: bool = False
    projection: int = 256
    temperature: float = 0.1
    mask_share: float = 0.08
    mask_span: int = 10
    unmasked_weight: float = 0.0
    feature_gradient: float = 0.1
    batch_seconds: float = 2800.0
    crop_seconds: float = 15.6
    distorted: float = 0.0
    speed: float = 15.0
    gain_db: float = 10.0
    noise: float = 0.5
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.98)
    half: bool = False
    max_steps: int = 250_000
    learning_rate: float = 5e-4
    warmup_steps: int = 20_000
    final_ratio: float = 0.0
    clip: float = 10.0
    num_workers: int = 8
    checkpoint_every: int = 5000
    report_every: int = 100

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        if len({len(self.conv_dim), len(self.conv_kernel), len(self.conv_stride)}) > 1 or not self.conv_dim:
            raise ConfigError(
                f"conv_dim, conv_kernel and conv_stride have {len(self.conv_dim)}, {len(self.conv_kernel)} and "
                f"{len(self.conv_stride)} entries, expected as many of each"
            )
        for name, by in (("num_heads", self.num_heads), ("position_groups", self.position_groups)):
            if by < 1 or self.hidden_size % by:
                raise ConfigError(f"{name} is {by}, expected a divisor of hidden_size ({self.hidden_size})")
        if not 2 <= self.num_clusters <= 1 << 16:
            raise ConfigError(f"num_clusters must lie in 2..65536, got {self.num_clusters}")
        if not 0 < self.mask_share <= 1 or self.mask_span < 1:
            raise ConfigError(
                f"masks need mask_share in 0..1 and mask_span of 1 or more, got {self.mask_share}, {self.mask_span}"
            )
        if not self.crop_seconds > 0 or self.batch_seconds < self.crop_seconds:
            raise ConfigError(
                f"batch_seconds must be at least crop_seconds, got {self.batch_seconds:g} and {self.crop_seconds:g}"
            )
        if len(self.betas) != 2:
            raise ConfigError(f"betas must be two numbers, got {self.betas}")
        _ = self.distortion

    @property
    def distortion(self) -> Distortion:
        return Distortion(share=self.distorted, speed=self.speed, gain_db=self.gain_db, noise=self.noise)

    @property
    def hubert(self) -> HubertConfig:
        return HubertConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=self.feed_forward,
            conv_dim=list(self.conv_dim),
            conv_kernel=list(self.conv_kernel),
            conv_stride=list(self.conv_stride),
            num_conv_pos_embeddings=self.position_kernel,
            num_conv_pos_embedding_groups=self.position_groups,
            feat_extract_norm="layer" if self.layer_norm_first else "group",
            do_stable_layer_norm=self.layer_norm_first,
            hidden_dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
            feat_proj_dropout=self.feature_dropout,
            layerdrop=self.layer_drop,
            mask_time_prob=min(1.0, self.mask_share),  # the model's own masks stay off; above 0, it has their vector
            mask_time_length=self.mask_span,
            attn_implementation="sdpa",
        )


def build(config: Config) -> HubertPretrainRecipe:
    return HubertPretrainRecipe(config)


class HubertPretrainRecipe(Recipe):
    """Leaves a directory that ``HubertModel.from_pretrained`` loads, and ``report.json``."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        config = self.config
        model = self._model()
        hop, window = frame_shape(model.config)
        recordings = Recordings(utterances, SAMPLE_RATE, shortest=window / SAMPLE_RATE, what="hubert_pretrain")
        warn_of_one_speaker(recordings.utterances, "hubert_pretrain")
        targets, usage = cluster_targets(
            recordings,
            self._frames(hop),
            config.num_clusters,
            sample_size=config.cluster_sample,
            seed=config.seed,
            what="the targets' k-means",
        )
        rows = Rows(
            recordings,
            targets,
            hop=hop,
            window=window,
            num_rows=int(config.batch_seconds / config.crop_seconds),
            num_frames=frames_in(config.crop_seconds, hop),
            normalize=config.normalize,
            mask_share=config.mask_share,
            mask_span=config.mask_span,
            distortion=config.distortion,
        )
        history = train_module(
            MaskedPrediction(
                model,
                config.num_clusters,
                projection=config.projection,
                temperature=config.temperature,
                unmasked_weight=config.unmasked_weight,
                feature_gradient=config.feature_gradient,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                betas=(config.betas[0], config.betas[1]),
                seed=config.seed,
            ),
            rows.draw,
            out,
            config,
            label="hubert_pretrain",
            seconds_per_batch=rows.num_rows * rows.num_hops * hop / SAMPLE_RATE,
        )
        if config.half:
            round_to_half(model)
        save_pretrained(model, out, normalize=config.normalize)
        report = {
            "hours": recordings.seconds / 3600,
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "targets": {"used": usage.share, "perplexity": usage.perplexity},
            "last": history[-1],
            "curves": history,
        }
        (out / REPORT).write_text(json.dumps(report, indent=2) + "\n")

    def _model(self) -> HubertModel:
        if self.config.start:
            found: Any = read_pretrained(self.config.start, masks=True)
            return found.requires_grad_(True)
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            model = HubertModel(self.config.hubert)
        if self.config.filterbank:
            start_as_filterbank(model.feature_extractor.conv_layers[0].conv)
        return model

    def _frames(self, hop: int) -> Frames:
        place = "cuda" if torch.cuda.is_available() and self.config.accelerator != "cpu" else "cpu"
        if not self.config.teacher:
            return CepstralFrames(hop, normalize=self.config.normalize_cepstra, device=place)
        teacher = SpeechTransformer(
            read_pretrained(self.config.teacher),
            layer=self.config.teacher_layer,
            normalize=normalizes(self.config.teacher),
            device=place,
        )
        if teacher.hop != hop:
            raise ConfigError(
                f"teacher {self.config.teacher} has a hop of {teacher.hop} samples, expected {hop} as conv_stride gives"
            )
        return teacher.hidden


def frame_shape(config: Any) -> tuple[int, int]:
    """Samples from frame to frame, and samples that a frame sees."""
    window = 1
    for place, kernel in enumerate(config.conv_kernel):
        window += (kernel - 1) * math.prod(config.conv_stride[:place])
    return math.prod(config.conv_stride), window


def save_pretrained(model: HubertModel, directory: Path, *, normalize: bool) -> None:
    """The layout of the Hugging Face hub."""
    model.save_pretrained(directory, state_dict=compact(model.state_dict()))
    preprocessor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": SAMPLE_RATE,
        "padding_value": 0.0,
        "do_normalize": normalize,
        "return_attention_mask": model.config.feat_extract_norm == "layer",
    }
    (directory / PREPROCESSOR).write_text(json.dumps(preprocessor, indent=2) + "\n")
