"""`python -m engine base-model`: convert the default base model, once."""

import argparse


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("base-model", help="convert the default base model, once")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from engine.teacher import base_model

    print(f"base model ready in {base_model.convert()}")
    return 0
