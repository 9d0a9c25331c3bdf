"""`python -m engine recommend COHORT --patient ID`: teacher and student side by side."""

import argparse
import json
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("recommend", help="teacher and student side by side for a visit")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    parser.add_argument("--patient", required=True, metavar="ID")
    parser.add_argument("--visit", metavar="ID", help="default: the latest visit")
    parser.add_argument("--model", choices=("both", "teacher", "student"), default="both")
    parser.add_argument("--models", type=Path, metavar="DIR", help="pair folder; default: champion")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from engine.recommender import Recommender
    from engine.records.cohort import Cohort
    from engine.registry.pair import champion_folder

    cohort = Cohort.open(arguments.cohort)
    visit = cohort.visit(arguments.patient, arguments.visit)
    recommender = Recommender.load(arguments.models or champion_folder())
    recommendation = recommender.recommend(cohort, visit, arguments.model)
    if arguments.json:
        print(json.dumps(recommendation.to_json(), indent=2))
    else:
        print(as_table(recommendation))
    return 0


def as_table(recommendation) -> str:
    """Return a recommendation as aligned text for the terminal."""
    lines = [f"Patient {recommendation.patient_id}, visit {recommendation.visit_id}"]
    for model, version in recommendation.versions.items():
        latency = recommendation.latency_ms[model]
        asked = "not asked" if latency is None else f"{latency:.1f} ms"
        threshold = recommendation.thresholds[model]
        lines.append(f"{model.capitalize():8} {version}, threshold {threshold:.2f}, {asked}")
    width = max([len(row.name) for row in recommendation.rows], default=4)
    lines += ["", f"{'ATC':5} {'name':{width}} {'teacher':>7} {'student':>7}  {'status':9} given"]
    for row in recommendation.rows:
        lines.append(
            f"{row.atc:5} {row.name:{width}} {_percent(row.teacher):>7} "
            f"{_percent(row.student):>7}  {row.status:9} {_given(row.given)}"
        )
    lines += [f"Left out of the prompt: {line}" for line in recommendation.omitted]
    lines += ["", "Decision support for research. A clinician decides."]
    return "\n".join(lines)


def _percent(probability: float | None) -> str:
    return "–" if probability is None else f"{probability:.1%}"


def _given(given: bool | None) -> str:
    return "not recorded" if given is None else "yes" if given else "no"
