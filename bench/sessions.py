"""Many clinicians at once: how long each waits for the student's answer, and what the app holds.

    python -m bench sessions [COHORT] [--sessions 20] [--patients 5] [--json FILE]

One app is served. First one session (the plain reference), then all of them together sign in and
open patients, pausing between two as somebody does who reads. A session is a websocket that speaks
the browser's own messages: it sends the sign-in, clicks and the looks for the teacher's answer, and
reads everything that is sent back. Nothing is drawn, so that the figures are the app's and not
those of twenty browsers on the same cores. Times are from the click on a patient to the arrival of
the answer's card; every session's first patient counts.
"""

import argparse
import asyncio
import json
import random
import time
from pathlib import Path

import numpy as np
import psutil

from bench import app, machine
from engine.credentials import DEMONSTRATION
from engine.errors import WorkbenchError
from engine.files import write_json

LIMIT = 1_000.0  # milliseconds until the student's answer, 95th percentile
LOOK_EVERY = 0.25  # seconds, as the page's own fragment
PATIENCE = 120  # seconds for one answer, before it counts as an error
SEED = 0  # of the pauses and of who opens whom


class Session:
    """One clinician's tab."""

    def __init__(self, socket) -> None:
        self._socket = socket
        self._ids: dict[str, str] = {}  # last part of a widget's id, its key or label → id
        self._page, self._pages = "", {}
        self._fragment = ""
        self._states: dict = {}
        self.finished = False
        self.answered: set[str] = set()  # "Student", "Teacher", of the patient that is open
        self.faults = 0

    async def sign_in(self) -> None:
        """Open the app and sign in with the clinician's demonstration account."""
        await self._run()
        await self._until(lambda: self.finished)
        self._set("Name", string_value=app.CLINICIAN)
        self._set("Password", string_value=DEMONSTRATION[app.CLINICIAN])
        await self._run(Sign_in={"trigger_value": True})
        await self._until(lambda: "patients" in self._ids and self.finished)

    async def open(self, row: int) -> float:
        """Go to the list and press a patient's id; return milliseconds to the student's card."""
        self._fragment = ""
        await self._until(lambda: self.finished)  # nobody clicks into a page that is being drawn
        self._states.clear()
        self._ids.pop("patients", None)
        self._page, self._fragment = self._pages["patients"], ""
        await self._run()
        await self._until(lambda: "patients" in self._ids and self.finished)
        self.answered.clear()
        self._fragment = ""
        pressed = json.dumps({"row": row, "label": ""})
        started = time.perf_counter()
        await self._run(pressed={"string_trigger_value": {"data": pressed}})
        await self._until(lambda: "Student" in self.answered)
        return (time.perf_counter() - started) * 1000

    async def read(self, seconds: float) -> None:
        """Stay on the page for a while, as a browser stays: it goes on looking for more."""
        until = time.monotonic() + seconds
        await self._until(lambda: time.monotonic() >= until)

    async def _run(self, **triggers) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash = self._page
        for values in ({"id": key, **value} for key, value in self._states.items()):
            state.widget_states.widgets.add(**values)
        for label, value in triggers.items():
            state.widget_states.widgets.add(id=self._ids[label.replace("_", " ")], **value)
        self.finished = False
        await self._socket.send(message.SerializeToString())

    def _set(self, name: str, **value) -> None:
        self._states[self._ids[name]] = value

    async def _look(self) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.page_script_hash = self._page
        message.rerun_script.fragment_id = self._fragment
        message.rerun_script.is_auto_rerun = True
        for key, value in self._states.items():
            message.rerun_script.widget_states.widgets.add(id=key, **value)
        await self._socket.send(message.SerializeToString())

    async def _until(self, reached) -> None:
        """Take in what the app sends until something is reached; TimeoutError when it is not."""
        patience = time.monotonic() + PATIENCE
        next_look = time.monotonic() + LOOK_EVERY
        while not reached():
            now = time.monotonic()
            if now > patience:
                raise TimeoutError
            if now >= next_look:
                next_look = now + LOOK_EVERY
                if self._fragment and self.finished:
                    await self._look()
            try:
                self._take(await asyncio.wait_for(self._socket.recv(), next_look - now + 0.001))
            except TimeoutError:
                continue

    def _take(self, raw: bytes) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = ForwardMsg()
        message.ParseFromString(raw)
        kind = message.WhichOneof("type")
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._take_element(message.delta.new_element)
        elif kind == "navigation":
            self._page = message.navigation.page_script_hash
            self._pages = {
                page.url_pathname or "patients": page.page_script_hash
                for page in message.navigation.app_pages
            }
        elif kind == "new_session":
            self.finished = False
        elif kind == "auto_rerun":
            self._fragment = message.auto_rerun.fragment_id
        elif kind == "stop_auto_rerun":
            self._fragment = ""
        elif kind == "script_finished":
            self.finished = True

    def _take_element(self, element) -> None:
        kind = element.WhichOneof("type")
        drawn = getattr(element, kind)
        if kind == "exception":
            self.faults += 1
        elif kind == "html":
            body = drawn.body
            self.faults += "wb-notice error" in body
            for card in body.split('class="wb-card"')[1:]:
                self.answered |= {
                    name
                    for name in ("Student", "Teacher")
                    if f">{name}<" in card and "answered in" in card
                }
        elif identity := getattr(drawn, "id", ""):
            self._ids[identity.rpartition("-")[2]] = identity
            if label := getattr(drawn, "label", ""):
                self._ids[label] = identity
            for button in getattr(drawn, "button_click_widgets", {}).values():
                self._ids[button.rpartition("-")[2]] = button


