"""What goes on behind a page: requests, addresses, and what the browser's console complains of."""

from playwright.sync_api import ConsoleMessage, Page

INSIDE = ("data:", "blob:")
PROBE = (
    "recommend/_stcore/"  # at a page's address Streamlit first looks for itself below that address
)


class Watch:
    """Notes what a page asks for, where it stands, and every error of its scripts."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        self._own = (address, address.replace("http", "ws"), *INSIDE)
        self._asked: list[str] = []
        self._errors: list[str] = []
        page.on("request", lambda request: self._asked.append(request.url))
        page.on("websocket", lambda socket: self._asked.append(socket.url))
        page.on("framenavigated", lambda frame: self._asked.append(frame.url))
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self._errors.append(str(error)))

    def _listen(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        if message.type == "error" and PROBE not in where:
            self._errors.append(f"{message.text} {where}")

    def outside(self) -> list[str]:
        """Return the addresses that are not the app's own."""
        return [url for url in self._asked if not url.startswith((*self._own, "about:"))]

    def naming(self, secret: str) -> list[str]:
        """Return the addresses that hold what none may hold."""
        return [url for url in [*self._asked, self._page.url] if secret in url]

    def errors(self) -> list[str]:
        """Return what the browser's console complained of."""
        return self._errors
