"""A hospital's identity provider in small: it lets everybody in whose groups the test names."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


class Provider(ThreadingHTTPServer):
    """Signs identity tokens for `name` with `groups`; `asked` counts who was sent here."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.name, self.groups, self.asked = "a.lee", ["wards"], 0
        self.nonces: dict[str, str] = {}

    def token(self, code: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": "workbench",
            "sub": "1234",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonces.pop(code),
            "preferred_username": self.name,
            "groups": self.groups,
        }
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        if place.path == "/.well-known/openid-configuration":
            own = self.server.address
            self._answer(
                {
                    "issuer": own,
                    "authorization_endpoint": f"{own}/authorize",
                    "token_endpoint": f"{own}/token",
                    "jwks_uri": f"{own}/jwks",
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        elif place.path == "/jwks":
            self._answer({"keys": [self.server.key.as_dict(private=False)]})
        elif place.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(place.query).items()}
            self.server.asked += 1
            code = f"code-{self.server.asked}"
            self.server.nonces[code] = asked["nonce"]
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        token = self.server.token(parse_qs(sent)["code"][0])
        self._answer({"access_token": "none", "token_type": "Bearer", "id_token": token})

    def _answer(self, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        """Say nothing."""


@contextmanager
def provider() -> Iterator[Provider]:
    """Give a provider that answers while the block lasts."""
    server = Provider()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
