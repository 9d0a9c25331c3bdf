"""A student's training, kept so that it can be killed at any moment and go on.

One safetensors file, replaced as a whole after every epoch: weights, the best weights so far, the
optimizer's moments and the state of the random numbers; counters are in its header. What an
unfinished epoch had done is done again, from the same random numbers.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.errors import WorkbenchError
from engine.student.model import Student


@dataclass
class Progress:
    """How far a training has come."""

    epoch: int = 0  # finished ones
    best: float = -1.0  # validation PRAUC
    waited: int = 0  # epochs since then
    finished: bool = False


def save(
    path: Path,
    key: str,
    progress: Progress,
    student: Student,
    best: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Write a checkpoint beside its place and rename it there; `key` says whose it is."""
    moments = optimizer.state_dict()["state"]
    tensors = {
        **{f"weights.{name}": value for name, value in student.state_dict().items()},
        **{f"best.{name}": value for name, value in best.items()},
        **{
            f"optimizer.{place}.{name}": value
            for place, values in moments.items()
            for name, value in values.items()
        },
        "random.cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    header = {
        "key": key,
        "progress": json.dumps(asdict(progress)),
        "schedule": json.dumps(schedule.last_epoch),
        "rates": json.dumps([group["lr"] for group in optimizer.param_groups]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in tensors.items()}, building, header)
    building.replace(path)


def load(
    path: Path,
    key: str,
    student: Student,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[Progress, dict[str, torch.Tensor]]:
    """Put a training back where `save` left it; returns its progress and best weights.

    Raises:
        WorkbenchError: the file is damaged, or of another recipe.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["key"] != key:
            raise WorkbenchError(
                f"{path}: a checkpoint of another recipe; go on with the same one, or train "
                "without --resume"
            )
        student.load_state_dict(_below("weights.", tensors))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _below("optimizer.", tensors).items():
            place, _, moment = name.partition(".")
            moments.setdefault(int(place), {})[moment] = value
        groups = optimizer.state_dict()["param_groups"]
        for group, rate in zip(groups, json.loads(header["rates"]), strict=True):
            group["lr"] = rate
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        schedule.last_epoch = json.loads(header["schedule"])
        progress = Progress(**json.loads(header["progress"]))
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise WorkbenchError(
            f"{path}: the checkpoint is damaged ({reason}); train without --resume"
        ) from None
    return progress, _below("best.", tensors)


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
