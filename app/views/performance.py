"""Performance: how good the version in use was measured to be, for whom, and what users make of it.

Everything measured comes from the version's own files; what was not measured says so.
"""

from functools import partial

import pandas as pd
import streamlit as st

from app import identity, performance_figures, session, style, terms
from app.widgets import notice
from engine.decisions import Decisions
from engine.errors import WorkbenchError
from engine.evaluation import drift, reliability
from engine.files import read_json
from engine.installation import Installation
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.registry.history import with_history
from engine.registry.pair import CARD, METRICS, Pair, open_pair
from engine.registry.versions import Registry
from engine.terminology import atc

MODELS = {"teacher": "Teacher", "student": "Student", "student_undistilled": "Not distilled"}
GROUPS = {"overall": "Overall", "first_visit": "First visits", "returning": "Returning patients"}
METRICS_SHOWN = {"prauc": "PRAUC", "jaccard": "Jaccard", "f1": "F1", "medications": "Medications"}
LEADING = ("prauc", "jaccard")  # not folded
ANSWERING = {"teacher": "Teacher", "student": "Student"}  # the models whose answers are read
WORDS = (
    "PRAUC: how well the groups that were given are ranked before the others, 0 to 1. Jaccard: of "
    "what is recommended or given, the share that is both. Brackets: 95 % intervals over patients."
)
IN_USE, EVERY = "in use", "every"  # whose decisions are counted
READING = {"stable": "● stable", "some change": "▲ some change", "large change": "■ large change"}


def show() -> None:
    """Draw the page."""
    actor = identity.guard("see performance")
    try:
        pair = _pair(str(session.pair_folder()))
        metrics = read_json(pair.folder / METRICS, "restore the version's folder")
    except WorkbenchError as error:
        notice.error(str(error), title="The version in use cannot be read")
        return
    _draw_head(pair)
    measured, people, inputs, use, card = st.tabs(
        ["Measured", "Groups of patients", "Inputs today", "In use", "Model card"],
        key="performance",
        on_change="rerun",
    )
    evaluations = metrics.get("evaluations", {})
    if measured.open:
        with measured:
            _draw_measured(evaluations)
    if people.open:
        with people:
            _draw_groups(evaluations)
    if inputs.open:
        with inputs:
            _draw_drift(metrics.get("inputs"))
    if use.open:
        with use:
            _draw_use(actor, pair.manifest["version"])
    if card.open:
        with card:
            st.markdown(_card(pair).replace("![", "["))  # no picture is fetched from elsewhere


def _card(pair: Pair) -> str:
    """Return the version's card, with what this installation knows of its history."""
    text = (pair.folder / CARD).read_text(encoding="utf-8")
    registry = Registry(Installation.current())
    return with_history(text, registry, pair.manifest["version"])


def _draw_head(pair: Pair) -> None:
    facts = pair.manifest
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Performance", anchor=False, width="stretch")
        st.download_button(
            "Model card",
            partial(_card, pair),  # asks the registry: at a press, not at every drawing
            f"card-{facts['version']}.md",
            "text/markdown",
            icon=":material/download:",
            on_click="ignore",
        )
    cohort = facts["cohort"]
    st.html(
        f'<div class="wb-muted">In use: <b>{style.text(facts["version"])}</b>, trained '
        f"{style.text(facts['created'][:10])} on {cohort['training_visits']:,} visits of "
        f"{cohort['training_patients']:,} patients.</div>"
    )


# ---------------------------------------------------------------- measured


