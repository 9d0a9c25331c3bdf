"""What this session has shown, written into the audit before it is shown.

Each function raises WorkbenchError when the row cannot be written; the page then shows that
instead of the patient. Drawing the same thing again writes nothing.
"""

import streamlit as st

from app import identity
from engine import evidence
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.records.schema import Visit

OPENED, SHOWN = "audited_patient", "audited_answers"
SIMILAR, WHAT_IF = "audited_similar", "audited_what_ifs"


def patient_opened(actor: Actor, cohort: Cohort, patient_id: str) -> None:
    """Record that a patient's record is about to be read."""
    opened = cohort.fingerprint, patient_id
    if st.session_state.get(OPENED) == opened:
        return
    audit = identity.audit()
    pseudonym = audit.pseudonym(*opened)
    audit.write(actor, "patient opened", {"patient": pseudonym, "cohort": cohort.fingerprint})
    st.session_state[OPENED], st.session_state[SHOWN] = opened, set()


def recommendation_shown(actor: Actor, cohort: Cohort, visit: Visit, said) -> None:
    """Record what the models answered about a visit of the open patient, as sums."""
    models = [name for name, latency in said.latency_ms.items() if latency is not None]
    output = evidence.output_hash(said)
    shown = visit.visit_id, *models, output
    if shown in st.session_state[SHOWN]:
        return
    audit = identity.audit()
    audit.write(
        actor,
        "recommendation shown",
        {
            "patient": audit.pseudonym(cohort.fingerprint, visit.patient_id),
            "versions": {name: said.versions[name] for name in models},
            "input": evidence.input_hash(visit),
            "output": output,
        },
    )
    st.session_state[SHOWN].add(shown)


def similar_shown(actor: Actor, cohort: Cohort, visit: Visit, patient_ids: list[str]) -> None:
    """Record which other patients are about to be shown beside a visit."""
    shown = "similar", visit.visit_id, *patient_ids
    seen = st.session_state.setdefault(SIMILAR, set())
    if shown in seen:
        return
    audit = identity.audit()
    details = {
        "patient": audit.pseudonym(cohort.fingerprint, visit.patient_id),
        "similar": [audit.pseudonym(cohort.fingerprint, one) for one in patient_ids],
    }
    audit.write(actor, "similar patients shown", details)
    seen.add(shown)


def what_if_shown(actor: Actor, cohort: Cohort, visit: Visit, said) -> None:
    """Record what the models answered about a visit that is on no record, as sums."""
    models = [name for name, latency in said.latency_ms.items() if latency is not None]
    asked, output = evidence.input_hash(visit), evidence.output_hash(said)
    shown = "what-if", *models, asked, output
    seen = st.session_state.setdefault(WHAT_IF, set())
    if shown in seen:
        return
    identity.audit().write(
        actor,
        "recommendation shown",
        {
            "what_if": True,
            "cohort": cohort.fingerprint,
            "versions": {name: said.versions[name] for name in models},
            "input": asked,
            "output": output,
        },
    )
    seen.add(shown)
