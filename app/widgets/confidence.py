"""A probability in words that its calibration backs, and how good the model is for such patients.

Both come from the version's own measurements; what was not measured says so.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app import style
from engine.records.cohort import Cohort
from engine.records.schema import Visit, age_band

if TYPE_CHECKING:  # brings SciPy, which no page waits for
    from engine.registry.pair import Pair

FEWEST_PAIRS = 50  # in a bin of the reliability diagram, below which nothing is promised


def draw(pair: "Pair", cohort: Cohort, visit: Visit, model: str, probability: float | None) -> None:
    """Draw what a probability is worth, and the measured performance for this kind of patient."""
    if probability is None:
        st.html('<p class="wb-muted wb-small">No answer for this group.</p>')
        return
    version = pair.manifest["version"]
    name, report = _measured(str(pair.folder), version, cohort.fingerprint)
    lines = [f"<b>{probability:.2f}</b>: {style.text(in_words(report, model, probability))}"]
    lines += [style.text(line) for line in for_such_patients(report, model, visit)]
    if name:
        lines.append(f'<span class="wb-muted">measured on: {style.text(name)}</span>')
    st.html(f'<div class="wb-small">{"<br>".join(lines)}</div>')


def in_words(report: Mapping | None, model: str, probability: float) -> str:
    """Return "of 100 predictions like this about 82 were prescribed", from the reliability bins."""
    bins = (report or {}).get("reliability", {}).get(model, [])
    for one in bins:
        inside = one["from"] <= probability < one["to"] or (
            one is bins[-1] and probability >= one["from"]
        )
        if inside and one["pairs"] >= FEWEST_PAIRS:
            return (
                f"of 100 predictions like this about {100 * one['observed']:.0f} were prescribed "
                f"({one['pairs']:,} measured)"
            )
    return "how often such a prediction comes true was not measured for this version"


def for_such_patients(report: Mapping | None, model: str, visit: Visit) -> list[str]:
    """Return the measured ranking quality for first or returning visits, and for the age band."""
    if not report:
        return ["Performance of this version was not measured."]
    kind = "first_visit" if visit.is_first else "returning"
    title = "first visits" if visit.is_first else "returning patients"
    lines = [_line(title, report["models"].get(model, {}).get(kind, {}).get("prauc"))]
    band = age_band(visit.age)
    found = report.get("demographics", {}).get(f"age_band: {band}", {}).get("models", {})
    if band:
        lines.append(_line(f"age {band}", found.get(model, {}).get("prauc")))
    return lines


def _line(title: str, value: Mapping | None) -> str:
    if not value or value["mean"] is None:
        return f"{title}: not measured"
    interval = "" if value["low"] is None else f" ({value['low']:.2f}–{value['high']:.2f})"
    return f"{title}: ranks what was given at {value['mean']:.2f}{interval} of 1 (PRAUC)"


@st.cache_data(max_entries=8, show_spinner=False)
def _measured(folder: str, version: str, fingerprint: str) -> tuple[str, dict | None]:
    """Return the evaluation on this cohort and its name, else the one that was added last."""
    from engine.registry.pair import METRICS

    metrics = json.loads((Path(folder) / METRICS).read_text(encoding="utf-8"))
    evaluations = metrics.get("evaluations", {})
    for name, report in evaluations.items():
        if report["settings"].get("fingerprint") == fingerprint:
            return name, report
    return next(reversed(evaluations.items()), ("", None))
