"""A new patient typed in: age and sex, and folded below what else the models read of a person."""

import streamlit as st

from app.widgets import notice
from app.widgets.patient_header import UNKNOWN
from engine.errors import WorkbenchError
from engine.prompts import ADMISSION_TYPES
from engine.records.schema import Visit
from engine.what_if import new_patient

SEX = {"F": "Woman", "M": "Man", None: "Not on record"}
MORE = {  # field of a visit → its label
    "admission_type": "Kind of admission",
    "insurance": "Insurance",
    "language": "Language",
    "marital_status": "Marital status",
    "race": "Race",
    "religion": "Religion",
}


def ask(recommender) -> Visit | None:
    """Draw the form and return the visit, without codes as yet; None for what cannot be.

    Offered are the values that `recommender` was trained on, of the fields that it reads; without
    one, while it is loading, age and sex are asked alone.
    """
    with st.container(horizontal=True):
        age = st.number_input("Age", 0, 120, value=65, key="new_age", width=120)
        sex = st.selectbox("Sex", list(SEX), format_func=SEX.get, key="new_sex", width=180)
    offered = {} if recommender is None else _offered(recommender)
    try:
        return new_patient(int(age), sex, **_ask_more(offered))
    except WorkbenchError as error:
        notice.error(str(error))
        return None


def _offered(recommender) -> dict[str, tuple[str, ...]]:
    read, values = recommender.pair.recipe.prompt.profile, recommender.vocabulary.profile
    return {field: values[field] for field in MORE if field in read and values.get(field)}


def _ask_more(offered: dict[str, tuple[str, ...]]) -> dict[str, str | None]:
    if not offered:
        return {}
    with st.expander("More about the person"), st.grid(3, min_column_width=220):
        return {
            field: st.selectbox(
                MORE[field],
                [None, *values],
                format_func=_in_words if field == "admission_type" else _as_recorded,
                key=f"new_{field}",
                filter_mode="contains",
            )
            for field, values in offered.items()
        }


def _as_recorded(value: str | None) -> str:
    return value or UNKNOWN.capitalize()


def _in_words(value: str | None) -> str:
    known = ADMISSION_TYPES.get((value or "").upper())
    return f"{known.capitalize()} ({value})" if known else _as_recorded(value)
