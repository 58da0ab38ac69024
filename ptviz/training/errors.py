"""The error of a training run."""


class TrainingError(RuntimeError):
    """Training cannot continue: the reason, and what to do."""
