"""Public figures: one function for every figure of the app, for notebooks and pages alike."""

from ptviz.plots.method import plot_method, plot_parameter_cost, plot_stages
from ptviz.plots.survey import plot_backbone, plot_framework, plot_method_pair, plot_taxonomy
from ptviz.plots.training import plot_run_comparison, plot_step_strip, plot_training

__all__ = [
    "plot_backbone",
    "plot_framework",
    "plot_method",
    "plot_method_pair",
    "plot_parameter_cost",
    "plot_run_comparison",
    "plot_stages",
    "plot_step_strip",
    "plot_taxonomy",
    "plot_training",
]
