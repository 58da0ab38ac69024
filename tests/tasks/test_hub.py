from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ptviz.tasks import SplitName, Task, TaskError, load_hub_task, load_task

datasets = pytest.importorskip("datasets", reason="an ordinary dependency; install ptviz to run these")

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
    datasets.disable_progress_bars()


def made(prefix: str, count: int, labels: list[Any] | None = None) -> Any:
    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
        }
    )
    values = labels or [i % 2 for i in range(count)]
    content = {"id": list(range(count)), "text": [f"{prefix} {i}" for i in range(count)], "label": values}
    return datasets.Dataset.from_dict(content, features=features)


def saved(path: Path, **splits: Any) -> str:
    datasets.DatasetDict(splits).save_to_disk(path)
    return str(path)


def texts(task: Task, split: SplitName) -> set[str]:
    return {row.text for row in task.examples(split)}


def test_own_splits_are_kept_and_classes_have_their_names(tmp_path: Path) -> None:
    folder = saved(tmp_path / "Own set", train=made("a", 40), validation=made("b", 10), test=made("c", 12))
    task = load_task(f"hub:{folder}")
    assert task.name == "own-set"
    assert task.classes == ("no", "yes")
    assert [len(task.examples(split)) for split in SPLITS] == [40, 10, 12]
    assert texts(task, "test") == {f"c {i}" for i in range(12)}
    assert all(task.classes[row.label] == ["no", "yes"][int(row.text.split()[1]) % 2] for row in task.train)
    assert task == load_task(folder)


def test_a_lone_split_is_cut(tmp_path: Path) -> None:
    made("a", 100).save_to_disk(tmp_path / "lone")
    task = load_hub_task(str(tmp_path / "lone"))
    assert [len(task.examples(split)) for split in SPLITS] == [70, 14, 16]
    assert load_hub_task(str(tmp_path / "lone"), seed=1).test != task.test


def test_missing_and_unlabelled_splits(tmp_path: Path) -> None:
    hidden = made("c", 12, [-1] * 12)
    task = load_hub_task(saved(tmp_path / "g", train=made("a", 100), validation=made("b", 10), test=hidden))
    assert texts(task, "test") == {f"b {i}" for i in range(10)}
    assert texts(task, "train").isdisjoint(texts(task, "validation"))
    assert texts(task, "train") | texts(task, "validation") == {f"a {i}" for i in range(100)}
    assert task.notes == (
        "split test has no labels and was left out",
        "the validation rows were cut from the training rows",
    )
    with pytest.raises(TaskError, match="expected a split with labels"):
        load_hub_task(saved(tmp_path / "none", train=hidden))
    with pytest.raises(TaskError, match="expected a split called train; got a, b"):
        load_hub_task(saved(tmp_path / "odd", a=made("a", 10), b=made("b", 10)))


def test_training_texts_that_are_tested_on_are_left_out(tmp_path: Path) -> None:
    folder = saved(tmp_path / "leak", train=made("a", 40), validation=made("a", 6), test=made("a", 4))
    task = load_hub_task(folder)
    assert [len(task.examples(split)) for split in SPLITS] == [34, 2, 4]
    assert task.notes == (
        "validation: rows whose text is in the test split, left out: 4",
        "train: rows whose text is in a later split, left out: 6",
    )


def test_rows_of_classes_that_training_lacks_are_counted(tmp_path: Path) -> None:
    def rows(prefix: str, labels: list[str]) -> Any:
        texts = [f"{prefix} {i}" for i in range(len(labels))]
        return datasets.Dataset.from_dict({"text": texts, "label": labels})

    test = rows("c", ["a", "b", "c", "c"] * 4)
    task = load_hub_task(saved(tmp_path / "s", train=rows("a", ["a", "b"] * 20), test=test))
    assert len(task.test) == 8
    assert "test: rows of classes that are not trained on, left out: 8" in task.notes


def test_minus_one_may_be_a_class(tmp_path: Path) -> None:
    """Only a split of -1 alone has its labels withheld; others may begin with many, as sorted tables do."""
    labels = [-1] * 1200 + [1] * 300
    data = datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(1500)], "label": labels})
    task = load_hub_task(saved(tmp_path / "signs", train=data))
    assert task.classes == ("-1", "1")
    assert sum(len(task.examples(split)) for split in SPLITS) == 1500


def test_a_train_split_without_labels_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "none", train=made("a", 40, [-1] * 40), validation=made("b", 10), test=made("c", 10))
    with pytest.raises(TaskError, match="expected a split train with labels; it has none, only validation and test"):
        load_hub_task(folder)


def test_large_splits_are_sampled(tmp_path: Path) -> None:
    task = load_hub_task(saved(tmp_path / "big", train=made("a", 3000), test=made("b", 200)), limit=500)
    assert len(task.train) + len(task.validation) == 500
    assert len(task.test) == 200
    assert task.notes[0] == "train: 3,000 rows, of which 500 were sampled"
    assert max(int(row.text.split()[1]) for row in task.train) > 2500


def test_a_folder_of_files_and_named_columns(tmp_path: Path) -> None:
    rows = [json.dumps({"body": f"text {i}", "kind": f"k{i % 3}"}) for i in range(60)]
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train.jsonl").write_text("\n".join(rows))
    task = load_task(str(tmp_path / "files"), text="body", label="kind")
    assert task.classes == ("k0", "k1", "k2")
    with pytest.raises(TaskError, match=r"column 'text': .* the columns are 'body', 'kind'"):
        load_task(str(tmp_path / "files"))


def test_bad_rows_are_named(tmp_path: Path) -> None:
    labels = [i % 2 for i in range(20)]
    labels[7] = -1
    folder = saved(tmp_path / "bad", train=made("a", 20, labels))
    with pytest.raises(TaskError, match=r"bad \(train\), row 8, column 'label': expected a label"):
        load_hub_task(folder)


def test_what_cannot_be_fetched_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for spec in ("hub:no-such-owner/no-such-set", str(tmp_path / "empty")):
        with pytest.raises(TaskError, match=r"cannot be fetched through datasets .*give its path"):
            load_task(spec)


def test_a_configuration_may_follow_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def load(identifier: str, config: str | None) -> Any:
        asked.append((identifier, config))
        return datasets.DatasetDict(train=made("a", 40))

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert load_hub_task("hub:glue:sst2") == load_hub_task("hub:glue", config="sst2")
    load_hub_task("hub:owner/set")
    assert asked == [("glue", "sst2"), ("glue", "sst2"), ("owner/set", None)]


def test_classes_with_leading_zeros_are_found_in_every_split(tmp_path: Path) -> None:
    def split(prefix: str, count: int) -> Any:
        names = ["01", "02", "10", "11"]
        content = {"text": [f"{prefix} {i}" for i in range(count)], "label": [names[i % 4] for i in range(count)]}
        return datasets.Dataset.from_dict(content)

    folder = saved(tmp_path / "padded", train=split("a", 40), validation=split("b", 20), test=split("c", 20))
    task = load_task(f"hub:{folder}")
    assert task.classes == ("01", "02", "10", "11")
    for name in SPLITS:
        assert {row.label for row in task.examples(name)} == {0, 1, 2, 3}
        assert all(row.label == int(row.text.split()[1]) % 4 for row in task.examples(name))
    assert len(task.validation) == len(task.test) == 20
