"""Families of networks of transformers: their classes, and how their outputs become one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Pooling = Literal["projection", "pooler", "classifier", "class", "mean"]
"""From the outputs of a network to one vector:

- `projection`: what CLIP compares with sentences.
- `pooler`: the network's own pooled output.
- `classifier`: what the classifier of a fine-tuned video network reads.
- `class`: the class token.
- `mean`: the mean over all patches, without class and register tokens.
"""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks of one `model_type`."""

    title: str
    config: str
    """Class of the configuration in transformers."""
    network: str
    """Class of the network."""
    poolings: tuple[Pooling, ...]
    """The first that the files allow is taken."""
    preprocessor: str = "ViT"
    """Class of the preprocessor where its file does not tell."""
    networks: Mapping[Pooling, str] | None = None
    """Classes for poolings that need another one."""
    needs: Mapping[Pooling, str] | None = None
    """Ends of the names of tensors that a pooling needs."""
    part: str | None = None
    """Key of the network's part of the configuration."""
    skip: tuple[str, ...] = ("classifier.", "decoder.", "mask_token", "encoder_to_decoder.")
    """Beginnings of the names of tensors that are not read."""
    may_miss: str = r"mask_token$|^classifier\."
    frames: str | None = None
    """Key of the number of frames; None for networks of images."""
    seconds: Callable[[int], float] | None = None
    """Stretch of video that so many frames were spread over in training, about."""
    is_convolutional: bool = False
    """Hidden states are maps (N, C, H, W), not tokens."""
    more: tuple[str, ...] = ()
    """Keys of the configuration that some versions of its class do not declare."""
    first_layer: int = 0
    """First hidden state that is one: for some networks, the pixels come before."""
    fixed_size: str | None = None
    """Key of the only height and width that the network takes."""
    classes: int = 1
    """Class tokens."""
    channels: str = "num_channels"
    arguments: Mapping[str, Any] | None = None
    """Further arguments of a call."""


_CONVNEXT = Family(
    title="ConvNeXt",
    config="ConvNextConfig",
    network="ConvNextModel",
    poolings=("pooler", "mean"),
    preprocessor="ConvNext",
    is_convolutional=True,
)
_CLIP = Family(
    title="CLIP",
    config="CLIPVisionConfig",
    network="CLIPVisionModel",
    poolings=("projection", "pooler", "class", "mean"),
    preprocessor="CLIP",
    networks={"projection": "CLIPVisionModelWithProjection"},
    needs={"projection": "visual_projection.weight"},
    part="vision_config",
    skip=("text_model.", "text_projection.", "logit_scale", "classifier."),
    fixed_size="image_size",
)
_SIGLIP = Family(
    title="SigLIP",
    config="SiglipVisionConfig",
    network="SiglipVisionModel",
    poolings=("pooler", "mean"),
    preprocessor="Siglip",
    needs={"pooler": "head.probe"},
    more=("vision_use_head",),
    part="vision_config",
    skip=("text_model.", "logit_scale", "logit_bias", "classifier."),
    fixed_size="image_size",
    classes=0,
)
FAMILIES: dict[str, Family] = {
    "vit": Family(
        title="ViT",
        config="ViTConfig",
        network="ViTModel",
        poolings=("class", "mean", "pooler"),
        needs={"pooler": "pooler.dense.weight"},
        fixed_size="image_size",
    ),
    "dinov2": Family(
        title="DINOv2",
        config="Dinov2Config",
        network="Dinov2Model",
        poolings=("class", "mean"),
        preprocessor="Bit",
    ),
    "dinov2_with_registers": Family(
        title="DINOv2 with registers",
        config="Dinov2WithRegistersConfig",
        network="Dinov2WithRegistersModel",
        poolings=("class", "mean"),
        preprocessor="Bit",
    ),
    "dinov3_vit": Family(
        title="DINOv3 ViT",
        config="DINOv3ViTConfig",
        network="DINOv3ViTModel",
        poolings=("class", "mean"),
        preprocessor="DINOv3ViT",
    ),
    "dinov3_convnext": Family(
        title="DINOv3 ConvNeXt",
        config="DINOv3ConvNextConfig",
        network="DINOv3ConvNextModel",
        poolings=("pooler", "mean"),
        preprocessor="DINOv3ViT",
        is_convolutional=True,
        first_layer=1,
    ),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "resnet": Family(
        title="ResNet",
        config="ResNetConfig",
        network="ResNetModel",
        poolings=("pooler", "mean"),
        preprocessor="ConvNext",
        is_convolutional=True,
    ),
    "convnext": _CONVNEXT,
    "convnextv2": Family(
        title="ConvNeXt V2",
        config="ConvNextV2Config",
        network="ConvNextV2Model",
        poolings=_CONVNEXT.poolings,
        preprocessor="ConvNext",
        is_convolutional=True,
    ),
    "videomae": Family(
        title="VideoMAE",
        config="VideoMAEConfig",
        network="VideoMAEModel",
        poolings=("classifier", "mean"),
        preprocessor="VideoMAE",
        networks={"classifier": "VideoMAEForVideoClassification"},
        needs={"classifier": "fc_norm.weight"},
        frames="num_frames",
        seconds=lambda frames: frames * 4 / 30,
        fixed_size="image_size",
        classes=0,
    ),
    "vjepa2": Family(
        title="V-JEPA 2",
        config="VJEPA2Config",
        network="VJEPA2Model",
        poolings=("classifier", "mean"),
        preprocessor="VJEPA2",
        networks={"classifier": "VJEPA2ForVideoClassification"},
        needs={"classifier": "pooler.query_tokens"},
        skip=("classifier.", "predictor.", "vjepa2.predictor."),
        may_miss=r"^classifier\.|^(vjepa2\.)?predictor\.",
        frames="frames_per_clip",
        seconds=lambda frames: frames / 4,
        fixed_size="crop_size",
        classes=0,
        channels="in_chans",
        arguments={"skip_predictor": True},
    ),
    "timesformer": Family(
        title="TimeSformer",
        config="TimesformerConfig",
        network="TimesformerModel",
        poolings=("class", "mean"),
        preprocessor="Timesformer",
        frames="num_frames",
        seconds=lambda _frames: 256 / 30,  # 8 frames 32 apart, 16 frames 16 apart
        fixed_size="image_size",
    ),
    "vivit": Family(
        title="ViViT",
        config="VivitConfig",
        network="VivitModel",
        poolings=("class", "mean", "pooler"),
        preprocessor="Vivit",
        needs={"pooler": "pooler.dense.weight"},
        frames="num_frames",
        seconds=lambda frames: frames * 2 / 30,
        fixed_size="image_size",
    ),
}
"""By `model_type` in `config.json`."""
