"""Find moments by sentences: connects models, windows of videos, sentence vectors and metrics."""

from videozoo.tasks.moments.evaluation import evaluate
from videozoo.tasks.moments.export import export
from videozoo.tasks.moments.prediction import predict
from videozoo.tasks.moments.predictor import MomentRetriever, load
from videozoo.tasks.moments.scoring import Moment, QueryMoments
from videozoo.tasks.moments.training import train

__all__ = [
    "Moment",
    "MomentRetriever",
    "QueryMoments",
    "evaluate",
    "export",
    "load",
    "predict",
    "train",
]
