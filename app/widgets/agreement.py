"""Where teacher and student agree, and in which order the medication groups are listed."""

from app import style

SORTS = ("teacher", "student", "agreement")
_RANK = {"both": 0, "teacher": 1, "student": 2, "waiting": 2, "neither": 3}


def proposes(probability: float | None, threshold: float | None) -> bool:
    """Whether a model proposes a group: its probability reaches the model's threshold."""
    return probability is not None and threshold is not None and probability >= threshold


def of(row, thresholds: dict[str, float]) -> str:
    """Return a key of `style.AGREEMENT` for one row of a recommendation.

    "waiting" stands for a student's proposal while the teacher has not answered.
    """
    teacher = proposes(row.teacher, thresholds.get("teacher"))
    student = proposes(row.student, thresholds.get("student"))
    if row.teacher is None and student:
        return "waiting"
    if teacher and student:
        return "both"
    if teacher or student:
        return "teacher" if teacher else "student"
    return "neither"


def ordered(rows, thresholds: dict[str, float], by: str) -> list:
    """Return the rows with the most probable first, by one of `SORTS`.

    A model that has not answered yet is stood in for by the other; equal rows follow their code.
    """
    first, second = ("student", "teacher") if by == "student" else ("teacher", "student")

    def key(row):
        probability = getattr(row, first)
        if probability is None:
            probability = getattr(row, second) or 0.0
        rank = _RANK[of(row, thresholds)] if by == "agreement" else 0
        return rank, -probability, row.atc

    return sorted(rows, key=key)


def legend(rows, thresholds: dict[str, float]) -> str:
    """Return the key to the colours that occur, with their counts, as HTML."""
    counts: dict[str, int] = {}
    for row in rows:
        kind = of(row, thresholds)
        counts[kind] = counts.get(kind, 0) + 1
    keys = "".join(
        f'<span><span class="wb-key" style="background:{dark}"></span>'
        f"{style.AGREEMENT_LABEL[kind]} <b>{counts[kind]}</b></span>"
        for kind, (dark, *_) in style.AGREEMENT.items()
        if kind in counts
    )
    shades = '<span class="wb-muted">strong bar: teacher · soft bar: student</span>'
    return style.for_both(f'<div class="wb-legend wb-small">{keys}{shades}</div>')
