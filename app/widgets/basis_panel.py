"""What one recommended group rests on: signed bars in words, and how sure such a number is."""

from collections.abc import Callable

import streamlit as st

from app import style
from app.widgets import confidence
from engine.basis import Basis, Effect, basis, inputs_of
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.terminology import atc, icd

SHOWN_FOR, SHOWN_AGAINST = 6, 3
LEAST = 0.005  # of probability: smaller effects are rounded away
AT_ONCE = 4  # prompts between two steps of the progress bar


def draw(cohort: Cohort, visit: Visit, recommender, said) -> None:
    """Draw the basis of the group that is chosen, of the student at once."""
    columns = {row.atc: recommender.vocabulary.medication_index(row.atc) for row in said.rows}
    groups = [group for group, column in columns.items() if column is not None]
    if not groups:
        st.caption("There is no group to explain.")
        return
    group = st.selectbox(
        "Medication group",
        groups,
        format_func=lambda code: f"{atc.name(code)} ({code})",
        key="explained_group",
        width=460,
    )
    found = _of_student(cohort, visit, recommender)
    row = next(row for row in said.rows if row.atc == group)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Student**")
        confidence.draw(recommender.pair, cohort, visit, "student", row.student)
        st.html(bars(found.of(columns[group]), cohort.title))
    with right:
        st.markdown("**Teacher**")
        confidence.draw(recommender.pair, cohort, visit, "teacher", row.teacher)
        _draw_teacher(cohort, visit, recommender, columns[group])
    st.caption(
        "Each line leaves one thing out of the whole record and asks again: +0.31 means that the "
        "probability would be 0.31 lower without it. Two lines that say the same may both be small."
    )


def bars(effects: list[Effect], title: Callable[[str, str], str]) -> str:
    """Return the strongest effects for and against as HTML, each with a bar, number and words."""
    carried = [one for one in effects if one.change >= LEAST][:SHOWN_FOR]
    against = [one for one in effects if one.change <= -LEAST][:SHOWN_AGAINST]
    shown = carried + against
    if not shown:
        return '<p class="wb-muted wb-small">No single thing on record changes it noticeably.</p>'
    widest = max(abs(one.change) for one in shown)
    return f'<div class="wb-bars">{"".join(_bar(one, title, widest) for one in shown)}</div>'


def name(effect: Effect, title: Callable[[str, str], str]) -> str:
    """Return an input in words: its title first, then its code and when it was recorded."""
    one = effect.input
    if one.kind == "medication":
        return f"{atc.name(one.code)} ({one.code}), given before"
    when = "" if one.now else ", earlier"
    return f"{title(one.kind, one.code)} ({icd.dotted(one.kind, one.code)}){when}"


def _bar(effect: Effect, title: Callable[[str, str], str], widest: float) -> str:
    kind = "for" if effect.change > 0 else "against"
    number = f"{effect.change:+.2f}".replace("-", "−")
    return (
        f'<div class="row {kind}"><span class="number">{number}</span>'
        f'<span class="track"><span style="width:{abs(effect.change) / widest:.0%}"></span></span>'
        f"<span>{style.text(name(effect, title))}</span></div>"
    )


def _of_student(cohort: Cohort, visit: Visit, recommender) -> Basis:
    return _remembered(
        ("student", recommender.versions["student"], cohort.fingerprint, visit),
        lambda: basis(visit, recommender.student_probabilities),
    )


def _draw_teacher(cohort: Cohort, visit: Visit, recommender, column: int) -> None:
    key = ("teacher", recommender.versions["teacher"], cohort.fingerprint, visit)
    readings = len(inputs_of(visit)) + 1
    if key not in _store():
        if not st.button(
            f"Ask the teacher ({readings} readings)",
            icon=":material/menu_book:",
            help="The teacher reads the record again without each diagnosis, procedure and past "
            "medication: some tenths of a second a reading.",
        ):
            return
        found = _ask_teacher(cohort, visit, recommender, readings)
        _remembered(key, lambda: found)
    st.html(bars(_store()[key].of(column), cohort.title))


def _ask_teacher(cohort: Cohort, visit: Visit, recommender, readings: int) -> Basis:
    bar = st.progress(0.0, text=f"The teacher reads {readings} times …")

    def predict(visits):
        import numpy as np

        parts = []
        for start in range(0, len(visits), AT_ONCE):
            parts.append(recommender.teacher_probabilities(cohort, visits[start : start + AT_ONCE]))
            done = min(start + AT_ONCE, len(visits))
            bar.progress(done / len(visits), text=f"The teacher reads: {done} of {len(visits)}")
        return np.concatenate(parts)

    try:
        return basis(visit, predict)
    finally:
        bar.empty()


def _remembered(key: tuple, work_out: Callable[[], Basis]) -> Basis:
    """Keep what was worked out last for each model; a record's basis is never kept on disk."""
    store = _store()
    if key not in store:
        for old in [other for other in store if other[0] == key[0]]:
            del store[old]
        store[key] = work_out()
    return store[key]


def _store() -> dict:
    return st.session_state.setdefault("basis", {})
