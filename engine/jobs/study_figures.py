"""The charts of a study's report: who leads and how surely, drawn by Plotly."""

from html import escape

import plotly.graph_objects as go

from engine.evaluation import reliability, tradeoff
from engine.evaluation.subgroups import title
from engine.jobs.study_tables import GROUPS, name_in_text, verdict
from engine.palette import BLUE, FONT, GREY, INK, LINE, MUTED, ORANGE, PRIMARY, VIOLET

ROW_HEIGHT = 34  # pixels of a model
SHADES = {"teacher": VIOLET, "student": PRIMARY}
SURENESS = {"above": PRIMARY, "below": ORANGE, "unsure": GREY}
LINES = {"prauc": ("PRAUC", PRIMARY), "jaccard": ("Jaccard", BLUE)}


def figures(report: dict) -> dict[str, go.Figure]:
    """Return name → figure, of the questions that were asked."""
    questions = report["questions"]
    drawn = {}
    compared = questions.get("rq1") or questions.get("folds")
    if compared:
        drawn["compared"] = _dots(report, compared["models"])
        drawn["groups"] = _groups(report, compared["models"])
    if "rq2" in questions:
        drawn["ablations"] = _dots(report, questions["rq2"]["models"])
    if "rq3" in questions:
        drawn["weights"] = _weights(report, questions["rq3"])
    if "rq4" in questions:
        drawn["cost"] = _cost(report, questions["rq4"]["models"])
    if "rq5" in questions:
        drawn["levers"] = _levers(report, questions["rq5"]["paired"])
        drawn["tradeoff"] = _tradeoff(report, questions["rq5"]["tradeoff"])
    if report.get("reliability"):
        titles = {name: report["models"][name]["title"] for name in report["reliability"]}
        drawn["reliability"] = reliability.diagram(report["reliability"], titles)
    return drawn


def _dots(report: dict, names: list[str]) -> go.Figure:
    """A dot and its interval a model, best at the top, for PRAUC."""
    found = {name: report["models"][name]["groups"]["overall"]["prauc"] for name in names}
    names = sorted(
        (name for name in names if found[name]["mean"] is not None),
        key=lambda name: found[name]["mean"],
    )
    chart = go.Figure(
        go.Scatter(
            x=[found[name]["mean"] for name in names],
            y=[escape(report["models"][name]["title"]) for name in names],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [
                    (found[name]["high"] or found[name]["mean"]) - found[name]["mean"]
                    for name in names
                ],
                "arrayminus": [
                    found[name]["mean"] - (found[name]["low"] or found[name]["mean"])
                    for name in names
                ],
                "color": GREY,
                "thickness": 2,
                "width": 0,
            },  # fmt: skip
            mode="markers+text",
            text=[f"{found[name]['mean']:.3f}" for name in names],
            textposition="top center",
            textfont={"size": 11, "color": MUTED},
            marker={"size": 9, "color": [_shade(name) for name in names]},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    chart.update_xaxes(title="PRAUC, overall, with interval over patients")
    return _styled(chart, 90 + ROW_HEIGHT * len(names))


def _groups(report: dict, names: list[str]) -> go.Figure:
    """PRAUC of the four best models in every group of visits."""

    def overall(name: str) -> float:
        return report["models"][name]["groups"]["overall"]["prauc"]["mean"] or 0.0

    best = sorted(names, key=overall, reverse=True)[:4]
    others = iter((BLUE, ORANGE, GREY, LINE))
    shades = {name: SHADES.get(name) or next(others) for name in best}
    chart = go.Figure(
        [
            go.Bar(
                name=escape(report["models"][name]["title"]),
                x=[title(group) for group in GROUPS],
                y=[report["models"][name]["groups"][group]["prauc"]["mean"] for group in GROUPS],
                marker={"color": shades[name]},
                hovertemplate="%{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
            )
            for name in best
        ]
    )
    chart.update_yaxes(title="PRAUC", rangemode="tozero")
    chart.update_layout(barmode="group", bargap=0.3, showlegend=True)
    return _styled(chart, 320)


def _weights(report: dict, question: dict) -> go.Figure:
    """PRAUC and Jaccard over alpha and over beta, side by side."""
    from plotly.subplots import make_subplots

    chart = make_subplots(cols=2, subplot_titles=("alpha (distillation)", "beta (alignment)"))
    for column, letter in enumerate(("alpha", "beta"), start=1):
        rows = question[letter]
        for metric, (name, shade) in LINES.items():
            values = [report["models"][row["model"]]["groups"]["overall"][metric] for row in rows]
            chart.add_trace(
                go.Scatter(
                    name=name,
                    x=[f"{row['value']:g}" for row in rows],
                    y=[value["mean"] for value in values],
                    error_y={"array": [value["spread"] or 0 for value in values], "color": GREY},
                    mode="lines+markers",
                    line={"color": shade, "width": 2},
                    showlegend=column == 1,
                    hovertemplate="%{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
                ),
                row=1,
                col=column,
            )
    chart.update_xaxes(type="category")
    chart.update_layout(showlegend=True)
    return _styled(chart, 340).update_layout(legend={"y": -0.18})  # the titles are above


def _levers(report: dict, paired: list[dict]) -> go.Figure:
    """The difference that each switch makes, its interval, and zero."""
    rows = [row for row in paired if (row["group"], row["metric"]) == ("overall", "prauc")]
    rows = [
        row for row in reversed(rows) if row["difference"] is not None and row["low"] is not None
    ]
    names = [
        f"{report['models'][row['a']]['title']} − {name_in_text(report['models'], row['b'])}"
        for row in rows
    ]
    chart = go.Figure(
        go.Scatter(
            x=[row["difference"] for row in rows],
            y=[escape(name) for name in names],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [row["high"] - row["difference"] for row in rows],
                "arrayminus": [row["difference"] - row["low"] for row in rows],
                "color": GREY,
                "thickness": 2,
                "width": 0,
            },
            mode="markers+text",
            text=[f"{row['difference']:+.3f}" for row in rows],
            textposition="top center",
            textfont={"size": 11, "color": MUTED},
            marker={"size": 9, "color": [SURENESS[verdict(row)] for row in rows]},
            hovertemplate="%{y}: %{x:+.3f}<extra></extra>",
        )
    )
    chart.add_vline(0, line={"color": INK, "dash": "dot", "width": 1})
    chart.update_xaxes(title="difference in PRAUC, overall, with interval over patients")
    return _styled(chart, 90 + ROW_HEIGHT * len(rows))


