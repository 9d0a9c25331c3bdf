"""What was prescribed, as the matrix that models learn from and are measured on."""

from collections.abc import Sequence

import numpy as np

from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary


def label_matrix(visits: Sequence[Visit], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return the prescribed groups of N visits over the L groups of the vocabulary.

    The first array, bool (N, L), marks them; the second, int (N,), counts those that the
    vocabulary lacks, which no model with this vocabulary can recommend.
    """
    truth = np.zeros((len(visits), len(vocabulary.medications)), dtype=bool)
    missing = np.zeros(len(visits), dtype=int)
    for row, visit in enumerate(visits):
        columns = [vocabulary.medication_index(group) for group in visit.medications]
        known = [column for column in columns if column is not None]
        truth[row, known] = True
        missing[row] = len(columns) - len(known)
    return truth, missing
