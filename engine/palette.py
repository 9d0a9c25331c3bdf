"""The colours and the type of everything that is drawn: pages, charts and reports."""

INK = "#1b2733"
MUTED = "#5b6b7a"
LINE = "#d5dee3"
SURFACE = "#f3f7f8"
PRIMARY = "#0b6e75"
PRIMARY_LIGHT = "#7cc0bd"
VIOLET = "#6b4fa0"
BLUE = "#2f6f9f"
ORANGE = "#c8701b"  # asks for a look
GREY = "#c2ccd3"  # set aside, or no part of the matter
FONT = "'Source Sans', 'Source Sans Pro', 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
