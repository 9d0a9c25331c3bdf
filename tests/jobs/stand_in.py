"""Stands in for `engine.jobs.child`: the same process, but its stages train nothing.

A file `orders/STAGE` in the installation's folder says what a stage is to do: `hold` while the file
is there, `die` as if killed, `fail` with a reason. Every stage that is begun adds a line to
`begun.txt`.

    python -m tests.jobs.stand_in worker NAME     a real worker with such children
"""

import os
import signal
import sys
import threading
from pathlib import Path

from engine.errors import WorkbenchError
from engine.jobs import child
from engine.jobs.retraining import STAGES, RunFolder

MODULE = ("-m", "tests.jobs.stand_in")


def pretend(stage: str):
    def act(run: RunFolder, report) -> dict:
        folder = Path(os.environ["WORKBENCH_DATA"])
        (run.path / "child.pid").write_text(str(os.getpid()))
        with (folder / "begun.txt").open("a") as file:
            file.write(f"{run.run_id} {stage} {os.environ['STAND_IN_WORKER']}\n")
        order = folder / "orders" / stage
        words = order.read_text() if order.exists() else ""
        if words == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if words == "fail":
            raise WorkbenchError("it was told to fail")
        while words == "hold" and order.exists():
            threading.Event().wait(0.05)
        report(stage, 1, 1)
        return {"version": f"tiny-{run.run_id}"} if stage == "register" else {}

    return act


def main(arguments: list[str]) -> int:
    if arguments[0] == "worker":
        from engine.cli import main as command_line
        from engine.jobs import worker

        worker.CHILD, worker.POLL = MODULE, 0.1
        os.environ["STAND_IN_WORKER"] = arguments[1]
        return command_line(["worker", "--name", arguments[1], "--device", "cpu"])
    child.DO = {stage: pretend(stage) for stage in STAGES}
    return child.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
