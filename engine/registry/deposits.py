"""The folders of versions: put among the others whole, checked, and told where they come from.

    models/VERSION/         a sealed pair
    models/VERSION.json     the run it comes from and its comparison with the champion of then

A worker on another machine that shares the folder deposits a version; whoever has the database
gives it its row.
"""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from engine.errors import WorkbenchError
from engine.files import clear_left_behind, whole_folder, write_json
from engine.registry.pair import CARD, MANIFEST, METRICS, VERSION, Pair, open_pair, seal


def deposit(pair_folder: Path, run: dict, folder_of: Callable[[str], Path]) -> str:
    """Copy a finished pair among the versions; return the version it is.

    The very same models under the same name are left as they are. Where the name is taken by
    others, as when only the student was trained anew, the copy gets a number.

    Args:
        run: facts about the run; its `comparison`, if any, is kept apart.
        folder_of: where a version lies, be it there or not.
    """
    pair = sound(pair_folder)
    name, number = pair.manifest["version"], 1
    while (folder := folder_of(_numbered(name, number))).exists():
        if _models_of(folder) == _models_of(pair.folder):
            return folder.name
        number += 1
    put(folder, lambda building: _copy(pair, building, folder.name), run)
    return folder.name


def put(folder: Path, fill: Callable[[Path], None], run: dict) -> None:
    """Let `fill` make the folder of a version, whole or not at all.

    Raises WorkbenchError when another process has made it meanwhile.
    """
    facts = {name: value for name, value in run.items() if name != "comparison"}
    try:
        with whole_folder(folder, replace=False) as building:
            fill(building)
            write_json(_origin_file(folder), {"run": facts, "comparison": run.get("comparison")})
    except OSError:
        if folder.exists():
            raise WorkbenchError(f"{folder}: somebody else has just made it; try again") from None
        raise


def sound(folder: Path, version: str | None = None) -> Pair:
    """Return the checked pair in a folder; its manifest says all that a registry needs.

    Raises WorkbenchError as `open_pair` does, or when it is not `version`.
    """
    pair = open_pair(folder)
    manifest, path = pair.manifest, pair.folder / MANIFEST
    try:
        datetime.fromisoformat(manifest["created"])
        facts = manifest["base_model"], manifest["cohort"]["fingerprint"]
        told = all(isinstance(fact, str) for fact in facts)
        told = told and VERSION.fullmatch(manifest["version"]) is not None
    except (KeyError, TypeError, ValueError):
        told = False
    if not told:
        raise WorkbenchError(
            f"{path}: expected version, created, base_model and the cohort's fingerprint; "
            "train the pair again, or restore its folder"
        )
    if version is not None and manifest["version"] != version:
        raise WorkbenchError(f"{path}: is of {manifest['version']}, not of {version}; restore it")
    return pair


def folders(parent: Path) -> list[Path]:
    """Return the folders of versions, without those that are still being made."""
    if not parent.is_dir():
        return []
    return [one for one in sorted(parent.iterdir()) if one.is_dir() and one.name[0] != "."]


def tidy(parent: Path) -> None:
    """Remove what killed processes have left of versions they were making."""
    left = parent.glob(".*.partial") if parent.is_dir() else ()
    for name in {one.name[1:].rsplit(".", 2)[0] for one in left}:
        clear_left_behind(parent, name)


def origin(folder: Path) -> dict:
    """Return the `run` and the `comparison` (or None) that a version was deposited with."""
    told = _json(_origin_file(folder))
    run, comparison = told.get("run"), told.get("comparison")
    return {
        "run": run if isinstance(run, dict) else {},
        "comparison": comparison if isinstance(comparison, dict) else None,
    }


def created(folder: Path) -> str:
    """Return when a version was trained (ISO 8601); empty where that cannot be read."""
    return str(_json(folder / MANIFEST).get("created", ""))


def metrics(folder: Path) -> dict:
    """Return what a version reached on validation; empty where that cannot be read."""
    found = _json(folder / METRICS).get("validation")
    return found if isinstance(found, dict) else {}


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _copy(pair: Pair, building: Path, version: str) -> None:
    """Copy a pair, under another name where its own is taken, and check the copy."""
    shutil.copytree(pair.folder, building, dirs_exist_ok=True)
    if version != pair.manifest["version"]:
        card = (building / CARD).read_text(encoding="utf-8")
        renamed = card.replace(pair.manifest["version"], version)
        (building / CARD).write_text(renamed, encoding="utf-8")
        facts = {key: value for key, value in pair.manifest.items() if key != "files"}
        seal(building, {**facts, "version": version})
    open_pair(building)


def _models_of(folder: Path) -> dict | None:
    """Return the sums of what answers, not of how it was measured; None for a damaged folder."""
    sums = _json(folder / MANIFEST).get("files")
    if not isinstance(sums, dict):
        return None
    return {name: sum_ for name, sum_ in sums.items() if name not in (METRICS, CARD)}


def _origin_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _json(path: Path) -> dict:
    """Return a JSON object to show: empty where it is unreadable, which other checks refuse."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
