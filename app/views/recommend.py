"""Recommend: one visit, what the models read of it, and what teacher and student answer.

Nothing here waits for the teacher. The student's answer is drawn at once; a fragment that draws
nothing looks a few times a second whether there is more, and then the page is drawn again.
"""

from collections.abc import Callable

import streamlit as st

from app import identity, session, style, terms, trail
from app.widgets import (
    agreement,
    answer_summary,
    decision_panel,
    notice,
    patient_header,
    prediction_set,
    probability_chart,
    prompt_panel,
    recommendation_table,
    second_look,
    skeleton,
    timeline,
    visit_record,
)
from engine.errors import WorkbenchError
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.terminology import atc

SHOWN_VISITS = 5  # other visits listed before one asks for all
WIDE_ENOUGH = 540  # pixels a column needs before chart and table stand side by side
LOOK_EVERY = 0.25  # seconds between two looks for the teacher's answer
READING, LOADING = "reading the record …", "being loaded, once after the start …"
VISITS_HELP = (
    "Each bar is a stay, as wide and as high as it was long. Click one to read that visit."
)
SORT_LABEL = {"teacher": "Teacher", "student": "Student", "agreement": "Agreement"}


def show() -> None:
    """Draw the page."""
    actor = identity.guard("recommend")
    cohort = session.cohort()
    patient_id = session.chosen_patient()
    if patient_id is None:
        _draw_no_patient()
        return
    visits = cohort.visits(patient_id)
    trail.patient_opened(actor, cohort, patient_id)  # or the patient is not shown
    visit = _choose_visit(visits)
    decided = decision_panel.saved_by_visit(actor, cohort, visits)
    draw_timeline = _draw_visits(cohort, visits, visit, decided)
    seen = _draw_models(actor, cohort, visit, draw_timeline)
    _draw_other_visits(cohort, visits, visit)
    if not all(seen):
        session.ask_teacher(cohort, visit)  # last, so that it does not slow what can be drawn now
        _look_for_more(cohort, visit, seen)


def _draw_no_patient() -> None:
    st.title("Recommend", anchor=False)
    notice.empty(
        "No patient is open.",
        ["Find one on the Patients page and click it.", "A reload of the page closes the patient."],
    )
    if st.button("Find a patient", type="primary", icon=":material/search:"):
        st.switch_page("views/patients.py")


# ---------------------------------------------------------------- the patient


def _choose_visit(visits: list[Visit]) -> Visit:
    """Return the visit chosen in this session, by default the latest."""
    chosen = st.session_state.get("visit_id")
    return next((visit for visit in visits if visit.visit_id == chosen), visits[-1])


def _draw_visits(
    cohort: Cohort, visits: list[Visit], visit: Visit, decided: dict[str, str]
) -> Callable[[], None]:
    """Draw who it is; return what fills the places kept free for the visits.

    A browser takes as long for these as for the models' chart, which is waited for.
    """
    patient_header.draw(visit, visits, cohort.split_of(visit.patient_id))
    notice.decision_support()
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        st.subheader("Visits", anchor=False, width="content", help=VISITS_HELP)
        st.html(timeline.legend(bool(decided)), width="stretch")
        chooser = st.container(key="visit-place", width=400)
    place = st.container(key="timeline-place")
    visit_record.draw_leading(visit, cohort.title)
    record = st.expander(f"This visit in full: {visit_record.count(visit)}")

    def fill() -> None:
        with chooser:
            _draw_visit_chooser(visits, visit)
        _draw_timeline(place, cohort, visits, visit, decided)
        with record:
            visit_record.draw(visit, cohort.title, atc.name)

    return fill


def _draw_timeline(
    place, cohort: Cohort, visits: list[Visit], visit: Visit, decided: dict[str, str]
) -> None:
    place.plotly_chart(
        timeline.figure(visits, visit.visit_id, cohort.title, atc.name, decided),
        key="timeline",
        config=style.CHART_CONFIG,
        theme=None,
        on_select=_take_clicked_visit,
        selection_mode="points",
        alt="Visits of this patient on a time axis",
    )


def _draw_visit_chooser(visits: list[Visit], visit: Visit) -> None:
    labels = {other.visit_id: patient_header.visit_label(other) for other in reversed(visits)}
    labels[visits[-1].visit_id] += " (latest)"
    st.session_state["visit_choice"] = visit.visit_id  # a click on the timeline may have moved it
    st.selectbox(
        "Visit",
        list(labels),
        format_func=labels.get,
        key="visit_choice",
        on_change=_take_chosen_visit,
        width=400,
        label_visibility="collapsed",
    )


def _take_chosen_visit() -> None:
    st.session_state["visit_id"] = st.session_state["visit_choice"]


def _take_clicked_visit() -> None:
    points = st.session_state["timeline"].selection.points
    if points:
        st.session_state["visit_id"] = points[0]["customdata"][0]


def _draw_other_visits(cohort: Cohort, visits: list[Visit], visit: Visit) -> None:
    others = [other for other in reversed(visits) if other.visit_id != visit.visit_id]
    if not others:
        return
    st.subheader("Other visits", anchor=False)
    shown = others[:SHOWN_VISITS]
    if len(others) > SHOWN_VISITS and st.toggle(f"Show all {len(others)}", key="all_visits"):
        shown = others
    for other in shown:
        with st.expander(style.literal(visit_record.title(other))):
            visit_record.draw(other, cohort.title, atc.name)


# ---------------------------------------------------------------- the models


