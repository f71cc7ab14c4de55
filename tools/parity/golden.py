"""Read a recorded set: its description, arrays, and weights (shipped, or made again by its rule).

The arrays are explained in each folder's meta.json under "arrays".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.safe_pickle import load_pickle

Arrays = dict[str, NDArray[Any]]


def meta(folder: Path) -> dict[str, Any]:
    """Return the set's description."""
    return json.loads((folder / "meta.json").read_text(encoding="utf-8"))


def seeds(description: Mapping[str, Any]) -> tuple[int, int]:
    """Return the seeds of Python's `random` and of numpy's, which the description tells in words.

    >>> seeds({"seeds": "random.seed(7); numpy.random.seed(11) before each"})
    (7, 11)
    """
    words = str(description["seeds"])
    python = re.search(r"(?<!numpy\.)random\.seed\((\d+)\)", words)
    numpy = re.search(r"numpy\.random\.seed\((\d+)\)", words)
    if python is None or numpy is None:
        raise ValueError(f"no seeds of random and numpy.random in {words!r}")
    return int(python[1]), int(numpy[1])


def arrays(folder: Path, name: str) -> Arrays:
    """Return the arrays of NAME.npz; none where the set has no such file."""
    path = folder / f"{name}.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return PaddlePaddle parameter name to array, from weights.pdparams or by the set's rule."""
    shipped = folder / "weights.pdparams"
    if shipped.exists():
        return load_pickle(shipped, encoding="latin1")
    description = meta(folder)
    stored = arrays(folder, "inputs") | arrays(folder, "kept_params")
    return {
        name: _made(name, rule, description["seed"] + rule["index"], stored)
        for name, rule in description["params"].items()
    }


def _made(
    name: str, rule: Mapping[str, Any], seed: int, stored: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    rng = np.random.Generator(np.random.PCG64(seed))
    shape = rule["shape"]
    match rule["kind"]:
        case "bn_scale" | "bn_variance":
            value = 0.5 + rng.random(shape)
        case "bn_offset" | "bn_mean":
            value = 0.2 * rng.standard_normal(shape)
        case "weight" | "bias":
            value = rule["std"] * rng.standard_normal(shape)
        case "normal":
            value = rule["loc"] + rule["scale"] * rng.standard_normal(shape)
        case "uniform":
            value = rule["low"] + (rule["high"] - rule["low"]) * rng.random(shape)
        case "qint":
            value = rule["scale"] * (np.floor(rng.random(shape) * 17) - 8)
        case "stored" | "keep":
            value = stored[name]
        case kind:
            raise ValueError(f"{name}: unknown kind {kind!r} of rule")
    array = (value * rule.get("mul", 1.0)).astype(np.float32)
    if "check" in rule:  # another numpy might draw other numbers
        seen = [array.flat[0], array.flat[-1], array.sum(dtype=np.float64)]
        seen.append(np.linalg.norm(array.astype(np.float64)))
        np.testing.assert_allclose(seen, rule["check"], rtol=1e-6, atol=1e-6, err_msg=name)
    return array


def coarse_clip(coarse: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Enlarge a (N, 3, T, 9, 9) grid to the (N, 3, T, size, size) clip it stands for."""
    times = -(-size // coarse.shape[-1])
    return np.repeat(np.repeat(coarse, times, axis=-2), times, axis=-1)[..., :size, :size]
