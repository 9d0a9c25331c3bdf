"""What a lower interaction rate costs: Jaccard against interaction rate, one point a setting.

    points = [measure(setting, truth, probability, selection, vocabulary, missing), …]
    figure(points, true_rate).write_html("tradeoff.html")

A setting is the `interaction_weight` and `interaction_target` of a student's recipe; training it
and choosing its threshold on validation is the caller's.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import plotly.graph_objects as go

from engine.evaluation.interactions import interaction_rate
from engine.evaluation.metrics import visit_metrics
from engine.palette import FONT, GREY, INK, LINE, MUTED, ORANGE, PRIMARY
from engine.records.vocabulary import Vocabulary

HEIGHT = 380  # pixels


@dataclass(frozen=True)
class Setting:
    """One strength of the loss on interactions; weight 0 is the student without it."""

    weight: float
    target: float | None = None

    @property
    def title(self) -> str:
        """The setting in words, e.g. `weight 10, target 0.001`."""
        goal = "" if self.target is None else f", target {self.target:g}"
        return f"weight {self.weight:g}{goal}"


def measure(
    setting: Setting,
    truth: np.ndarray,
    probability: np.ndarray,
    selection: np.ndarray,
    vocabulary: Vocabulary,
    missing: np.ndarray | None = None,
) -> dict[str, float | str | None]:
    """Return one point of the curve, ready for JSON; arrays as in `metrics.visit_metrics`.

    Holds weight, target, title, and the means over visits of jaccard, prauc, medications and
    interaction_rate.
    """
    values = visit_metrics(truth, probability, selection, missing)
    values["interaction_rate"] = interaction_rate(selection, vocabulary)
    wanted = ("jaccard", "prauc", "medications", "interaction_rate")
    means = {metric: float(values[metric].mean()) for metric in wanted}
    return {**asdict(setting), "title": setting.title, **means}


def efficient(points: Sequence[dict]) -> list[dict]:
    """Return the points that no other beats in Jaccard without a higher rate, by rising rate."""
    kept: list[dict] = []
    for point in sorted(points, key=lambda one: (one["interaction_rate"], -one["jaccard"])):
        if not kept or point["jaccard"] > kept[-1]["jaccard"]:
            kept.append(point)
    return kept


def figure(points: Sequence[dict], true_rate: float) -> go.Figure:
    """Draw the points, the line through the efficient ones, and the rate as prescribed."""
    best = efficient(points)
    points = sorted(points, key=lambda point: point["interaction_rate"])
    chart = go.Figure(
        [
            go.Scatter(
                x=[point["interaction_rate"] for point in best],
                y=[point["jaccard"] for point in best],
                mode="lines",
                line={"color": GREY, "width": 2},
                hoverinfo="skip",
            ),
            go.Scatter(
                x=[point["interaction_rate"] for point in points],
                y=[point["jaccard"] for point in points],
                text=[point["title"] for point in points],
                mode="markers+text",
                textposition=[  # neighbours' names do not run into each other
                    "bottom center" if place % 2 else "top center" for place in range(len(points))
                ],
                cliponaxis=False,
                textfont={"size": 11, "color": MUTED},
                marker={"size": 9, "color": PRIMARY},
                hovertemplate=(
                    "%{text}<br>Interaction rate %{x:.4f}<br>Jaccard %{y:.3f}<extra></extra>"
                ),
            ),
        ]
    )
    chart.add_vline(
        true_rate,
        line={"color": ORANGE, "dash": "dot"},
        annotation={"text": "as prescribed", "yref": "paper", "y": 0, "yanchor": "bottom"},
    )
    chart.update_xaxes(title="Interaction rate of what is recommended", gridcolor=LINE)
    chart.update_yaxes(title="Jaccard", gridcolor=LINE)
    chart.update_layout(
        height=HEIGHT,
        showlegend=False,
        font={"family": FONT, "color": INK},
        plot_bgcolor="rgba(0,0,0,0)",
        paper_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
    )
    return chart
