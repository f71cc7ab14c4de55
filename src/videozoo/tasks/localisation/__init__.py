"""Find segments: where localisers, features of whole videos, metrics and the loop meet."""

from videozoo.tasks.localisation.evaluation import evaluate
from videozoo.tasks.localisation.prediction import Locator, VideoSegments, load, predict
from videozoo.tasks.localisation.training import train

__all__ = ["Locator", "VideoSegments", "evaluate", "load", "predict", "train"]
