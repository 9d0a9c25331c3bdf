"""What if: change a visit, type in a patient, or read a FHIR bundle, and see what both models say.

Nothing typed here is kept.
"""

import hashlib
from contextlib import suppress
from dataclasses import replace

import pandas as pd
import streamlit as st

from app import identity, session, style, trail
from app.widgets import (
    code_picker,
    notice,
    patient_header,
    person_form,
    safety_panel,
    skeleton,
    visit_record,
)
from engine.errors import WorkbenchError
from engine.evidence import input_hash
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.records.fhir import LARGEST, FhirRecord, Remark, read_bundle
from engine.records.schema import Visit
from engine.terminology import atc
from engine.terminology.rxnorm import DrugMap
from engine.what_if import changes, edit

CHANGE = ", change"  # ends the title of a column of changes
PROPOSED = "Since the edit"
NOTICEABLE = 0.05  # of probability
LOOK_EVERY = 0.25  # seconds between two looks for the teacher's answer
STARTS = {"record": "The open patient", "form": "A new patient", "fhir": "A FHIR bundle"}
SHOWN_UNREAD = 200


def show() -> None:
    """Draw the page."""
    actor = identity.guard("recommend")
    cohort = session.cohort()
    st.title("What if", anchor=False)
    notice.decision_support()
    try:
        models = session.models()
        recommender = session.recommender(models)
    except WorkbenchError as error:
        notice.error(str(error), title="The models cannot be asked")
        return
    base = _choose_base(actor, cohort, recommender)
    if base is None:
        return
    if recommender is None:
        skeleton.draw("The models are being loaded, once after the start …")
        _look_for_more(cohort, [base], _progress(cohort, [base], models))
        return
    edited = _edit(base, recommender.vocabulary)
    if not edited.diagnoses:
        st.info("Give at least one diagnosis: without any the models have nothing to read.")
        return
    mark = f"{safety_panel.MARK}{input_hash(edited)[:16]}"
    edited = replace(edited, visit_id=f"{base.visit_id}{mark}")
    asked = _asked(base, edited)
    seen = _progress(cohort, asked, models)
    said, teacher = _ask(cohort, asked, edited, recommender, models)
    trail.what_if_shown(actor, cohort, edited, said)
    _draw_answer(cohort, base, edited, recommender, said, teacher, models)
    safety_panel.draw(edited, said)
    if not all(seen):
        session.ask_teacher(cohort, *asked)
        _look_for_more(cohort, asked, seen)


# ---------------------------------------------------------------- where it starts


def _choose_base(actor: Actor, cohort: Cohort, recommender) -> Visit | None:
    start = st.segmented_control(
        "Start from", STARTS, format_func=STARTS.get, default="record", required=True, key="start"
    )
    if start == "form":
        return person_form.ask(recommender)
    if start == "fhir":
        return _read_bundle()
    patient_id = session.chosen_patient()
    if patient_id is None:
        notice.empty(
            "No patient is open.",
            ["Open one on the page Patients, type a new one in, or read a FHIR bundle."],
        )
        return None
    trail.patient_opened(actor, cohort, patient_id)
    visits = cohort.visits(patient_id)
    chosen = st.session_state.get("visit_id")
    visit = next((one for one in visits if one.visit_id == chosen), visits[-1])
    st.caption(f"Patient {style.literal(patient_id)}, {patient_header.visit_label(visit)}")
    return visit


def _read_bundle() -> Visit | None:
    file = st.file_uploader(
        "FHIR R4 bundle of one patient (JSON)",
        type=["json"],
        key="bundle",
        max_upload_size=LARGEST // 1_000_000,
        help="Patient, Encounter, Condition, Procedure, medications and allergies are read; "
        "nothing is kept.",
    )
    if file is None:
        return None
    try:
        record = _parsed(file.getvalue().decode("utf-8"))
    except UnicodeDecodeError:
        notice.error("the file is not UTF-8 text; give the bundle as JSON")
        return None
    except WorkbenchError as error:
        notice.error(str(error), title="The bundle cannot be read")
        return None
    visit = record.visits[-1]
    visit = replace(visit, visit_id=f"fhir-{input_hash(visit)[:16]}")  # ids of bundles may meet
    visits, latest = len(record.visits), visit_record.count(visit)
    st.caption(
        f"1 visit read; it has {latest}."
        if visits == 1
        else f"{visits} visits read; the latest has {latest}."
    )
    _list_remarks("Not read", record.unread)
    _list_remarks("Assumed", record.assumed)
    if record.allergies:
        key = f"allergies-{visit.visit_id}"
        names = (name.replace(",", " ") for name in record.allergies)  # which parts them there
        st.session_state.setdefault(key, ", ".join(names))
    return visit


