"""Describe events of videos: connects models, features, vocabularies and metrics."""

from videozoo.tasks.captioning.evaluation import evaluate
from videozoo.tasks.captioning.export import export
from videozoo.tasks.captioning.prediction import predict
from videozoo.tasks.captioning.predictor import Captioner, load
from videozoo.tasks.captioning.scoring import EventCaptions
from videozoo.tasks.captioning.training import train

__all__ = ["Captioner", "EventCaptions", "evaluate", "export", "load", "predict", "train"]
