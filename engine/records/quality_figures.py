"""The charts of the quality report, drawn by Plotly from `engine.records.quality.facts`.

`figures` gives one figure a name; texts from the data are escaped, as Plotly reads a little HTML.
"""

from html import escape

import plotly.graph_objects as go

from engine.palette import (
    BLUE,
    FONT,
    GREY,
    GROUND,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PRIMARY,
    PRIMARY_LIGHT,
    VIOLET,
)
from engine.records import quality_findings as findings
from engine.records.quality_findings import share

HEIGHT = 250  # pixels
ROW_HEIGHT = 25  # pixels of a horizontal bar
CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False, "responsive": True}
SHADES = {"diagnoses": PRIMARY, "procedures": BLUE, "medications": VIOLET}


def figures(facts: dict) -> dict[str, go.Figure]:
    """Return name → figure; the same facts give the same figures."""
    return {
        "rows": _rows(facts),
        "missing": _missing(facts),
        "visits_per_patient": _distribution(
            facts["visits_per_patient"], "visits of a patient", "patients", PRIMARY
        ),
        "ages": _ages(facts),
        "stays": _distribution(facts["stays"], "whole days in hospital", "visits", PRIMARY_LIGHT),
        **{
            f"{kind}_per_visit": _distribution(
                facts["codes_per_visit"][kind],
                f"{findings.PLURALS[kind]} in a visit",
                "visits",
                shade,
            )
            for kind, shade in SHADES.items()
        },
        "long_tail": _long_tail(facts),
        "drugs": _drugs(facts),
        "years": _years(facts),
    }


def _rows(facts: dict) -> go.Figure:
    """Draw what became of every row: one bar a table, whole length is every row read."""
    tables = facts["tables"]
    set_aside = [
        sum(rows for why, rows in table["dropped"] if findings.is_set_aside(why))
        for table in tables
    ]
    left_out = [
        table["read"] - table["kept"] - aside
        for table, aside in zip(tables, set_aside, strict=True)
    ]
    parts = (
        ("kept", PRIMARY, [table["kept"] for table in tables]),
        ("set aside on purpose", GREY, set_aside),
        ("left out", ORANGE, left_out),
    )
    figure = _empty(ROW_HEIGHT * len(tables) + 80)
    names = [escape(table["table"]) for table in tables]
    for name, shade, rows in parts:
        if not any(rows):
            continue
        figure.add_bar(
            name=name,
            orientation="h",
            y=names,
            x=[
                part / table["read"] if table["read"] else 0
                for part, table in zip(rows, tables, strict=True)
            ],
            marker={"color": shade, "line": {"width": 0}},
            customdata=[
                [f"{part:,}", share(part, table["read"])]
                for part, table in zip(rows, tables, strict=True)
            ],
            hovertemplate="%{y}<br>%{customdata[0]} rows, %{customdata[1]}<extra>" + name
            + "</extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack")
    _list(figure, len(tables))
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    return _legend(figure)


def _missing(facts: dict) -> go.Figure:
    """Draw the share of empty values, the largest on top."""
    rows = sorted(
        (row for row in facts["missing"] if row["rows"]),
        key=lambda row: (-row["missing"] / row["rows"], row["field"]),
    )
    figure = _empty(ROW_HEIGHT * len(rows) + 50)
    shares = [row["missing"] / row["rows"] for row in rows]
    figure.add_bar(
        orientation="h",
        y=[findings.FIELDS[row["field"]] for row in rows],
        x=shares,
        marker={
            "color": [ORANGE if findings.asks_for_a_look(row) else PRIMARY_LIGHT for row in rows],
            "line": {"width": 0},
        },
        text=[_empty_share(row) for row in rows],
        textposition="outside",
        textfont={"color": MUTED, "size": 12},
        cliponaxis=False,
        customdata=[[f"{row['missing']:,}", f"{row['rows']:,}", row["of"]] for row in rows],
        hovertemplate="%{y}<br>missing for %{customdata[0]} of %{customdata[1]} "
        "%{customdata[2]}<extra></extra>",
    )
    _list(figure, len(rows))
    figure.update_xaxes(range=[0, max(*shares, 0.1) * 1.18], tickformat=".0%", nticks=6)
    return figure


def _distribution(counts: dict, what: str, of: str, shade: str) -> go.Figure:
    figure = _empty()
    most = counts["most"]
    numbers = [number for number, _ in counts["counts"]]
    last = max(numbers, default=0)
    labels = [f"{number} or more" if number == most else f"{number}" for number in numbers]
    figure.add_bar(
        x=numbers,
        y=[times for _, times in counts["counts"]],
        marker={
            "color": [INK if number == counts["median"] else shade for number in numbers],
            "line": {"width": 0},
        },
        customdata=labels,
        hovertemplate="%{customdata} " + what + "<br>%{y:,} " + of + "<extra></extra>",
    )
    step = max(1, 5 * round(last / 40)) if last > 20 else 2 if last > 12 else 1
    ticks = [number for number in range(0, last + 1, step) if number or 0 in numbers]
    figure.update_xaxes(
        tickvals=ticks,
        ticktext=[f"{tick}+" if tick == most else f"{tick}" for tick in ticks],
        title_text=what,
        range=[min(numbers, default=0) - 0.6, last + 0.6],
    )
    figure.update_yaxes(title_text=of, tickformat=",d", rangemode="tozero")
    if counts["median"] is not None:
        _note(figure, f"median {counts['median']}")
    return figure


