"""Public figures: one function for every figure of the app, for notebooks and pages alike.

The functions are looked up when first used: a page that needs one of them does not load what all the others need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptviz.plots.attention import (
        plot_attention,
        plot_attention_by_site,
        plot_attention_heads,
        plot_attention_mass,
        plot_logit_lens,
    )
    from ptviz.plots.checkpoint import plot_checkpoint, plot_checkpoint_norms
    from ptviz.plots.class_probabilities import plot_class_probabilities
    from ptviz.plots.comparison import (
        comparison_table,
        plot_comparison,
        plot_comparison_panels,
        plot_convergence,
        plot_learning_rate_grid,
        plot_pareto_front,
        plot_seeds,
    )
    from ptviz.plots.importance import plot_importance
    from ptviz.plots.method import (
        plot_method,
        plot_parameter_cost,
        plot_stages,
    )
    from ptviz.plots.peft_benchmark import (
        plot_peft_benchmark,
        plot_peft_benchmark_curves,
        plot_peft_benchmark_panels,
    )
    from ptviz.plots.projection import plot_embeddings, plot_tensor_projection
    from ptviz.plots.prompt_tokens import (
        plot_cosines,
        plot_nearest_words,
        plot_nearest_words_over_steps,
        plot_neighbour_overlap,
        plot_neighbour_ranks,
        plot_norms,
        plot_spectrum,
    )
    from ptviz.plots.routing import (
        plot_expert_loads,
        plot_routing,
        plot_routing_balance,
        plot_routing_by_class,
        plot_sentence_routing,
    )
    from ptviz.plots.routing_counterfactuals import (
        plot_forced_routing,
        plot_routing_by_task,
        plot_routing_loss_increases,
        plot_routing_temperatures,
    )
    from ptviz.plots.survey import (
        plot_backbone,
        plot_framework,
        plot_method_pair,
        plot_taxonomy,
    )
    from ptviz.plots.tensors import (
        plot_embedding_shift,
        plot_low_rank_accuracy,
        plot_most_shifted_words,
        plot_recorded_saliency,
        plot_row_comparison,
        plot_saliency,
        plot_signed_saliency,
        plot_tensor_gallery,
        plot_tensor_view,
    )
    from ptviz.plots.training import (
        plot_run_comparison,
        plot_step_strip,
        plot_training,
    )
    from ptviz.plots.transfer import (
        plot_prompt_projection,
        plot_prompt_similarity,
        plot_published_transfer,
        plot_similarity_vs_transfer,
        plot_transfer,
        plot_transfer_correlations,
        plot_transfer_curves,
        plot_transfer_gain,
    )
    from ptviz.plots.waywardness import plot_waywardness

__all__ = [
    "comparison_table",
    "plot_attention",
    "plot_attention_by_site",
    "plot_attention_heads",
    "plot_attention_mass",
    "plot_backbone",
    "plot_checkpoint",
    "plot_checkpoint_norms",
    "plot_class_probabilities",
    "plot_comparison",
    "plot_comparison_panels",
    "plot_convergence",
    "plot_cosines",
    "plot_embedding_shift",
    "plot_embeddings",
    "plot_expert_loads",
    "plot_forced_routing",
    "plot_framework",
    "plot_importance",
    "plot_learning_rate_grid",
    "plot_logit_lens",
    "plot_low_rank_accuracy",
    "plot_method",
    "plot_method_pair",
    "plot_most_shifted_words",
    "plot_nearest_words",
    "plot_nearest_words_over_steps",
    "plot_neighbour_overlap",
    "plot_neighbour_ranks",
    "plot_norms",
    "plot_parameter_cost",
    "plot_pareto_front",
    "plot_peft_benchmark",
    "plot_peft_benchmark_curves",
    "plot_peft_benchmark_panels",
    "plot_prompt_projection",
    "plot_prompt_similarity",
    "plot_published_transfer",
    "plot_recorded_saliency",
    "plot_routing",
    "plot_routing_balance",
    "plot_routing_by_class",
    "plot_routing_by_task",
    "plot_routing_loss_increases",
    "plot_routing_temperatures",
    "plot_row_comparison",
    "plot_run_comparison",
    "plot_saliency",
    "plot_seeds",
    "plot_sentence_routing",
    "plot_signed_saliency",
    "plot_similarity_vs_transfer",
    "plot_spectrum",
    "plot_stages",
    "plot_step_strip",
    "plot_taxonomy",
    "plot_tensor_gallery",
    "plot_tensor_projection",
    "plot_tensor_view",
    "plot_training",
    "plot_transfer",
    "plot_transfer_correlations",
    "plot_transfer_curves",
    "plot_transfer_gain",
    "plot_waywardness",
]

_MODULES = {
    "ptviz.plots.attention": (
        "plot_attention",
        "plot_attention_by_site",
        "plot_attention_heads",
        "plot_attention_mass",
        "plot_logit_lens",
    ),
    "ptviz.plots.checkpoint": (
        "plot_checkpoint",
        "plot_checkpoint_norms",
    ),
    "ptviz.plots.class_probabilities": ("plot_class_probabilities",),
    "ptviz.plots.comparison": (
        "comparison_table",
        "plot_comparison",
        "plot_comparison_panels",
        "plot_convergence",
        "plot_learning_rate_grid",
        "plot_pareto_front",
        "plot_seeds",
    ),
    "ptviz.plots.importance": ("plot_importance",),
    "ptviz.plots.method": (
        "plot_method",
        "plot_parameter_cost",
        "plot_stages",
    ),
    "ptviz.plots.peft_benchmark": (
        "plot_peft_benchmark",
        "plot_peft_benchmark_curves",
        "plot_peft_benchmark_panels",
    ),
    "ptviz.plots.projection": (
        "plot_embeddings",
        "plot_tensor_projection",
    ),
    "ptviz.plots.prompt_tokens": (
        "plot_cosines",
        "plot_nearest_words",
        "plot_nearest_words_over_steps",
        "plot_neighbour_overlap",
        "plot_neighbour_ranks",
        "plot_norms",
        "plot_spectrum",
    ),
    "ptviz.plots.routing": (
        "plot_expert_loads",
        "plot_routing",
        "plot_routing_balance",
        "plot_routing_by_class",
        "plot_sentence_routing",
    ),
    "ptviz.plots.routing_counterfactuals": (
        "plot_forced_routing",
        "plot_routing_by_task",
        "plot_routing_loss_increases",
        "plot_routing_temperatures",
    ),
    "ptviz.plots.survey": (
        "plot_backbone",
        "plot_framework",
        "plot_method_pair",
        "plot_taxonomy",
    ),
    "ptviz.plots.tensors": (
        "plot_embedding_shift",
        "plot_low_rank_accuracy",
        "plot_most_shifted_words",
        "plot_recorded_saliency",
        "plot_row_comparison",
        "plot_saliency",
        "plot_signed_saliency",
        "plot_tensor_gallery",
        "plot_tensor_view",
    ),
    "ptviz.plots.training": (
        "plot_run_comparison",
        "plot_step_strip",
        "plot_training",
    ),
    "ptviz.plots.transfer": (
        "plot_prompt_projection",
        "plot_prompt_similarity",
        "plot_published_transfer",
        "plot_similarity_vs_transfer",
        "plot_transfer",
        "plot_transfer_correlations",
        "plot_transfer_curves",
        "plot_transfer_gain",
    ),
    "ptviz.plots.waywardness": ("plot_waywardness",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ptviz.plots' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
