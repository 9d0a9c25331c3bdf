"""`python -m engine worker [--name N] [--device cpu|cuda:0]`: does the retraining runs."""

import argparse

HELP = "take retraining runs from the queue, one after the other"


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("worker", help=HELP, description=HELP)
    parser.add_argument("--name", help="how it is known (default: machine and device)")
    parser.add_argument(
        "--device", help="cpu, cuda:0, …, or cuda for all cards (default: cuda:0 or cpu)"
    )
    parser.add_argument(
        "--drain", action="store_true", help="end when the queue is empty, as a batch job does"
    )
    parser.add_argument(
        "--beside", type=int, metavar="PID", help="end when that process ends, as the app's does"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import signal

    from engine.installation import Installation
    from engine.jobs import child
    from engine.jobs.devices import devices
    from engine.jobs.worker import Worker, default_name

    device = arguments.device or devices()[0].name
    name = arguments.name or default_name(device)
    worker = Worker(Installation.current(), name, device)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    if arguments.beside:
        child.end_with(arguments.beside, by=signal.SIGTERM)
    print(f"worker {name}: waiting for retraining runs ({device})", flush=True)
    worker.work(arguments.drain)
    print(f"worker {name}: stopped", flush=True)
    return 0
