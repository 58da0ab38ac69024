"""Load the method a run trained, without its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptviz.backbones import Backbone
    from ptviz.methods import PromptMethod
    from ptviz.runs import Run


def load_run_backbone(run: Run, device: str | None = None) -> Backbone:
    """Load the frozen backbone of a run.

    Raises:
        ValueError: if it is not available.
    """
    from ptviz.backbones import load_backbone

    config = run.config
    return load_backbone(config.backbone, device or config.device, config.training.dtype)


def load_run_method(run: Run, backbone: Backbone) -> PromptMethod:
    """Load the run's method with its best prompt by validation, in evaluation mode.

    Raises:
        ValueError: if the run has no prompt yet, has several target tasks, or one of its files is damaged.
    """
    from ptviz.engine.loaded_prompt import check_one_target
    from ptviz.methods import build_method

    config, state = check_one_target(run).config, run.prompt()
    # The initial prompt is overwritten, so any label word will do for a method that is initialised from labels.
    spec = backbone.make_spec(config.training.length, ("label",), config.source_tasks())
    method = build_method(config.method, spec, config.hyperparameters)
    method.load_state_dict(state)
    return method.to(backbone.device).eval()
