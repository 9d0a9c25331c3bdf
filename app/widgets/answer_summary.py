"""What each model answered in one card: how many groups, how fast, and how it fits the record."""

import streamlit as st

from app import style
from app.widgets import agreement
from engine.records.schema import Visit

MODELS = ("teacher", "student")
ACQUAINTANCE = {
    "train": ("The models learned from this patient: expect them to fit the record", "warn"),
    "validation": ("Thresholds were chosen with this patient", "warn"),
    "test": ("The models never saw this patient", "strong"),
}
OTHER_COHORT = ("The models were trained on another cohort", "")


def draw(recommendation, visit: Visit, waiting: str = "") -> None:
    """Draw a card a model, and one for what the two have in common.

    Args:
        waiting: what the model is doing whose answer is still to come; empty if none is.
    """
    cards = [_model_card(model, recommendation, visit, waiting) for model in MODELS]
    cards.append(_agreement_card(recommendation, waiting))
    st.html(f'<div class="wb-cards">{"".join(cards)}</div>')


def acquaintance(trained_on: str, fingerprint: str, split: str) -> str:
    """Return a badge that says whether the models know the patient, as HTML.

    Args:
        trained_on: fingerprint of the cohort the models were trained on.
        fingerprint: that of the open cohort.
    """
    known = ACQUAINTANCE.get(split, OTHER_COHORT) if trained_on == fingerprint else OTHER_COHORT
    return style.badge(*known)


def missed(recommendation, visit: Visit) -> list[str]:
    """Return the groups that were given during the visit and that no model proposed."""
    proposed = set().union(*(_proposed(recommendation, model) for model in MODELS))
    return [group for group in visit.medications if group not in proposed]


def unseen(vocabulary, visit: Visit) -> list[str]:
    """Return the codes of the visit, without their version, that the models never saw."""
    codes = [code for code in visit.diagnoses if not vocabulary.diagnosis_index(code)]
    codes += [code for code in visit.procedures if not vocabulary.procedure_index(code)]
    return [code.split(":", 1)[-1] for code in codes]


def _model_card(model: str, recommendation, visit: Visit, waiting: str) -> str:
    latency = recommendation.latency_ms.get(model)
    title = model.capitalize()
    version = f"version {style.text(recommendation.versions.get(model, ''))}"
    if latency is None:
        if waiting:
            return _card(title, "…", f"{style.text(waiting)}<br>{version}")
        return _card(title, "–", f"no answer<br>{version}")
    proposed = _proposed(recommendation, model)
    lines = [f"answered in {milliseconds(latency)}"]
    if visit.medications:
        hits = len(proposed & set(visit.medications))
        lines.append(f"{hits} of {len(visit.medications)} given groups found")
    return _card(title, _groups(len(proposed)), f"{' · '.join(lines)}<br>{version}")


def _agreement_card(recommendation, waiting: str) -> str:
    teacher, student = (_proposed(recommendation, model) for model in MODELS)
    if recommendation.latency_ms.get("teacher") is None:
        return _card("Agreement", "…" if waiting else "–", "known when both have answered")
    return _card(
        "Agreement",
        _groups(len(teacher & student)),
        f"proposed by both, of {len(teacher | student)} proposed by either",
    )


def milliseconds(latency: float) -> str:
    """Return a duration with two meaningful digits, in ms below a second."""
    if latency >= 1000:
        return f"{latency / 1000:.1f} s"
    return f"{latency:.0f} ms" if latency >= 10 else f"{latency:.1f} ms"


def _groups(number: int) -> str:
    return "1 group" if number == 1 else f"{number} groups"


def _card(title: str, big: str, small: str) -> str:
    return (
        f'<div class="wb-card"><div class="title">{title}</div><div class="big">{big}</div>'
        f'<div class="wb-small wb-muted wb-number">{small}</div></div>'
    )


def _proposed(recommendation, model: str) -> set[str]:
    threshold = recommendation.thresholds.get(model)
    return {
        row.atc for row in recommendation.rows if agreement.proposes(getattr(row, model), threshold)
    }
