from .baselines import measure_baselines
from .config import TrainConfig
from .default_lr import default_learning_rate
from .errors import TrainingError
from .evaluation import EvaluationScores, evaluate, predict
from .events import (
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
from .run_estimate import RunEstimate, estimate_run
from .trainer import ResumePoint, train

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
