"""Five patients whom the student sees as most alike, and what they were given."""

import pandas as pd
import streamlit as st

from app import style, trail
from engine import permissions
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.similar import Similar, SimilarPatients, shares_given
from engine.terminology import atc

SHOWN_GROUPS = 15


def draw(actor: Actor, cohort: Cohort, visit: Visit, recommender) -> None:
    """Draw the nearest patients as cards, and the groups they were given as a table."""
    patients = _laid_out(cohort, recommender)
    found = patients.nearest(recommender.representations([visit])[0], visit.patient_id)
    if not found:
        st.caption("There is no other patient in this cohort.")
        return
    trail.similar_shown(actor, cohort, visit, [one.visit.patient_id for one in found])
    may_see = permissions.allowed(actor, "find patients")
    cards = "".join(_card(one, cohort, may_see) for one in found)
    st.html(f'<div class="wb-cards five">{cards}</div>')
    st.dataframe(
        _table(found, visit),
        hide_index=True,
        height="content",
        alt="What the similar patients were given",
        column_config={
            "Medication group": st.column_config.TextColumn(width=380),
            "Code": st.column_config.TextColumn(width=70),
            "Share": st.column_config.ProgressColumn(
                f"Of these {len(found)}", format="percent", min_value=0.0, max_value=1.0
            ),
        },
    )
    st.caption(
        "Alike as the student sees them (cosine of its representations, 0 is no more than any two "
        "patients, 1 the same). They may differ in what no record holds."
    )


def _laid_out(cohort: Cohort, recommender) -> SimilarPatients:
    key = recommender.versions["student"], cohort.fingerprint
    store = _layouts()
    if (found := store.get(key)) is None:
        said = "Laying out the patients of this cohort, once …"
        bar = st.progress(0.0, text=said)
        try:
            built = SimilarPatients.build(
                cohort, recommender.representations, lambda share: bar.progress(share, text=said)
            )
            store.clear()
            store[key] = built
            return built  # another session may have put its own there by now
        finally:
            bar.empty()
    return found


@st.cache_resource
def _layouts() -> dict[tuple[str, str], SimilarPatients]:
    return {}


def _card(one: Similar, cohort: Cohort, may_see: bool) -> str:
    visit = one.visit
    who = {"F": "Woman", "M": "Man"}.get(visit.sex or "", "Patient")
    age = "" if visit.age is None else f", {visit.age}"
    which = "first visit" if visit.is_first else f"{len(visit.history)} earlier visits"
    leading = [cohort.title("diagnosis", code) for code in visit.diagnoses[:2]]
    known_as = f"patient {visit.patient_id}" if may_see else "id not shown to your role"
    return (
        f'<div class="wb-card"><div class="title">{style.text(who + age)} '
        f'<span class="wb-badge">{one.similarity:.2f} alike</span></div>'
        f'<div class="wb-small">{style.text("; ".join(leading))}</div>'
        f'<div class="wb-small wb-muted">{style.text(which)} · {len(visit.medications)} groups '
        f"given · {style.text(known_as)}</div></div>"
    )


def _table(found: list[Similar], visit: Visit) -> pd.DataFrame:
    shares = list(shares_given(found).items())[:SHOWN_GROUPS]
    table = pd.DataFrame(
        {
            "Medication group": [atc.name(group) for group, _ in shares],
            "Code": [group for group, _ in shares],
            "Share": [share for _, share in shares],
        }
    )
    if visit.medications:
        table["Given here"] = ["✓" if group in visit.medications else "" for group, _ in shares]
    return table
