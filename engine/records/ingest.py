"""From a hospital's tables to a cohort folder, whatever the source. Appears whole or not at all.

    python -m engine ingest SOURCE INPUT_DIR COHORT_DIR

Files written: patients.parquet, visits.parquet, vocabulary.json, splits.json, titles.json and
manifest.json; beside them quality.json and quality.html, which say how good the data are. The same
input and options give the same bytes.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow
from tqdm import tqdm

import engine
from engine.errors import WorkbenchError
from engine.files import sha256, whole_folder
from engine.records import (
    assemble,
    medications,
    mimic_iii,
    mimic_iv,
    omop,
    quality,
    quality_report,
    tables,
)
from engine.records.cohort import FILES, FORMAT
from engine.records.funnel import Funnel
from engine.records.options import VOCABULARIES, IngestOptions
from engine.records.schema import PROFILE_FIELDS, age_band
from engine.records.source import Source
from engine.records.splits import RATIOS, SPLITS, split_patients
from engine.records.vocabulary import Vocabulary
from engine.terminology import rxnorm

SOURCES = {source.name: source for source in (mimic_iii.SOURCE, mimic_iv.SOURCE, omop.SOURCE)}
MEMORY_LIMIT = "2GB"  # DuckDB spills to the temporary folder beyond it
THREADS = 2
DEFAULTS = IngestOptions()
QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
# How a reason to drop every row begins → what to do about it.
MENDS = {
    "the patient has fewer": "lower --min-visits",
    "start time is missing": "leave out --first-day, or export the start times",
    "started ": "leave out --first-day, or check the start times",
}
ROW_GROUP = 8192  # visits; small enough that one patient is found without reading the rest


def ingest(
    input_dir: str | Path,
    cohort_dir: str | Path,
    source: Source = mimic_iv.SOURCE,
    options: IngestOptions = DEFAULTS,
    force: bool = False,
) -> Funnel:
    """Write the cohort of an export and return what became of its rows.

    `source` is one of `SOURCES`. With `force`, a cohort already at `cohort_dir` is replaced once
    the new one is whole. Raises WorkbenchError, with nothing written, for anything in the input or
    at the destination that a person has to mend.
    """
    input_dir = Path(input_dir)
    try:
        cohort_dir = Path(cohort_dir).resolve()
    except RuntimeError as error:
        raise WorkbenchError(
            f"{cohort_dir}: is a link that leads to itself; name a new folder for the cohort"
        ) from error
    try:
        refuse_overwrite(cohort_dir, force)
        if options.drug_map:
            rxnorm.DrugMap.open(options.drug_map)  # a slip shows now, not after minutes of reading
        files = check(source, input_dir)
        with whole_folder(cohort_dir) as folder:
            scratch = folder / ".scratch"
            scratch.mkdir()
            with connected(scratch) as connection:
                funnel = build(connection, source, files, folder, options)
            shutil.rmtree(scratch)
            write_manifest(folder, source, files, options, funnel)
    except duckdb.Error as error:
        line = QUOTED.sub("…", str(error).splitlines()[0])  # a cell may stand there
        raise WorkbenchError(f"{input_dir}: could not be ingested ({line})") from error
    except OSError as error:
        raise WorkbenchError(
            f"{error.filename or cohort_dir}: {error.strerror or error}; "
            "check that it is there, may be read or written, and that the disk is not full"
        ) from error
    return funnel


def check(source: Source, input_dir: Path) -> dict[str, tables.InputFile]:
    """Find every table and check it from end to end; table name → checked file."""
    try:
        return _checked(source, tables.find(input_dir, source.folders, source.tables))
    except WorkbenchError as error:
        for other in SOURCES.values():
            if other is not source and tables.fits(input_dir, other.folders, other.tables):
                raise WorkbenchError(
                    f"{error}; or use `ingest {other.name}`: the tables look like that layout"
                ) from error
        raise


def _checked(source: Source, found: dict[str, Path]) -> dict[str, tables.InputFile]:
    total = sum(path.stat().st_size for path in found.values())
    with tqdm(total=total, desc="checking tables", unit="B", unit_scale=True, disable=None) as bar:
        return {
            table.name: tables.check(table, found[table.name], bar.update)
            for table in source.tables
            if table.name in found
        }


def build(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    files: dict[str, tables.InputFile],
    folder: Path,
    options: IngestOptions,
) -> Funnel:
    """Read, assemble and write all files of a cohort but the manifest."""
    bad_lines: dict[str, dict[str, int]] = {}
    steps = 7 + len(source.tables)
    with tqdm(
        total=steps, unit="step", disable=None, bar_format="{desc:<28}{bar} {elapsed}"
    ) as bar:

        def step(name: str) -> None:
            bar.set_description(name)
            bar.update()

        connection.execute("CREATE SCHEMA raw")
        for table in source.tables:
            step(f"reading {table.name}")
            if table.name in files:
                bad_lines[table.name] = tables.load(connection, files[table.name])
            else:
                tables.load_absent(connection, table)
        assemble.views(connection, source)
        step("ordering admissions")
        assemble.patients_and_admissions(connection, options)
        step("listing codes")
        assemble.codes(connection, "diagnoses", options)
        assemble.codes(connection, "procedures", options)
        step("mapping drugs to ATC")
        medications.assemble(connection, options)
        step("joining visits")
        assemble.visits(connection, options)
        funnel = count(connection, source, files, bad_lines)
        step("collecting the vocabulary")
        vocabulary = write_vocabulary(connection, folder, options)
        funnel = replace(
            funnel, vocabulary={kind: len(getattr(vocabulary, kind)) for kind in VOCABULARIES}
        )
        step("writing the cohort")
        write_tables(connection, folder)
        step("judging the quality")
        write_quality(connection, source, folder, options, funnel)
    return funnel


def count(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    files: dict[str, tables.InputFile],
    bad_lines: dict[str, dict[str, int]],
) -> Funnel:
    """Count what was kept; WorkbenchError when a table that matters was dropped as a whole."""
    counts = {}
    for place in assemble.COUNTED:
        name = getattr(source, place).table
        counts[place] = assemble.count(connection, place, name, bad_lines.get(name, {}))
    for place in ("admissions", *assemble.COUNTED):  # without admissions the rest is lost as well
        if place == "procedures" and assemble.NOT_ICD in counts[place].dropped:
            continue  # they are in another vocabulary, such as CPT4: no sign of a wrong export
        if counts[place].read and not counts[place].kept:
            reason, rows = max(counts[place].dropped.items(), key=lambda dropped: dropped[1])
            raise WorkbenchError(
                f"{files[counts[place].table].path}: none of the {counts[place].read:,} rows can "
                f"be used ({rows:,}: {reason}); {_mend(reason)}"
            )
    patients, visits, labelled = connection.execute("""
        SELECT count(DISTINCT patient_id), count(*),
               count(*) FILTER (WHERE len(diagnoses) > 0 AND len(medications) > 0)
        FROM visits
    """).fetchone()
    kinds, unmapped, unmapped_names = medications.mapping(connection)
    return Funnel(
        tables=tuple(counts.values()),
        absent=tuple(table.name for table in source.tables if table.name not in files),
        patients=patients,
        visits=visits,
        labelled_visits=labelled,
        first_visits=patients,  # everyone has exactly one
        mapping=kinds,
        unmapped=tuple(unmapped),
        unmapped_names=unmapped_names,
    )


def write_vocabulary(
    connection: duckdb.DuckDBPyConnection, folder: Path, options: IngestOptions
) -> Vocabulary:
    """Write splits.json, and vocabulary.json and titles.json; leave the table `splits`."""
    ids = connection.execute("SELECT DISTINCT patient_id FROM visits").fetchall()
    splits = split_patients((row[0] for row in ids), options.split_seed)
    _write_json(folder / "splits.json", splits)
    connection.register(
        "placed", pyarrow.table({"patient_id": list(splits), "split": list(splits.values())})
    )
    connection.execute("CREATE TABLE splits AS SELECT * FROM placed")
    connection.unregister("placed")
    training = "FROM visits SEMI JOIN (FROM splits WHERE split = 'train') USING (patient_id)"

    def distinct(expression: str) -> list:
        rows = connection.execute(f"SELECT DISTINCT {expression} {training}").fetchall()
        return [row[0] for row in rows]

    def frequent(kind: str) -> list:
        return [
            code
            for (code,) in connection.execute(
                f"SELECT code FROM (SELECT unnest({kind}) AS code {training}) GROUP BY code "
                "HAVING count(*) >= ? ORDER BY count(*) DESC, code LIMIT ?",
                [options.min_count.get(kind, 1), options.top_k.get(kind)],
            ).fetchall()
        ]

    profile = {field: distinct(field) for field in PROFILE_FIELDS if field != "age_band"}
    codes = {kind: frequent(kind) for kind in VOCABULARIES}
    least = options.min_count.get("medications", 1)
    if least > 1 and not codes["medications"]:
        raise WorkbenchError(
            f"--min-count medications={least}: no medication group is given in so many training "
            "visits, so there would be nothing to recommend; lower it"
        )
    vocabulary = Vocabulary.from_codes(
        **codes,
        profile={**profile, "age_band": [age_band(age) for age in distinct("age")]},
    )
    vocabulary.save(folder / "vocabulary.json")
    _write_json(folder / "titles.json", assemble.titles(connection))
    return vocabulary


def write_tables(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write patients.parquet and visits.parquet, sorted, so that equal input gives equal bytes."""
    options = f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(
        f"COPY (FROM visits ORDER BY patient_id, admit_time, visit_id) TO ? {options}",
        [str(folder / "visits.parquet")],
    )
    connection.execute(
        "COPY (SELECT patient_id, any_value(sex) AS sex, count(*)::INTEGER AS visits, "
        "any_value(split) AS split FROM visits JOIN splits USING (patient_id) "
        f"GROUP BY patient_id ORDER BY patient_id) TO ? {options}",
        [str(folder / "patients.parquet")],
    )


