"""The version history of a card: what the registry knows of a version, which its own files do not.

A version is sealed before anybody decides about it. What came before it, and why it was put in
use, is therefore added when its card is shown.
"""

from engine.errors import WorkbenchError
from engine.registry.aliases import CHAMPION, PREVIOUS
from engine.registry.versions import Registry, Version

HEADING = "## Version history\n"
SHIPPED_BEFORE = {  # a pair that ships → the one that shipped before it, and why it was replaced
    "full-20261120-dc0ada76": (
        "full-20261120-5a88ce2c",
        "its teacher has a linear path beside the language model, and its student starts from it",
    ),
}
NONE_KNOWN = "Predecessor: none is known."


def with_history(card: str, registry: Registry, version: str) -> str:
    """Return a card with what the registry knows at the end of its section "Version history"."""
    head, heading, rest = card.partition(HEADING)
    if not heading:
        return card
    section, next_heading, after = rest.partition("\n## ")
    lines = "".join(f"- {_one_line(line)}\n" for line in history(registry, version))
    return f"{head}{heading}{section.rstrip()}\n{lines}{next_heading}{after}"


def history(registry: Registry, version: str) -> list[str]:
    """Return what is known of a version here, a sentence each: predecessor, reason, registration.

    A version that is not registered, as one named by hand, has no history here.
    """
    try:
        known = {one.version: one for one in registry.versions()}
        found = known.get(version)
    except WorkbenchError:  # said where the registry is shown
        found = None
    if found is None:
        return [_shipped(version) or NONE_KNOWN]
    return [
        _predecessor(found, list(known.values())),
        *_decided(found),
        *_registered(found),
    ]


def _predecessor(version: Version, known: list[Version]) -> str:
    replaced = next((one.version for one in known if one.status == PREVIOUS), None)
    if version.status == CHAMPION and replaced:
        return f"Predecessor: in use here in place of `{replaced}`."
    try:
        champion = version.comparison["champion"]["version"]
    except (KeyError, TypeError):
        return _shipped(version.version) or NONE_KNOWN
    return f"Predecessor: `{champion}`, in use when this version was compared with it."


def _shipped(version: str) -> str | None:
    if version not in SHIPPED_BEFORE:
        return None
    before, why = SHIPPED_BEFORE[version]
    return f"Predecessor: `{before}`, which shipped before it. Replaced because {why}."


def _decided(version: Version) -> list[str]:
    if version.status == "damaged":  # its reason is what is wrong with it
        return []
    reason = (
        f"Reason of the latest decision about it: {version.reason.rstrip('.')}."
        if version.reason
        else ""
    )
    if not reason and version.registered_at and version.status == CHAMPION:
        reason = "Put in use without a written reason."
    return [f"Status here: {version.status}. {reason}".rstrip()]


def _registered(version: Version) -> list[str]:
    if not version.registered_at or version.shipped:
        return []
    at = version.registered_at[:16].replace("T", " ")
    return [f"Registered here {at} UTC by {version.registered_by}."]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("<", "‹")  # reasons are typed, and a card is Markdown
