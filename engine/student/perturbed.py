"""Visits that nobody had, near to those somebody had: unlabelled lessons for the student.

The teacher says what it would give; the student learns that where labels are thin.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from engine.records.schema import Visit
from engine.student.categories import category, members
from engine.terminology.icd import Kind

DROPPED = 0.15  # of the codes of a visit
SWAPPED = 0.25  # of those that stay, for another one of their category
# Between a visit's id and the number of its copy: a cache of teacher outputs goes by these ids, so
# copies made in another way must have other ones.
MARK, MARK_OF_TABLES = "~", "~icd"

Members = Mapping[Kind, Mapping[str, Sequence[str]]]


def perturbed(
    visits: Sequence[Visit],
    copies: int,
    diagnoses: Sequence[str],
    procedures: Sequence[str],
    seed: int,
    tables: bool = False,
) -> list[Visit]:
    """Return `copies` perturbed copies of every visit: the first of each, then the second, …

    Some diagnoses and procedures of the present visit are dropped, some swapped for another of
    the same category; at least one diagnosis stays. Profile and history are the patient's own.

    Args:
        diagnoses, procedures: what a code may be swapped for.
        tables: swap for any code of the ICD tables too, so that the student hears the teacher on
            codes that no training patient has.
    """
    pool: Members = {
        "diagnosis": members("diagnosis", diagnoses, tables),
        "procedure": members("procedure", procedures, tables),
    }
    chance, mark = random.Random(seed), MARK_OF_TABLES if tables else MARK
    return [
        _copy(visit, f"{mark}{number}", pool, chance)
        for number in range(copies)
        for visit in visits
    ]


def _copy(visit: Visit, mark: str, pool: Members, chance: random.Random) -> Visit:
    diagnoses = _changed("diagnosis", visit.diagnoses, pool, chance)
    return replace(
        visit,
        visit_id=f"{visit.visit_id}{mark}",
        diagnoses=diagnoses or visit.diagnoses[:1],
        procedures=_changed("procedure", visit.procedures, pool, chance),
    )


def _changed(
    kind: Kind, codes: Sequence[str], pool: Members, chance: random.Random
) -> tuple[str, ...]:
    kept = [code for code in codes if chance.random() >= DROPPED]
    return tuple(dict.fromkeys(_swapped(kind, code, pool, chance.random) for code in kept))


def _swapped(kind: Kind, code: str, pool: Members, draw: Callable[[], float]) -> str:
    siblings = pool[kind].get(category(kind, code), ())
    if draw() >= SWAPPED or not siblings:
        return code
    return siblings[int(draw() * len(siblings))]
