"""A patient's visits on a time axis: when, how long, and how much was recorded."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from textwrap import shorten

import plotly.graph_objects as go

from app import style
from app.widgets.patient_header import admission, day, stay, stay_days
from engine.palette import LATER, PAST
from engine.records.schema import Visit

HEIGHT = 150
NAMED = 4  # diagnoses and medication groups named when a bar is hovered
LOWEST = 0.06  # of the longest stay: a lower bar gets a dot
DECISION_ABOVE = 0.14  # of the longest stay: how far over its bar a saved decision is marked
NARROWEST = 110  # a bar is at least this fraction (1/110) of the axis, or it could not be seen


def figure(
    visits: list[Visit],
    chosen: str,
    code_title: Callable[[str, str], str],
    group_name: Callable[[str], str],
    decided: Mapping[str, str] | None = None,
) -> go.Figure:
    """Return the timeline of `visits` (oldest first) with the visit id `chosen` in colour.

    A bar starts at admission and is as wide and as high as the stay is long; each carries its
    visit id as `customdata`, and names its leading diagnoses and medication groups when hovered.

    Args:
        code_title: maps ("diagnosis" | "procedure", code) to a name.
        group_name: maps a medication group to its name.
        decided: visit id → what was decided, in words, of the visits with a saved decision.
    """
    decided = decided or {}
    hovers = {
        visit.visit_id: _hover(visit, code_title, group_name, decided.get(visit.visit_id))
        for visit in visits
    }
    start, end = _range(visits)
    narrowest = (end - start) / NARROWEST
    days = [stay_days(visit) for visit in visits]
    widths = [max(timedelta(days=length or 0), narrowest) for length in days]
    chosen_at = next(visit.admit_time for visit in visits if visit.visit_id == chosen)
    timeline = style.empty_figure(HEIGHT)
    timeline.add_bar(
        x=[visit.admit_time.isoformat() for visit in visits],
        y=[length or 0 for length in days],
        width=[width.total_seconds() * 1000 for width in widths],
        offset=0,
        marker={
            "color": [_colour(visit, chosen, chosen_at) for visit in visits],
            "line": {"width": 0},
            "cornerradius": 3,
        },
        customdata=[[visit.visit_id] for visit in visits],
        hovertext=list(hovers.values()),
        hovertemplate="%{hovertext}<extra></extra>",
        textposition="none",
    )
    shorts = [
        (visit, visit.admit_time + width / 2)
        for visit, width, length in zip(visits, widths, days, strict=True)
        if (length or 0) < LOWEST * max(filter(None, days), default=1)
    ]
    timeline.add_scatter(  # a dot where the bar would be too low to be seen
        x=[middle.isoformat() for _, middle in shorts],
        y=[0] * len(shorts),
        mode="markers",
        marker={"size": 9, "color": [_colour(visit, chosen, chosen_at) for visit, _ in shorts]},
        customdata=[[visit.visit_id] for visit, _ in shorts],
        hovertext=[hovers[visit.visit_id] for visit, _ in shorts],
        hovertemplate="%{hovertext}<extra></extra>",
        cliponaxis=False,
    )
    tallest = max(filter(None, days), default=1)
    marked = [
        (visit, visit.admit_time + width / 2, (length or 0) + DECISION_ABOVE * tallest)
        for visit, width, length in zip(visits, widths, days, strict=True)
        if visit.visit_id in decided
    ]
    if marked:
        timeline.add_scatter(
            x=[middle.isoformat() for _, middle, _ in marked],
            y=[height for *_, height in marked],
            mode="markers",
            marker={"size": 9, "symbol": "diamond", "color": style.ORANGE},
            customdata=[[visit.visit_id] for visit, *_ in marked],
            hovertext=[hovers[visit.visit_id] for visit, *_ in marked],
            hovertemplate="%{hovertext}<extra></extra>",
            cliponaxis=False,
        )
    timeline.update_traces(unselected_marker_opacity=1, selected_marker_opacity=1)
    timeline.update_layout(margin={"l": 8, "r": 8, "t": 6, "b": 4}, clickmode="event+select")
    timeline.update_xaxes(
        range=[start.isoformat(), end.isoformat()],
        type="date",
        showgrid=False,
        linecolor=style.LINE,
        showline=True,
        tickfont={"color": style.MUTED},
        fixedrange=True,
        automargin=True,
    )
    timeline.update_yaxes(
        title={"text": "days", "font": {"color": style.MUTED, "size": 12}},
        gridcolor=style.LINE,
        griddash="dot",
        nticks=3,
        rangemode="tozero",
        zeroline=False,
        tickfont={"color": style.MUTED},
        fixedrange=True,
        automargin=True,
    )
    return timeline


def legend(decided: bool = False) -> str:
    """Return the key to the colours, as HTML, and to the mark of a decision where there is one."""
    keys = {"This visit": style.PRIMARY, "Earlier": PAST, "Later": LATER}
    return style.for_both(
        '<div class="wb-legend wb-small wb-muted">'
        + "".join(
            f'<span><span class="wb-key" style="background:{colour}"></span>{name}</span>'
            for name, colour in keys.items()
        )
        + f'<span><span style="color:{style.ORANGE}">◆</span> Decision saved</span>' * decided
        + "</div>"
    )


def _range(visits: list[Visit]):
    first = visits[0].admit_time
    last = max(visit.discharge_time or visit.admit_time for visit in visits)
    margin = max((last - first) * 0.03, timedelta(days=15))
    return first - margin, max(last, visits[-1].admit_time) + margin


def _colour(visit: Visit, chosen: str, chosen_at) -> str:
    if visit.visit_id == chosen:
        return style.PRIMARY
    return PAST if visit.admit_time <= chosen_at else LATER


def _hover(
    visit: Visit,
    code_title: Callable[[str, str], str],
    group_name: Callable[[str], str],
    decided: str | None,
) -> str:
    procedures = len(visit.procedures)
    return "<br>".join(
        [
            f"<b>{day(visit.admit_time)}</b> · {stay(visit)} · {style.text(admission(visit))}",
            *_named(
                "diagnosis", "diagnoses", [code_title("diagnosis", c) for c in visit.diagnoses]
            ),
            "1 procedure" if procedures == 1 else f"{procedures} procedures",
            *_named(
                "medication group",
                "medication groups",
                [group_name(group) for group in visit.medications],
            ),
            *([f"◆ {style.text(decided)}"] if decided else []),
        ]
    )


def _named(singular: str, plural: str, names: list[str]) -> list[str]:
    """Return a count and the first names, one a line."""
    lines = [f"<b>{len(names)} {singular if len(names) == 1 else plural}</b>"]
    lines += [f"  {style.text(shorten(name, 60, placeholder=' …'))}" for name in names[:NAMED]]
    return lines + ["  …"] * (len(names) > NAMED)