# ---------------------------------------------------------------- the measurement


def measure(cohort: Path, models: Path | None, sessions: int, patients: int, pause: float) -> dict:
    """Return the figures of one session and of many, and the app's memory after each."""
    with app.served("app", cohort, models) as address:
        server = psutil.Process().children()[-1]
        asyncio.run(_together(address, 1, 1, 0.0))  # loads the models and builds the index
        one = asyncio.run(_together(address, 1, patients, pause))
        one["memory_bytes"] = server.memory_info().rss
        many = asyncio.run(_together(address, sessions, patients, pause))
        many["memory_bytes"] = server.memory_info().rss
    met = not many["errors"] and many["p95_ms"] is not None and many["p95_ms"] <= LIMIT
    return {
        "sessions": sessions,
        "patients": patients,
        "pause_seconds": pause,
        "one": one,
        "many": many,
        "limit_ms": LIMIT,
        "limit_met": met,
    }


async def _together(address: str, sessions: int, patients: int, pause: float) -> dict:
    waits: list[float] = []
    faults = 0

    async def clinician(number: int) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        nonlocal faults
        chance = random.Random(SEED + number)
        stream = f"{address.replace('http', 'ws')}/_stcore/stream"
        try:
            async with connect(
                stream, subprotocols=["streamlit"], origin=address, max_size=None
            ) as socket:
                session = Session(socket)
                async with entrance:
                    await session.sign_in()
                await everybody.wait()
                for row in chance.sample(range(app.ROWS), patients):
                    await session.read(chance.uniform(0, 2 * pause))
                    waits.append(await session.open(row))
                await session.read(pause)
                faults += session.faults
        except (TimeoutError, WebSocketException, OSError):
            faults += 1

    entrance = asyncio.Semaphore(2)  # a password takes a second of a core; nobody is timed yet
    everybody = asyncio.Barrier(sessions)
    await asyncio.gather(*(clinician(number) for number in range(sessions)))
    return {**summarised(waits), "errors": faults, "expected": sessions * patients}


def summarised(waits: list[float]) -> dict:
    """Return how many answers there were, and the median, tail and maximum in milliseconds."""
    if not waits:
        return {"answers": 0, "p50_ms": None, "p95_ms": None, "max_ms": None}
    return {
        "answers": len(waits),
        "p50_ms": float(np.median(waits)),
        "p95_ms": float(np.percentile(waits, 95)),
        "max_ms": max(waits),
    }


def as_text(figures: dict) -> str:
    """Return the figures as an aligned table."""
    lines = [
        f"{'sessions':>9}{'answers':>9}{'p50 ms':>9}{'p95 ms':>9}{'max':>9}{'errors':>8}{'MB':>8}"
    ]
    for name, count in (("one", 1), ("many", figures["sessions"])):
        found = figures[name]
        times = "".join(
            f"{'–':>9}" if found[key] is None else f"{found[key]:>9,.0f}"
            for key in ("p50_ms", "p95_ms", "max_ms")
        )
        memory = found["memory_bytes"] / 1e6
        lines.append(f"{count:>9}{found['answers']:>9}{times}{found['errors']:>8}{memory:>8,.0f}")
    verdict = "met" if figures["limit_met"] else "NOT MET"
    lines.append(
        f"click to the student's answer; pauses of {figures['pause_seconds']:g} s on average; "
        f"limit: {figures['limit_ms']:,.0f} ms at the 95th percentile and no error: {verdict}"
    )
    return "\n".join(lines)


# ---------------------------------------------------------------- the command


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("sessions", help="time the app for many clinicians at once")
    parser.add_argument(
        "cohort",
        type=Path,
        nargs="?",
        default=Path("data/sample"),
        metavar="COHORT",
        help="an ingested cohort folder; default: the sample",
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="pair folder; default: champion")
    parser.add_argument("--sessions", type=int, default=20, metavar="N")
    parser.add_argument("--patients", type=int, default=5, metavar="N", help="opened by each")
    parser.add_argument("--pause", type=float, default=10.0, metavar="S", help="mean, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    if not 1 <= arguments.patients < app.ROWS:
        raise WorkbenchError(f"--patients: expected 1 to {app.ROWS - 1}, the rows of the list")
    if not 1 <= arguments.sessions <= 200:
        raise WorkbenchError("--sessions: expected 1 to 200")
    if not 0 <= arguments.pause <= 600:
        raise WorkbenchError("--pause: expected 0 to 600 seconds")
    if not (arguments.cohort / "manifest.json").is_file():
        raise WorkbenchError(
            f"{arguments.cohort}: no cohort there; name one, or make the sample with `make run`"
        )
    facts = machine.facts()
    figures = measure(
        arguments.cohort.resolve(),
        arguments.models and arguments.models.resolve(),
        arguments.sessions,
        arguments.patients,
        arguments.pause,
    )
    print(as_text(figures))
    print(machine.as_text(facts))
    if arguments.json:
        write_json(arguments.json, {"benchmark": "sessions", **facts, **figures})
    return 0
