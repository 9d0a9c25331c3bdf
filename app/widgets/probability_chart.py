"""Teacher and student side by side: one pair of bars a medication group."""

import plotly.graph_objects as go

from app import style
from app.widgets import agreement

ROW_HEIGHT = 27  # pixels
FRAME = 58  # pixels above and below the rows
LONGEST_NAME = 40  # characters of a group's name beside its bars; the whole name is in the hover
PALE_LENGTH = 0.25  # of a bar that is still to come: short, so that it reads as no answer
MODELS = (("teacher", 0), ("student", 1))  # model, which of the two shades


def figure(rows, thresholds: dict[str, float], waiting: bool = False) -> go.Figure:
    """Return the paired bars of `rows`, the first on top.

    Args:
        rows: `Row`s of a recommendation, already in order.
        thresholds: of "teacher" and "student"; each is drawn as a line through the chart.
        waiting: whether the teacher's answer is still to come: its bars are then pale and tell
            nothing, and a line is kept free for a group that it may add.
    """
    lines = len(rows) + waiting
    chart = style.empty_figure(ROW_HEIGHT * max(lines, 1) + FRAME)
    kinds = [agreement.of(row, thresholds) for row in rows]
    for model, shade in MODELS:
        chart.add_bar(
            name=model,
            orientation="h",
            y=[row.atc for row in rows],
            x=[getattr(row, model) for row in rows],
            marker={
                "color": [style.AGREEMENT[kind][shade] for kind in kinds],
                "cornerradius": 2,
                "line": {"width": 0},
            },
            hovertext=[_hover(row, kind) for row, kind in zip(rows, kinds, strict=True)],
            hovertemplate="%{hovertext}<extra></extra>",
            offsetgroup=model,
            textposition="none",
        )
    if waiting:
        _draw_pale_bars(chart, rows)
    chart.update_layout(
        barmode="group",
        bargap=0.28,
        bargroupgap=0.06,
        margin={"l": 8, "r": 8, "t": 34, "b": 24},
    )
    chart.update_yaxes(
        tickvals=[row.atc for row in rows],
        ticktext=[_label(row) for row in rows],
        range=[lines - 0.5, -0.5],  # first row on top
        type="category",
        automargin=True,
        fixedrange=True,
        ticks="",
    )
    chart.update_xaxes(
        range=[0, 1.09 if _any_given(rows) else 1.0],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=["0", "0.25", "0.5", "0.75", "1"],
        gridcolor=style.LINE,
        griddash="dot",
        zeroline=True,
        zerolinecolor=style.LINE,
        tickfont={"color": style.MUTED},
        fixedrange=True,
        automargin=True,
    )
    _tick_given(chart, rows)
    lines, labels = _thresholds(rows, thresholds)
    if _any_given(rows):
        labels.append({**_LABEL, "x": 1.05, "text": "given"})
    chart.update_layout(shapes=lines, annotations=labels)  # at once: one by one takes far longer
    return chart


def _draw_pale_bars(chart: go.Figure, rows) -> None:
    """Draw where the teacher's bars will stand."""
    chart.add_bar(
        name="to come",
        orientation="h",
        y=[row.atc for row in rows],
        x=[PALE_LENGTH] * len(rows),
        marker={"color": style.LINE, "opacity": 0.55, "cornerradius": 2, "line": {"width": 0}},
        hoverinfo="skip",
        offsetgroup="teacher",
    )


def _thresholds(rows, thresholds: dict[str, float]) -> tuple[list[dict], list[dict]]:
    """Return a line a model; the labels stand on the outer sides so that close ones stay apart."""
    present = [m for m, _ in MODELS if any(getattr(row, m) is not None for row in rows)]
    drawn, labels = [], []
    ordered = sorted((thresholds[model], model) for model in present)
    for position, (threshold, model) in enumerate(ordered):
        for look in (
            {"color": style.GROUND, "width": 3},
            {"color": style.INK, "dash": _DASH[model]},
        ):
            place = {"x0": threshold, "x1": threshold, "y0": 0, "y1": 1, "yref": "y domain"}
            drawn.append({"type": "line", **place, "line": {"width": 1.4, **look}})
        text = f"{model} threshold {threshold:.2f}"
        side = "left" if position or len(ordered) == 1 else "right"
        labels.append({**_LABEL, "x": threshold, "xanchor": side, "text": text})
    return [{**line, "layer": "above"} for line in drawn], labels


def _tick_given(chart: go.Figure, rows) -> None:
    """For a past visit, tick the groups that were in fact given."""
    if not _any_given(rows):
        return
    given = [row for row in rows if row.given]
    chart.add_scatter(
        name="given",
        y=[row.atc for row in given],
        x=[1.05] * len(given),
        mode="text",
        text=["✓"] * len(given),
        textfont={"size": 14, "color": style.INK},
        hovertemplate="given during this visit<extra></extra>",
    )


_LABEL = {
    "y": 1,
    "yref": "paper",
    "yshift": 13,
    "showarrow": False,
    "font": {"size": 12, "color": style.MUTED},
}
_DASH = {"teacher": "dash", "student": "dot"}


def _any_given(rows) -> bool:
    return any(row.given is not None for row in rows)


def _label(row) -> str:
    name = row.name if len(row.name) <= LONGEST_NAME else row.name[: LONGEST_NAME - 1] + "…"
    return f"{style.text(name)} <span style='color:{style.MUTED}'>{style.text(row.atc)}</span> "


def _hover(row, kind: str) -> str:
    lines = [f"<b>{style.text(row.name)}</b> {style.text(row.atc)}"]
    for model, _ in MODELS:
        probability = getattr(row, model)
        shown = "no answer" if probability is None else f"{probability:.2f}"
        lines.append(f"{model.capitalize()} {shown}")
    lines.append(f"{style.AGREEMENT_LABEL[kind]} · {row.status}")
    if row.given is not None:
        lines.append("given during this visit" if row.given else "not given during this visit")
    return "<br>".join(lines)
