"""A patient's visits on a time axis: when, how long, and how much was recorded."""

from datetime import timedelta

import plotly.graph_objects as go

from app import style
from app.widgets.patient_header import admission, day, stay, stay_days
from engine.records.schema import Visit

HEIGHT = 150
LOWEST = 0.06  # of the longest stay: a lower bar gets a dot
NARROWEST = 110  # a bar is at least this fraction (1/110) of the axis, or it could not be seen


def figure(visits: list[Visit], chosen: str) -> go.Figure:
    """Return the timeline of `visits` (oldest first) with the visit id `chosen` in colour.

    A bar starts at admission and is as wide and as high as the stay is long; each carries its
    visit id as `customdata`.
    """
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
        hovertext=[_hover(visit) for visit in visits],
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
        hovertext=[_hover(visit) for visit, _ in shorts],
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


def legend() -> str:
    """Return the key to the colours, as HTML."""
    keys = {"This visit": style.PRIMARY, "Earlier": style.PAST, "Later": style.LATER}
    return (
        '<div class="wb-legend wb-small wb-muted">'
        + "".join(
            f'<span><span class="wb-key" style="background:{colour}"></span>{name}</span>'
            for name, colour in keys.items()
        )
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
    return style.PAST if visit.admit_time <= chosen_at else style.LATER


def _hover(visit: Visit) -> str:
    counts = (
        (len(visit.diagnoses), "diagnosis", "diagnoses"),
        (len(visit.procedures), "procedure", "procedures"),
        (len(visit.medications), "medication group", "medication groups"),
    )
    lines = [f"{number} {one if number == 1 else many}" for number, one, many in counts]
    head = f"<b>{day(visit.admit_time)}</b> · {stay(visit)}"
    return "<br>".join([head, style.text(admission(visit)), *lines])
