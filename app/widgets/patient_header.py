"""Who the patient is and which visit is looked at."""

import streamlit as st

from app import style
from engine.prompts import ADMISSION_TYPES
from engine.records.schema import Visit

SEX = {"F": "Female", "M": "Male"}
UNKNOWN = "not recorded"


def draw(visit: Visit, visits: list[Visit], split: str) -> None:
    """Draw the header of one visit; `visits` are all of the patient's, oldest first."""
    number = [other.visit_id for other in visits].index(visit.visit_id) + 1
    order = "First visit" if visit.is_first else "Returning patient"
    badges = style.badge(order, "strong") + style.badge(f"{split} split")
    facts = {
        "Age": UNKNOWN if visit.age is None else f"{visit.age} years",
        "Sex": SEX.get(visit.sex, UNKNOWN),
        "Admitted": day(visit.admit_time),
        "Admission": admission(visit),
        "Stay": stay(visit),
        "Visit": f"{number} of {len(visits)}",
    }
    cells = "".join(
        f'<div class="wb-fact"><div class="label">{name}</div>'
        f'<div class="value">{style.text(value)}</div></div>'
        for name, value in facts.items()
    )
    st.html(
        f'<div class="wb-header"><h1>Patient {style.text(visit.patient_id)}</h1>{badges}</div>'
        f'<div class="wb-facts">{cells}</div>'
    )


def day(time) -> str:
    """Return a date as `5 Mar 2180`."""
    return f"{time.day} {time:%b %Y}"


def admission(visit: Visit) -> str:
    """Return the kind of admission in plain words."""
    if not visit.admission_type:
        return UNKNOWN
    known = ADMISSION_TYPES.get(visit.admission_type.upper())
    return (known or visit.admission_type.lower().rstrip(".")).capitalize()


def stay_days(visit: Visit) -> float | None:
    """Return the length of stay in days, or None when it is not known."""
    if visit.discharge_time is None:
        return None
    return max(0.0, (visit.discharge_time - visit.admit_time).total_seconds() / 86_400)


def stay(visit: Visit) -> str:
    """Return the length of stay in words."""
    days = stay_days(visit)
    if days is None:
        return UNKNOWN
    if days < 1:
        return "less than a day"
    return "1 day" if round(days) == 1 else f"{round(days)} days"


def visit_label(visit: Visit) -> str:
    """Return one visit in a line, for a list to choose from."""
    return f"{day(visit.admit_time)} · {admission(visit)} · {stay(visit)}"
