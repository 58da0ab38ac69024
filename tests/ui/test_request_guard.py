"""Who gets an answer from the server: over real sockets, on every kind of route, under every kind of name."""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from ptviz.ui.request_guard import SECURITY_HEADERS, is_host_allowed
from tests.app_server import PTVIZ, AppServer

ROUTES = {
    "page": ("GET", "/"),
    "a page of its own address": ("GET", "/watch?run=x"),
    "static": ("GET", "/static/STATIC"),
    "health": ("GET", "/_stcore/health"),
    "script health": ("GET", "/_stcore/script-health-check"),
    "metrics": ("GET", "/_stcore/metrics"),
    "host config": ("GET", "/_stcore/host-config"),
    "media": ("GET", "/media/unknown.csv"),
    "upload": ("PUT", "/_stcore/upload_file/session/file"),
    "upload deleted": ("DELETE", "/_stcore/upload_file/session/file"),
    "preflight": ("OPTIONS", "/_stcore/upload_file/session/file"),
    "component": ("GET", "/component/unknown/index.html"),
    "second kind of component": ("GET", "/_stcore/bidi-components/unknown/index.js"),
    "agent": ("POST", "/_stcore/agent/interact"),
    "login": ("GET", "/auth/login"),
    "plotly": ("GET", "/ptviz/plotly.min.js"),
    "code": ("GET", "/ptviz/code.svg?text=x"),
    "our health": ("GET", "/ptviz/health"),
}
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:PORT",
    "localhost.evil.example",
    "127.0.0.1.evil.example:PORT",
    "127.0.0.1@evil.example",
    "evil.example@127.0.0.1",
    "192.168.1.5:PORT",
    "[::2]:PORT",
    "localhost:0x50",
    "[::1",
    "",
]
OWN_HOSTS = ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT", "localhost", "localhost.", "[::1]:PORT", "[::1]"]
FOREIGN_ORIGINS = [
    "http://evil.example",
    "http://evil.example:PORT",
    "http://localhost:1",
    "http://localhost",
    "https://127.0.0.1.evil.example:PORT",
    "http://127.0.0.1:PORT@evil.example",
    "http://127.0.0.1:PORT/path",
    "null",
    "file://",
    "",
]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


class Client:
    """Sends exactly the Host and the Origin it is given."""

    def __init__(self, server: AppServer) -> None:
        self.server = server
        page = self.ask("GET", "/", host=self.own)
        self.static = re.findall(r"static/(js/[\w.-]+\.js)", page.body)[0]

    @property
    def own(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def fill(self, text: str) -> str:
        return text.replace("PORT", str(self.server.port))

    def ask(self, method: str, path: str, host: str | None, origin: str | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        connection.putrequest(
            method, path.replace("STATIC", getattr(self, "static", "")), skip_host=True, skip_accept_encoding=True
        )
        for name, value in (("Host", host), ("Origin", origin)):
            if value is not None:
                connection.putheader(name, self.fill(value))
        connection.endheaders()
        answer = connection.getresponse()
        found = Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read().decode("latin-1"))
        connection.close()
        return found

    def open_websocket(self, host: str | None, origin: str | None) -> int:
        """Return the status of a handshake of the websocket: 101 if it opened."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        connection.putrequest("GET", "/_stcore/stream", skip_host=True, skip_accept_encoding=True)
        headers = {"Host": host, "Origin": origin, "Connection": "Upgrade", "Upgrade": "websocket"}
        headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, self.fill(value))
        connection.endheaders()
        answer = connection.getresponse()
        connection.close()
        return answer.status


@pytest.fixture(scope="module")
def client(served: AppServer) -> Client:
    return Client(served)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), ROUTES.values(), ids=ROUTES)
def test_every_route_refuses_a_foreign_host_and_a_foreign_origin(client: Client, method: str, path: str):
    right = client.ask(method, path, client.own, f"http://{client.own}")
    assert right.status != 403 or "ptviz" not in right.body
    assert {name: right.headers.get(name.lower()) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    for refused in (
        client.ask(method, path, "evil.example"),
        client.ask(method, path, client.own, "http://evil.example"),
    ):
        assert refused.status == 403
        assert "ptviz" in refused.body
        assert "access-control-allow-origin" not in refused.headers
        assert {name: refused.headers.get(name.lower()) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.slow
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(client: Client, host: str):
    assert client.ask("GET", "/", host).status == 403
    if host:
        assert client.open_websocket(host, f"http://{host}") in (400, 403)


@pytest.mark.slow
@pytest.mark.parametrize("host", OWN_HOSTS)
def test_this_machine_is_answered_with_and_without_a_port(client: Client, host: str):
    assert client.ask("GET", "/", host).status == 200
    assert client.ask("GET", "/", host, f"http://{client.fill(host).lower()}").status == 200
    assert client.open_websocket(host, f"http://{host}") == 101
    assert client.open_websocket(host, None) == 101


@pytest.mark.slow
@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_foreign_origin_is_refused(client: Client, origin: str):
    assert client.ask("GET", "/ptviz/health", client.own, origin).status == 403
    assert client.open_websocket(client.own, origin) == 403


@pytest.mark.slow
def test_two_hosts_and_no_host_are_refused(client: Client):
    assert client.ask("GET", "/", None).status in (400, 403)
    with socket.create_connection(("127.0.0.1", client.server.port)) as line:
        line.sendall(f"GET / HTTP/1.1\r\nHost: {client.own}\r\nHost: evil.example\r\n\r\n".encode())
        assert line.recv(4096).split(b" ")[1] in (b"400", b"403")


@pytest.mark.slow
def test_further_names_can_be_allowed_as_behind_a_proxy(tmp_path: Path):
    with AppServer(tmp_path / "home", tmp_path / "server.log", PTVIZ, tmp_path, PTVIZ_ALLOWED_HOSTS="b.example") as own:
        own.stop()
        own.start("--allow-host", "lab.example")
        client = Client(own)
        for name in ("lab.example", "b.example", "LAB.example:443", "localhost:PORT"):
            assert client.ask("GET", "/", name).status == 200
            assert client.open_websocket(name, f"https://{name}") == 101
        assert client.ask("GET", "/", "evil.example").status == 403
        # A proxy that puts the address it connects to in place of the host: the browser's name is in the Origin.
        assert client.open_websocket(client.own, "https://lab.example") == 101
        assert client.open_websocket(client.own, "https://evil.example") == 403


def test_the_address_of_the_server_is_one_of_its_names():
    no_hosts = frozenset[str]()
    assert is_host_allowed("192.168.1.5", "192.168.1.5", no_hosts)
    assert is_host_allowed("lab.example", "lab.example", no_hosts)
    assert not is_host_allowed("192.168.1.6", "192.168.1.5", no_hosts)
    assert is_host_allowed("a.lab.example", "127.0.0.1", frozenset({"*.lab.example"}))
    assert not is_host_allowed("lab.example.evil", "127.0.0.1", frozenset({"*.lab.example", "lab.example"}))


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_a_server_on_every_address_answers_to_numbers_and_to_the_name_of_the_machine(everywhere: str):
    no_hosts = frozenset[str]()
    for name in ("192.168.1.5", "fd00::5", socket.gethostname().lower(), "localhost"):
        assert is_host_allowed(name, everywhere, no_hosts)
    for name in ("evil.example", "192.168.1.5.evil.example", ""):
        assert not is_host_allowed(name, everywhere, no_hosts)
