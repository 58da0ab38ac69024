"""Training a prompt on a frozen backbone, as a stream of events."""

from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import default_rate
from ptviz.training.estimate import Plan, plan
from ptviz.training.evaluation import Scores, baselines_of, evaluate, predict
from ptviz.training.events import (
    Baselines,
    Evaluated,
    Event,
    Failed,
    Finished,
    Snapshot,
    SourceReady,
    StageStarted,
    Stepped,
)
from ptviz.training.trainer import Resume, TrainingError, train

__all__ = [
    "Baselines", "Evaluated", "Event", "Failed", "Finished", "Plan", "Resume", "Scores", "Snapshot", "SourceReady",
    "StageStarted", "Stepped", "TrainConfig", "TrainingError", "baselines_of", "default_rate", "evaluate", "plan",
    "predict", "train",
]  # fmt: skip
