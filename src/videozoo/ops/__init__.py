"""Pure tensor functions and parameter-free layers named after the papers' operations."""

from videozoo.ops.dequantize import dequantize as dequantize
from videozoo.ops.dropout import DowngradeDropout as DowngradeDropout
from videozoo.ops.folding import fold_batch_norms as fold_batch_norms
from videozoo.ops.frames import FrameBatchNorm as FrameBatchNorm
from videozoo.ops.frames import frame_mask as frame_mask
from videozoo.ops.frames import l2_normalize as l2_normalize
from videozoo.ops.frames import softmax_over_frames as softmax_over_frames
from videozoo.ops.peephole_lstm import peephole_lstm as peephole_lstm
from videozoo.ops.pixels import normalize as normalize
from videozoo.ops.temporal_shift import temporal_shift as temporal_shift
