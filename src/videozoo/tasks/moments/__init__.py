"""Find moments by sentences: where TALL, windows of videos, sentence vectors and metrics meet."""

from videozoo.tasks.moments.evaluation import evaluate
from videozoo.tasks.moments.export import export
from videozoo.tasks.moments.prediction import Finder, load, predict
from videozoo.tasks.moments.scoring import Found, Moment
from videozoo.tasks.moments.training import train

__all__ = ["Finder", "Found", "Moment", "evaluate", "export", "load", "predict", "train"]
