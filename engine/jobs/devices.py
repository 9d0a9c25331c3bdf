"""The devices of this machine that a run can train on, and their memory.

Torch is not asked: it would hold graphics memory for as long as the app lives.
"""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal

import psutil

MEBIBYTE = 2**20
TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class Device:
    """A processor or a graphics card; memory in bytes."""

    name: str  # as in `worker --device`: "cpu", "cuda:0"
    title: str  # for people
    kind: Literal["cpu", "cuda"]
    memory_total: int
    memory_free: int


def devices() -> list[Device]:
    """Return this machine's graphics cards, then its processor."""
    return [*_graphics_cards(), _processor()]


def _processor() -> Device:
    memory = psutil.virtual_memory()
    title = f"{psutil.cpu_count()} processor cores"
    return Device("cpu", title, "cpu", memory.total, memory.available)


def _graphics_cards() -> list[Device]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=index,name,memory.total,memory.free"
    try:
        answer = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []  # a driver that does not answer: torch would not find a card either
    cards = []
    for line in answer.stdout.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 4 and all(field.isdigit() for field in (fields[0], *fields[2:])):
            total, free = (int(field) * MEBIBYTE for field in fields[2:])
            cards.append(Device(f"cuda:{fields[0]}", fields[1], "cuda", total, free))
    return cards
