"""What ingesting costs as a hospital grows: 3,000, 30,000 and 300,000 patients (MIMIC-IV's size).

    python -m bench ingest --patients 300000 [--json FILE] [--keep DIR]

For each size the sample is tiled (`bench/tile.py`, not timed), then the real command
`python -m engine ingest mimic-iv` runs in a process of its own. So that figures can be compared
between machines, busy or not, the same tables are then read with the least that any reader does:
DuckDB on as many threads unzips them and counts their rows, again in a process of its own. The
patient search is timed on the largest cohort (`bench/search.py`).
"""

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import child, machine, search
from engine.errors import WorkbenchError
from engine.files import read_json, write_json

SIZES = (3_000, 30_000, 300_000)  # patients
LIMIT_PATIENTS = 300_000  # the limits hold for this size, on two cores
LIMIT_SECONDS = 300
LIMIT_BYTES = 4_000_000_000
BARE_SCAN = """
import sys, duckdb
with duckdb.connect(config={"threads": 2}) as connection:
    for path in sys.argv[1:]:
        connection.execute("SELECT count(*) FROM read_csv(?, all_varchar = true)", [path])
"""
RECORDS = ("patients", "admissions", "diagnoses_icd", "procedures_icd", "prescriptions")


def sizes(patients: int) -> list[int]:
    """Return the sizes to measure: those of `SIZES` below the largest, and the largest."""
    if patients < 1:
        raise WorkbenchError(f"--patients: expected a number of 1 or more, not {patients}")
    return [size for size in SIZES if size < patients] + [patients]


def measure(patients: int, folder: Path) -> dict:
    """Return the figures of one size; its tables and cohort are left in `folder`."""
    tables, cohort = folder / f"tables-{patients}", folder / f"cohort-{patients}"
    child.run("-m", "bench", "tile", "--patients", str(patients), tables)
    cost = child.run("-m", "engine", "ingest", "mimic-iv", tables, cohort, "--force")
    scan = child.run("-c", BARE_SCAN, *sorted(tables.glob("*.csv.gz")))
    rows = read_json(tables / "tiled.json", "remove the folder")["rows"]
    return {
        "patients": patients,
        "rows": sum(rows[name] for name in RECORDS),
        "rows_by_table": rows,
        "input_bytes": sum(file.stat().st_size for file in tables.glob("*.csv.gz")),
        "cohort_bytes": sum(file.stat().st_size for file in cohort.iterdir()),
        "fingerprint": read_json(cohort / "manifest.json", "run it again")["fingerprint"],
        **asdict(cost),
        "rows_per_second": sum(rows[name] for name in RECORDS) / cost.seconds,
        "bare_scan": asdict(scan),
        "times_bare_scan": cost.seconds / scan.seconds,
        "cpu_times_bare_scan": cost.cpu_seconds / scan.cpu_seconds,
    }


def growth(ingests: list[dict]) -> list[dict]:
    """Return by what factor rows, seconds and peak memory grow from one size to the next."""
    return [
        {
            "from_patients": small["patients"],
            "to_patients": large["patients"],
            **{name: large[name] / small[name] for name in ("rows", "seconds", "peak_bytes")},
        }
        for small, large in zip(ingests, ingests[1:], strict=False)
    ]


def limits(ingests: list[dict]) -> dict[str, bool | None]:
    """Return whether each limit was met; None where its size was not measured."""
    largest = ingests[-1]
    counts = largest["patients"] >= LIMIT_PATIENTS
    return {
        "seconds": largest["seconds"] <= LIMIT_SECONDS if counts else None,
        "peak_memory": largest["peak_bytes"] <= LIMIT_BYTES if counts else None,
    }


def as_text(ingests: list[dict]) -> str:
    """Return the figures as an aligned table, with the growth and the limits below."""
    lines = [
        f"{'patients':>10}{'rows':>13}{'seconds':>10}{'CPU s':>9}{'rows/s':>11}"
        f"{'peak memory':>13}{'cohort':>10}{'× bare scan':>13}{'CPU ×':>8}"
    ]
    lines += [
        f"{one['patients']:>10,}{one['rows']:>13,}{one['seconds']:>10.1f}{one['cpu_seconds']:>9.1f}"
        f"{one['rows_per_second']:>11,.0f}{one['peak_bytes'] / 1e9:>10.2f} GB"
        f"{one['cohort_bytes'] / 1e6:>7,.0f} MB{one['times_bare_scan']:>13.1f}"
        f"{one['cpu_times_bare_scan']:>8.1f}"
        for one in ingests
    ]
    lines += [
        f"from {step['from_patients']:,} to {step['to_patients']:,} patients: rows × "
        f"{step['rows']:.1f}, seconds × {step['seconds']:.1f}, peak memory × "
        f"{step['peak_bytes']:.1f}"
        for step in growth(ingests)
    ]
    spoken = {True: "met", False: "NOT MET", None: "not measured at this size"}
    met = limits(ingests)
    lines += [
        f"limit at {LIMIT_PATIENTS:,} patients: {LIMIT_SECONDS // 60} minutes on two cores: "
        + spoken[met["seconds"]],
        f"limit at {LIMIT_PATIENTS:,} patients: {LIMIT_BYTES / 1e9:.0f} GB peak memory: "
        + spoken[met["peak_memory"]],
    ]
    return "\n".join(lines)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("ingest", help="time and memory of ingesting, by size")
    parser.add_argument("--patients", type=int, default=300_000, metavar="N", help="largest size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="folder for tables and cohorts, used again"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure every size, then the search on the largest; print and write."""
    facts = machine.facts()
    with ExitStack() as stack:
        folder = arguments.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-ingest-"))
        )
        folder = folder.resolve()
        ingests = []
        for patients in sizes(arguments.patients):
            ingests.append(measure(patients, folder))
        print(as_text(ingests))
        found = folder / "search.json"
        child.run("-m", "bench", "search", folder / f"cohort-{patients}", "--json", found)
        searched = read_json(found, "run it again")
    print(f"\n{search.as_text(searched)}\n\n{machine.as_text(facts)}")
    if arguments.json:
        figures = {
            "ingest": ingests,
            "growth": growth(ingests),
            "limits": {
                "patients": LIMIT_PATIENTS,
                "seconds": LIMIT_SECONDS,
                "peak_bytes": LIMIT_BYTES,
                "met": limits(ingests),
            },
            "search": {name: searched[name] for name in searched if name not in facts},
        }
        write_json(arguments.json, {"benchmark": "ingest", **facts, **figures})
    return 0
