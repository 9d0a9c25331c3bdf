"""Whether a basis tells the truth: leaving out what it names must matter more than chance does.

For every group that is recommended, the inputs that the basis ranks first are left out together,
and as many inputs drawn at random. A faithful basis makes the probability fall further (the
deletion test of Samek et al., IEEE TNNLS 28(11), 2017, against a random order).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.basis import Predict, basis, without
from engine.evaluation.bootstrap import RESAMPLES, interval
from engine.records.schema import Visit


@dataclass(frozen=True)
class Faithfulness:
    """How far probabilities fall, in mean over visits, and 95 % intervals over patients."""

    visits: int
    answers: int  # recommended groups of these visits
    left_out: int  # inputs at a time
    fall: float  # without the inputs that are ranked first
    fall_at_random: float
    difference: float
    low: float | None  # None of a single patient
    high: float | None


def faithfulness(
    visits: Sequence[Visit], predict: Predict, threshold: float, left_out: int = 3, seed: int = 0
) -> Faithfulness:
    """Measure the basis of every group recommended in `visits`.

    Visits with fewer than twice `left_out` inputs, where chance would often draw the same ones,
    and visits without a recommendation are passed over.

    Raises:
        ValueError: when no visit is left.
    """
    chance = np.random.default_rng(seed)
    falls, patients, answers = [], [], 0
    for visit in visits:
        found = basis(visit, predict)
        columns = np.flatnonzero(found.probability >= threshold)
        if len(found.inputs) < 2 * left_out or not len(columns):
            continue
        asked = []
        for column in columns:
            ranked = np.argsort(-found.effects[:, column], kind="stable")[:left_out]
            drawn = chance.choice(len(found.inputs), left_out, replace=False)
            asked += [
                without(visit, [found.inputs[row] for row in rows]) for rows in (ranked, drawn)
            ]
        said = predict(asked)[np.arange(len(asked)), np.repeat(columns, 2)]
        fall = found.probability[columns] - said.reshape(-1, 2).T  # (ranked and drawn, columns)
        falls.append(fall.mean(1))
        patients.append(visit.patient_id)
        answers += len(columns)
    if not falls:
        raise ValueError("no visit has a recommendation and enough inputs to leave out")
    ranked, drawn = np.array(falls).T
    difference = interval(ranked - drawn, np.array(patients), RESAMPLES, seed)
    return Faithfulness(
        visits=len(falls),
        answers=answers,
        left_out=left_out,
        fall=float(ranked.mean()),
        fall_at_random=float(drawn.mean()),
        difference=difference["mean"],
        low=difference["low"],
        high=difference["high"],
    )
