"""Bundles made by hand: graphs of a few nodes, for tests that need no trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from videozoo import safe_sums

CLASSES, STEPS, SIDE = 3, 2, 8


def classifier(folder: Path, **changes: Any) -> Path:
    """A bundle whose classes are the means of red, green and blue, as a softmax.

    Args:
        folder: Made here.
        changes: Of sections of the description, by name; other keys of the description.
    """
    import onnx

    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["clips"], ["numbers"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("clips", kinds.UINT8, ["N", STEPS, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", kinds.FLOAT, ["N", CLASSES])],
        [
            helper.make_tensor("axes", kinds.INT64, [3], [1, 3, 4]),
            onnx.numpy_helper.from_array(np.array([0.02], np.float32), "scale"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=9)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    about = json.loads(json.dumps(DESCRIPTION))
    for key, value in changes.items():
        about[key] = about[key] | value if isinstance(value, dict) else value
    return write(folder, about)


def write(folder: Path, about: dict[str, Any]) -> Path:
    """Write a description beside the graphs that are there, and the sums of all."""
    (folder / "bundle.json").write_text(json.dumps(about))
    files = [each for each in folder.rglob("*") if each.is_file() and each.name != safe_sums.NAME]
    (folder / safe_sums.NAME).unlink(missing_ok=True)
    safe_sums.keep(folder, files)
    return folder


DESCRIPTION: dict[str, Any] = {
    "format": "videozoo-bundle",
    "version": 1,
    "videozoo": "0.1.0",
    "model": "means",
    "title": "Means",
    "task": "classification",
    "weights": {"file": "best.safetensors", "sha256": "0" * 64},
    "class_names": ["red", "green", "blue"],
    "clips": {
        "file": "model.onnx",
        "views": {
            "sampling": "segments",
            "num_steps": STEPS,
            "frames_per_step": 1,
            "frame_stride": 1,
            "num_clips": 1,
            "num_crops": 1,
            "short_side": 10,
            "crop_size": SIDE,
            "resize": "keep_aspect",
            "resize_with": "torch",
        },
        "along": None,
        "several": False,
        "least_score": 0.5,
        "top_k": 2,
        "batch_size": 4,
    },
}
