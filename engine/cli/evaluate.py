"""`python -m engine evaluate COHORT --models DIR --output report.json`."""

import argparse
import shlex
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("evaluate", help="measure a pair beside the baselines")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    parser.add_argument("--models", type=Path, metavar="DIR", help="pair folder; default: champion")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="report, as JSON"
    )
    parser.add_argument("--split", choices=("test", "validation", "all"), default="test")
    parser.add_argument(
        "--baselines-from",
        type=Path,
        metavar="COHORT",
        help="cohort the baselines learn from, when COHORT is an unseen hospital",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument(
        "--thorough",
        action="store_true",
        help="also what leaving out race, language, insurance and sex changes, and whether the "
        "student's basis is faithful (minutes)",
    )
    parser.add_argument("--card", metavar="NAME", help="also keep the table in the pair's card")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from engine.errors import WorkbenchError
    from engine.evaluation.report import as_markdown
    from engine.files import write_json
    from engine.jobs.evaluate import evaluate, keep_in_card
    from engine.records.cohort import Cohort
    from engine.registry.pair import champion_folder

    models = arguments.models or champion_folder()
    cohort = Cohort.open(arguments.cohort)
    baselines_from = arguments.baselines_from and Cohort.open(arguments.baselines_from)
    if arguments.output.is_dir():
        raise WorkbenchError(f"{arguments.output}: is a folder; name a file such as report.json")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = evaluate(
        cohort, models, arguments.split, baselines_from, arguments.seed, arguments.thorough
    )
    report["settings"]["command"] = command_line(arguments)
    write_json(arguments.output, report)
    if arguments.card:
        keep_in_card(models, arguments.card, report)
    print(as_markdown(report))
    print(f"written: {arguments.output}")
    return 0


def command_line(arguments: argparse.Namespace) -> str:
    """Return the command that gives these figures again."""
    words = ["python", "-m", "engine", "evaluate", arguments.cohort]
    for option in ("models", "output", "split", "baselines_from", "seed"):
        value = getattr(arguments, option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", value]
    if arguments.thorough:
        words.append("--thorough")
    return shlex.join(str(word) for word in words)
