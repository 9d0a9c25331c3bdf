"""`python -m engine ingest SOURCE INPUT_DIR COHORT_DIR`: a hospital's tables to a cohort."""

import argparse
from pathlib import Path

from engine.records.ingest import SOURCES, ingest


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("ingest", help="turn a hospital's tables into a cohort folder")
    parser.add_argument("source", choices=sorted(SOURCES), help="the layout of the tables")
    parser.add_argument(
        "input_dir", type=Path, metavar="INPUT_DIR", help="folder with the .csv or .csv.gz tables"
    )
    parser.add_argument(
        "cohort_dir", type=Path, metavar="COHORT_DIR", help="folder to make; must not exist yet"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="decides who trains, validates and tests (default 0)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a cohort that is already at COHORT_DIR"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ingest and print what became of every row."""
    funnel = ingest(
        arguments.input_dir,
        arguments.cohort_dir,
        source=SOURCES[arguments.source],
        seed=arguments.seed,
        force=arguments.force,
    )
    print(funnel.as_text())
    print(f"\ncohort written to {arguments.cohort_dir}")
    return 0
