"""Light or dark: the style sheet follows by itself; a table's colours need the page drawn again."""

from functools import cache

import streamlit as st

TELL_WHEN_IT_CHANGES = """export default function ({ setStateValue }) {
  const page = document.querySelector('[data-testid="stApp"]');
  const scheme = () => getComputedStyle(page).colorScheme;
  let shown = scheme();
  const watch = new MutationObserver(() => {
    if (scheme() !== shown) {
      shown = scheme();
      setStateValue("scheme", shown);
    }
  });
  watch.observe(page, { attributeFilter: ["class"] });
  return () => watch.disconnect();
}"""


def follow() -> None:
    """Have the browser ask for the page again when it turns light or dark; nothing is shown."""
    with st.container(key="theme"):
        _watch()(key="theme-watch", height=1)


@cache
def _watch():
    return st.components.v2.component("theme_watch", js=TELL_WHEN_IT_CHANGES)
