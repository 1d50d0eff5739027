"""Files are written whole or not at all, and others may read them."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mrl_tutorial import files
from mrl_tutorial.errors import InputError


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir())


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.whole_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and leftovers(tmp_path) == ["a.txt"]


def test_a_file_of_safetensors_may_be_read_by_whom_the_system_says(tmp_path):
    (tmp_path / "plain").touch()
    with files.whole_file(tmp_path / "x.safetensors") as temporary:
        save_file({"x": torch.zeros(1)}, temporary)
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_cannot_be_written_shows_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(files.NotWritten, match="give another place"), files.whole_file(tmp_path / "file" / "a.txt"):
        pytest.fail("the work began")


def test_a_folder_behind_a_link_is_replaced_without_rubbish(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with files.whole_folder(tmp_path / "link") as temporary:
        (temporary / "new").touch()
    assert leftovers(tmp_path) == ["link", "real"] and leftovers(tmp_path / "link") == ["new"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise PermissionError("no")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with (
        pytest.raises(files.NotWritten, match="could not be written"),
        files.whole_folder(tmp_path / "model") as temporary,
    ):
        (temporary / "new").touch()
    assert leftovers(tmp_path) == ["model"] and leftovers(tmp_path / "model") == ["old"]


def test_what_is_remembered_has_the_same_arrays_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    first = files.remembered("made", "a", lambda: {"x": np.arange(3)})
    second = files.remembered("made", "a", lambda: pytest.fail("computed twice"))
    assert first.keys() == second.keys() == {"x"} and (second["x"] == [0, 1, 2]).all()


def test_what_comes_with_the_course_is_read_and_not_computed(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "__file__", str(tmp_path / "package" / "files.py"))
    (tmp_path / "data" / "made").mkdir(parents=True)
    np.savez_compressed(tmp_path / "data" / "made" / "a.npz", x=np.arange(3))
    (tmp_path / "data" / "made" / "b.npz").write_bytes(b"damaged")
    assert (files.remembered("made", "a", lambda: pytest.fail("computed"))["x"] == [0, 1, 2]).all()
    assert not (tmp_path / "cache" / "made" / "a.npz").exists()
    for name in ("b", "c"):  # damaged, not there
        assert (files.remembered("made", name, lambda: {"x": np.arange(5)})["x"] == np.arange(5)).all()
        assert (files.remembered("made", name, lambda: pytest.fail("computed twice"))["x"] == np.arange(5)).all()


def test_a_cache_that_cannot_be_made_costs_nothing_but_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="made were not cached"):
        assert (files.remembered("made", "a", lambda: {"x": np.arange(3)})["x"] == [0, 1, 2]).all()


def test_the_folder_where_you_work_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is the folder you work in"), files.whole_folder("."):
        pytest.fail("filled")
    assert leftovers(tmp_path) == [] and os.getcwd() == str(tmp_path)
