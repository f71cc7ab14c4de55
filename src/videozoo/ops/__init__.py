"""Pure tensor functions and parameter-free layers named after the papers' operations."""

from videozoo.ops.dropout import DowngradeDropout as DowngradeDropout
from videozoo.ops.folding import fold_batch_norms as fold_batch_norms
from videozoo.ops.pixels import normalize as normalize
from videozoo.ops.temporal_shift import temporal_shift as temporal_shift
