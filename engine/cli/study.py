"""`python -m engine study COHORT --output DIR`: the paper's questions, asked of a cohort."""

import argparse
import shlex
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "study",
        help="compare, ablate and time every model, with a report",
        description="Runs the questions of the LEADER paper and writes report.md, report.html and "
        "report.json. Run it again to go on after a stop: finished parts are kept.",
    )
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="pair with the teacher; default: champion, or one trained from --recipe",
    )
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="with --models: only its student section counts"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of students and neural baselines")
    parser.add_argument(
        "--grid-seeds", type=int, metavar="N", help="of the students of rq3; default: as --seeds"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes at once, one thread each"
    )
    parser.add_argument(
        "--preset", choices=("paper",), help="that cohort, and its recipe unless one is named"
    )
    parser.add_argument("--only", metavar="rq1,rq2,…", help="questions, rq1 to rq5; default: all")
    parser.add_argument(
        "--teachers", action="store_true", help="retrain the teacher too where it matters (hours)"
    )
    parser.add_argument(
        "--folds", type=int, metavar="N", help="adapt the pair to this cohort, N folds by patient"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from engine.errors import WorkbenchError
    from engine.jobs.study import study
    from engine.jobs.study_plan import Setting
    from engine.jobs.study_report import write
    from engine.jobs.study_sections import headline, public_table
    from engine.records.cohort import Cohort

    cohort = Cohort.open(arguments.cohort)
    pair, recipe = _models(arguments)
    setting = Setting(
        cohort,
        recipe,
        arguments.output,
        pair,
        seeds=arguments.seeds,
        grid_seeds=arguments.grid_seeds,
        workers=arguments.workers,
        only=_questions(arguments.only),
        teachers=arguments.teachers,
        preset=arguments.preset,
        command=command_line(arguments),
    )
    if arguments.folds is None:
        report = study(setting)
    elif arguments.only:
        raise WorkbenchError("--only: has no meaning with --folds; leave one of them out")
    else:
        from engine.jobs.study_folds import adapted_study

        report = adapted_study(setting, arguments.folds)
    paths = write(report, arguments.output)
    print(f"\n{headline(report)}")
    if arguments.preset:
        table = public_table()
        print("\nPublished figures, from other data:")
        for row in [table.header, *table.rows]:
            print(f"  {row[0]:<26}{row[1]:<11}" + "".join(f"{cell:>14}" for cell in row[2:]))
    for path in paths:
        print(f"written: {path}")
    return 0


def _models(arguments: argparse.Namespace):
    """Return the pair, or None where a teacher is to be trained, and the recipe."""
    from engine.config import load_recipe
    from engine.registry.pair import champion_folder, open_pair

    named = arguments.recipe
    if arguments.preset and arguments.models is None and arguments.folds is None:
        named = named or RECIPES / f"{arguments.preset}.yaml"
    recipe = load_recipe(named) if named else None
    if recipe is not None and arguments.models is None and arguments.folds is None:
        return None, recipe
    pair = open_pair(arguments.models or champion_folder())
    if recipe is None:
        return pair, pair.recipe
    return pair, pair.recipe.model_copy(update={"student": recipe.student})


def _questions(only: str | None) -> tuple[str, ...]:
    from engine.errors import WorkbenchError
    from engine.jobs.study_plan import QUESTIONS

    if only is None:
        return QUESTIONS
    asked = [word.strip().lower() for word in only.split(",") if word.strip()]
    for word in asked:
        if word not in QUESTIONS:
            raise WorkbenchError(
                f"--only {word}: no such question; there are {', '.join(QUESTIONS)}"
            )
    if not asked:
        raise WorkbenchError(f"--only: name one or more of {', '.join(QUESTIONS)}")
    return tuple(question for question in QUESTIONS if question in asked)


def command_line(arguments: argparse.Namespace) -> str:
    """Return the command that gives these figures again."""
    words = ["python", "-m", "engine", "study", arguments.cohort]
    options = ("output", "models", "recipe", "seeds", "grid_seeds", "workers", "preset", "only")
    for option in (*options, "folds"):
        value = getattr(arguments, option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", value]
    if arguments.teachers:
        words.append("--teachers")
    return shlex.join(str(word) for word in words)
