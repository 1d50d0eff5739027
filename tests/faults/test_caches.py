"""Processes that are killed or meet, and caches that are damaged: nothing half is believed, nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mrl_tutorial import files
from mrl_tutorial.models import encoding
from mrl_tutorial.models.heads import Heads
from tests.helpers.tiny import SENTENCES

ROOT = Path(__file__).parents[2]


def found(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


KILLED = """
import os, sys, signal
import numpy as np
from mrl_tutorial import files
kind, place = sys.argv[1:]
def dies(path):
    with open(path, "wb") as file:
        file.write(b"half of it")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
if kind == "file":
    with files.whole_file(place) as temporary:
        dies(temporary)
elif kind == "folder":
    with files.whole_folder(place) as temporary:
        dies(temporary / "config.json")
else:
    np.savez_compressed = lambda path, **arrays: dies(path)
    files.remembered("made", "a", lambda: {"x": np.arange(3)})
"""


@pytest.mark.parametrize("kind", ["file", "folder", "remembered"])
@pytest.mark.parametrize("there", [False, True])
def test_half_of_a_killed_process_is_not_read_and_later_removed(tmp_path, kind, there):
    place = {"file": tmp_path / "f.json", "folder": tmp_path / "f", "remembered": files.cache_dir("made") / "a.npz"}[
        kind
    ]

    def write():
        if kind == "file":
            files.write_json(place, [1])
        elif kind == "folder":
            with files.whole_folder(place) as temporary:
                files.write_json(temporary / "config.json", [1])
        return files.remembered("made", "a", lambda: {"x": np.arange(3)})["x"]

    if there:
        write()
    if there and kind == "remembered":
        place.write_bytes(place.read_bytes()[:100])  # so that it has to be written again
    command = [sys.executable, "-c", KILLED, kind, str(place)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -9
    half = [path for path in place.parent.iterdir() if path.name.startswith(".") and path.name != ".cache"]
    assert len(half) == 1 and (place.exists() == there)
    assert (write() == [0, 1, 2]).all()
    if kind != "remembered":
        assert json.loads((place / "config.json" if kind == "folder" else place).read_text()) == [1]
    else:
        with np.load(place) as stored:
            assert (stored["x"] == [0, 1, 2]).all()
    assert half[0].exists()  # it may be another process at work
    os.utime(half[0], (time.time() - 2 * files.STALE,) * 2)
    place.unlink() if kind == "remembered" else None
    write()
    assert not half[0].exists() and place.exists()


def test_the_only_copy_of_a_folder_is_never_removed(tmp_path):
    """Killed between two renames, the old folder lies aside and the new one is not there."""
    aside = tmp_path / f".f.{'0' * 32}"
    (aside / "f").mkdir(parents=True)
    os.utime(aside, (0, 0))
    files.whole_folder(tmp_path / "other").__enter__()
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "f"):
        raise ZeroDivisionError
    assert (aside / "f").exists()


def test_ctrl_c_between_two_renames_puts_the_old_folder_back(tmp_path, monkeypatch):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").touch()
    replace, calls = os.replace, []

    def stopped(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt), files.whole_folder(tmp_path / "f") as temporary:
        (temporary / "new").touch()
    assert found(tmp_path) == ["f/old"] and len(list(tmp_path.iterdir())) == 1


def text_of(path):
    """A file's text, or None while its folder is between two renames (looking first and reading then is too late)."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def together(barrier, queue, number, folder):
    """One of several processes that prepare the same things at the same time."""
    barrier.wait()
    problems = []
    for turn in range(20):
        got = files.remembered("made", f"turn{turn}", lambda: {"x": np.arange(5_000)})["x"]
        problems += [] if (got == np.arange(5_000)).all() else [f"turn {turn}"]
        try:
            with files.whole_folder(folder) as temporary:
                for name in "ab":
                    (temporary / name).write_text(str(number) * 1000)
        except files.NotWritten:
            pass  # the other was faster
        read = [text_of(Path(folder) / name) for name in "ab"]
        problems += [f"half a file: {text[:5]}" for text in read if text is not None and len(text) != 1000]
    queue.put(problems)


