"""Classify clips: connects models, videos, metrics and the training loop."""

from videozoo.tasks.classification.evaluation import evaluate
from videozoo.tasks.classification.export import export
from videozoo.tasks.classification.prediction import input_entries, predict
from videozoo.tasks.classification.predictor import Classifier, load
from videozoo.tasks.classification.scoring import ClipInference, VideoResult
from videozoo.tasks.classification.training import for_folder, train
from videozoo.tasks.clip_views import clip_shape

__all__ = [
    "Classifier",
    "ClipInference",
    "VideoResult",
    "clip_shape",
    "evaluate",
    "export",
    "for_folder",
    "input_entries",
    "load",
    "predict",
    "train",
]
