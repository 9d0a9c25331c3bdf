"""Below the answer: safety first, then what it rests on, similar patients, and the decision."""

import streamlit as st

from app.widgets import basis_panel, decision_panel, safety_panel, similar_panel
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.records.schema import Visit

TABS = ("Decide", "What it rests on", "Similar patients")


def draw(actor: Actor, cohort: Cohort, visit: Visit, recommender, said) -> None:
    """Draw all of it; a part that is folded away is not worked out."""
    _, pending = safety_panel.draw(visit, said)
    decide, rests, similar = st.tabs(TABS, key="second_look", on_change="rerun")
    if decide.open:
        with decide:
            decision_panel.draw(actor, cohort, visit, said, pending)
    if rests.open:
        with rests:
            basis_panel.draw(cohort, visit, recommender, said)
    if similar.open:
        with similar:
            similar_panel.draw(actor, cohort, visit, recommender)
