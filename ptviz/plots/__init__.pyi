from .attention import (
    plot_attention,
    plot_attention_by_site,
    plot_attention_heads,
    plot_attention_mass,
    plot_logit_lens,
)
from .checkpoint import plot_checkpoint, plot_checkpoint_norms, plot_checkpoints_norms
from .class_probabilities import plot_class_probabilities
from .comparison import (
    comparison_table,
    plot_comparison,
    plot_comparison_panels,
    plot_convergence,
    plot_learning_rate_grid,
    plot_pareto_front,
    plot_seeds,
)
from .findings import plot_findings
from .generated_texts import edited_texts_table, plot_perplexity, samples_table
from .generated_tokens import plot_generated_attention, plot_generated_lens
from .growth import plot_growth
from .importance import plot_importance
from .method import (
    plot_method,
    plot_parameter_cost,
    plot_stages,
)
from .peft_benchmark import (
    plot_peft_benchmark,
    plot_peft_benchmark_curves,
    plot_peft_benchmark_panels,
)
from .prediction_errors import error_summary, plot_calibration, plot_class_scores, plot_confusion, plot_score_by_length
from .predictions import predictions_table
from .projection import plot_embeddings, plot_tensor_projection
from .prompt_similarity import plot_prompt_projection, plot_prompt_similarity
from .prompt_tokens import (
    plot_cosines,
    plot_nearest_words,
    plot_nearest_words_over_steps,
    plot_neighbour_overlap,
    plot_neighbour_ranks,
    plot_norms,
)
from .routing import (
    plot_expert_loads,
    plot_routing,
    plot_routing_balance,
    plot_routing_by_class,
    plot_sentence_routing,
)
from .routing_counterfactuals import (
    plot_forced_routing,
    plot_routing_by_task,
    plot_routing_loss_increases,
    plot_routing_temperatures,
)
from .run_tables import run_groups_table, settings_table
from .spectrum import plot_spectrum
from .survey import (
    plot_backbone,
    plot_framework,
    plot_method_pair,
    plot_taxonomy,
)
from .sweep import (
    best_settings_table,
    plot_sweep,
    plot_sweep_heatmap,
    plot_sweep_importance,
    sweep_table,
)
from .tensors import (
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
from .training_curves import (
    plot_run_comparison,
    plot_step_strip,
    plot_training,
)
from .transfer import (
    plot_published_transfer,
    plot_similarity_vs_transfer,
    plot_transfer,
    plot_transfer_correlations,
    plot_transfer_curves,
    plot_transfer_gain,
)
from .waywardness import plot_waywardness

__all__ = [
    "best_settings_table",
    "comparison_table",
    "edited_texts_table",
    "error_summary",
    "plot_attention",
    "plot_attention_by_site",
    "plot_attention_heads",
    "plot_attention_mass",
    "plot_backbone",
    "plot_calibration",
    "plot_checkpoint",
    "plot_checkpoint_norms",
    "plot_checkpoints_norms",
    "plot_class_probabilities",
    "plot_class_scores",
    "plot_comparison",
    "plot_comparison_panels",
    "plot_confusion",
    "plot_convergence",
    "plot_cosines",
    "plot_embedding_shift",
    "plot_embeddings",
    "plot_expert_loads",
    "plot_findings",
    "plot_forced_routing",
    "plot_framework",
    "plot_generated_attention",
    "plot_generated_lens",
    "plot_growth",
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
    "plot_perplexity",
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
    "plot_score_by_length",
    "plot_seeds",
    "plot_sentence_routing",
    "plot_signed_saliency",
    "plot_similarity_vs_transfer",
    "plot_spectrum",
    "plot_stages",
    "plot_step_strip",
    "plot_sweep",
    "plot_sweep_heatmap",
    "plot_sweep_importance",
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
    "predictions_table",
    "run_groups_table",
    "samples_table",
    "settings_table",
    "sweep_table",
]
