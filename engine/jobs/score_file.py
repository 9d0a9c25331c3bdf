"""The file of scores: its columns, what it says of itself, and writing it whole or not at all.

One row a visit. After `patient_id` and `visit_id` (both text) comes one float32 column for each
model and medication group, such as `student_A02B`, holding the calibrated probability. Columns
rather than one list a visit, because `SELECT visit_id FROM 'FILE' WHERE student_A02B > 0.5` and
`pandas.read_parquet(FILE, columns=[…])` then work at once and read only what they ask for.
"""

import fcntl
import glob
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow
import pyarrow.parquet

from engine.files import LEFT_BEHIND
from engine.records.cohort import Cohort
from engine.registry.pair import Pair
from engine.terminology import atc

IDS = ("patient_id", "visit_id")
ROW_GROUP = 32_768  # visits at least, where there are as many: what readers skip or read at once


def columns(groups: Sequence[str], models: Sequence[str]) -> pyarrow.Schema:
    """Return the columns: the ids, then every group by the first model, by the next, …"""
    ids = [pyarrow.field(name, pyarrow.string(), nullable=False) for name in IDS]
    probabilities = [
        pyarrow.field(f"{model}_{group}", pyarrow.float32(), nullable=False)
        for model in models
        for group in groups
    ]
    return pyarrow.schema(ids + probabilities)


def facts(cohort: Cohort, pair: Pair, models: Sequence[str], split: str) -> dict[str, str]:
    """Return what the file says of itself: Parquet's key-value metadata, all of it text."""
    stated = {"cohort_fingerprint": cohort.fingerprint, "split": split}
    for model in models:
        stated[f"{model}_version"] = pair.versions[model]
        stated[f"{model}_threshold"] = str(pair.calibration[model].threshold)
    names = {group: atc.name(group) for group in pair.vocabulary.medications}
    return stated | {"group_names": json.dumps(names)}


def write(tables: Iterable[pyarrow.Table], schema: pyarrow.Schema, path: Path) -> int:
    """Write tables as they come, gathered to row groups of a fair size; returns the rows."""
    rows = 0
    gathered: list[pyarrow.Table] = []
    # Probabilities hardly repeat: only a patient's id is worth a dictionary.
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=["patient_id"]
    ) as file:

        def flush() -> None:
            together = pyarrow.concat_tables(gathered)
            file.write_table(together.replace_schema_metadata(schema.metadata))
            gathered.clear()

        for table in tables:
            rows += len(table)
            gathered.append(table)
            if sum(map(len, gathered)) >= ROW_GROUP:
                flush()
        if gathered:
            flush()
    return rows


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a temporary sibling that becomes `target` if all goes well and vanishes if not.

    What a killed process left half-written for the same target is removed first, since it may be
    large and holds patients' identifiers; what a living one is writing is not.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_left_behind(target)
    building = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    with building.open("wb") as held:
        with suppress(OSError):  # some file systems know no locks
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield building
            building.replace(target)
        finally:
            building.unlink(missing_ok=True)


def _clear_left_behind(target: Path) -> None:
    for partial in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        # A new file is not locked for a moment: what the last minute changed is left alone.
        if time.time() - partial.stat().st_mtime < LEFT_BEHIND:
            continue
        with suppress(OSError), partial.open("rb") as file:  # locked: somebody is writing it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()
