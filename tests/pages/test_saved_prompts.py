"""Saved prompts on the pages: saved from a checkpoint, inspected, and offered as the start of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from ptviz import load_backbone
from ptviz.checkpoints import hub
from ptviz.checkpoints.detect import open_in_process
from ptviz.engine.model_cache import Backend, ModelCache
from ptviz.executors.local import LocalExecutor
from ptviz.plots import prompt_set
from ptviz.runs import Store, saved_prompts
from ptviz.runs.embedding_table import save_vocabulary as keep_table
from ptviz.ui.open import checkpoint
from ptviz.worker.handlers import HandlerContext, answer_request
from tests.checkpoints.files import kobold, npy
from tests.pages.run_pages import figures, settled, well

Page = Callable[..., AppTest]
TINY = load_backbone("tiny-encoder")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prompt_set, "open_checkpoint", lambda path: open_in_process(Path(path)))
    monkeypatch.setattr("ptviz.backbones.load_backbone", lambda *a, **k: pytest.fail("loaded in the app's process"))


def texts(at: AppTest) -> str:
    return "\n".join(text.value for text in at.text)


def harmless(at: AppTest) -> None:
    for kind in ("markdown", "caption", "html", "badge", "success", "warning"):
        for element in at.get(kind):
            assert "onerror" not in str(getattr(element, "value", ""))


def test_a_prompt_is_saved_and_inspected(page: Page, store: Store, tmp_path: Path) -> None:
    keep_table(load_backbone("tiny-encoder"))
    (tmp_path / "p.npy").write_bytes(npy(torch.randn(5, 32).numpy()))
    at = page("open/checkpoint.py", **{"path-a": str(tmp_path / "p.npy"), "ground": "tiny-encoder"})
    assert "fits tiny-encoder" in " ".join(str(m.value) for m in at.markdown)
    well(at.button(key="keep-a").click().run())
    well(at.button(key="keep-a").click().run())
    (one,) = saved_prompts.list_saved_prompts(store.prompts_folder)
    assert (one.m, one.backbone, one.origin["format"]) == (5, "tiny-encoder", "bare tensor")
    assert len(one.origin["sha256"]) == 64
    at = well(page("look/embeddings.py", run=f"kept:{one.id}"))
    assert {f"{one.id}-{name}" for name in ("map", "norms", "distances", "words")} <= set(figures(at))
    at = well(page("look/decompositions.py", run=f"kept:{one.id}"))
    assert any(name.startswith(f"{one.id}-P-") for name in figures(at))
    at = well(page("look/routing.py", run=f"kept:{one.id}"))
    assert any("nothing to route" in m.value for m in at.markdown)
    at = well(page("look/embeddings.py"))  # with no run at all, the kept prompt is what there is to see
    assert at.selectbox(key="look-run").value == f"kept:{one.id}"


def test_a_prompt_is_deleted_after_a_question(page: Page, store: Store) -> None:
    one, other = (
        saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.randn(3, 32)}, title, "", None, {})
        for title in ("mine", "other")
    )
    at = page("look/embeddings.py", run=f"kept:{one.id}")
    at.button(key="delete-prompt").click().run()
    at.button(key="delete-prompt-not").click().run()
    assert len(saved_prompts.list_saved_prompts(store.prompts_folder)) == 2
    at.button(key="delete-prompt").click().run()
    at.button(key="delete-prompt-really").click().run()
    assert not at.exception
    assert saved_prompts.list_saved_prompts(store.prompts_folder) == [other]
    assert one.title not in texts(at)
    at = page("look/embeddings.py", run=f"kept:{other.id}")
    at.button(key="delete-prompt").click().run()
    saved_prompts.delete_saved_prompt(store.prompts_folder, other.id)  # in another tab
    at.button(key="delete-prompt-really").click().run()
    assert not at.exception


def test_an_outlier_is_named_and_can_be_left_out_of_every_panel(page: Page, store: Store) -> None:
    keep_table(load_backbone("tiny-encoder"))
    rows = torch.randn(6, 32)
    rows[4] *= 40
    one = saved_prompts.save_prompt(store.prompts_folder, {"embeddings": rows}, "mine", "tiny-encoder", None, {})
    at = well(page("look/embeddings.py", run=f"kept:{one.id}"))
    assert [warning.value.split(":")[0] for warning in at.warning] == ["Token 4"]
    before = figures(at)
    at = well(at.button(key="leave-out").click().run())
    assert not at.warning
    after = figures(at)
    assert not {name for name in before if before[name] == after[name]}, "no panel counts it any more"
    picked = [t["customdata"] for t in after[f"{one.id}-norms"]["data"] if t.get("meta") == "pick"]
    assert picked == [[0, 1, 2, 3, 5]]


def test_keys_and_values_have_their_views(page: Page, store: Store) -> None:
    one = saved_prompts.save_prompt(
        store.prompts_folder, {"key_values": torch.randn(2, 2, 4, 3, 8)}, "inner", "tiny-encoder", None, {}
    )
    for path in ("look/embeddings.py", "look/decompositions.py"):
        assert figures(well(page(path, run=f"kept:{one.id}")))


@pytest.mark.parametrize(
    ("tensor", "shape"), [("embeddings", (3, 32)), ("key_values", (2, 2, 4, 3, 8))], ids=["input", "keys and values"]
)
def test_attention_of_texts_of_the_selected_task(
    page: Page, store: Store, monkeypatch: pytest.MonkeyPatch, tensor: str, shape: tuple[int, ...]
) -> None:
    model_cache = ModelCache(replace(Backend.default(), load_backbone=lambda *a, **k: TINY))

    def ask(self: LocalExecutor, kind: str, run: str = "", **question: Any) -> dict[str, Any]:
        return answer_request(HandlerContext(self.store, model_cache), kind, {"run": run, **question})

    monkeypatch.setattr(LocalExecutor, "ask", ask)
    one = saved_prompts.save_prompt(
        store.prompts_folder, {tensor: torch.randn(shape)}, "mine", "tiny-encoder", "sms", {}
    )
    at = well(settled(page("look/attention.py", run=f"kept:{one.id}")))
    first = figures(at)
    assert set(first) == {f"{one.id}-{name}" for name in ("mass", "heads", "tokens", "given")}
    assert at.selectbox(key="task").value == "sms", "the task it was saved with is offered first"
    at = well(settled(at.selectbox(key="task").set_value("trec6").run()))
    assert figures(at) != first, "other texts, another attention"


def test_without_a_backbone_the_attention_page_says_what_is_missing(page: Page, store: Store) -> None:
    one = saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.randn(3, 32)}, "mine", "", None, {})
    at = well(page("look/attention.py", run=f"kept:{one.id}"))
    assert any("No backbone is set" in m.value for m in at.markdown)


def test_the_worker_fetches_the_vocabulary(page: Page, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(self: LocalExecutor, kind: str, run: str = "", **question: Any) -> dict[str, Any]:
        asked.append(question["backbone"])
        return {}

    monkeypatch.setattr(LocalExecutor, "ask", ask)
    one = saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": torch.randn(3, 32)}, "mine", "tiny-encoder", None, {}
    )
    at = settled(page("look/embeddings.py", run=f"kept:{one.id}"))
    assert asked == ["tiny-encoder"]
    assert any("fetching the words" in caption.value for caption in at.caption)


def test_untrusted_names_are_shown_as_text(page: Page, store: Store, tmp_path: Path, hostile: str) -> None:
    (tmp_path / "x.zip").write_bytes(kobold(name=hostile, description=hostile))
    at = page("open/checkpoint.py", **{"path-a": str(tmp_path / "x.zip")})
    harmless(well(at.button(key="keep-a").click().run()))
    says = {"says": {hostile: hostile}, "file": hostile}
    one = saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.randn(3, 384)}, hostile, "", None, says)
    for path in ("look/embeddings.py", "look/decompositions.py", "look/attention.py"):
        at = well(page(path, run=f"kept:{one.id}"))
        harmless(at)
        assert hostile in texts(at)
    at = well(page("train/new_run.py", begin=one.id))
    harmless(at)
    assert at.selectbox(key="begin").value == one.id


def test_the_form_offers_compatible_prompts_and_starts_from_one(page: Page, store: Store) -> None:
    wide = saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.randn(4, 768)}, "wide", "", None, {})
    own = saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": torch.randn(7, 32)}, "own", "tiny-encoder", None, {}
    )
    address = {"backbone": "tiny-encoder", "begin": own.id}
    at = well(page("train/new_run.py", **address))
    assert at.number_input(key="prompt-tuning-m").value == 7
    assert wide.title not in " ".join(at.selectbox(key="begin").options)
    at.button(key="start").click().run()
    (run,) = store.list()
    assert (run.config.start, run.config.hyperparameters["m"]) == (own.id, 7)
    assert torch.equal(
        store.get(run.id).initial_state()["embeddings"],
        saved_prompts.load_prompt_tensors(store.prompts_folder, own.id)["embeddings"],
    )
    at = page("train/new_run.py", **address, method="mpt", more="sms")
    assert f"got {own.id}. The method's own initialisation is used instead" in texts(at), "several tasks start as usual"
    at = page("train/new_run.py", **address, method="smop")
    assert not at.exception
    assert "begin" not in [box.key for box in at.selectbox]
    assert f"this run can start from; got {own.id}. The method's own initialisation is used instead" in texts(at)


def test_a_hub_id_is_downloaded_only_after_a_press(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    (tmp_path / "fetched").mkdir()
    (tmp_path / "fetched" / "p.npy").write_bytes(npy(torch.randn(5, 32).numpy()))

    def fetch(id: str) -> Path:
        asked.append(id)
        return tmp_path / "fetched"

    monkeypatch.setattr(
        checkpoint,
        "hub",
        SimpleNamespace(HUB_PREFIX=hub.HUB_PREFIX, find_fetched_adapter=hub.find_fetched_adapter, fetch_adapter=fetch),
    )
    at = well(page("open/checkpoint.py", **{"path-a": "hub:me/it"}))
    assert asked == []
    assert "not on this machine yet" in texts(at)
    well(at.button(key="fetch-a").click().run())
    assert asked == ["hub:me/it"]


def test_an_unknown_prompt_is_reported(page: Page, make_run: Callable[..., Any]) -> None:
    make_run()
    at = page("look/embeddings.py", run="kept:gone")
    assert not at.exception
    assert "saved prompt 'gone' not found" in texts(at)