def _draw_measured(evaluations: dict) -> None:
    name, report = _choose(evaluations, "measured")
    if report is None:
        return
    st.caption(WORDS)
    for metric in LEADING:
        _draw_metric(report, metric)
    with st.expander("F1 and the number of medications"):
        for metric in METRICS_SHOWN:
            if metric not in LEADING:
                _draw_metric(report, metric)
    rates = [
        f"{MODELS.get(model, model)} {found['overall']['interaction_rate']['mean']:.4f}"
        for model, found in report["models"].items()
        if model in MODELS and "interaction_rate" in found["overall"]
    ]
    prescribed = report["counts"]["overall"].get("interaction_rate")
    if rates and prescribed is not None:
        st.caption(
            f"Interacting pairs: {', '.join(rates)}; as prescribed {prescribed:.4f}.",
            help=terms.explain("Interacting pairs"),
        )
    if agreement := report.get("agreement"):
        st.caption(
            f"Teacher and student propose the same: {agreement['mean']:.2f} of what either "
            f"proposes ({agreement['low']:.2f}–{agreement['high']:.2f})."
        )
    st.markdown(
        "**Calibration: does what a model says come true?**", help=terms.explain("Calibration")
    )
    bins = {model: bins for model, bins in report["reliability"].items() if model in ANSWERING}
    st.plotly_chart(
        reliability.diagram(bins, ANSWERING),
        key="reliability",
        theme=None,
        config=style.CHART_CONFIG,
        alt="Reliability diagram: the share that was given over the probability",
    )
    settings = report["settings"]
    st.caption(
        style.literal(
            f"{name}: {report['counts']['overall']['visits']} visits of "
            f"{report['counts']['overall']['patients']} patients; {settings['date']}; "
            f"{settings['hardware']}; {settings['command']}"
        )
    )


def _draw_metric(report: dict, metric: str) -> None:
    title = METRICS_SHOWN[metric]
    st.markdown(f"**{title}**", help=terms.explain(title) if title in terms.TERMS else None)
    st.dataframe(
        _metric_table(report, metric), hide_index=True, alt=f"{METRICS_SHOWN[metric]} by model"
    )


def _choose(evaluations: dict, key: str) -> tuple[str, dict | None]:
    if not evaluations:
        notice.empty(
            "This version was not evaluated yet.",
            ["python -m engine evaluate COHORT --output FILE --card NAME measures it."],
        )
        return "", None
    name = st.selectbox("Measured on", list(evaluations), key=f"evaluation-{key}", width=460)
    return name, evaluations[name]


def _metric_table(report: dict, metric: str) -> pd.DataFrame:
    rows = []
    for model, found in report["models"].items():
        title = MODELS.get(model) or model.replace("_", " ").capitalize()
        cells = [_interval(found[group].get(metric), metric) for group in GROUPS]
        rows.append([title, *cells])
    return pd.DataFrame(rows, columns=["Model", *GROUPS.values()])


def _draw_groups(evaluations: dict) -> None:
    _, report = _choose(evaluations, "groups")
    if report is None:
        return
    groups = report.get("demographics")
    if not groups:
        notice.empty(
            "No figures by group in this evaluation.",
            ["It was made by an older program; evaluate the version again."],
        )
        return
    st.caption(f"{WORDS} Groups of fewer than ten patients are left out.")
    st.plotly_chart(
        performance_figures.by_group(groups, report["models"]),
        key="by_group",
        theme=None,
        config=style.CHART_CONFIG,
        alt="PRAUC of teacher and student by group of patients, with intervals",
    )
    with st.expander("As a table"):
        st.dataframe(_group_table(groups), hide_index=True, alt="Performance by group")
    _draw_left_out(report)