def write_quality(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    folder: Path,
    options: IngestOptions,
    funnel: Funnel,
) -> None:
    """Write the quality report; it is no part of what a model learns from."""
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    titles = json.loads((folder / "titles.json").read_text(encoding="utf-8"))
    facts = quality.facts(connection, funnel, vocabulary, titles, source.name, options)
    quality_report.write(folder, facts)


def write_manifest(
    folder: Path,
    source: Source,
    files: dict[str, tables.InputFile],
    options: IngestOptions,
    funnel: Funnel,
) -> None:
    """Write what was made from what. No clock: the same input gives the same manifest."""
    sums = {name: sha256(folder / name) for name in FILES}
    splits = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    places = list(splits.values())
    manifest = {
        "format": FORMAT,
        "source": source.name,
        "tables": {
            name: {"file": file.path.name, "sha256": file.sha256} for name, file in files.items()
        },
        "options": options.to_dict() | {"ratios": list(RATIOS)},
        "engine_version": engine.__version__,
        "counts": {
            "patients": funnel.patients,
            "visits": funnel.visits,
            "labelled_visits": funnel.labelled_visits,
            "first_visits": funnel.first_visits,
            "splits": {split: places.count(split) for split in SPLITS},
        },
        "funnel": funnel.to_dict(),
        "files": sums,
        "fingerprint": hashlib.sha256(
            "".join(f"{name} {digest}\n" for name, digest in sorted(sums.items())).encode()
        ).hexdigest(),
        "report": {name: sha256(folder / name) for name in quality_report.FILES},
    }
    _write_json(folder / "manifest.json", manifest)


def refuse_overwrite(cohort_dir: Path, force: bool) -> None:
    """Raise WorkbenchError unless a cohort may be written at this place."""
    if not cohort_dir.exists():
        return
    if not cohort_dir.is_dir():
        raise WorkbenchError(f"{cohort_dir}: is a file; name a new folder for the cohort")
    there = {path.name for path in cohort_dir.iterdir()}
    if not there:
        return
    if there - {*FILES, *quality_report.FILES, "manifest.json"} or "manifest.json" not in there:
        raise WorkbenchError(
            f"{cohort_dir}: is not empty and is not a cohort; name a new folder for the cohort"
        )
    if not force:
        raise WorkbenchError(
            f"{cohort_dir}: holds a cohort already; add --force to replace it, or name a new folder"
        )


@contextmanager
def connected(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB on a file in `scratch`, with bounded memory and no network."""
    with duckdb.connect(
        str(scratch / "work.duckdb"),
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": THREADS,
            "temp_directory": str(scratch / "spill"),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    ) as connection:
        connection.execute("SET enable_progress_bar = false")  # ours says more
        yield connection


def _mend(reason: str) -> str:
    return next(
        (mend for start, mend in MENDS.items() if reason.startswith(start)),
        "check that all tables come from the same export",
    )


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
