"""A saved decision for others to read: FHIR R4 drafts, and one page to print.

The drafts are MedicationRequest resources with intent `proposal` and status `draft`
(hl7.org/fhir/R4/medicationrequest.html): nothing is ordered by them. They name ATC groups, since
no drug, dose or route is decided here.
"""

from collections.abc import Sequence
from html import escape

from engine.decisions import REASONS, Decision, Item
from engine.palette import FONT, INK, LINE, MUTED
from engine.records.schema import Visit
from engine.terminology import atc

ATC_SYSTEM = "http://www.whocc.no/atc"
IDENTIFIER = "urn:medication-workbench:decision"
NOTICE = (
    "Medication groups that a clinician accepted from ranked options. Not an order: drug, dose, "
    "route and duration are still to be chosen."
)
NO_ALLERGIES = "none typed in when this page was made; see the record"
CHECKED = "Safety of the final list, as this page was made"
SAID = {"accepted": "Accepted", "changed": "Changed", "rejected": "Rejected"}


def fhir_drafts(decision: Decision) -> dict:
    """Return a FHIR bundle (JSON) with one MedicationRequest draft a group that is to be given."""
    entries = [
        {"resource": _draft(decision, item, number)}
        for number, item in enumerate(decision.final, start=1)
    ]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": decision.decided_at,
        "entry": entries,
    }


def _draft(decision: Decision, item: Item, number: int) -> dict:
    coding = {"system": ATC_SYSTEM, "code": item.group, "display": atc.name(item.group)}
    changed = item.verdict == "changed"
    concept = {"text": item.instead} if changed else {"coding": [coding], "text": coding["display"]}
    notes = [
        f"Proposed was {coding['display']} ({item.group})." if changed else "",
        REASONS.get(item.reason, ""),
        item.note,
    ]
    draft = {
        "resourceType": "MedicationRequest",
        "id": f"decision-{decision.number}-{number}",
        "identifier": [{"system": IDENTIFIER, "value": f"{decision.number}/{item.group}"}],
        "status": "draft",
        "intent": "proposal",
        "medicationCodeableConcept": concept,
        "subject": {"identifier": {"value": decision.patient_id}},
        "encounter": {"identifier": {"value": decision.visit_id}},
        "authoredOn": decision.decided_at,
        "requester": {"display": decision.account},
    }
    if text := " ".join(note for note in notes if note):
        draft["note"] = [{"text": text}]
    return draft


def summary(
    decision: Decision,
    visit: Visit,
    diagnoses: list[str],
    allergies: list[str],
    safety: Sequence[str] = (),
) -> str:
    """Return one page of HTML to print, which needs nothing but itself.

    Args:
        diagnoses: the titles of the visit's leading diagnoses.
        allergies: what is typed in as the page is made: a decision keeps none.
        safety: what the check of the final list says as the page is made, in sentences.
    """
    person = ", ".join(
        part
        for part in (
            {"F": "woman", "M": "man"}.get(visit.sex or "", ""),
            "" if visit.age is None else f"{visit.age} years",
            f"admitted {visit.admit_time:%d %B %Y}",
        )
        if part
    )
    rows = "".join(_row(item) for item in decision.items)
    versions = "; ".join(f"{name} {version}" for name, version in decision.versions.items())
    facts = (
        ("Patient", f"{decision.patient_id} ({person})"),
        ("Visit", decision.visit_id),
        ("Leading diagnoses", "; ".join(diagnoses) or "none on record"),
        ("Allergies", "; ".join(allergies) or NO_ALLERGIES),
        ("Decided", f"{decision.decided_at.replace('T', ' ')[:16]} UTC by {decision.account}"),
    )
    checked = "".join(f"<li>{escape(line)}</li>" for line in safety)
    checked = f"<h2>{CHECKED}</h2><ul>{checked}</ul>" if checked else ""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(said)}</dd>" for name, said in facts)
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>Medication decision {decision.number}</title>\n<style>{_CSS}</style></head>\n"
        f"<body><main><h1>Medication decision</h1><dl>{lines}</dl>"
        "<table><thead><tr><th>Medication group</th><th>Decision</th><th class=n>Teacher</th>"
        "<th class=n>Student</th><th>Reason and note</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{checked}<p>{escape(NOTICE)}</p>"
        f"<footer>Decision {decision.number} · models: {escape(versions)} · input "
        f"{decision.input_hash[:16]}</footer></main></body></html>\n"
    )


def _row(item: Item) -> str:
    reason = " – ".join(part for part in (REASONS.get(item.reason, ""), item.note) if part)
    said = SAID[item.verdict] + (f": {item.instead}" if item.verdict == "changed" else "")
    numbers = "".join(
        f"<td class=n>{'–' if value is None else f'{value:.2f}'}</td>"
        for value in (item.teacher, item.student)
    )
    return (
        f"<tr class={item.verdict}><td>{escape(atc.name(item.group))} "
        f"<small>{escape(item.group)}</small></td><td>{escape(said)}</td>{numbers}"
        f"<td>{escape(reason)}</td></tr>"
    )


_CSS = f"""
@page {{ size: A4; margin: 16mm; }}
body {{ color: {INK}; font: 14px/1.45 {FONT}; margin: 0; }}
main {{ max-width: 46rem; margin: 0 auto; padding: 1.5rem; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .8rem; }}
h2 {{ font-size: 1rem; margin: 1.2rem 0 .3rem; }}
ul {{ margin: 0; padding-left: 1.1rem; }}
dl {{ display: grid; grid-template-columns: 9rem 1fr; gap: .2rem .8rem; margin: 0 0 1.2rem; }}
dt, small, footer {{ color: {MUTED}; }}
dd {{ margin: 0; }}
table {{ width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid {LINE}; }}
th {{ font-weight: 600; color: {MUTED}; font-size: .9em; }}
.n {{ text-align: right; }}
tr.rejected td:first-child {{ text-decoration: line-through; }}
tr {{ break-inside: avoid; }}
p {{ margin: 1rem 0 0; }}
footer {{ margin-top: 1.2rem; font-size: .8em; overflow-wrap: anywhere; }}
"""
