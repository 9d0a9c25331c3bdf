"""The app: `streamlit run app/main.py`, opening the cohort named by WORKBENCH_COHORT."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # Streamlit puts this file's folder on the path, not the project's
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from app import session, style  # noqa: E402


def main() -> None:
    """Draw the frame that all pages share, then the page that was asked for."""
    st.set_page_config(
        page_title="Medication workbench",
        page_icon=str(ROOT / "app" / "icon.svg"),
        layout="wide",
        initial_sidebar_state="collapsed",
    )
    st.logo(str(ROOT / "app" / "logo.svg"), size="large")
    style.apply()
    page = st.navigation(
        [
            st.Page("views/patients.py", title="Patients", icon=":material/groups:", default=True),
            st.Page("views/recommend.py", title="Recommend", icon=":material/prescriptions:"),
            st.Page("views/quality.py", title="Data", icon=":material/fact_check:"),
        ],
        position="top",
    )
    with session.faults_shown():
        page.run()
    session.warm_up()  # after the first page, which does not wait for PyTorch


if __name__ == "__main__":
    main()
