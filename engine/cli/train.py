"""`python -m engine train {teacher,hidden-states,student,pair} COHORT --recipe R --output DIR`.

Several processes share the teacher: `torchrun --nproc-per-node N -m engine train teacher …`.
"""

import argparse
from pathlib import Path

STAGES = {
    "teacher": "tune the language model with LoRA and a multi-label head",
    "hidden-states": "run the teacher over the cohort once and keep what the student learns from",
    "student": "distil the student, calibrate both models and finish the pair",
    "pair": "all three in a row",
}
RESUMABLE = ("teacher", "student", "pair")
ONE_PROCESS = ("hidden-states", "student")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("train", help="train a teacher, a student, or the whole pair")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, purpose in STAGES.items():
        stage_parser = stages.add_parser(stage, help=purpose, description=purpose)
        stage_parser.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
        stage_parser.add_argument("--recipe", type=Path, required=True, help="YAML file")
        stage_parser.add_argument("--output", type=Path, required=True, metavar="DIR")
        if stage in RESUMABLE:
            stage_parser.add_argument(
                "--resume", action="store_true", help="go on from the last checkpoint"
            )
        stage_parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from engine.config import load_recipe
    from engine.jobs import pipeline
    from engine.records.cohort import Cohort
    from engine.teacher import distributed

    if arguments.stage in ONE_PROCESS and not distributed.is_first():
        return 0  # under torchrun the first process does these stages alone
    recipe = load_recipe(arguments.recipe)
    cohort = Cohort.open(arguments.cohort)
    output = arguments.output
    if arguments.stage == "teacher":
        done = pipeline.train_teacher(cohort, recipe, output, arguments.resume)
    elif arguments.stage == "hidden-states":
        done = pipeline.cache_hidden_states(cohort, recipe, output)
    elif arguments.stage == "student":
        done = pipeline.train_student(cohort, recipe, output, resume=arguments.resume)
    else:
        done = pipeline.train_pair(cohort, recipe, output, arguments.resume)
    if distributed.is_first():
        print(f"finished: {done}")
    return 0
