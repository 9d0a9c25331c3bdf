"""Does what a model says come true as often as it says? The numbers and the diagram.

All pairs of visit and medication group fall into bins of equal width by the probability a model
gave (Guo et al., On Calibration of Modern Neural Networks, 2017, figure 1). The gaps between what
was said and what came true, weighted by the pairs, add up to the expected calibration error.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from engine.palette import BLUE, FONT, GREY, INK, LINE, MUTED, ORANGE, PRIMARY, VIOLET

if TYPE_CHECKING:
    import plotly.graph_objects as go

BINS = 15
COLOURS = {"teacher": VIOLET, "student": PRIMARY, "student_undistilled": BLUE}
HEIGHT = 460  # pixels


def reliability_bins(
    probability: np.ndarray, truth: np.ndarray, bins: int = BINS
) -> list[dict[str, float | int]]:
    """Return the bins that hold a pair, by rising probability; both arrays are (N, L).

    Each is {from, to, pairs, predicted, observed}: its edges, how many pairs fell into it, the
    mean probability they were given and the share of them that came true. A probability of 1 falls
    into the last bin. No pairs: no bins.
    """
    said = np.asarray(probability, dtype=float).ravel()
    came_true = np.asarray(truth, dtype=float).ravel()
    place = np.minimum((said * bins).astype(int), bins - 1)
    pairs = np.bincount(place, minlength=bins)
    predicted = np.bincount(place, weights=said, minlength=bins)
    observed = np.bincount(place, weights=came_true, minlength=bins)
    return [
        {
            "from": number / bins,
            "to": (number + 1) / bins,
            "pairs": int(pairs[number]),
            "predicted": float(predicted[number] / pairs[number]),
            "observed": float(observed[number] / pairs[number]),
        }
        for number in np.flatnonzero(pairs).tolist()
    ]


def diagram(bins: Mapping[str, list[dict]], titles: Mapping[str, str] | None = None) -> "go.Figure":
    """Return the reliability diagram: predicted against observed, and how many pairs said so.

    Args:
        bins: model → its `reliability_bins`; a model without bins is left out.
        titles: model → the name to show.
    """
    from plotly.subplots import make_subplots  # slow to import; only a drawing has to wait for it

    titles = titles or {}
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.05
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "dash": "dash", "width": 1.5},
        name="says what comes true",
        hoverinfo="skip",
        row=1,
        col=1,
    )
    others = iter((ORANGE, INK, MUTED) * len(bins))
    for model, found in bins.items():
        if not found:
            continue
        colour = COLOURS.get(model) or next(others)
        figure.add_scatter(
            x=[each["predicted"] for each in found],
            y=[each["observed"] for each in found],
            customdata=[[each["pairs"], each["from"], each["to"]] for each in found],
            mode="lines+markers",
            name=titles.get(model, model.replace("_", " ").capitalize()),
            legendgroup=model,
            line={"color": colour, "width": 2},
            marker={"size": 7},
            hovertemplate="said %{x:.3f}, came true %{y:.3f}<br>%{customdata[0]:,} pairs from "
            "%{customdata[1]:.2f} to %{customdata[2]:.2f}",
            row=1,
            col=1,
        )
        figure.add_scatter(
            x=[(each["from"] + each["to"]) / 2 for each in found],
            y=[each["pairs"] for each in found],
            mode="lines+markers",
            legendgroup=model,
            showlegend=False,
            line={"color": colour, "width": 1.5, "shape": "hvh"},
            marker={"size": 4},
            hovertemplate="%{y:,} pairs<extra></extra>",
            row=2,
            col=1,
        )
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        dragmode=False,
    )
    axis = {"gridcolor": LINE, "griddash": "dot", "zeroline": False, "fixedrange": True}
    axis |= {"tickfont": {"color": MUTED}, "automargin": True}
    axis |= {"title_font": {"color": MUTED, "size": 12}}
    figure.update_xaxes(range=[-0.01, 1.01], **axis)
    figure.update_yaxes(**axis)
    figure.update_xaxes(title_text="probability the model gave", row=2, col=1)
    figure.update_yaxes(title_text="share that was given", range=[-0.01, 1.01], row=1, col=1)
    figure.update_yaxes(title_text="pairs", type="log", dtick=1, row=2, col=1)
    return figure
