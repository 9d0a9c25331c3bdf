"""Memory that a training process keeps; tried in a process of its own: it cannot be undone."""

import platform
import subprocess
import sys

import pytest

from engine.teacher import memory

GLIBC = platform.libc_ver()[0] == "glibc"
CHILD = """
import resource, torch
from engine.teacher import memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

before = resident()
assert memory.keep() and memory.keep()
assert resident() - before < 2**26, "reserving takes no memory"
torch.ones(2**26)  # 256 MB, given back at once
kept = resident() - before
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(2**26)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
print(kept > 2**27, faults < 1000)
"""


@pytest.mark.skipif(not GLIBC, reason="memory is kept with glibc only")
def test_what_was_given_back_is_used_again_without_asking_the_system():
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == ["True", "True"]


def test_with_another_c_library_nothing_is_touched(monkeypatch):
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep.__wrapped__() is False


def test_a_system_without_room_or_large_pages_refuses_and_nothing_is_lost():
    class Refuses:
        """A C library on a full machine: as its second piece of addresses it has none."""

        def __init__(self):
            self.freed = []
            self.malloc = type("malloc", (), {"__call__": lambda _, size: next(self.pieces)})()
            self.madvise = type("madvise", (), {"__call__": lambda *_: -1})()
            self.free = type("free", (), {"__call__": lambda _, piece: self.freed.append(piece)})()
            self.pieces = iter([4096, None, 2**31, None])

    library = Refuses()
    memory._reserve(library)
    assert library.freed == [2**31, 4096]
