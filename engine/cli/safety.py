"""`python -m engine safety check DRUG …` and `python -m engine safety burden COHORT`."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "safety", help="interactions, duplicates, allergies and cautions; their alert burden"
    )
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    _add_check(parts)
    _add_burden(parts)


def _add_check(parts: argparse._SubParsersAction) -> None:
    parser = parts.add_parser("check", help="check a list of drugs or groups, or a recorded visit")
    parser.add_argument("medications", nargs="*", metavar="DRUG_OR_GROUP")
    parser.add_argument("--cohort", type=Path, metavar="COHORT", help="with --patient: a visit")
    parser.add_argument("--patient", metavar="ID")
    parser.add_argument("--visit", metavar="ID", help="default: the latest visit")
    parser.add_argument("--age", type=int, metavar="YEARS")
    parser.add_argument("--sex", choices=("F", "M"))
    parser.add_argument(
        "--diagnosis", action="append", default=[], metavar="CODE", help="10:N184, 9:5854"
    )
    parser.add_argument(
        "--allergy", action="append", metavar="TEXT", help='one entry: "penicillin (hives)"'
    )
    parser.add_argument("--already-on", action="append", default=[], metavar="DRUG_OR_GROUP")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run_check)


def _add_burden(parts: argparse._SubParsersAction) -> None:
    parser = parts.add_parser("burden", help="alerts per 100 visits, with and without the tiers")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    parser.add_argument("--models", type=Path, metavar="DIR", help="pair folder; default: champion")
    parser.add_argument("--split", choices=("test", "validation", "all"), default="test")
    parser.add_argument(
        "--model",
        choices=("student", "teacher", "both"),
        default="student",
        help="whose list; the teacher takes about a second a visit",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the figures, as JSON")
    parser.set_defaults(run=run_burden)


def run_check(arguments: argparse.Namespace) -> int:
    from engine.safety.check import check

    medications, facts, already_on, before = _subject(arguments)
    since = "last stay"
    if arguments.already_on:
        since = "either" if arguments.cohort else "now"
    report = check(medications, facts, already_on, before, given=since)
    if arguments.json:
        print(json.dumps(asdict(report), indent=2))
    else:
        print(as_text(report))
    return 0


def run_burden(arguments: argparse.Namespace) -> int:
    from engine.errors import WorkbenchError
    from engine.files import write_json
    from engine.recommender import Recommender
    from engine.records.cohort import Cohort
    from engine.registry.pair import champion_folder
    from engine.safety.burden import as_table, measure, recorded

    cohort = Cohort.open(arguments.cohort)
    visits = cohort.samples(None if arguments.split == "all" else arguments.split)
    if not visits:
        raise WorkbenchError(
            f"{arguments.cohort}: its {arguments.split} part has no visit with diagnoses and "
            "medications; take --split all"
        )
    lists = {
        "prescribed, as drugs": [recorded(visit) for visit in visits],
        "prescribed, as groups": [recorded(visit, by_drug=False) for visit in visits],
    }
    recommender = Recommender.load(arguments.models or champion_folder())
    if arguments.model != "teacher":
        probability = recommender.student_probabilities(visits)
        lists["student"] = _chosen(recommender, "student", probability)
    if arguments.model != "student":
        probability = recommender.teacher_probabilities(cohort, visits)
        lists["teacher"] = _chosen(recommender, "teacher", probability)
    burdens = measure(visits, lists)
    print(f"Alerts per 100 visits, {arguments.split} visits of {arguments.cohort}\n")
    print(as_table(burdens))
    figures = {name: burden.to_json() for name, burden in burdens.items()}
    for name, figure in figures.items():
        often = [f"{one['rule']} {one['visits']:.1f}" for one in figure["frequent"]]
        print(f"\n{name}, rules met most, per 100 visits: {', '.join(often)}")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.output, {"split": arguments.split, "lists": figures})
        print(f"\nwritten: {arguments.output}")
    return 0


def as_text(report) -> str:
    """Return a report for the terminal: what interrupts first, what was not checked last."""
    lines = []
    for alert in report.alerts:
        lines.append(f"{alert.tier.upper():9} {alert.severity}: {alert.what}")
        told = (alert.scope, alert.why, alert.management, *alert.also, f"Source: {alert.source}")
        lines += [f"          {line}" for line in told if line]
    if not report.alerts:
        lines.append("No rule was met. That does not make the list safe; see below.")
    if report.repeated:
        lines.append(f"Known from before and not repeated: {len(report.repeated)}")
    if report.unshown:
        lines.append(
            f"Not shown: {report.unshown} of less weight that few drugs of a group would meet"
        )
    lines += ["", "Not checked:", *(f"- {line}" for line in report.not_checked)]
    lines += ["", "Decision support for research. A clinician decides."]
    return "\n".join(lines)


def _subject(arguments: argparse.Namespace):
    """What to check, for whom, what they are on already, and the patient as of then."""
    from dataclasses import replace

    from engine.errors import WorkbenchError
    from engine.records.cohort import Cohort
    from engine.safety.burden import previous, recorded
    from engine.safety.facts import PatientFacts

    typed = None if arguments.allergy is None else tuple(arguments.allergy)
    medications, already_on = tuple(arguments.medications), tuple(arguments.already_on)
    if bool(arguments.cohort) != bool(arguments.patient):
        raise WorkbenchError("--cohort and --patient belong together; give both or neither")
    if not arguments.cohort and not medications:
        raise WorkbenchError("nothing to check; name drugs or groups, or --cohort and --patient")
    if not arguments.cohort:
        facts = PatientFacts(
            arguments.age, arguments.sex, tuple(arguments.diagnosis), allergies=typed
        )
        return medications, facts, already_on, None
    visit = Cohort.open(arguments.cohort).visit(arguments.patient, arguments.visit)
    facts = PatientFacts.of(visit, typed)
    facts = replace(facts, diagnoses=facts.diagnoses + tuple(arguments.diagnosis))
    former = previous(visit)
    before = PatientFacts.of(former) if former else None
    on = already_on + (recorded(former) if former else ())
    return medications or recorded(visit), facts, on, before


def _chosen(recommender, model: str, probability) -> list[tuple[str, ...]]:
    """The groups that a model lists for each visit."""
    selected = recommender.pair.calibration[model].select(probability)
    medications = recommender.vocabulary.medications
    return [
        tuple(group for group, chosen in zip(medications, row, strict=True) if chosen)
        for row in selected
    ]
