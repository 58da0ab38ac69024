"""A classroom over real sockets: who gets in, and what she then sees of others."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus

from ptviz.classroom.access import ClassroomKeys, Visitor, load_keys
from ptviz.classroom.rules import CLASSROOM_VARIABLE, ClassroomRules
from ptviz.runs import RunConfig, Store
from ptviz.training import TrainConfig
from tests.app_server import HANGS_SECONDS, AppServer
from tests.soak.visitor import Visitor as Session
from tests.soak.visitor import enter_classroom

pytestmark = pytest.mark.slow
ROUTES = ("/", "/watch?run=x", "/_stcore/host-config", "/media/x.csv", "/ptviz/code.svg?text=x", "/ptviz/health")


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    cookie: str
    location: str


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    folder: Path = tmp_path_factory.mktemp("classroom")
    rules = ClassroomRules(max_steps=100, backbones=("tiny-encoder",))
    with AppServer(folder / "home", folder / "server.log", **{CLASSROOM_VARIABLE: rules.to_text()}) as server:
        yield server


@pytest.fixture
def keys(classroom: AppServer, monkeypatch: pytest.MonkeyPatch) -> ClassroomKeys:
    monkeypatch.setenv("PTVIZ_HOME", str(classroom.home))
    return load_keys()


def ask(server: AppServer, path: str, cookie: str = "") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=HANGS_SECONDS)
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    found = connection.getresponse()
    body = found.read().decode(errors="replace")
    connection.close()
    return Answer(found.status, body, found.getheader("Set-Cookie") or "", found.getheader("Location") or "")


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_token_there_is_one_page_and_no_data(classroom: AppServer, keys: ClassroomKeys, path: str):
    for cookie in ("", f"{keys.cookie}=teacher.{'0' * 64}"):
        answer = ask(classroom, path, cookie)
        assert answer.status == 401
        assert "needs a token" in answer.body
        assert keys.token not in answer.body
    assert ask(classroom, path, f"{keys.cookie}={keys.sign(Visitor('ab12'))}").status != 401


def test_a_wrong_token_is_told_so(classroom: AppServer, keys: ClassroomKeys):
    answer = ask(classroom, "/?token=%3Cb%3Ewrong")
    assert answer.status == 401
    assert "not the one of this classroom" in answer.body
    assert "<b>wrong" not in answer.body
    assert not answer.cookie


def test_the_token_leaves_the_address_and_the_name_stays(classroom: AppServer, keys: ClassroomKeys):
    answer = ask(classroom, f"/new-run?method=dept&token={keys.token}&steps=3")
    assert answer.status == 303
    assert answer.location == "/new-run?method=dept&steps=3"
    assert "HttpOnly" in answer.cookie
    assert "SameSite=lax" in answer.cookie
    mine = answer.cookie.partition(";")[0]
    assert ask(classroom, "/", mine).status == 200
    again = ask(classroom, f"/?token={keys.token}", mine)
    assert again.cookie.startswith(mine), "the same browser stays the same visitor"
    teacher = ask(classroom, f"/?token={quote(keys.teacher)}", mine)
    assert teacher.cookie.startswith(f"{keys.cookie}=teacher.")
    log = classroom.log.read_text()
    assert keys.token not in log
    assert keys.teacher not in log


@pytest.mark.parametrize("path", ["//evil.example/", "/\\\\evil.example/", "/%5Cevil.example"])
def test_the_way_out_of_the_token_leads_to_no_other_server(classroom: AppServer, keys: ClassroomKeys, path: str):
    place = ask(classroom, f"{path}?token={keys.token}").location
    assert place.startswith("/")
    assert place[1:2] not in {"/", "\\"}


def test_no_cookie_no_websocket(classroom: AppServer, keys: ClassroomKeys):
    for cookie in ("", f"{keys.cookie}=teacher.{'0' * 64}"):
        with pytest.raises(InvalidStatus):
            Session(classroom.port, cookie)


def test_two_visitors_and_the_teacher(classroom: AppServer, keys: ClassroomKeys):
    store = Store(classroom.home / "runs")
    cookies = [enter_classroom(classroom.port, token) for token in (keys.token, keys.token, keys.teacher)]
    visitors = [keys.recognise(cookie.partition("=")[2]) for cookie in cookies]
    ids = []
    for number, visitor in enumerate(visitors[:2]):
        assert visitor is not None
        store.owner = visitor.id
        config = RunConfig("tiny-encoder", name=f"run-of-{number}", training=TrainConfig(steps=3))
        ids.append(store.create(config).id)
    for number, cookie in enumerate(cookies):
        with Session(classroom.port, cookie) as session:
            home = session.visit("", {}, HANGS_SECONDS)
            watches = [session.visit("watch", {"run": id}, HANGS_SECONDS) for id in ids]
        assert not home.problems
        for own, watch in enumerate(watches):
            seen = number in (own, 2)
            assert any(f"run-of-{own}" in word for word in home.words) == seen
            assert any(" on tiny-encoder, task " in word for word in watch.words) == seen
