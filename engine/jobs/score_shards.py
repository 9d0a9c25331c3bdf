"""A shard of a cohort, scored: what every worker does, in this process or on another machine.

A shard is a run of patients in the order of the cohort. Whoever scores it batches the same visits
together and computes on one thread, because the last bit of a sum depends on both: the same shard
gives the same numbers whichever worker takes it, as long as all processors are of one kind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.dataset
import torch

from engine.errors import WorkbenchError
from engine.jobs.score_file import columns
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.schema import Visit

PATIENTS = {"student": 1024, "teacher": 64}  # a shard; some seconds' to a minute's work
EVERY_SPLIT = "all"


@dataclass(frozen=True)
class Order:
    """What a worker needs to know to score any shard; paths are absolute."""

    cohort: Path
    fingerprint: str
    pair: Path
    versions: tuple[str, ...]  # of `models`
    models: tuple[str, ...]  # "student", "teacher" or both, in the order of the columns
    split: str
    shard_patients: int

    def shards(self, cohort: Cohort) -> list[Sequence[str]]:
        """Return the patient ids of each shard."""
        patients = [
            patient
            for patient in cohort.patient_ids()
            if self.split in (EVERY_SPLIT, cohort.splits[patient])
        ]
        size = self.shard_patients
        return [patients[start : start + size] for start in range(0, len(patients), size)]


class ShardScorer:
    """Scores shards of one order; made once a worker, since it loads the models."""

    def __init__(self, order: Order) -> None:
        """Open cohort and models; WorkbenchError where they are not those of the order."""
        self.order = order
        self.cohort = _PatientRanges.open(order.cohort)
        if self.cohort.fingerprint != order.fingerprint:
            raise WorkbenchError(
                f"{order.cohort}: is another cohort for this worker than where the command was "
                "started; let every machine see the same folder there"
            )
        self.recommender = Recommender.load(order.pair)  # checks every file's SHA-256
        found = tuple(self.recommender.versions[model] for model in order.models)
        if found != order.versions:
            raise WorkbenchError(
                f"{order.pair}: is another pair for this worker than where the command was "
                "started; let every machine see the same folder there"
            )
        self.shards = order.shards(self.cohort)
        self.schema = columns(self.recommender.vocabulary.medications, order.models)

    def table(self, number: int) -> pyarrow.Table:
        """Return the visits of a shard, by patient id and admission time, as `columns` has them."""
        visits = self.cohort.visits_of(self.shards[number])
        with _one_thread():
            scored = [self._probability(model, visits) for model in self.order.models]
        probability = np.concatenate(scored, axis=1).astype(np.float32)
        arrays = [
            pyarrow.array([visit.patient_id for visit in visits], pyarrow.string()),
            pyarrow.array([visit.visit_id for visit in visits], pyarrow.string()),
            *(pyarrow.array(column) for column in np.ascontiguousarray(probability.T)),
        ]
        return pyarrow.Table.from_arrays(arrays, schema=self.schema)

    def _probability(self, model: str, visits: Sequence[Visit]) -> np.ndarray:
        """Return (visits, groups) calibrated probabilities."""
        if model == "student":
            return self.recommender.student_probabilities(visits)
        texts = [self.recommender.prompt(self.cohort, visit).text for visit in visits]
        logits, _ = self.recommender.teacher.predict(texts)
        return self.recommender.pair.calibration[model].probability(logits)


class _PatientRanges(Cohort):
    """A cohort that is read some patients at a time."""

    def visits_of(self, patients: Sequence[str]) -> list[Visit]:
        """Return every visit of `patients`, which are sorted; WorkbenchError if one has none."""
        patient = pyarrow.dataset.field("patient_id")
        # The range lets the reader skip row groups: the file is sorted by patient.
        wanted = (patient >= patients[0]) & (patient <= patients[-1]) & patient.isin(list(patients))
        visits = list(self._with_history(wanted))
        if missing := len(patients) - len({visit.patient_id for visit in visits}):
            raise WorkbenchError(
                f"{self.folder / 'visits.parquet'}: has no visit of {missing} patients whom "
                "splits.json names; ingest the cohort again"
            )
        return visits


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