def _group_table(groups: dict) -> pd.DataFrame:
    rows = []
    for group, found in groups.items():
        row = {"Group": group.replace("_", " "), "Visits": found["visits"]}
        for model in ("teacher", "student"):
            measured = found["models"][model]
            row[f"{MODELS[model]}, PRAUC"] = _interval(measured["prauc"], "prauc")
            row[f"{MODELS[model]}, Jaccard"] = _interval(measured["jaccard"], "jaccard")
            row[f"{MODELS[model]}, calibration error"] = f"{measured['calibration_error']:.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _draw_left_out(report: dict) -> None:
    st.markdown("**What hiding race, language, insurance and sex changes**")
    found = report.get("left_out")
    if not found:
        st.caption("Not measured for this version (`evaluate --thorough` does).")
        return
    rows = [
        {
            "Model": MODELS[model],
            "Left out": row["field"],
            "Metric": METRICS_SHOWN[row["metric"]],
            "Without − with": _signed(row),
        }
        for model, rows in found.items()
        for row in rows
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Effect of leaving fields out")


# ---------------------------------------------------------------- today


def _draw_drift(expected: dict | None) -> None:
    if not expected:
        notice.empty(
            "What this version was trained on was not described.",
            ["A version trained by this program has the description; retrain, or compare by hand."],
        )
        return
    cohort = session.cohort()
    found = drift.drift(expected, _described(cohort.fingerprint, cohort))
    st.caption(
        "How far the patients of the open cohort are from those of training, field by field: the "
        "population stability index. Below 0.10 stable, below 0.25 some change, above it a large "
        "one, which asks for an evaluation."
    )
    st.dataframe(
        pd.DataFrame(
            {
                "Field": [one.field for one in found],
                "Index": pd.Series([one.index for one in found], dtype="Float64"),
                "Reading": [READING.get(one.reading or "", "too few visits") for one in found],
                "Moved most (training → here)": [_moved(one) for one in found],
            }
        ),
        hide_index=True,
        alt="Drift of the inputs by field",
        column_config={"Index": st.column_config.NumberColumn(format="%.2f", width=80)},
    )


@st.cache_data(max_entries=4, show_spinner="Describing the patients of this cohort …")
def _described(fingerprint: str, _cohort: Cohort) -> dict:
    return drift.describe([visit for visit in _cohort.all_visits() if visit.is_labelled])


def _moved(one: drift.Drift) -> str:
    return "; ".join(
        f"{category} {before:.0%} → {now:.0%}"
        for category, before, now in one.moved
        if abs(now - before) >= 0.01
    )


def _draw_use(actor: Actor, version: str) -> None:
    names = {IN_USE: f"Version in use ({version})", EVERY: "All versions"}
    counted = st.segmented_control(
        "Decisions on answers of", names, format_func=names.get, default=IN_USE, required=True
    )
    decisions = Decisions(Installation.current())
    accepted = decisions.acceptance(actor, version if counted == IN_USE else None)
    if not accepted:
        notice.empty(
            f"Nobody has saved a decision on answers of {version} yet."
            if counted == IN_USE
            else "Nobody has saved a decision yet.",
            ["What clinicians accept, change and reject on the page Recommend is counted here."],
        )
        return
    totals = sorted(accepted.items(), key=lambda item: -sum(item[1].values()))
    table = pd.DataFrame(
        {
            "Medication group": [f"{atc.name(group)} ({group})" for group, _ in totals],
            "Decided": [sum(counts.values()) for _, counts in totals],
            "Accepted": [counts["accepted"] for _, counts in totals],
            "Changed": [counts["changed"] for _, counts in totals],
            "Rejected": [counts["rejected"] for _, counts in totals],
            "Acceptance": [counts["accepted"] / sum(counts.values()) for _, counts in totals],
        }
    )
    st.caption(
        "Of the groups that clinicians decided about, by the newest decision about each visit; "
        "what they left open is not counted."
    )
    st.dataframe(
        table,
        hide_index=True,
        alt="Acceptance by medication group",
        column_config={
            "Acceptance": st.column_config.ProgressColumn(
                format="percent", min_value=0.0, max_value=1.0
            )
        },
    )


@st.cache_data(max_entries=4, show_spinner=False)
def _pair(folder: str) -> Pair:
    return open_pair(folder)


def _interval(value: dict | None, metric: str) -> str:
    if not value or value["mean"] is None:
        return "not measured"
    digits = 1 if metric == "medications" else 2
    if value["low"] is None:
        return f"{value['mean']:.{digits}f}"
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f}–{value['high']:.{digits}f})"


def _signed(row: dict) -> str:
    if row["low"] is None:
        return "not measured"
    cells = [f"{row[part]:+.3f}".replace("-", "−") for part in ("difference", "low", "high")]
    return f"{cells[0]} ({cells[1]} to {cells[2]})"


if __name__ == "__main__":
    show()
