"""A retraining run as it goes: the chain of stages, how far it is, its curves and its log."""

import re
from datetime import UTC, datetime

import plotly.graph_objects as go

from app import style
from engine.palette import BLUE, LINE, MUTED, PRIMARY, PRIMARY_LIGHT

STAGES = {  # what a stage is called, and what happens in it, in plain words
    "snapshot": ("Snapshot", "Records and recipe are copied, so that later changes do not matter."),
    "teacher": ("Teacher", "The language model learns which groups go with which visit."),
    "hidden states": ("Hidden states", "The teacher reads every visit once more, for the student."),
    "student": ("Student", "The small model learns from the records and from the teacher."),
    "evaluate": ("Evaluate", "Candidate and champion answer the same test visits."),
    "register": ("Register", "The finished pair is sealed and kept as a candidate."),
}
STATUS = {  # how a run stands: words, kind of badge
    "queued": ("waiting", ""),
    "running": ("running", "strong"),
    "interrupted": ("interrupted", "warn"),
    "cancelled": ("cancelled", ""),
    "failed": ("failed", "warn"),
    "finished": ("finished", "strong"),
}
CHART_HEIGHT = 250  # pixels
SMOOTHED = 20  # steps that the line through the losses is a mean of
SHORTEST = 5  # steps that a curve has room for, so that no two ticks say the same
LOG_LINES = 200  # of the log's end
BAR = re.compile(r"\d+%\|")  # as tqdm draws them
GIGABYTE = 1e9


def status_badge(status: str) -> str:
    """Return a run's status as a small label, HTML."""
    return style.badge(*STATUS.get(status, (status, "")))


def stages(found, status: str) -> str:
    """Return the chain of stages as HTML: (name, state, seconds) in their order.

    The stage at which a run has stopped is marked as such.
    """
    items, open_seen = [], False
    for name, state, seconds in found:
        title, meaning = STAGES.get(name, (name.capitalize(), ""))
        kind, mark, beneath = "waiting", "", ""
        if state == "done":
            kind, mark = "done", "✓"
            beneath = duration(seconds)
        elif not open_seen:
            open_seen = True
            if status == "running":
                kind, mark, beneath = "running", "", duration(seconds)
            elif status in ("failed", "interrupted", "cancelled"):
                kind, mark, beneath = "stopped", "!", STATUS[status][0]
        said = {"done": "done", "running": "running", "stopped": "stopped here"}.get(
            kind, "to come"
        )
        items.append(
            f'<li class="{kind}" title="{style.text(meaning)}">'
            f'<span class="dot" aria-hidden="true">{mark}</span>'
            f'<span class="name">{style.text(title)}</span>'
            f'<span class="beneath wb-number">{beneath or "&nbsp;"}</span>'
            f'<span class="wb-hidden">{said}</span></li>'
        )
    return f'<ol class="wb-stages" aria-label="Stages of this run">{"".join(items)}</ol>'


def share_done(progress) -> float:
    """Return how much of the part at work is done, 0 to 1."""
    if not progress.steps or progress.step is None:
        return 0.0
    return min(max(progress.step / progress.steps, 0.0), 1.0)


def words(progress) -> str:
    """Return in one line which step of how many is done, and how long the rest will take."""
    if progress.stage is None:
        return "Every stage is done."
    title, meaning = STAGES.get(progress.stage, (progress.stage.capitalize(), "at work"))
    part = getattr(progress, "part", None)
    if part and part != progress.stage:
        title = part.replace("_", " ").capitalize()
    if progress.step is None or not progress.steps:
        return f"{title}: {meaning[:1].lower()}{meaning[1:]}"
    line = f"{title}: step {progress.step:,} of {progress.steps:,}"
    if progress.eta_seconds is not None:
        line += f", about {duration(progress.eta_seconds)} left"
    return line


