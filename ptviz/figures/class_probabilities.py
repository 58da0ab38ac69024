"""Class probabilities for one sentence, with and without the prompt."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from ptviz.figures.elements import TOP_DOWN, add_note, add_text, axis, category_axis, empty_figure, hatching
from ptviz.figures.style import FROZEN, PROMPT


@dataclass(frozen=True)
class ClassProbabilities:
    """Class probabilities (0 to 1) for one sentence, with the prompt and of the frozen backbone without it."""

    classes: tuple[str, ...] = ()
    prompted: tuple[float, ...] = ()
    frozen: tuple[float, ...] = ()

    def most_likely(self, most: int) -> ClassProbabilities:
        """Return at most ``most`` classes, those of highest probability with or without the prompt, in their order."""
        ranked = sorted(range(len(self.classes)), key=lambda i: -max(self.prompted[i], self.frozen[i]))
        kept = sorted(ranked[:most])
        prompted, frozen = (tuple(values[i] for i in kept) for values in (self.prompted, self.frozen))
        return ClassProbabilities(tuple(self.classes[i] for i in kept), prompted, frozen)


def draw_class_probabilities(answers: ClassProbabilities, most: int = 10) -> go.Figure:
    """Draw two bars per class: without the prompt (blue) and with it (orange), for the ``most`` likely classes."""
    shown = answers.most_likely(most)
    count = len(shown.classes)
    figure = empty_figure(
        122 + 44 * max(count, 2),
        barmode="group",
        bargap=0.28,
        bargroupgap=0.06,
        margin={"l": 8, "r": 40, "t": 32, "b": 48},
        xaxis=axis("probability", range=[0, 1], tickformat=".0%"),
        yaxis=category_axis(shown.classes, 22, **TOP_DOWN),
        showlegend=False,
    )
    bars = [("without prompt", shown.frozen, FROZEN, "/"), ("with prompt", shown.prompted, PROMPT, "")]
    for name, values, colour, pattern in bars:
        figure.add_bar(
            x=values,
            y=list(range(count)),
            orientation="h",
            name=name,
            marker={"color": colour, "pattern": hatching(pattern)},
            text=[f"{value:.0%}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{name}: %{{x:.1%}}<extra></extra>",
        )
    # A legend would take room from the bars if class names are long; this line does not.
    key = "  ".join(f'<span style="color:{colour}">■</span> {name}' for name, _, colour, _ in bars)
    add_text(figure, key, 1, 1, xref="paper", yref="paper", xanchor="right", yanchor="bottom")
    if not count:
        figure.update_layout(xaxis_visible=False, yaxis_visible=False)
        add_note(figure, "The answer will appear here.")
    return figure
