"""Public figures: one function for every figure of the app, for notebooks and pages alike."""

from ptviz.plots.training import plot_run_comparison, plot_step_strip, plot_training

__all__ = ["plot_run_comparison", "plot_step_strip", "plot_training"]