def _ages(facts: dict) -> go.Figure:
    figure = _empty()
    bands = facts["ages"]["bands"]
    for sex, name, shade in (
        ("F", "women", VIOLET),
        ("M", "men", PRIMARY),
        ("unknown", "sex not known", GREY),
    ):
        if any(band[sex] for band in bands):
            figure.add_bar(
                name=name,
                x=[band["band"] for band in bands],
                y=[band[sex] for band in bands],
                marker={"color": shade, "line": {"width": 0}},
                hovertemplate="aged %{x}<br>%{y:,} visits<extra>" + name + "</extra>",
            )
    figure.update_layout(barmode="group", bargroupgap=0.08)
    figure.update_xaxes(type="category", title_text="age at admission, years")
    figure.update_yaxes(title_text="visits", tickformat=",d", rangemode="tozero")
    return _legend(figure)


def _long_tail(facts: dict) -> go.Figure:
    figure = _empty(290)
    for kind, shade in SHADES.items():
        codes = facts["codes"][kind]
        if not codes["rows"]:
            continue
        places = [place for place, _ in codes["held_by"]]
        figure.add_scatter(
            name=findings.PLURALS[kind],
            mode="lines+markers",
            x=places,
            y=[held / codes["rows"] for _, held in codes["held_by"]],
            line={"color": shade, "width": 2},
            marker={"size": 5},
            customdata=[f"{place:,}" for place in places],
            hovertemplate="the %{customdata} most frequent hold %{y:.0%}<extra>"
            + findings.PLURALS[kind]
            + "</extra>",
        )
    figure.update_xaxes(
        type="log",
        title_text="so many of the most frequent codes …",
        tickvals=[1, 10, 100, 1_000, 10_000],
        ticktext=["1", "10", "100", "1,000", "10,000"],
    )
    figure.update_yaxes(title_text="… hold this part of all", range=[0, 1.03], tickformat=".0%")
    return _legend(figure)


def _drugs(facts: dict) -> go.Figure:
    figure = _empty(150)
    names = {"rows": "prescriptions", "names": "different names"}
    for kind, name, shade in (
        ("mapped", "to a medication group", PRIMARY),
        ("non_drug", "known to be no drug", GREY),
        ("unmapped", "not recognised", ORANGE),
    ):
        parts = [(facts["drugs"][what][kind], sum(facts["drugs"][what].values())) for what in names]
        figure.add_bar(
            name=name,
            orientation="h",
            y=list(names.values()),
            x=[part / whole if whole else 0 for part, whole in parts],
            marker={"color": shade, "line": {"width": 0}},
            customdata=[[f"{part:,}", share(part, whole)] for part, whole in parts],
            hovertemplate="%{customdata[0]} %{y}, %{customdata[1]}<extra>" + name + "</extra>",
        )
    figure.update_layout(barmode="stack")
    _list(figure, len(names))
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    return _legend(figure)


def _years(facts: dict) -> go.Figure:
    figure = _empty()
    years = facts["years"]
    for version, name, shade in (
        ("icd9", "ICD-9", PRIMARY_LIGHT),
        ("icd10", "ICD-10", PRIMARY),
    ):
        if any(year[version] for year in years):
            figure.add_bar(
                name=name,
                x=[year["year"] for year in years],
                y=[year[version] for year in years],
                marker={"color": shade, "line": {"width": 0}},
                customdata=[f"{year['visits']:,}" for year in years],
                hovertemplate="%{x}: %{y:,} diagnoses, %{customdata} visits<extra>"
                + name
                + "</extra>",
            )
    figure.update_layout(barmode="stack", bargap=0.15)
    figure.update_xaxes(title_text="year of admission", tickformat="d", nticks=20)
    figure.update_yaxes(title_text="diagnoses", tickformat=",d", rangemode="tozero")
    return _legend(figure)


def _empty(height: int = HEIGHT) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 16, "t": 10, "b": 8},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={
            "bgcolor": GROUND,
            "bordercolor": LINE,
            "font": {"color": INK, "size": 13, "family": FONT},
            "align": "left",
        },
        showlegend=False,
        dragmode=False,
        bargap=0.22,
    )
    axis = {
        "automargin": True,
        "fixedrange": True,
        "ticks": "",
        "zeroline": False,
        "tickfont": {"size": 12, "color": MUTED},
        "title": {"font": {"size": 12, "color": MUTED}, "standoff": 8},
    }
    figure.update_xaxes(showgrid=False, linecolor=LINE, showline=True, **axis)
    figure.update_yaxes(gridcolor=LINE, griddash="dot", **axis)
    return figure


def _list(figure: go.Figure, rows: int) -> None:
    """Make the bars a list: the first on top, names in ink, lines down instead of across."""
    figure.update_yaxes(
        type="category",
        range=[rows - 0.5, -0.5],
        showgrid=False,
        tickfont={"size": 13, "color": INK},
        ticksuffix="  ",
    )
    figure.update_xaxes(showgrid=True, gridcolor=LINE, griddash="dot", showline=False)


def _legend(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "traceorder": "normal",
            "font": {"size": 12},
            "itemclick": False,
            "itemdoubleclick": False,
        },
        margin={"l": 8, "r": 16, "t": 34, "b": 8},
    )
    return figure


def _note(figure: go.Figure, text: str) -> None:
    """Write a line in the upper right corner, in the colour of the bar that it speaks of."""
    figure.add_annotation(
        x=1,
        xref="paper",
        xanchor="right",
        y=1,
        yref="paper",
        yanchor="top",
        showarrow=False,
        text=f"<b>{text}</b>",
        font={"size": 12, "color": INK},
        bgcolor="rgba(255,255,255,.8)",
    )


def _empty_share(row: dict) -> str:
    if not row["missing"]:
        return "none"
    return f"{share(row['missing'], row['rows'])}  ({row['missing']:,})"
