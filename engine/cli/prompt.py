"""`python -m engine prompt COHORT --patient ID`: a visit exactly as the teacher reads it."""

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("prompt", help="print a visit exactly as the teacher reads it")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    parser.add_argument("--patient", required=True, metavar="ID")
    parser.add_argument("--visit", metavar="ID", help="default: the latest visit")
    parser.add_argument(
        "--recipe", type=Path, help="recipe that says what is shown; default: the champion's"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from engine.config import load_recipe
    from engine.records.cohort import Cohort
    from engine.records.schema import PROFILE_FIELDS, profile_value
    from engine.registry.pair import champion_folder
    from engine.teacher.base_model import load_tokenizer
    from engine.teacher.data import prompt_of

    cohort = Cohort.open(arguments.cohort)
    visit = cohort.visit(arguments.patient, arguments.visit)
    recipe = load_recipe(arguments.recipe or champion_folder() / "recipe.yaml")
    tokenizer = load_tokenizer(recipe.teacher.base_model)
    prompt = prompt_of(visit, cohort.title, tokenizer, recipe.prompt)
    print(prompt.text)
    print(f"\n[{prompt.tokens} tokens of at most {recipe.prompt.max_tokens}]")
    for line in prompt.omitted or ("nothing",):
        print(f"[left out: {line}]")
    hidden = [
        field
        for field in PROFILE_FIELDS
        if field not in recipe.prompt.profile and profile_value(visit, field)
    ]
    if hidden:
        print(f"[on record, not shown by this recipe: {', '.join(hidden)}]")
    return 0
