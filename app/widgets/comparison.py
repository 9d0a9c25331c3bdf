"""A candidate beside the champion: what must not get worse at a glance, then every group."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app import style
from engine.evaluation.comparison import (
    BETTER,
    CALIBRATION_ERROR,
    GUARDED_GROUPS,
    GUARDED_METRICS,
    METRICS,
    MODELS,
    NOT_MEASURED,
    UNCLEAR,
    WORSE,
    signed,
)
from engine.palette import CARE, GREY, GROUND, INK, LINE, MUTED, ORANGE, PRIMARY

ROW_HEIGHT = 29  # pixels
COLOUR = {BETTER: PRIMARY, UNCLEAR: MUTED, WORSE: CARE}  # of words
DOT = {BETTER: PRIMARY, UNCLEAR: GREY, WORSE: ORANGE}
MARK = {BETTER: "▲ ", UNCLEAR: "", WORSE: "▼ "}
IN_TABLE = {UNCLEAR: "unclear"}  # the words do not fit
AXIS = 26  # pixels under the rows of the chart
NARROWEST = 520  # pixels a column needs before chart and table stand side by side
MEANING = {
    "prauc": "how well the groups that were given are ranked before the others",
    "jaccard": "how much the recommended and the given groups overlap",
    "f1": "the balance between what is found and what is right, of the recommended groups",
    CALIBRATION_ERROR: "how far the probabilities are from what came true; less is better",
}


def headline(report: dict) -> tuple[str, str]:
    """Return the verdict over all guarded lines in a sentence, and which verdict it is."""
    guarded = [line for line in report["lines"] if line["guarded"]]
    worse, better = (sum(line["verdict"] == kind for line in guarded) for kind in (WORSE, BETTER))
    total = len(guarded)
    if worse:
        return f"Clearly worse on {worse} of {total} guarded measures", WORSE
    if better:
        return f"Better on {better} of {total} guarded measures, worse on none", BETTER
    return f"No clear difference on any of the {total} guarded measures", UNCLEAR


def guarded_table(report: dict) -> str:
    """Return the guarded lines as an HTML table: a row a model and metric, a column a group."""
    found = _by_name(report)
    counts = report["counts"]
    head = "".join(
        f"<th>{style.text(counts[group]['title'])} "
        f'<span class="wb-muted">{counts[group]["visits"]:,} visits</span></th>'
        for group in GUARDED_GROUPS
    )
    rows = "".join(
        f"<tr><th>{MODELS[model]}, {METRICS[metric]}</th>"
        + "".join(_cell(found[model, metric, group]) for group in GUARDED_GROUPS)
        + "</tr>"
        for model in MODELS
        for metric in GUARDED_METRICS
    )
    return (
        '<div class="wb-scroll"><table class="wb-guarded"><thead><tr>'
        f"<th>Candidate − champion</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def sentences(report: dict, verdict: str) -> list[str]:
    """Return the guarded lines of one verdict, each as a sentence."""
    return [
        f"{MODELS[line['model']]}, {METRICS[line['metric']]}: {line['sentence']}"
        for line in report["lines"]
        if line["guarded"] and line["verdict"] == verdict
    ]


def draw_groups(report: dict, key: str) -> None:
    """Draw every group for one model and metric: the chart of the intervals beside the table."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Group by group", anchor=False, width="stretch")
        model = st.segmented_control(
            "Model",
            list(MODELS),
            format_func=MODELS.get,
            default="teacher",
            required=True,
            key=f"{key}-model",
            label_visibility="collapsed",
        )
        metric = st.segmented_control(
            "Metric",
            list(METRICS),
            format_func=METRICS.get,
            default="prauc",
            required=True,
            key=f"{key}-metric",
            label_visibility="collapsed",
        )
    lines = [line for line in report["lines"] if (line["model"], line["metric"]) == (model, metric)]
    settings = report["settings"]
    st.caption(
        f"{METRICS[metric]}: {MEANING[metric]}. Dot: candidate minus champion; line: "
        f"{settings['confidence']:.0%} interval from {settings['resamples']:,} resamples of "
        "patients. A line that does not touch zero is a clear difference; the others are unclear. "
        "Bold groups are guarded."
    )
    with st.grid(2, min_column_width=NARROWEST):
        st.plotly_chart(
            figure(lines, report["counts"], metric),
            key=f"{key}-chart",
            config=style.CHART_CONFIG,
            theme=None,
            alt=f"{MODELS[model]}, {METRICS[metric]}: differences by group",
        )
        _draw_table(lines, report["counts"], key)


def frame(lines: list[dict], counts: dict) -> pd.DataFrame:
    """Return one row a line: group, visits, both values, the difference and the verdict."""
    return pd.DataFrame(
        {
            "Group": [_group(line, counts) for line in lines],
            "Visits": [counts[line["group"]]["visits"] for line in lines],
            "Candidate": [_number(line["candidate"]) for line in lines],
            "Champion": [_number(line["champion"]) for line in lines],
            "Difference": [_difference(line) for line in lines],
            "Verdict": [
                NOT_MEASURED
                if line["difference"] is None
                else IN_TABLE.get(line["verdict"], line["verdict"])
                for line in lines
            ],
        }
    )


