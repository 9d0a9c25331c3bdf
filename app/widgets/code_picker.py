"""Codes chosen by name: search as you type over titles, or type any code of the tables."""

from collections.abc import Iterable

import streamlit as st

from app import style
from engine.terminology import atc, icd
from engine.terminology.icd import Kind

VERSIONS = ("10", "9")  # in which a code typed without its version is looked for


def diagnoses(label: str, offered: Iterable[str], chosen: Iterable[str], key: str) -> list[str]:
    """Draw a picker of diagnoses and return what is chosen, as `10:I5021`."""
    return _icd("diagnosis", label, offered, chosen, key)


def procedures(label: str, offered: Iterable[str], chosen: Iterable[str], key: str) -> list[str]:
    """Draw a picker of procedures and return what is chosen."""
    return _icd("procedure", label, offered, chosen, key)


def medications(label: str, chosen: Iterable[str], key: str) -> list[str]:
    """Draw a picker of medication groups and return what is chosen."""
    names = {group: f"{name} ({group})" for group, name in atc.groups().items()}
    return st.multiselect(
        label,
        sorted(names, key=names.get),
        default=[group for group in chosen if group in names],
        format_func=names.get,
        key=key,
        placeholder="Type a name",
        filter_mode="contains",
        select_all=False,
        wrap=True,
    )


def resolve(kind: Kind, written: str) -> str | None:
    """Return the code of the tables that a typed text is, with its version, or None."""
    text = written.strip().upper().replace(".", "")
    version, _, plain = text.rpartition(":")
    for known in (version,) if version else VERSIONS:
        if icd.title(kind, f"{known}:{plain}"):
            return f"{known}:{plain}"
    return None


def _icd(
    kind: Kind, label: str, offered: Iterable[str], chosen: Iterable[str], key: str
) -> list[str]:
    chosen = list(dict.fromkeys(chosen))
    names = _names(kind, tuple(dict.fromkeys([*chosen, *offered])))
    entered = st.multiselect(
        label,
        list(names),
        default=chosen,
        format_func=lambda code: names.get(code, code),
        key=key,
        accept_new_options=True,
        filter_mode="contains",  # the nearest by guess must not be a diagnosis nobody typed
        select_all=False,
        wrap=True,
        placeholder="Type a name, or any ICD code",
        help="Offers the codes that the models know; any other code of the ICD tables can be "
        "typed, such as I50.21.",
    )
    codes, unknown = [], []
    for entry in entered:
        code = entry if entry in names else resolve(kind, entry)
        (unknown if code is None else codes).append(code or entry)
    if unknown:
        st.warning(
            f"In no ICD table of {kind} codes, so left out: {style.literal(', '.join(unknown))}. "
            "Type the code as it is written, such as I50.21.",
            icon=":material/search_off:",
        )
    return list(dict.fromkeys(codes))


@st.cache_data(max_entries=8, show_spinner=False)
def _names(kind: Kind, codes: tuple[str, ...]) -> dict[str, str]:
    """Return code → "title (code)", in the order given."""
    return {
        code: f"{icd.title(kind, code) or 'No title'} ({icd.dotted(kind, code)})" for code in codes
    }
