"""`python -m engine ingest SOURCE INPUT_DIR COHORT_DIR`: a hospital's tables to a cohort."""

import argparse
from collections import ChainMap
from dataclasses import fields, replace
from pathlib import Path

from engine.records.ingest import SOURCES, ingest
from engine.records.options import PRESETS, VOCABULARIES, IngestOptions
from engine.records.schema import PROFILE_FIELDS


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("ingest", help="turn a hospital's tables into a cohort folder")
    parser.add_argument("source", choices=sorted(SOURCES), help="the layout of the tables")
    parser.add_argument(
        "input_dir",
        type=Path,
        metavar="INPUT_DIR",
        help="folder with the .csv, .csv.gz or .parquet tables",
    )
    parser.add_argument(
        "cohort_dir", type=Path, metavar="COHORT_DIR", help="folder to make; must not exist yet"
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), help="the options of a published cohort, as a start"
    )
    parser.add_argument(
        "--split-seed",
        type=int,
        metavar="N",
        help="decides who trains, validates and tests (default 0)",
    )
    parser.add_argument(
        "--first-day",
        action="store_true",
        default=None,
        help="only medications started within 24 hours of admission",
    )
    parser.add_argument(
        "--min-visits", type=int, metavar="N", help="leave out patients with fewer admissions"
    )
    parser.add_argument(
        "--min-count",
        type=limits,
        metavar="[KIND=]N",
        action="append",
        help="leave codes of fewer training visits out of the vocabulary; "
        f"KIND is {', '.join(VOCABULARIES)} (all of them without it)",
    )
    parser.add_argument(
        "--top-k",
        type=limits,
        metavar="[KIND=]N",
        action="append",
        help="keep the N most frequent codes of a vocabulary",
    )
    parser.add_argument(
        "--profile-off",
        type=lambda text: tuple(filter(None, map(str.strip, text.split(",")))),
        metavar="FIELD[,FIELD]",
        help=f"leave profile fields empty: {', '.join(PROFILE_FIELDS)}",
    )
    parser.add_argument(
        "--icd10",
        action="store_true",
        default=None,
        help="translate ICD-9 diagnoses to ICD-10 where there is an equivalent",
    )
    parser.add_argument(
        "--drug-map",
        type=Path,
        metavar="FILE",
        help="a map NDC to ATC made by `engine terminology rxnorm`; preferred over the name",
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
        options=chosen(arguments),
        force=arguments.force,
    )
    print(funnel.as_text())
    print(f"\ncohort written to {arguments.cohort_dir}")
    print(f"quality report: {arguments.cohort_dir / 'quality.html'}")
    return 0


def limits(text: str) -> tuple[str | None, int]:
    """Read `diagnoses=2000`, or `5`, which is for every vocabulary."""
    kind, named, number = text.rpartition("=")
    if named and kind.strip() not in VOCABULARIES:
        raise argparse.ArgumentTypeError(
            f"{text!r}: KIND is one of {', '.join(VOCABULARIES)}, as in diagnoses=2000"
        )
    try:
        return kind.strip() or None, int(number)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a number, or KIND=NUMBER such as diagnoses=2000"
        ) from None


def chosen(arguments: argparse.Namespace) -> IngestOptions:
    """Return the preset's options with those given on the command line in their place."""
    start = PRESETS[arguments.preset] if arguments.preset else IngestOptions()
    given = {
        option.name: value
        for option in fields(IngestOptions)
        if (value := getattr(arguments, option.name)) is not None
    }
    for name in ("min_count", "top_k"):
        if name in given:  # a number for every vocabulary first, then those for one
            whole = [dict.fromkeys(VOCABULARIES, n) for kind, n in given[name] if kind is None]
            single = [{kind: n} for kind, n in given[name] if kind]
            given[name] = dict(ChainMap(*reversed([getattr(start, name), *whole, *single])))
    return replace(start, **given)
