"""The command line: `python -m engine COMMAND …`, one file a command group."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from engine.errors import WorkbenchError

COMMAND_GROUPS = (
    "base_model",
    "ingest",
    "terminology",
    "prompt",
    "train",
    "evaluate",
    "study",
    "score",
    "recommend",
    "safety",
    "users",
    "audit",
    "worker",
    "registry",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; each group adds its own."""
    parser = argparse.ArgumentParser(
        prog="python -m engine",
        description="Hospital records in, a taught and distilled medication recommender out.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in COMMAND_GROUPS:
        importlib.import_module(f"engine.cli.{group}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 2 for anything the user can mend."""
    parsed = build_parser().parse_args(arguments)
    try:
        code = parsed.run(parsed) or 0
        sys.stdout.flush()
        return code
    except WorkbenchError as error:
        _say(f"error: {error}")
        return 2
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        place = error.filename or "the files of this command"
        _say(
            f"error: {place}: {error.strerror or error}; check that it is there, "
            "may be read and written, and that the disk is not full"
        )
        return 2
    except KeyboardInterrupt:
        _say("stopped; what was finished is kept")
        return 130


def _say(line: str) -> None:
    """Print to standard error, once a machine when `torchrun` started several processes."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(line, file=sys.stderr)
