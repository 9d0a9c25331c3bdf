"""The Streamlit front end: pages and widgets, no model code, no SQL."""
