"""Find moments by sentences: where TALL, windows of videos, sentence vectors and metrics meet."""

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
