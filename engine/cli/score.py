"""`python -m engine score COHORT --output FILE.parquet`: every visit's probabilities."""

import argparse
from pathlib import Path

MODELS = {"student": ("student",), "teacher": ("teacher",), "both": ("student", "teacher")}


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "score",
        help="write every visit's probabilities to a Parquet file",
        description="Writes one row a visit, labelled or not: patient_id, visit_id, and a column "
        "for each model and medication group, such as student_A02B, with its probability.",
    )
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="Parquet file to write"
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="pair folder; default: champion")
    parser.add_argument("--model", choices=tuple(MODELS), default="student")
    parser.add_argument("--split", choices=("all", "train", "validation", "test"), default="all")
    parser.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="processes, one core each (default 1; with --ray: all the cluster has room for)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="score over a Ray cluster: auto, HOST:PORT, or local to start one",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from engine.jobs.score import score
    from engine.records.cohort import Cohort
    from engine.registry.pair import champion_folder

    models = MODELS[arguments.model]
    scored = score(
        Cohort.open(arguments.cohort),
        arguments.models or champion_folder(),
        arguments.output,
        models,
        arguments.split,
        arguments.ray,
        arguments.workers,
    )
    print(f"{scored.visits:,} visits of {scored.patients:,} patients")
    for model in models:
        version, threshold = (scored.facts[f"{model}_{fact}"] for fact in ("version", "threshold"))
        print(f"{model.capitalize():8} {version}, threshold {float(threshold):.2f}")
    print(f"written: {arguments.output}")
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return number
