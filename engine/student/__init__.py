"""The student: a small transformer over codes that answers in milliseconds."""
