"""Trained pairs on disk: sealed folders, checked before use, and which one is in use.

A pair is a folder with

    manifest.json            version, creation time, base model, training cohort, SHA-256 of files
    recipe.yaml              what it was trained with
    vocabulary.json          the codes it knows
    calibration.json         each model's calibration, threshold and prediction-set rule
    adapter/                 the teacher's LoRA adapters and head
    preparation/             adapters of the preparatory stage, where the recipe has one
    student.safetensors      the student; student_undistilled.safetensors is kept for comparison
    metrics.json, card.md    what it reached, and on what hardware it was trained

A pair that was sealed never changes. Which one is in use says `engine.registry.versions`.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from engine.config import Recipe, load_recipe
from engine.errors import WorkbenchError
from engine.evaluation.calibration import Calibration
from engine.files import sha256, whole_folder, write_json, write_text
from engine.installation import Installation
from engine.records.vocabulary import Vocabulary
from engine.registry import aliases
from engine.registry.aliases import PRETRAINED

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # how one may be called
MANIFEST = "manifest.json"
ADAPTER = "adapter"
STUDENT = "student.safetensors"
UNDISTILLED = "student_undistilled.safetensors"
METRICS = "metrics.json"
CARD = "card.md"
MODELS = ("teacher", "student", "student_undistilled")
PREPARATION = ("preparation/adapter_config.json", "preparation/adapter_model.safetensors")
SEALED = (  # what a manifest must name: nothing else is ever loaded
    f"{ADAPTER}/adapter_config.json",
    f"{ADAPTER}/adapter_model.safetensors",
    STUDENT,
    UNDISTILLED,
    "calibration.json",
    "recipe.yaml",
    "vocabulary.json",
    METRICS,
    CARD,
)


@dataclass(frozen=True)
class Pair:
    """A checked pair: everything but the weights."""

    folder: Path
    manifest: dict
    recipe: Recipe
    vocabulary: Vocabulary
    calibration: dict[str, Calibration]  # of each of `MODELS`

    @property
    def versions(self) -> dict[str, str]:
        """Name teacher and student by the pair's version and the start of their own sum."""
        files = {"teacher": f"{ADAPTER}/adapter_model.safetensors", "student": STUDENT}
        sums = self.manifest["files"]
        return {
            model: f"{self.manifest['version']}/{sums[file][:8]}" for model, file in files.items()
        }


def champion_folder(pretrained: Path = PRETRAINED) -> Path:
    """Return the folder of the pair in use, as `Registry.champion_folder` does."""
    return aliases.champion_folder(Installation.current(), pretrained)


def open_pair(folder: Path) -> Pair:
    """Check every file of a pair against its manifest and read all but the weights.

    A run folder is accepted too: its finished pair is in `pair/`.

    Raises:
        WorkbenchError: naming the file that is missing, changed or not in the manifest.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists() and (folder / "pair" / MANIFEST).exists():
        folder = folder / "pair"
    manifest = _read_manifest(folder)
    sums = manifest["files"]
    for name, expected in sums.items():
        file = folder / name
        if not file.is_file():
            raise WorkbenchError(f"{file}: missing; restore the pair's folder from its copy")
        if sha256(file) != expected:
            raise WorkbenchError(
                f"{file}: its SHA-256 is not the one in {MANIFEST}; "
                "the file is damaged or was changed: restore the pair's folder from its copy"
            )
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file != folder / MANIFEST and _name(folder, file) not in sums:
            raise WorkbenchError(
                f"{file}: {MANIFEST} does not name it, so nobody vouches for it; remove the file"
            )
    try:
        stored = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
        calibration = {model: Calibration.from_json(stored[model]) for model in MODELS}
    except (OSError, ValueError, KeyError, TypeError):
        raise WorkbenchError(
            f"{folder / 'calibration.json'}: expected the calibration of each of "
            f"{', '.join(MODELS)}; restore the pair's folder"
        ) from None
    recipe = load_recipe(folder / "recipe.yaml")
    for name in PREPARATION if recipe.teacher.preparation else ():
        if name not in manifest["files"]:
            raise WorkbenchError(
                f"{folder / name}: the recipe has a preparation, but {MANIFEST} does not name it; "
                "restore the pair's folder from its copy"
            )
    return Pair(
        folder,
        manifest,
        recipe,
        Vocabulary.load(folder / "vocabulary.json"),
        calibration,
    )


def seal(folder: Path, facts: dict) -> dict:
    """Write the manifest of a pair: `facts` and the SHA-256 of every file; returns it."""
    files = {
        _name(folder, file): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    manifest = {**facts, "files": files}
    write_json(folder / MANIFEST, manifest)
    return manifest


def reseal(pair: Pair, metrics: dict, card: str) -> None:
    """Replace a pair's metrics and card; weights, vocabulary and calibration stay as they are.

    Raises WorkbenchError for a registered version, which never changes.
    """
    if pair.folder.resolve().parent == Installation.current().models.resolve():
        raise WorkbenchError(
            f"{pair.folder}: a registered version never changes; its card stays as it was sealed"
        )
    with whole_folder(pair.folder) as building:
        shutil.copytree(pair.folder, building, dirs_exist_ok=True)
        write_json(building / METRICS, metrics)
        write_text(building / CARD, card)
        seal(building, {key: value for key, value in pair.manifest.items() if key != "files"})


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _ = manifest["version"], [manifest["files"][name] for name in SEALED]
        inside = all(_is_inside(folder, name) for name in manifest["files"])
    except FileNotFoundError:
        raise WorkbenchError(
            f"{folder}: no trained pair there ({MANIFEST} is missing); "
            "train one with `train pair`, or name another folder"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise WorkbenchError(f"{path}: not a pair's manifest; restore the pair's folder") from None
    if not inside:
        raise WorkbenchError(f"{path}: names a file outside its own folder; restore the folder")
    return manifest


def _is_inside(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder.resolve())
