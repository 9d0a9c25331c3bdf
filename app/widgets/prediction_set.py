"""The prediction set of each model: what it holds beyond the recommendation, and what that means.

The numbers and the promise come from `engine.evaluation.conformal`; here they are put in words.
"""

from collections.abc import Callable

import streamlit as st

from app import style
from engine.records.schema import Visit

MODELS = ("teacher", "student")
ABSENT = (
    "These models have no prediction set: they were trained before sets were kept, or with too few "
    "validation patients to promise anything. Models trained again will have one if there are "
    "enough patients."
)
CAUTION = {
    "train": "The models learned from this patient, so the set will look better than it is.",
    "validation": "This patient is one of those it was set on.",
    "other": (
        "The open cohort is not the one it was set on: here it may hold more or less, and nothing "
        "is promised."
    ),
}


def draw(
    recommendation, visit: Visit, group_name: Callable[[str], str], trained_here: bool, split: str
) -> None:
    """Draw the explanation, and a card for the set of each model that has answered.

    Args:
        group_name: maps a medication group to its name.
        trained_here: whether the models were trained on the open cohort.
        split: the patient's part of the open cohort.
    """
    sets = recommendation.prediction_sets
    cards = "".join(
        _card(model, sets[model], recommendation.rows, visit, group_name)
        for model in MODELS
        if model in sets
    )
    if not cards:
        return
    words = f"<p>{style.text(explanation(sets))}</p>"
    warning = caution(trained_here, split)
    if warning:
        words += f"<p>{style.badge('Mind', 'warn')} {style.text(warning)}</p>"
    st.html(f'<div class="wb-small">{words}</div><div class="wb-cards">{cards}</div>')


def explanation(sets: dict) -> str:
    """Return in plain words what the sets are and what is promised of them."""
    one = next(iter(sets.values()))
    return (
        f"A prediction set lists more than a model recommends, so that little is missed: of "
        f"patients like the {one.patients:,} it was set on, the set held on average at least "
        f"{percent(one.coverage)} of what was given. For a single patient it may hold less, and "
        "many of its groups were not given."
    )


def caution(trained_here: bool, split: str) -> str | None:
    """Return what keeps the promise from holding for this patient, if anything does."""
    return CAUTION.get(split) if trained_here else CAUTION["other"]


def percent(coverage: float) -> str:
    """Return a share as `90 %`, with as many digits as it needs."""
    return f"{100 * coverage:.4g} %"


def column_title(sets: dict) -> str:
    """Return the heading of the table's column of marks."""
    return f"{percent(next(iter(sets.values())).coverage)} set"


def mark(group: str, sets: dict) -> str:
    """Return whose set a medication group lies in: "both", "teacher", "student" or nothing."""
    holders = [model for model in MODELS if model in sets and group in sets[model].groups]
    return "both" if len(holders) == len(MODELS) else "".join(holders)


def _card(model: str, found, rows, visit: Visit, group_name: Callable[[str], str]) -> str:
    listed = {row.atc for row in rows}
    others = [group for group in found.groups if group not in listed]
    lines = [f"{len(found.groups) - len(others)} of them in the table, marked there"]
    if visit.medications:
        held = len(set(found.groups) & set(visit.medications))
        lines.append(f"{held} of {len(visit.medications)} given groups (✓) held")
    names = "; ".join(
        f"{style.text(group_name(group))} ({style.text(group)})"
        + (" ✓" if group in visit.medications else "")
        for group in others
    )
    rest = f"<b>Only in the set:</b> {names}" if names else "Nothing beyond the table."
    number = "1 group" if len(found.groups) == 1 else f"{len(found.groups)} groups"
    return (
        f'<div class="wb-card"><div class="title">{model.capitalize()}: '
        f"{percent(found.coverage)} set</div>"
        f'<div class="big">{number}</div><div class="wb-small wb-muted wb-number">'
        f"{' · '.join(lines)}</div>"
        f'<div class="wb-small" style="margin-top:.35rem">{rest}</div></div>'
    )
