"""Find segments: connects localisers, features, annotations, metrics and the training loop."""

from videozoo.tasks.localisation.evaluation import evaluate
from videozoo.tasks.localisation.export import export
from videozoo.tasks.localisation.prediction import predict
from videozoo.tasks.localisation.predictor import SegmentPredictor, load
from videozoo.tasks.localisation.training import train

__all__ = ["SegmentPredictor", "evaluate", "export", "load", "predict", "train"]
