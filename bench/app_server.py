"""Serve the app for `bench app`: as it is, or in the plain way that it is compared with.

    python -m bench.app_server PORT [--plain]

The plain way loads both models before the first page and waits for both answers before it draws
either; pages, models and everything else are the same.
"""

import argparse
import sys
from concurrent.futures import wait

import streamlit as st
from streamlit.web import cli

from app import session


def serve_plainly() -> None:
    """Make every page of this process wait for both models."""
    open_cohort, progress = session.cohort, session.progress

    def load_first():
        models = session.models()
        wait([models.student, models.tokenizer, models.teacher])
        return open_cohort()

    def answer_first(cohort, visit, *of):
        session.ask_teacher(cohort, visit)
        wait(st.session_state["teacher_questions"].values())
        return progress(cohort, visit, *of)

    session.cohort, session.progress = load_first, answer_first


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m bench.app_server")
    parser.add_argument("port", type=int)
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    if arguments.plain:
        serve_plainly()
    options = ["--server.port", str(arguments.port), "--server.address", "127.0.0.1"]
    sys.exit(cli.main(["run", "app/main.py", *options], standalone_mode=False))


if __name__ == "__main__":
    main()
