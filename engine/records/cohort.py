"""A cohort folder, read: patients, their visits in the order of admission, splits, vocabulary.

Every call reads the Parquet files afresh, so a cohort may be shared between threads.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path

import pyarrow
import pyarrow.dataset
import pyarrow.parquet

from engine.errors import WorkbenchError
from engine.records.schema import Visit
from engine.records.splits import SPLITS
from engine.records.vocabulary import Vocabulary
from engine.terminology import icd

FORMAT = 2  # of the folder; raised when its files change their meaning
FILES = ("patients.parquet", "visits.parquet", "vocabulary.json", "splits.json", "titles.json")
BATCH = 4096  # visits that are read at a time
COLUMNS = tuple(field.name for field in fields(Visit) if field.name != "history")
LISTS = ("diagnoses", "procedures", "medications", "drugs")
SHARED = (
    "patient_id",
    "sex",
    "insurance",
    "language",
    "marital_status",
    "race",
    "religion",
    "admission_type",
)


@dataclass(frozen=True)
class Cohort:
    """What `python -m engine ingest` wrote. Open one with `Cohort.open`."""

    folder: Path
    manifest: dict
    vocabulary: Vocabulary
    splits: dict[str, str]  # patient id → "train", "validation" or "test"
    titles: dict[str, dict[str, str]]  # "diagnosis" or "procedure" → code → the source's own title

    @classmethod
    def open(cls, folder: str | Path) -> "Cohort":
        """Open a cohort folder; WorkbenchError naming the file that is missing or damaged."""
        folder = Path(folder)
        if not folder.is_dir():
            raise WorkbenchError(
                f"{folder}: no such cohort folder; make one with "
                "`.venv/bin/python -m engine ingest mimic-iv INPUT_DIR COHORT_DIR`"
            )
        for name in (*FILES, "manifest.json"):
            if not (folder / name).is_file():
                raise WorkbenchError(f"{folder / name}: is missing; ingest the cohort again")
        manifest = _read_json(folder / "manifest.json")
        if manifest.get("format") != FORMAT or "fingerprint" not in manifest:
            raise WorkbenchError(
                f"{folder / 'manifest.json'}: is not of this version (format {FORMAT}); "
                "ingest the cohort again"
            )
        return cls(
            folder=folder,
            manifest=manifest,
            vocabulary=Vocabulary.load(folder / "vocabulary.json"),
            splits=_read_json(folder / "splits.json"),
            titles=_read_json(folder / "titles.json"),
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the cohort's files: two cohorts with the same one hold the same data."""
        return self.manifest["fingerprint"]

    def patient_ids(self) -> list[str]:
        """Return every patient with at least one visit, sorted."""
        return sorted(self.splits)

    def split_of(self, patient_id: str) -> str:
        """Return `"train"`, `"validation"` or `"test"`; WorkbenchError for an unknown patient."""
        if patient_id not in self.splits:
            raise WorkbenchError(
                f"patient {patient_id} is not in the cohort {self.folder}; "
                "check the id, it is the patient_id of patients.parquet"
            )
        return self.splits[patient_id]

    def visits(self, patient_id: str) -> list[Visit]:
        """Return a patient's visits, oldest first, each with those before it as its history.

        Raises WorkbenchError for an unknown patient or a damaged file.
        """
        self.split_of(patient_id)
        visits = list(self._with_history(pyarrow.dataset.field("patient_id") == patient_id))
        if not visits:
            raise WorkbenchError(
                f"{self.folder / 'visits.parquet'}: has no visit of patient {patient_id}, whom "
                "splits.json names; ingest the cohort again"
            )
        return visits

    def visit(self, patient_id: str, visit_id: str | None = None) -> Visit:
        """Return one visit of a patient, the latest by default; WorkbenchError when unknown."""
        visits = self.visits(patient_id)
        if visit_id is None:
            return visits[-1]
        for visit in visits:
            if visit.visit_id == visit_id:
                return visit
        raise WorkbenchError(
            f"visit {visit_id} is not one of patient {patient_id}'s {len(visits)}; "
            f"the latest is {visits[-1].visit_id}"
        )

    def samples(self, split: str | None = None) -> list[Visit]:
        """Return the labelled visits of a split (or of all), by patient id and admission time.

        Each has its whole history, unlabelled visits included.
        """
        if split is not None and split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)} or None, not {split!r}")
        return [
            visit
            for visit in self._with_history()
            if visit.is_labelled and split in (None, self.splits.get(visit.patient_id))
        ]

    def all_visits(self) -> Iterator[Visit]:
        """Yield every visit of every patient, labelled or not, by patient id and admission time.

        One pass over the file: far faster than `visits` for each patient.
        """
        return self._with_history()

    def title(self, kind: str, code: str) -> str:
        """Return what a code means; `kind` is `"diagnosis"` or `"procedure"`.

        The source's own title wins, then that of `engine.terminology`, then the bare code.
        """
        title = self.titles.get(kind, {}).get(code) or icd.title(kind, code)
        if title:
            return title
        version, _, bare = code.rpartition(":")
        return f"code {bare} (ICD-{version})" if version else f"code {bare}"

    def _with_history(self, wanted: pyarrow.dataset.Expression | None = None) -> Iterator[Visit]:
        visits = (Visit(**row) for row in self._rows(wanted))
        for _, stays in groupby(visits, key=lambda visit: visit.patient_id):
            earlier: tuple[Visit, ...] = ()
            for visit in stays:
                yield replace(visit, history=earlier) if earlier else visit
                earlier = (*earlier, visit)

    def _rows(self, wanted: pyarrow.dataset.Expression | None) -> Iterator[dict]:
        """Yield visits as they stand in visits.parquet, which is sorted by patient and time."""
        for batch in self._batches(wanted):
            columns = {name: batch.column(name).to_pylist() for name in COLUMNS}
            # Codes and profile values repeat over and over: one text in memory each.
            for name in SHARED:
                columns[name] = [value and sys.intern(value) for value in columns[name]]
            for name in LISTS:
                columns[name] = [tuple(map(sys.intern, values)) for values in columns[name]]
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(COLUMNS, values, strict=True))

    def _batches(self, wanted: pyarrow.dataset.Expression | None) -> Iterator[pyarrow.RecordBatch]:
        """Yield the file piece by piece, in its order: it may be larger than the memory."""
        path = self.folder / "visits.parquet"
        try:
            if wanted is None:  # a dataset reads far ahead of whoever takes long over a visit
                with pyarrow.parquet.ParquetFile(path) as visits:
                    for batch in visits.iter_batches(BATCH, columns=list(COLUMNS)):
                        yield batch.select(COLUMNS)  # fails for a column that is missing
            else:
                visits = pyarrow.dataset.dataset(path, format="parquet")
                yield from visits.to_batches(columns=list(COLUMNS), filter=wanted)
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise WorkbenchError(f"{path}: is damaged; ingest the cohort again") from error


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"{path}: is damaged; ingest the cohort again") from error
    if not isinstance(content, dict):
        raise WorkbenchError(f"{path}: is damaged; ingest the cohort again")
    return content
