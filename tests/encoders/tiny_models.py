"""Tiny networks of transformers with random weights, and the files of their preprocessors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

BLOCK = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2}
TEXT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 16,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTModel", BLOCK),
    "vit classifier": ("ViTForImageClassification", BLOCK),
    "dinov2": ("Dinov2Model", BLOCK),
    "dinov2 registers": ("Dinov2WithRegistersModel", {**BLOCK, "num_register_tokens": 3}),
    "dinov3 vit": ("DINOv3ViTModel", {**BLOCK, "num_register_tokens": 2}),
    "dinov3 convnext": ("DINOv3ConvNextModel", {"hidden_sizes": [8, 8, 16, 24], "depths": [1] * 4}),
    "clip": (
        "CLIPModel",
        {"vision_config": {**BLOCK}, "text_config": TEXT, "projection_dim": 20},
    ),
    "clip vision": ("CLIPVisionModel", {**BLOCK, "projection_dim": 20}),
    "siglip": ("SiglipModel", {"vision_config": BLOCK, "text_config": TEXT}),
    "siglip headless": ("SiglipVisionModel", {**BLOCK, "vision_use_head": False}),
    "resnet": ("ResNetModel", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
    "convnext": ("ConvNextModel", STAGES),
    "convnextv2": ("ConvNextV2ForImageClassification", STAGES),
    "videomae": ("VideoMAEModel", {**BLOCK, "num_frames": 4}),
    "videomae pretraining": (
        "VideoMAEForPreTraining",
        {
            **BLOCK,
            "num_frames": 4,
            "use_mean_pooling": False,
            "decoder_num_hidden_layers": 1,
            "decoder_hidden_size": 16,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 16,
        },
    ),
    "videomae classifier": (
        "VideoMAEForVideoClassification",
        {**BLOCK, "num_frames": 4, "num_labels": 7},
    ),
    "vjepa2": (
        "VJEPA2Model",
        {
            "crop_size": 32,
            "patch_size": 16,
            "frames_per_clip": 4,
            "hidden_size": 48,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "pred_hidden_size": 24,
            "pred_num_attention_heads": 1,
            "pred_num_hidden_layers": 1,
            "num_pooler_layers": 1,
        },
    ),
    "timesformer": ("TimesformerModel", {**BLOCK, "num_frames": 4}),
    "vivit": (
        "VivitModel",
        {**BLOCK, "num_frames": 4, "tubelet_size": [2, 16, 16]},
    ),
}
MODELS["vjepa2 classifier"] = ("VJEPA2ForVideoClassification", MODELS["vjepa2"][1])

PREPROCESSOR: dict[str, Any] = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 36},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.25],
}


def build(name: str) -> Any:
    """A network by its name in `MODELS`, with weights that tell inputs apart."""
    class_name, settings = MODELS[name]
    made_by: Any = getattr(transformers, class_name)
    torch.manual_seed(0)
    model = made_by(made_by.config_class(**settings)).eval().requires_grad_(requires_grad=False)
    for parameter in model.parameters():
        parameter.normal_(std=0.3)
    for tensor_name, tensor in model.named_buffers():
        if tensor_name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
    return model


def save(model: Any, folder: Path, preprocessor: Mapping[str, Any] | None = PREPROCESSOR) -> Path:
    """Write a model as people publish it."""
    model.save_pretrained(folder)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; `None` removes one."""
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: one for key, one in content.items() if one is not None}))


WORDS = [
    *("a", "man", "opens", "door", "the", "dog", "runs"),
    *("sleeps", "cat", "jumps", "someone"),
]


def word_tokenizer(folder: Path, *, first: str | None, last: str) -> Path:
    """A tokeniser of whole words: 0 `first` or padding, 1 `last`, then the words."""
    names = [first or "<pad>", last, "<unk>", *WORDS]
    tokenizer = Tokenizer(
        models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first or ''} $A {last}".strip(),
        special_tokens=[
            (name, number) for number, name in enumerate(names[:2]) if name in (first, last)
        ],
    )
    tokenizer.enable_padding(length=40)  # as published files sometimes say
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
