"""What a recommendation rests on: how each probability changes when one input is left out.

    found = basis(visit, lambda visits: recommender.student_probabilities(visits))
    found.of(column)[:5]     # the five inputs that carry this medication group, strongest first

An input is a diagnosis or a procedure, of this visit or an earlier one, or a medication group of
an earlier visit; leaving it out takes it from every visit of the patient. The effect is the
probability with everything on record minus the probability without that input: +0.31 says that
the model would give 0.31 less. (Leave-one-out occlusion; Zeiler and Fergus, ECCV 2014, section 3.)
Effects of inputs that say the same thing twice are shared out by neither and may both be small.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from engine.records.schema import Visit

Kind = Literal["diagnosis", "procedure", "medication"]
FIELDS: dict[Kind, str] = {
    "diagnosis": "diagnoses",
    "procedure": "procedures",
    "medication": "medications",
}
Predict = Callable[[Sequence[Visit]], np.ndarray]  # visits → (visits, groups) probabilities


@dataclass(frozen=True)
class Input:
    """One thing on record that a model reads."""

    kind: Kind
    code: str  # "10:I5021", or a medication group such as "B01A"
    now: bool  # whether this visit has it; a past medication never counts as of this visit


@dataclass(frozen=True)
class Effect:
    """What one input adds to the probability of one medication group."""

    input: Input
    change: float  # probability with it minus probability without it


@dataclass(frozen=True)
class Basis:
    """The effects of all inputs of a visit on all medication groups."""

    inputs: tuple[Input, ...]
    probability: np.ndarray  # (groups,) with everything on record
    effects: np.ndarray  # (inputs, groups)

    def of(self, column: int) -> list[Effect]:
        """Return the effects on one medication group, the largest in size first."""
        changes = self.effects[:, column]
        order = np.argsort(-np.abs(changes), kind="stable")
        return [Effect(self.inputs[row], float(changes[row])) for row in order]


def inputs_of(visit: Visit) -> tuple[Input, ...]:
    """Return what a visit's answer can rest on: its own codes first, then those of the past."""
    found: dict[tuple[Kind, str], Input] = {}
    for kind in ("diagnosis", "procedure"):
        for code in getattr(visit, FIELDS[kind]):
            found.setdefault((kind, code), Input(kind, code, True))
    for past in reversed(visit.history):
        for kind, field in FIELDS.items():
            for code in getattr(past, field):
                found.setdefault((kind, code), Input(kind, code, False))
    return tuple(found.values())


def without(visit: Visit, left_out: Collection[Input]) -> Visit:
    """Return the visit as if some inputs were not on record, in it or before it.

    The medications of the visit itself are what a model is asked for: they stay.
    """
    codes = {
        kind: {one.code for one in left_out if one.kind == kind}
        for kind in FIELDS  # one pass each: a visit has a few dozen inputs
    }

    def cut(one: Visit, kinds: Collection[Kind]) -> Visit:
        fields = {
            FIELDS[kind]: tuple(
                code for code in getattr(one, FIELDS[kind]) if code not in codes[kind]
            )
            for kind in kinds
            if not codes[kind].isdisjoint(getattr(one, FIELDS[kind]))  # most visits have none
        }
        return replace(one, **fields) if fields else one

    history = tuple(cut(past, tuple(FIELDS)) for past in visit.history)
    return replace(cut(visit, ("diagnosis", "procedure")), history=history)


def basis(visit: Visit, predict: Predict) -> Basis:
    """Ask a model about a visit with each of its inputs left out, all in one batch.

    Args:
        predict: gives (visits, groups) probabilities in the order of the visits.
    """
    inputs = inputs_of(visit)
    probability = predict([visit, *(without(visit, [one]) for one in inputs)])
    return Basis(inputs, probability[0], probability[0] - probability[1:])
