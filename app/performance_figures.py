"""The charts of the page Performance."""

from collections.abc import Mapping

import plotly.graph_objects as go

from app import style
from app.style import LINE, MUTED, PRIMARY
from engine.palette import VIOLET

ROW = 30  # pixels of a group
SHADES = {"teacher": VIOLET, "student": PRIMARY}
SYMBOLS = {"teacher": "diamond", "student": "circle"}


def by_group(groups: Mapping[str, Mapping], overall: Mapping[str, Mapping]) -> go.Figure:
    """Return PRAUC by group, a mark and its interval for each model; dashed: overall.

    Args:
        groups, overall: `demographics` and `models` of an evaluation's report.
    """
    names = [name.replace("_", " ") for name in groups][::-1]
    chart = style.empty_figure(90 + ROW * len(names))
    for place, model in enumerate(SHADES):
        values = [found["models"][model]["prauc"] for found in groups.values()][::-1]
        chart.add_scatter(
            x=[value["mean"] for value in values],
            y=[row + (0.14 if place == 0 else -0.14) for row in range(len(names))],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(value["high"] or value["mean"]) - value["mean"] for value in values],
                "arrayminus": [value["mean"] - (value["low"] or value["mean"]) for value in values],
                "color": SHADES[model],
                "thickness": 1.5,
                "width": 0,
            },
            mode="markers",
            name=model.capitalize(),
            marker={"size": 9, "color": SHADES[model], "symbol": SYMBOLS[model]},
            customdata=names,
            hovertemplate="%{customdata}: %{x:.3f}<extra>%{fullData.name}</extra>",
        )
        chart.add_vline(
            overall[model]["overall"]["prauc"]["mean"],
            line={"color": SHADES[model], "dash": "dash", "width": 1},
        )
    chart.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.06, "x": 0})
    chart.update_xaxes(title="PRAUC", gridcolor=LINE, zeroline=False, fixedrange=True)
    chart.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[-0.6, len(names) - 0.4],
        gridcolor=LINE,
        tickfont={"color": MUTED},
        fixedrange=True,
        automargin=True,
        zeroline=False,
    )
    return chart