def figure(lines: list[dict], counts: dict, metric: str) -> go.Figure:
    """Return the differences with their intervals, the first group on top, beside the table."""
    chart = style.empty_figure(ROW_HEIGHT * (len(lines) + 1) + 1 + AXIS)
    places = list(range(len(lines)))
    chart.add_vline(x=0, line={"color": INK, "width": 1.2})
    for verdict in (UNCLEAR, BETTER, WORSE):
        chosen = [
            (place, line)
            for place, line in zip(places, lines, strict=True)
            if line["verdict"] == verdict and line["difference"] is not None
        ]
        if not chosen:
            continue
        chart.add_scatter(
            name=verdict,
            x=[line["difference"] for _, line in chosen],
            y=[place for place, _ in chosen],
            mode="markers",
            marker={"color": DOT[verdict], "size": 9, "line": {"color": GROUND, "width": 1}},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_reach(line, "high") for _, line in chosen],
                "arrayminus": [_reach(line, "low") for _, line in chosen],
                "color": DOT[verdict],
                "thickness": 2.2,
                "width": 0,
            },
            customdata=[[_hover(line, counts)] for _, line in chosen],
            hovertemplate="%{customdata[0]}<extra></extra>",
        )
    less, more = (BETTER, WORSE) if metric == CALIBRATION_ERROR else (WORSE, BETTER)
    chart.update_xaxes(
        gridcolor=LINE,
        griddash="dot",
        zeroline=False,
        fixedrange=True,
        nticks=6,
        tickfont={"color": MUTED, "size": 12},
        tickformat=".3~f",
        range=_range(lines),
    )
    for side, verdict, words in ((0, less, f"◂ {less}"), (1, more, f"{more} ▸")):
        chart.add_annotation(
            x=side,
            y=1,
            xref="paper",
            yref="paper",
            yshift=ROW_HEIGHT * 0.8,
            xanchor="right" if side else "left",
            showarrow=False,
            text=words,
            font={"size": 13, "color": COLOUR[verdict]},
        )
    chart.update_yaxes(
        tickvals=places,
        ticktext=[f"{style.text(_group(line, counts))} " for line in lines],
        range=[len(lines) - 0.5, -0.5],
        fixedrange=True,
        automargin=True,
        ticks="",
        showgrid=False,
        zeroline=False,
    )
    chart.update_layout(margin={"l": 8, "r": 8, "t": ROW_HEIGHT + 1, "b": AXIS})
    return chart


def _draw_table(lines: list[dict], counts: dict, key: str) -> None:
    def emphasise(row: pd.Series) -> list[str]:
        line = lines[row.name]
        colour = f"color: {style.of_page(COLOUR[line['verdict']])}"
        weight = "; font-weight: 700" if line["verdict"] != UNCLEAR else ""
        looks = dict.fromkeys(row.index, "")
        looks["Group"] = "font-weight: 600" if line["guarded"] else ""
        looks["Difference"] = looks["Verdict"] = colour + weight
        return list(looks.values())

    st.dataframe(
        frame(lines, counts).style.apply(emphasise, axis=1),
        key=f"{key}-table",
        hide_index=True,
        height=ROW_HEIGHT * (len(lines) + 1) + 3,
        row_height=ROW_HEIGHT,
        alt="Candidate and champion by group, with difference and verdict",
        column_config={
            "Group": st.column_config.TextColumn(width=165),
            "Visits": st.column_config.NumberColumn(width=50, format="localized"),
            "Candidate": st.column_config.TextColumn(width=72, alignment="right"),
            "Champion": st.column_config.TextColumn(width=72, alignment="right"),
            "Difference": st.column_config.TextColumn(width=165, alignment="right"),
            "Verdict": st.column_config.TextColumn(width=95),
        },
    )


def _group(line: dict, counts: dict) -> str:
    title = counts[line["group"]]["title"]
    return title[:1].upper() + title[1:]


def _cell(line: dict) -> str:
    if line["difference"] is None:
        return f'<td class="wb-muted">{NOT_MEASURED}</td>'
    kind = {BETTER: "better", WORSE: "worse"}.get(line["verdict"], "unclear")
    interval = ""
    if line["low"] is not None:
        interval = f"[{signed(line['low'])}, {signed(line['high'])}]"
    return (
        f'<td class="{kind}" title="{_number(line["candidate"])} against '
        f'{_number(line["champion"])}"><b>{MARK[line["verdict"]]}{signed(line["difference"])}</b> '
        f'<span class="wb-number">{interval}</span>'
        f'<div class="wb-small">{line["verdict"]}</div></td>'
    )


def _hover(line: dict, counts: dict) -> str:
    count = counts[line["group"]]
    return (
        f"<b>{style.text(_group(line, counts))}</b><br>{style.text(line['sentence'])}<br>"
        f"candidate {_number(line['candidate'])}, champion {_number(line['champion'])}<br>"
        f"{count['visits']:,} visits of {count['patients']:,} patients"
    )


def _range(lines: list[dict]) -> list[float]:
    """Return an axis that is the same on both sides of zero and as wide as the widest interval."""
    ends = [abs(line[end]) for line in lines for end in ("difference", "low", "high") if line[end]]
    reach = max([*ends, 0.01]) * 1.08
    return [-reach, reach]


def _reach(line: dict, end: str) -> float:
    return 0.0 if line[end] is None else abs(line[end] - line["difference"])


def _difference(line: dict) -> str:
    if line["difference"] is None:
        return "–"
    if line["low"] is None:
        return signed(line["difference"])
    return f"{signed(line['difference'])} [{signed(line['low'])}, {signed(line['high'])}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _by_name(report: dict) -> dict[tuple[str, str, str], dict]:
    return {(line["model"], line["metric"], line["group"]): line for line in report["lines"]}