def _list_remarks(title: str, remarks: tuple[Remark, ...]) -> None:
    if remarks:
        with st.expander(f"{title} ({len(remarks)})"):
            for one in remarks[:SHOWN_UNREAD]:
                st.markdown(f"- {style.literal(one.what)}: {style.literal(one.why)}")


def _parsed(text: str) -> FhirRecord:
    """Read a bundle once an upload, not once a run of the page."""
    mark = hashlib.sha256(text.encode("utf-8")).hexdigest()
    known, record = st.session_state.get("read_bundle", (None, None))
    if known != mark:
        record = read_bundle(text, _drug_map())
        st.session_state["read_bundle"] = mark, record
    return record


def _drug_map() -> DrugMap | None:
    try:
        return session.drug_map()
    except WorkbenchError as error:
        notice.error(str(error), title="The drug map cannot be used; the bundle is read without")
        return None


# ---------------------------------------------------------------- the edit


def _edit(base: Visit, vocabulary) -> Visit:
    mark = base.visit_id  # not of its content: another age of a new patient keeps what was chosen
    st.subheader("This visit", anchor=False)
    with st.grid(2, min_column_width=420):
        diagnoses = code_picker.diagnoses(
            "Diagnoses", vocabulary.diagnoses, base.diagnoses, f"diagnoses-{mark}"
        )
        procedures = code_picker.procedures(
            "Procedures", vocabulary.procedures, base.procedures, f"procedures-{mark}"
        )
        past = code_picker.medications(
            "Medications before this visit", base.previous_medications, f"past-{mark}"
        )
    return edit(base, diagnoses, procedures, past)


# ---------------------------------------------------------------- the answer


def _asked(base: Visit, edited: Visit) -> list[Visit]:
    """Return what the teacher is asked about, in this order: the visit as it was, then edited."""
    if not base.diagnoses:
        return [edited]  # there is nothing to compare with
    return [base] if replace(edited, visit_id=base.visit_id) == base else [base, edited]


def _progress(cohort: Cohort, asked: list[Visit], models=None) -> tuple:
    return tuple(part for visit in asked for part in session.progress(cohort, visit, models))


def _ask(cohort: Cohort, asked: list[Visit], visit: Visit, recommender, models):
    """Return what is said so far, and the teacher's answer if it is there."""
    answers = [recommender.ask(cohort, visit, "student")]
    try:
        teacher = session.teacher_answer(cohort, asked[-1], models)
        if teacher is not None:  # of a visit that was not edited, its own answer
            teacher = replace(teacher, visit_id=visit.visit_id)
    except WorkbenchError as error:
        notice.error(str(error), title="The teacher cannot be asked; this is the student's answer")
        st.button("Ask the teacher again", on_click=session.forget_question)
        teacher = None
    return recommender.combine(visit, [*answers, teacher] if teacher else answers), teacher


def _draw_answer(
    cohort: Cohort, base: Visit, edited: Visit, recommender, said, teacher, models
) -> None:
    st.subheader("What changes", anchor=False)
    before = {"student": recommender.student_probabilities([base])[0]} if base.diagnoses else {}
    with suppress(WorkbenchError):  # said where the edited visit is asked about
        known = session.teacher_answer(cohort, base, models) if base.diagnoses else None
        if known is not None:
            before["teacher"] = recommender.pair.calibration["teacher"].probability(known.logits)
    table = _table(recommender, said, edited, before, teacher)
    waiting = said.latency_ms.get("teacher") is None
    if waiting:
        st.caption("The teacher reads the visit as it was, then as edited; its columns follow.")
    changed = [name for name in table if name.endswith(CHANGE)]
    st.dataframe(
        table.style.map(_shade, subset=changed),
        hide_index=True,
        height="content",
        placeholder="…" if waiting else "–",
        alt="Probabilities after the edit, and how far they moved from the recorded visit",
        column_config=_columns(changed),
    )
    st.caption(
        "Groups that a model proposes now or proposed before, the most changed first. Change: "
        "after the edit minus the visit as it was; bold from 0.05 on."
    )
    if unread := _left_out(teacher):
        st.caption(
            f":material/content_cut: For lack of room the teacher did not read {unread}. What is "
            "added stands last in its list and is left out first."
        )