def test_processes_that_prepare_the_same_cache_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    barrier, queue = context.Barrier(3), context.Queue()
    everyone = [context.Process(target=together, args=(barrier, queue, i, tmp_path / "f")) for i in range(3)]
    for process in everyone:
        process.start()
    assert [queue.get(timeout=180) for _ in everyone] == [[], [], []]
    for process in everyone:
        process.join(60)
    assert len({(tmp_path / "f" / name).read_text() for name in "ab"}) == 1
    assert not [name for name in found(tmp_path) if "/." in f"/{name}"]
    assert found(files.cache_dir("made")) == sorted(f"turn{i}.npz" for i in range(20))


def saved(array):
    def write(path):
        with open(path, "wb") as file:
            np.save(file, array)

    return write


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:500]),
    "one byte other": lambda path: path.write_bytes(path.read_bytes()[:-50] + b"\x7f" + path.read_bytes()[-49:]),
    "zeros at the end": lambda path: path.write_bytes(path.read_bytes()[:-504] + bytes(500) + path.read_bytes()[-4:]),
    "no array": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00garbage and more" * 20),
    "another shape": saved(np.zeros((2, 10, 32), np.float32)),
    "another type": saved(np.zeros((3, 10, 32))),
    "pickled": saved(np.array([{"a": 1}], dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_older_file_of_embeddings_is_made_again(encoder, damage):
    want = encoder.encode_layers(SENTENCES, cache=False)
    encoder.encode_layers(SENTENCES)
    path = next(files.cache_dir("embeddings").iterdir())
    DAMAGE[damage](path)
    np.testing.assert_array_equal(encoder.encode_layers(SENTENCES), want)
    np.testing.assert_array_equal(np.load(path), want)


def test_a_file_of_embeddings_without_a_checksum_is_read(encoder):
    want = np.array(encoder.encode_layers(SENTENCES))
    path = next(files.cache_dir("embeddings").iterdir())
    saved(want + 1)(path)
    np.testing.assert_array_equal(encoder.encode_layers(SENTENCES), want + 1)


ENCODES = """
import os, signal, sys
from mrl_tutorial.models import encoding
from mrl_tutorial.models.encoder import Encoder
from tests.helpers.tiny import SENTENCES
def dies(done, total, label):
    assert (total, label) == (10, "encoding")
    if done > 6:
        os.kill(os.getpid(), signal.SIGKILL)
encoding.SHARD_TEXTS = 3
Encoder.load(sys.argv[1]).encode_layers(SENTENCES, precision="fp32", progress=dies)
"""


@pytest.mark.parametrize(("kind", "damaged"), [(None, False), ("shared", True)])
def test_a_killed_encoding_goes_on_at_the_next_shard(encoder, monkeypatch, kind, damaged):
    command = [sys.executable, "-c", ENCODES, str(encoder.folder)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -9
    shards = sorted(files.cache_dir("embeddings").glob("*.npy"))
    assert len(shards) == 2  # of 3 texts each; the third was not whole
    if damaged:
        shards[0].write_bytes(shards[0].read_bytes()[:-9])
    monkeypatch.setattr(encoding, "SHARD_TEXTS", 3)
    if kind:
        whole = encoder.encode_layers(SENTENCES, precision="fp32", cache=False)
        encoder = encoder.with_heads(Heads(3, 32, kind).standardize_on(whole))
    want = encoder.encode_layers(SENTENCES, precision="fp32", cache=False)
    real, read, said = encoding.encode_tokens, [], []

    def counted(reader, ids, *rest):
        read.append(len(ids))
        return real(reader, ids, *rest)

    monkeypatch.setattr(encoding, "encode_tokens", counted)
    got = encoder.encode_layers(SENTENCES, precision="fp32", progress=lambda *its: said.append(its))
    assert read == ([3, 3, 1] if damaged else [3, 1]) and said[-1] == (10, 10, "encoding")
    assert isinstance(got, np.memmap) and np.array_equal(got, want)
    again = encoder.encode_layers(SENTENCES, precision="fp32")
    assert np.array_equal(again, want) and len(read) == 2 + damaged
    assert len(found(files.cache_dir("embeddings"))) == (2 if kind else 1)  # no shard is left


def test_any_damage_to_what_is_remembered_is_seen():
    want = np.random.default_rng(0).random(60)
    files.remembered("made", "a", lambda: {"x": want})
    path = files.cache_dir("made") / "a.npz"
    raw = path.read_bytes()
    for at in range(0, len(raw), 7):
        path.write_bytes(raw[:at] if at % 2 else raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
        found = files.remembered("made", "a", lambda: {"x": want})
        assert list(found) == ["x"] and (found["x"] == want).all(), at