def facts(progress, totals: dict[str, int | None] | None = None) -> str:
    """Return the memory in use as HTML; `totals` are the bytes there are, by "rss" and "gpu"."""
    totals = totals or {}
    memory = progress.memory or {}
    gpu = memory.get("gpu")
    shown = {"Memory in use": _of(memory.get("rss"), totals.get("rss"))}
    if gpu is not None:
        shown["GPU memory in use"] = _of(gpu, totals.get("gpu"))
    elif memory:
        shown["GPU memory in use"] = "none, no GPU"
    return '<div class="wb-facts">' + "".join(fact(*pair) for pair in shown.items()) + "</div>"


def fact(label: str, value: str) -> str:
    """Return one labelled value as HTML."""
    return (
        f'<div class="wb-fact"><div class="label">{style.text(label)}</div>'
        f'<div class="value">{style.text(value)}</div></div>'
    )


def loss_figure(curve) -> go.Figure:
    """Return the loss of every logged (step, loss), with a running mean through it."""
    chart = _curve_figure("Training loss, lower is better", curve)
    steps, losses = [step for step, _ in curve], [loss for _, loss in curve]
    crowded = len(curve) > SMOOTHED
    chart.add_scatter(
        x=steps,
        y=losses,
        mode="lines" if len(curve) > 1 else "markers",
        line={"color": PRIMARY_LIGHT if crowded else PRIMARY, "width": 1.2 if crowded else 2},
        marker={"color": PRIMARY},
        hovertemplate="step %{x}<br>loss %{y:.4f}<extra></extra>",
    )
    if crowded:
        chart.add_scatter(
            x=steps,
            y=_running_mean(losses),
            mode="lines",
            line={"color": PRIMARY, "width": 2.4},
            hoverinfo="skip",
        )
    return chart


def validation_figure(points) -> go.Figure:
    """Return the PRAUC on the validation visits, (step, PRAUC), as it grew."""
    chart = _curve_figure("Validation PRAUC, higher is better", points)
    chart.add_scatter(
        x=[step for step, _ in points],
        y=[value for _, value in points],
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"color": BLUE, "size": 7},
        hovertemplate="step %{x}<br>PRAUC %{y:.3f}<extra></extra>",
    )
    return chart


def log(lines) -> str:
    """Return the end of a log as text, the newest line first, without its progress bars."""
    said = [line for line in lines if not BAR.search(line)]
    return "\n".join(reversed(said[-LOG_LINES:]))


def duration(seconds: float | None) -> str:
    """Return seconds as a person says them: `45 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def moment(at: datetime | str | None) -> str:
    """Return a time as `21 Nov 2026, 00:31 UTC`; a dash where there is none."""
    if not at:
        return "–"
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def gigabytes(count: float | None) -> str:
    """Return bytes in GB; a dash where they are not known."""
    return "–" if count is None else f"{count / GIGABYTE:,.1f} GB"


def _of(used: float | None, total: float | None) -> str:
    if used is None:
        return "–"
    return f"{gigabytes(used)} of {gigabytes(total)}" if total else gigabytes(used)


def _curve_figure(title: str, points) -> go.Figure:
    chart = style.empty_figure(CHART_HEIGHT)
    chart.update_layout(
        title={"text": title, "font": {"size": 13, "color": MUTED}, "x": 0, "xref": "paper"},
        margin={"l": 8, "r": 12, "t": 34, "b": 8},
        uirevision=title,  # a new point does not throw the reader's view away
    )
    axis = {
        "gridcolor": LINE,
        "griddash": "dot",
        "zeroline": False,
        "tickfont": {"color": MUTED},
        "fixedrange": True,
        "automargin": True,
    }
    last = max((step for step, _ in points), default=0)
    chart.update_xaxes(**axis, tickformat=",d", nticks=6, range=[0, max(last * 1.02, SHORTEST)])
    chart.update_yaxes(**axis, nticks=6)
    return chart


def _running_mean(values: list[float]) -> list[float]:
    """Return the mean of each value and its neighbours on both sides."""
    reach = SMOOTHED // 2
    parts = (values[max(0, place - reach) : place + reach + 1] for place in range(len(values)))
    return [sum(part) / len(part) for part in parts]
