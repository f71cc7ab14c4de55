"""Pure tensor functions and parameter-free layers named after the papers' operations."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videozoo.ops.dropout import DowngradeDropout as DowngradeDropout
    from videozoo.ops.feature_bytes import dequantize as dequantize
    from videozoo.ops.folding import fold_batch_norms as fold_batch_norms
    from videozoo.ops.frames import FrameBatchNorm as FrameBatchNorm
    from videozoo.ops.frames import frame_mask as frame_mask
    from videozoo.ops.frames import l2_normalize as l2_normalize
    from videozoo.ops.frames import softmax_over_frames as softmax_over_frames
    from videozoo.ops.peephole import peephole_lstm as peephole_lstm
    from videozoo.ops.pixels import normalize as normalize
    from videozoo.ops.shift import temporal_shift as temporal_shift

_HOMES = {
    "DowngradeDropout": "dropout",
    "FrameBatchNorm": "frames",
    "dequantize": "feature_bytes",
    "fold_batch_norms": "folding",
    "frame_mask": "frames",
    "l2_normalize": "frames",
    "normalize": "pixels",
    "peephole_lstm": "peephole",
    "softmax_over_frames": "frames",
    "temporal_shift": "shift",
}


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562): other files here need numpy alone, and no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'videozoo.ops' has no attribute {name!r}")
    return getattr(import_module(f"videozoo.ops.{_HOMES[name]}"), name)
