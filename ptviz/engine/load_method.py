"""Load the method a run trained, without its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptviz.backbones import Backbone
    from ptviz.methods import PromptMethod
    from ptviz.runs import Run


def load_run_backbone(run: Run, device: str | None = None) -> Backbone:
    """The frozen backbone that the run trained in front of.

    Raises:
        ValueError: if it cannot be had here.
    """
    from ptviz.backbones import load_backbone

    config = run.config
    return load_backbone(config.backbone, device or config.device, config.training.dtype)


def load_method(run: Run, backbone: Backbone) -> PromptMethod:
    """The run's method with its best prompt by validation, ready to answer.

    Raises:
        ValueError: if nothing was learned yet, or a file of the run is damaged.
    """
    from ptviz.methods import build_method

    config, state = run.config, run.prompt()
    # The start is overwritten at once, so any label word serves a method that would start from them.
    method = build_method(config.method, backbone.make_spec(config.training.length, ("label",)), config.hyperparameters)
    method.load_state_dict(state)
    return method.to(backbone.device).eval()
