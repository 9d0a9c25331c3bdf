"""`python -m engine registry list|show|verify|promote|rollback|reject|export|import`.

Which versions there are, and which one answers. Whoever may type commands on the server owns its
files, and is audited as `cli:NAME`.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from engine.errors import WorkbenchError
from engine.permissions import command_line

MODELS = ("teacher", "student")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "registry",
        help="versions: list, verify, promote, roll back, reject, export, import",
        description="Versions of the installation named by WORKBENCH_DATA (default: data), and "
        "those that come with the workbench. Running apps pick up another champion by themselves.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="every version, and which one is in use")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    listing.set_defaults(run=show_all)

    showing = actions.add_parser("show", help="a version: origin, figures, comparison")
    _takes_version(showing)
    showing.add_argument("--json", action="store_true", help="print JSON instead of text")
    showing.set_defaults(run=show)

    verifying = actions.add_parser("verify", help="check every file against its SHA-256")
    verifying.add_argument("versions", metavar="VERSION", nargs="*", help="default: all of them")
    verifying.set_defaults(run=verify)

    promoting = actions.add_parser("promote", help="put a version in use")
    _takes_version(promoting)
    _takes_decision(promoting)
    promoting.set_defaults(run=promote)

    rolling = actions.add_parser("rollback", help="put the previous version in use again")
    _takes_decision(rolling)
    rolling.set_defaults(run=roll_back)

    rejecting = actions.add_parser("reject", help="say that a candidate is not to be used")
    _takes_version(rejecting)
    rejecting.add_argument("--reason", metavar="TEXT", help="why, for those who read it later")
    rejecting.set_defaults(run=reject)

    exporting = actions.add_parser("export", help="write a version as one archive")
    _takes_version(exporting)
    exporting.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="such as VERSION.tar.gz"
    )
    exporting.set_defaults(run=export)

    importing = actions.add_parser("import", help="take in an archive as a candidate")
    importing.add_argument("archive", type=Path, metavar="FILE", help="what export wrote")
    importing.set_defaults(run=import_)


def show_all(arguments: argparse.Namespace) -> int:
    registry = _registry()
    registry.collect()
    versions = registry.versions()
    if arguments.json:
        print(json.dumps([_facts(version) for version in versions], indent=2))
        return 0
    width = max(len("version"), *(len(version.version) for version in versions))
    print(
        f"{'version':{width}}  {'status':9}  {'trained (UTC)':16}  {'teacher':>7}  {'student':>7}"
        "  remark"
    )
    for version in versions:
        figures = "  ".join(f"{_prauc(version, model):>7}" for model in MODELS)
        print(
            f"{version.version:{width}}  {version.status:9}  {_minute(version.created):16}  "
            f"{figures}  {_remark(version)}".rstrip()
        )
    print("teacher, student: PRAUC on the validation part of the cohort each was trained on")
    return 0


def show(arguments: argparse.Namespace) -> int:
    version = _registry().version(arguments.version)
    if arguments.json:
        print(json.dumps(_facts(version), indent=2))
        return 0
    lines = {
        "version": version.version,
        "status": version.status,
        "folder": str(version.folder),
        "trained": f"{_minute(version.created)} (UTC)",
        "registered": _registered(version),
        "run": version.run.get("run_id", "not known"),
        "remark": _remark(version) or "none",
        **{f"{model} PRAUC": f"{_prauc(version, model)} (validation)" for model in MODELS},
    }
    for name, value in lines.items():
        print(f"{name + ':':15} {_line(str(value))}")
    for doubt in version.doubts:
        print(f"{'doubt:':15} {_line(doubt)}")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    registry = _registry()
    names = arguments.versions or [version.version for version in registry.versions()]
    problems = []
    for name in names:
        try:
            files = len(registry.verify(name).manifest["files"])
            print(f"{name}: {files} files are as they were sealed")
        except WorkbenchError as error:
            problems.append(str(error))
            print(f"{name}: damaged")
    if problems:
        more = f" ({len(problems)} versions are damaged in all)" if problems[1:] else ""
        raise WorkbenchError(f"{problems[0]}{more}")
    return 0


def promote(arguments: argparse.Namespace) -> int:
    registry = _registry()
    registry.collect()
    expected = arguments.expected or registry.champion().version
    registry.promote(command_line(), arguments.version, expected, arguments.reason)
    print(f"in use now: {arguments.version}, in place of {expected}")
    return 0


def roll_back(arguments: argparse.Namespace) -> int:
    registry = _registry()
    expected = arguments.expected or registry.champion().version
    version = registry.roll_back(command_line(), expected, arguments.reason)
    print(f"in use again: {version}, in place of {expected}")
    return 0


def reject(arguments: argparse.Namespace) -> int:
    registry = _registry()
    registry.collect()
    registry.reject(command_line(), arguments.version, arguments.reason)
    print(f"rejected: {arguments.version}; its files stay")
    return 0


def export(arguments: argparse.Namespace) -> int:
    _registry().export(command_line(), arguments.version, arguments.output)
    print(f"written: {arguments.output} ({arguments.output.stat().st_size / 1e6:.1f} MB)")
    return 0


def import_(arguments: argparse.Namespace) -> int:
    registry = _registry()
    version = registry.import_(command_line(), arguments.archive)
    base_model = registry.verify(version).recipe.teacher.base_model
    print(f"candidate: {version}, on base model {_line(base_model)}")
    print(f"next: python -m engine registry promote {version} --reason TEXT")
    return 0


def _registry():
    from engine.installation import Installation
    from engine.registry.versions import Registry

    return Registry(Installation.current())


def _takes_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="VERSION", help="as `registry list` shows it")


def _takes_decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reason", metavar="TEXT", help="needed where a version is worse, or was not compared"
    )
    parser.add_argument(
        "--expected",
        metavar="VERSION",
        help="refuse if another version is in use by now; default: whichever is",
    )


def _facts(version) -> dict:
    return {**asdict(version), "folder": str(version.folder)}


def _prauc(version, model: str) -> str:
    value = version.metrics.get(model)
    value = value.get("prauc") if isinstance(value, dict) else None
    return f"{value:.3f}" if isinstance(value, float) else "–"


def _minute(moment: str) -> str:
    return _line(moment[:16].replace("T", " ")) or "not known"


def _registered(version) -> str:
    if version.registered_at is None:
        return "came with the workbench" if version.shipped else "not yet"
    return f"{_minute(version.registered_at)} (UTC) by {version.registered_by}"


def _remark(version) -> str:
    origin = "came with the workbench" if version.shipped else ""
    return _line("; ".join(part for part in (origin, version.reason) if part))


def _line(text: str) -> str:
    """Return what somebody wrote as one line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
