"""Tag videos: connects feature models, records, metrics and the training loop."""

from videozoo.tasks.tagging.evaluation import evaluate
from videozoo.tasks.tagging.export import export
from videozoo.tasks.tagging.prediction import predict
from videozoo.tasks.tagging.predictor import Tagger, load
from videozoo.tasks.tagging.scoring import VideoTags
from videozoo.tasks.tagging.training import train

__all__ = ["Tagger", "VideoTags", "evaluate", "export", "load", "predict", "train"]