def _left_out(teacher) -> str:
    """Return what of the present visit went over the budget of the teacher's prompt, in words."""
    omitted = teacher.omitted if teacher is not None else ()
    return " and ".join(line for line in omitted if line.endswith("of the present visit"))


def _columns(changed: list[str]) -> dict:
    column = st.column_config
    return {
        "Medication group": column.TextColumn(width=330),
        "Code": column.TextColumn(width=60),
        **{name: column.NumberColumn(format="%.2f", width=80) for name in ("Student", "Teacher")},
        **{name: column.NumberColumn(format="%+.2f", width=115) for name in changed},
        PROPOSED: column.TextColumn(width=190, help="Who proposes the group only since the edit"),
    }


def _shade(change: float | None) -> str:
    """Return how a change looks; its sign says the same without the colour."""
    if pd.isna(change) or abs(change) < NOTICEABLE:
        return f"color: {style.of_page(style.MUTED)}"
    return f"color: {style.of_page(style.PRIMARY if change > 0 else style.CARE)}; font-weight: 700"


def _table(recommender, said, edited: Visit, before: dict, teacher) -> pd.DataFrame:
    groups = recommender.vocabulary.medications
    after = {"student": recommender.student_probabilities([edited])[0]}
    if teacher is not None:
        after["teacher"] = recommender.pair.calibration["teacher"].probability(teacher.logits)
    shown: set[str] = {row.atc for row in said.rows}
    moved: dict[str, dict[str, float | None]] = {}
    for model, values in after.items():
        now = dict(zip(groups, map(float, values), strict=True))
        was = dict(zip(groups, map(float, before[model]), strict=True)) if model in before else {}
        shown |= {group for group, value in was.items() if value >= said.thresholds[model]}
        moved[model] = {change.group: change.moved if was else None for change in changes(was, now)}
    column = {group: place for place, group in enumerate(groups)}
    order = sorted(
        (group for group in shown if group in set(groups)),
        key=lambda group: (
            -round(abs(moved["student"].get(group) or 0.0), 2),
            -float(after["student"][column[group]]),
        ),
    )
    found = {
        "Medication group": [atc.name(group) for group in order],
        "Code": [group for group in order],
    }
    for model in ("student", "teacher"):
        title = model.capitalize()
        values = after.get(model)
        found[title] = pd.Series(
            [None if values is None else float(values[column[group]]) for group in order],
            dtype="Float64",
        )
        found[f"{title}{CHANGE}"] = pd.Series(
            [moved.get(model, {}).get(group) for group in order], dtype="Float64"
        )
    return pd.DataFrame(found).assign(
        **{PROPOSED: [_crossed(group, moved, after, column, said.thresholds) for group in order]}
    )


def _crossed(group: str, moved: dict, after: dict, column: dict, thresholds: dict) -> str:
    """Return "new: student; gone: teacher" for the models whose threshold the edit crossed."""
    crossed: dict[str, list[str]] = {"new": [], "gone": []}
    for model, values in after.items():
        change = moved[model].get(group)
        now = float(values[column[group]])
        if change is not None:
            is_now, was = (value >= thresholds[model] for value in (now, now - change))
            if is_now != was:
                crossed["new" if is_now else "gone"].append(model)
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in crossed.items() if names)


@st.fragment(run_every=LOOK_EVERY)
def _look_for_more(cohort: Cohort, asked: list[Visit], seen: tuple) -> None:
    """Draw the page again as soon as the teacher has answered."""
    with session.faults_shown():
        if _progress(cohort, asked) != seen:
            st.rerun()


if __name__ == "__main__":
    show()
