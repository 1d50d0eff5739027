"""Sets from a hub: a stand-in on loopback serves the part of the API that the real client asks for."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import cache_dir
from mrl_tutorial.tasks import hub
from mrl_tutorial.tasks.load import load_task
from tests.helpers.hub import SHA, standing_in

ROOT = Path(__file__).parents[2]


def parquet(rows: dict[str, list]) -> bytes:
    return pandas.DataFrame(rows).to_parquet(index=False)


def lines(rows: list) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def files() -> dict[str, dict[str, bytes]]:
    """Repository -> path -> content, small sets in the real layouts."""
    label = [{"text": f"text {i}", "label": i % 2, "label_text": f"intent_{i % 2}"} for i in range(40)]
    graded = [{"sentence1": f"one {i}", "sentence2": f"two,\n{i}", "score": i % 6} for i in range(6)]
    captions = [{"set": [f"image {i} caption {c}" for c in range(5)]} for i in range(60)]
    medi = [{"query": ["Do:", f"q{i}"], "pos": [["Do:", f"p{i}"]], "neg": [["Do:", "n"]]} for i in range(60)]
    return {
        "BeIR/scifact": {
            "corpus/corpus-00000-of-00001.parquet": parquet(
                {"_id": ["a", "b"], "title": ["T", ""], "text": ["x y", "z"]}
            ),
            "queries/queries-00000-of-00001.parquet": parquet(
                {"_id": [str(i) for i in range(30)], "title": [""] * 30, "text": [f"claim {i}" for i in range(30)]}
            ),
        },
        "BeIR/scifact-qrels": {
            "train.tsv": b"query-id\tcorpus-id\tscore\n" + b"".join(b"%d\ta\t1\n" % i for i in range(20)),
            "test.tsv": b"query-id\tcorpus-id\tscore\n" + b"".join(b"%d\tb\t1\n" % i for i in range(20, 30)),
        },
        "mteb/banking77": {"train.jsonl": lines(label), "test.jsonl": lines(label[:10])},
        "mteb/stsbenchmark-sts": {
            f"{split}.jsonl.gz": gzip.compress(lines(graded)) for split in ("train", "validation", "test")
        },
        "sentence-transformers/embedding-training-data": {
            "flickr30k_captions.jsonl.gz": gzip.compress(lines(captions)),
            "unwanted.jsonl.gz": b"never asked for",
        },
        "sentence-transformers/all-nli": {
            f"triplet/{split}-00000-of-00001.parquet": parquet({"anchor": ["a"], "positive": ["p"], "negative": ["n"]})
            for split in ("train", "dev", "test")
        },
        "GritLM/MEDI": {"medi-1.jsonl": lines(medi)},
    }


@pytest.fixture(autouse=True)
def stand_in(files, monkeypatch, tmp_path):
    with standing_in(tmp_path, monkeypatch) as server:
        server.files = files
        yield server.asked


def test_beir_set_is_fetched_once_and_kept_whole(stand_in, monkeypatch):
    task = load_task("scifact")
    assert task.corpus == {"a": "T x y", "b": "z"}
    assert len(task.judged("test")) == 10 and len(task.judged("train")) + len(task.judged("dev")) == 20
    assert any("b3b5335604bf5ee3c4447671af975ea25143d4f5" in path for path in stand_in)
    before = len(stand_in)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody is asked again
    assert load_task("scifact").fingerprint() == task.fingerprint()
    assert len(stand_in) == before


def test_other_layouts(stand_in):
    sts = load_task("stsbenchmark")
    assert (
        sts.splits["test"][1][0] == "two, 0"
        and sts.splits["test"][2].tolist() == [0, 1, 2, 3, 4, 5]
        and set(sts.splits) == {"train", "dev", "test"}
    )
    banking = load_task("banking77")
    assert banking.classes == ["intent_0", "intent_1"] and len(banking.splits["test"][1]) == 10
    assert len(banking.splits["train"][1]) + len(banking.splits["dev"][1]) == 40
    captions = load_task("captions")
    anchor, positive = captions.splits["train"][0]
    assert anchor.split(" caption ")[0] == positive.split(" caption ")[0] and anchor != positive
    assert not any("unwanted" in path and "resolve" in path for path in stand_in)
    assert load_task("all-nli").splits["dev"] == [("a", "p", "n")]
    medi = load_task("medi")
    assert all(row[0][1:] == row[1][1:] and row[2] == "n" for rows in medi.splits.values() for row in rows)
    kept = load_task("medi-instructed").splits["train"][0]  # with the instruction before each text
    assert kept[0].startswith("Do: q") and kept[1] == kept[0].replace("q", "p") and kept[2] == "Do: n"


def test_absent_repository_and_file(stand_in, files):
    with pytest.raises(InputError, match=r"nfcorpus.*404.*MRL_DATA"):
        load_task("nfcorpus")
    del files["BeIR/scifact-qrels"]["train.tsv"], files["BeIR/scifact-qrels"]["test.tsv"]
    with pytest.raises(InputError, match=r"scifact.*\*\.tsv.*MRL_DATA"):
        load_task("scifact")
    assert hub.cached("scifact") is None and not list(cache_dir("hub").iterdir())


def damage(files, repository, name, text):
    """Put a broken file on the hub; what it gives back puts the whole one there again."""
    whole, files[repository][name] = files[repository][name], text
    return lambda: files[repository].update({name: whole})


@pytest.mark.parametrize(
    ("task", "repository", "name", "text", "message"),
    [
        (
            "banking77",
            "mteb/banking77",
            "test.jsonl",
            b'{"text": "a", "label_text": "b"}\n{"text": ',
            r"test\.jsonl:2: not a json object",
        ),
        (
            "all-nli",
            "sentence-transformers/all-nli",
            "triplet/dev-00000-of-00001.parquet",
            b"PAR1 and no more",
            r"dev-00000-of-00001\.parquet: not a parquet file \(.*\)",
        ),
    ],
)
def test_a_broken_file_is_named_and_once_deleted_is_fetched_again(
    stand_in, files, capfd, task, repository, name, text, message
):
    mend = damage(files, repository, name, text)
    for _ in range(2):
        with pytest.raises(InputError, match=message + "; delete the file and what it links to.*MRL_DATA") as caught:
            load_task(task)
    mend()
    broken = Path(str(caught.value).split(": ")[1].removesuffix(":2"))
    broken.resolve().unlink()
    broken.unlink()
    assert hub.cached(task) is None
    assert set(load_task(task).splits) == {"train", "dev", "test"} and hub.cached(task)
    assert "Failed to read" not in capfd.readouterr().err  # the one message is ours


def test_half_a_download_is_never_taken_for_the_set(stand_in, files, monkeypatch):
    mend = damage(files, "mteb/banking77", "test.jsonl", None)  # the hub lists it and does not give it
    with pytest.raises(InputError, match=r"banking77: cannot be downloaded from .* \(.*404.*\); put the files in"):
        load_task("banking77")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):  # though the training data are here
        load_task("banking77")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    mend()
    assert len(load_task("banking77").splits["test"][1]) == 10


def test_hub_that_refuses_and_hub_that_is_silent(monkeypatch):
    with socket.socket() as server:  # listens and never answers
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.3)
        with pytest.raises(InputError, match=r"scifact.*no answer: .*timed out.*MRL_DATA/scifact"):
            load_task("scifact")
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")  # nobody listens any more
    with pytest.raises(InputError, match=r"scifact.*no answer.*MRL_DATA/scifact"):
        load_task("scifact")


def test_offline_asks_nobody(stand_in, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        load_task("banking77")
    assert stand_in == []


def test_what_was_fetched_before_serves_offline(stand_in, monkeypatch):
    first = load_task("banking77").fingerprint()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(stand_in)
    assert load_task("banking77").fingerprint() == first and len(stand_in) == asked


def test_any_set_of_the_hub_comes_by_datasets(files, tmp_path):
    """In a fresh process, because datasets reads HF_ENDPOINT once."""
    pytest.importorskip("datasets")
    rows = [{"question": f"question {i}", "answer": f"answer {i}"} for i in range(6)]
    parts = {"train": rows[:4], "validation": rows[4:], "test": rows[4:]}
    files["someone/own"] = {f"{split}.jsonl": lines(its) for split, its in parts.items()}
    code = f"load_task(datasets.load_dataset('someone/own', revision='{SHA}'))"
    code = f"import datasets\nfrom mrl_tutorial.tasks.load import load_task\nprint({code}.fingerprint())"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == load_task(parts).fingerprint(), done.stderr
    with pytest.raises(InputError, match=r"someone/own.*load_task\(datasets.load_dataset\('someone/own', revision="):
        load_task("someone/own")


def test_command_line_says_it_in_one_line(tmp_path):
    """A fresh process whose environment points at a dead endpoint: no patience, no traceback."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "MRL_CACHE": str(tmp_path),
    }
    code = "from mrl_tutorial.tasks.load import load_task\nload_task('fiqa')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (
        done.returncode and "InputError: fiqa: cannot be downloaded from http://127.0.0.1:9 (no answer" in done.stderr
    )


def test_every_revision_is_a_commit_and_cranfield_names_the_remedy():
    for sources in hub.SETS.values():
        assert all(len(source.revision) == 40 and int(source.revision, 16) for source in sources)
    with pytest.raises(InputError, match=r"cranfield.*MRL_DATA/cranfield"):
        load_task("cranfield")
