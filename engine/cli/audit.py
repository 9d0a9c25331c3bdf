"""`python -m engine audit verify|export`: whether the audit is whole, and its rows as CSV."""

import argparse
import re
import sys
from pathlib import Path

from engine.errors import WorkbenchError
from engine.permissions import command_line


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "audit",
        help="who did what: verify the chain of rows, export them",
        description="The audit of the installation named by WORKBENCH_DATA (default: data).",
    )
    actions = parser.add_subparsers(dest="action_of_audit", required=True, metavar="ACTION")

    verifying = actions.add_parser(
        "verify",
        help="check that no row was edited, removed or moved",
        description="Prints the number and seal of the last row: write them down elsewhere, and "
        "give them to --expect later.",
    )
    verifying.add_argument(
        "--expect",
        metavar="NUMBER:SEAL",
        help="a last row written down earlier, which must still stand",
    )
    verifying.add_argument(
        "--accept-end",
        action="store_true",
        help="where audit.head was lost: take the last row as the end; this is recorded",
    )
    verifying.set_defaults(run=verify)

    exporting = actions.add_parser("export", help="write rows as CSV; this is recorded")
    exporting.add_argument("output", type=Path, metavar="FILE", help="CSV file to write")
    exporting.add_argument("--account", metavar="NAME", help="only of this account")
    exporting.add_argument("--action", metavar="ACTION", help="only this action: 'sign in', …")
    exporting.add_argument("--since", metavar="DAY", help="from this day on (UTC): 2026-01-31")
    exporting.add_argument("--until", metavar="DAY", help="up to this day, included")
    exporting.add_argument("--patient", metavar="ID", help="only of this patient, with --cohort")
    exporting.add_argument("--cohort", type=Path, metavar="COHORT", help="the patient's cohort")
    exporting.set_defaults(run=export)


def verify(arguments: argparse.Namespace) -> int:
    audit = _audit()
    if arguments.accept_end:
        audit.accept_end(command_line())
    number, seal = audit.verify()
    if arguments.expect is not None:
        audit.expect(*_expected(arguments.expect))
    if audit.files.readable_by_others():
        print(
            f"warning: {audit.files.key_file}: other users can read it, and so forge rows; "
            "take that from them with chmod 600",
            file=sys.stderr,
        )
    if number == 0:
        print("the audit has no row yet")
    else:
        rows = "1 row" if number == 1 else f"{number:,} rows"
        print(f"{rows}, each sealed with the one before; the last one is")
        print(f"{number}:{seal}")
    return 0


def export(arguments: argparse.Namespace) -> int:
    audit = _audit()
    count = audit.export(
        command_line(),
        arguments.output,
        account=arguments.account,
        action=arguments.action,
        since=arguments.since,
        until=arguments.until,
        patient=_pseudonym(audit, arguments),
    )
    print(f"{count:,} {'row' if count == 1 else 'rows'} written: {arguments.output}")
    return 0


def _audit():
    from engine.audit import Audit
    from engine.installation import Installation

    installation = Installation.current()
    return Audit(installation.database, installation.audit_key)


def _expected(text: str) -> tuple[int, str]:
    number, _, seal = text.partition(":")
    if not re.fullmatch("[0-9]{1,18}", number) or not seal:
        raise WorkbenchError(
            "--expect: expected NUMBER:SEAL, as an earlier `audit verify` printed it."
        )
    return int(number), seal


def _pseudonym(audit, arguments: argparse.Namespace) -> str | None:
    if arguments.patient is None:
        return None
    if arguments.cohort is None:
        raise WorkbenchError("--patient: name the patient's cohort too, with --cohort.")
    from engine.records.cohort import Cohort

    return audit.pseudonym(Cohort.open(arguments.cohort).fingerprint, arguments.patient)
