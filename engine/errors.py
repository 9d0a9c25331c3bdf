"""The one error a person is meant to read."""


class WorkbenchError(Exception):
    """Something a user can mend: one line that names the file, row or field, and the fix.

    The command line prints it as `error: …` and exits with 2; the app shows it in a box.
    The message never carries patient data other than an identifier the user typed.
    """
