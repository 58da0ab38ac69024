"""Training a prompt on a frozen backbone, as a stream of events."""

from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import default_learning_rate
from ptviz.training.estimate import RunEstimate, estimate_run
from ptviz.training.evaluation import EvaluationScores, evaluate, measure_baselines, predict
from ptviz.training.events import (
    Baselines,
    Evaluated,
    Event,
    Failed,
    Finished,
    Snapshot,
    SourcePromptReady,
    StageStarted,
    StepCompleted,
)
from ptviz.training.trainer import ResumePoint, TrainingError, train

__all__ = [
    "Baselines",
    "Evaluated",
    "EvaluationScores",
    "Event",
    "Failed",
    "Finished",
    "ResumePoint",
    "RunEstimate",
    "Snapshot",
    "SourcePromptReady",
    "StageStarted",
    "StepCompleted",
    "TrainConfig",
    "TrainingError",
    "default_learning_rate",
    "estimate_run",
    "evaluate",
    "measure_baselines",
    "predict",
    "train",
]