def _tradeoff(report: dict, rows: list[dict]) -> go.Figure:
    """Jaccard against the interaction rate, one point a strength of the loss."""
    points = [
        row
        | {
            metric: report["models"][row["model"]]["groups"]["overall"][metric]["mean"]
            for metric in ("jaccard", "prauc", "interaction_rate")
        }
        for row in rows
    ]
    rate = report["counts"]["overall"]["interaction_rate"]
    return _styled(tradeoff.figure(points, rate), tradeoff.HEIGHT)


def _cost(report: dict, names: list[str]) -> go.Figure:
    """How good against how slow."""
    models = report["models"]
    slow = [models[name]["runs"][0]["latency"]["one_visit_ms"] for name in names]
    good = [models[name]["groups"]["overall"]["prauc"]["mean"] for name in names]
    chart = go.Figure(
        go.Scatter(
            x=slow,
            y=good,
            text=[escape(models[name]["title"]) for name in names],
            mode="markers+text",
            textposition=_beside_each_other(slow, good),
            textfont={"size": 11, "color": MUTED},
            marker={"size": 10, "color": [_shade(name) for name in names]},
            hovertemplate="%{text}: %{x:.2f} ms, PRAUC %{y:.3f}<extra></extra>",
            cliponaxis=False,
        )
    )
    chart.update_xaxes(type="log", title="milliseconds for one visit (each step is ten times)")
    chart.update_yaxes(title="PRAUC, overall")
    return _styled(chart, 340)


def _beside_each_other(slow: list[float], good: list[float]) -> list[str]:
    """Return where each name stands: below its dot where another dot is just above it."""

    def under(one: int) -> bool:
        return any(
            0 < above - good[one] < 0.012 and slow[one] / 2.2 < beside < slow[one] * 2.2
            for beside, above in zip(slow, good, strict=True)
        )

    return ["bottom center" if under(one) else "top center" for one in range(len(good))]


def _shade(name: str) -> str:
    return next((shade for start, shade in SHADES.items() if name.startswith(start)), BLUE)


def _styled(chart: go.Figure, height: int) -> go.Figure:
    chart.update_layout(
        template="none",
        height=height,
        margin={"l": 10, "r": 30, "t": 40, "b": 50},
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.12, "x": 0},
        hoverlabel={"bgcolor": "#fff", "font": {"family": FONT, "color": INK}},
    )
    if not chart.layout.showlegend:
        chart.update_layout(showlegend=False)
    chart.update_xaxes(automargin=True, gridcolor=LINE, zeroline=False, linecolor=LINE)
    chart.update_yaxes(automargin=True, gridcolor=LINE, zeroline=False, linecolor=LINE)
    return chart
