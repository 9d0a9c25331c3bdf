"""The benchmarks' command line: `python -m bench NAME …`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from engine.errors import WorkbenchError

BENCHMARKS = (
    "app",
    "growth",
    "hidden_states",
    "ingest",
    "search",
    "sessions",
    "student",
    "teacher",
    "tile",
    "train_student",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every benchmark; each adds its own."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="What the workbench costs: time, memory, growth."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="BENCHMARK")
    for name in BENCHMARKS:
        importlib.import_module(f"bench.{name}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark and return its exit code; 2 for anything the user can mend."""
    parsed = build_parser().parse_args(arguments)
    try:
        return parsed.run(parsed) or 0
    except WorkbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
