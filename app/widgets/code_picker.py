"""Codes chosen by name: search as you type over titles, or type any code of the tables.

What the models know stands in the list itself; a browser is not sent 90,000 more. Those are
searched here, at every pause in typing, and the best are offered to be added.
"""

from collections.abc import Iterable
from threading import Thread

import streamlit as st

from app import style
from engine.terminology import atc, icd, title_search
from engine.terminology.icd import Kind

VERSIONS = ("10", "9")  # in which a code typed without its version is looked for
PAUSE = "300ms"  # in typing, before titles are searched
UNKNOWN = "new to the student"  # of a code that was in no training record
MANY = {"diagnosis": "diagnoses", "procedure": "procedures"}


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
    _read_titles()
    chosen, offered = list(dict.fromkeys(chosen)), tuple(offered)
    added = st.session_state.get(_added(key), [])
    names = _names(kind, tuple(dict.fromkeys([*chosen, *added, *offered])))
    with st.container():
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
            "typed, such as I50.21, or found by its title below.",
        )
        codes, unknown = [], []
        for entry in entered:
            code = entry if entry in names else resolve(kind, entry)
            (unknown if code is None else codes).append(code or entry)
        codes = list(dict.fromkeys(codes))
        if unknown:
            st.warning(
                f"In no ICD table of {kind} codes, so left out: "
                f"{style.literal(', '.join(unknown))}. Type the code as it is written, such as "
                "I50.21, or look for its title below.",
                icon=":material/search_off:",
            )
        _search(kind, frozenset(offered), frozenset(codes), key)
        _name_unknown(kind, [code for code in codes if code not in set(offered)])
    return codes


@st.fragment
def _search(kind: Kind, offered: frozenset[str], chosen: frozenset[str], key: str) -> None:
    """Draw the search over all titles; what is found is added to the list at a press."""
    text = st.text_input(
        f"Any other {kind}",
        key=f"search-{key}",
        type="search",
        live=PAUSE,
        icon=":material/search:",
        placeholder="Search all ICD titles",
        autocomplete="off",
    )
    found = title_search.search(kind, text or "", known=offered, without=chosen)
    if text and not found.total:
        st.caption(f"No further title of ICD-9 or ICD-10 {MANY[kind]} holds these words.")
    for code in found.codes:
        mark = "" if code in offered else f" · *{UNKNOWN}*"
        st.button(
            f"{style.literal(_name(kind, code))}{mark}",
            key=f"add-{key}-{code}",
            type="tertiary",
            icon=":material/add:",
            on_click=_add,
            args=(key, code),
        )
    if found.total > len(found.codes):
        at_least = " or more" if found.total >= title_search.MOST_RANKED else ""
        st.caption(f"The best {len(found.codes)} of {found.total:,}{at_least}: type more words.")
    if st.session_state.pop(f"pressed-{key}", False):
        st.rerun()  # the whole page, for the visit is another one


def _add(key: str, code: str) -> None:
    st.session_state[_added(key)] = [*st.session_state.get(_added(key), []), code]
    st.session_state[key] = [*st.session_state[key], code]
    st.session_state[f"search-{key}"] = ""
    st.session_state[f"pressed-{key}"] = True


def _added(key: str) -> str:
    return f"added-{key}"


def _name_unknown(kind: Kind, codes: list[str]) -> None:
    if codes:
        named = "; ".join(_name(kind, code) for code in codes)
        st.caption(f"{UNKNOWN.capitalize()}: {style.literal(named)}")


@st.cache_resource(show_spinner=False)
def _read_titles() -> Thread:
    """Start to read the titles, so that they are there when somebody begins to type."""
    reading = Thread(target=title_search.prepare, name="titles", daemon=True)
    reading.start()
    return reading


@st.cache_data(max_entries=8, show_spinner=False)
def _names(kind: Kind, codes: tuple[str, ...]) -> dict[str, str]:
    """Return code → "title (code)", in the order given."""
    return {code: _name(kind, code) for code in codes}


def _name(kind: Kind, code: str) -> str:
    return f"{icd.title(kind, code) or 'No title'} ({icd.dotted(kind, code)})"