def _draw_models(actor: Actor, cohort: Cohort, visit: Visit, then: Callable[[], None]) -> tuple:
    """Draw what the models have answered so far, and `then` what can wait for that.

    Returns the progress that this is drawn from.
    """
    by, options = _ask_order()
    try:
        models = session.models()  # once: another pair may be put in use while the page is drawn
        seen = session.progress(cohort, visit, models)
        recommender = session.recommender(models)
    except WorkbenchError as error:
        notice.error(str(error), title="The models cannot be asked")
        st.button("Load the models again", on_click=session.load_again, icon=":material/replay:")
        then()
        return ()
    if recommender is None:
        skeleton.draw(f"The models are {LOADING}")
        then()
        return seen
    with options:
        with_sets = _ask_for_sets(recommender.pair)
    answers = [recommender.ask(cohort, visit, "student")]
    waiting = ""
    try:
        teacher = session.teacher_answer(cohort, visit, models)
        if teacher is None:
            waiting = READING if models.teacher.done() else LOADING
        else:
            answers.append(teacher)
    except WorkbenchError as error:
        _draw_teachers_failure(error)
    said = recommender.combine(visit, answers)
    trail.recommendation_shown(actor, cohort, visit, said)  # or it is not
    _draw_answer(cohort, visit, recommender, said, by, with_sets, waiting)
    then()
    if note := session.pick_up_note():
        st.caption(style.literal(note))
    second_look.draw(actor, cohort, visit, recommender, said)
    _draw_prompt(cohort, visit, models)
    return seen


@st.fragment(run_every=LOOK_EVERY)
def _look_for_more(cohort: Cohort, visit: Visit, seen: tuple) -> None:
    """Draw the page again as soon as there is more to draw than what was seen."""
    with session.faults_shown():
        if session.progress(cohort, visit) != seen:
            st.rerun()


def _draw_teachers_failure(error: WorkbenchError) -> None:
    notice.error(str(error), title="The teacher cannot be asked; this is the student's answer")
    st.button("Ask the teacher again", on_click=session.forget_question, icon=":material/replay:")


def _ask_order():
    """Return how the rows are to be sorted, and a place beside that question for others."""
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        words = terms.explain("Teacher", "Student", "Threshold", "Agreement")
        st.subheader("Teacher and student", anchor=False, width="stretch", help=words)
        options = st.container(width="content")
        st.html('<span class="wb-muted wb-small">sorted by</span>', width="content")
        by = st.segmented_control(
            "Sorted by",
            agreement.SORTS,
            format_func=SORT_LABEL.get,
            default="teacher",
            required=True,
            key="sort",
            persist_state="session",
            label_visibility="collapsed",
        )
    return by, options


def _ask_for_sets(pair) -> bool:
    """Ask whether to show the prediction sets, of models that have them."""
    if not _has_sets(pair):
        return False
    return st.toggle(
        "Show the prediction set",
        key="prediction_set",
        persist_state="session",
        help=terms.explain("Prediction set"),
    )


def _has_sets(pair) -> bool:
    return any(pair.calibration[model].prediction_set for model in prediction_set.MODELS)


def _draw_prompt(cohort: Cohort, visit: Visit, models) -> None:
    st.subheader("What the teacher reads", anchor=False, help=terms.explain("Token"))
    try:
        prompt = session.prompt(cohort, visit, models)
    except WorkbenchError as error:
        notice.error(str(error), title="The prompt cannot be shown")
        return
    if prompt is None:
        skeleton.draw(f"The teacher is {LOADING}", lines=5)
    else:
        prompt_panel.draw(prompt.text, prompt.tokens, prompt.omitted)


def _draw_answer(
    cohort: Cohort, visit: Visit, recommender, said, by: str, with_sets: bool, waiting: str
) -> None:
    """Draw the cards, the chart and the table of one recommendation, in the order asked for."""
    sets = said.prediction_sets if with_sets else None
    answer_summary.draw(said, visit, waiting)
    rows = agreement.ordered(said.rows, said.thresholds, by)
    trained_on = recommender.pair.manifest["cohort"]["fingerprint"]
    split = cohort.split_of(visit.patient_id)
    if rows:
        known = answer_summary.acquaintance(trained_on, cohort.fingerprint, split)
        _draw_rows(rows, said.thresholds, known, sets, bool(waiting))
    else:
        st.info("Neither model reaches its threshold for any medication group.")
    if sets:
        trained_here = trained_on == cohort.fingerprint
        prediction_set.draw(said, visit, atc.name, trained_here, split)
    if rows:
        _draw_remarks(visit, said, recommender.vocabulary)
    if not _has_sets(recommender.pair):
        st.caption(prediction_set.ABSENT)


def _draw_rows(
    rows, thresholds: dict[str, float], known: str, sets: dict | None, waiting: bool
) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(agreement.legend(rows, thresholds), width="stretch")
        st.html(known, width="content")
    chart = probability_chart.figure(rows, thresholds, waiting)
    with st.grid(2, min_column_width=WIDE_ENOUGH):
        st.plotly_chart(
            chart,
            key="probabilities",
            config=style.CHART_CONFIG,
            theme=None,
            alt="Probabilities of teacher and student for each medication group",
        )
        recommendation_table.draw(rows, thresholds, chart.layout.height, sets, waiting)


def _draw_remarks(visit: Visit, said, vocabulary) -> None:
    """Say what neither model proposed though it was given, and which codes are new to them."""
    missed = answer_summary.missed(said, visit)
    if missed and said.latency_ms.get("teacher") is not None:
        st.caption(
            f"Given during this visit, proposed by neither model: {style.literal(_names(missed))}."
        )
    unseen = answer_summary.unseen(vocabulary, visit)
    if unseen:
        st.caption(
            "Codes that did not occur in training, so the student cannot tell them apart; the "
            f"teacher reads their names: {style.literal(', '.join(unseen))}."
        )


def _names(groups: list[str]) -> str:
    return ", ".join(f"{atc.name(group)} ({group})" for group in groups)


if __name__ == "__main__":
    show()
