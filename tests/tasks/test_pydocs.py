"""pydocs: near-duplicates are found exactly, no sibling crosses a split, the harvest repeats and is cached whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import pydocs


def brute_force(sets, threshold):
    return {
        (i, j) for i in range(len(sets)) for j in range(i + 1, len(sets))
        if sets[i] | sets[j] and len(sets[i] & sets[j]) / len(sets[i] | sets[j]) > threshold
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.frozensets(st.sampled_from("abcdefghijkl"), max_size=12), max_size=25), st.sampled_from([0.5, 0.7, 0.8])
)
def test_similar_pairs_are_exactly_those_of_all_pairs(sets, threshold):
    found = pydocs.similar_pairs(sets, threshold)
    assert len(found) == len(set(found)) and set(found) == brute_force(sets, threshold)


def test_similar_pairs_on_text_like_sets():
    rng = random.Random(0)
    words = [f"w{int(rng.paretovariate(0.7))}" for _ in range(4000)]
    sets = [frozenset(rng.sample(words, rng.randint(4, 30))) for _ in range(150)]
    sets += [frozenset(list(base)[: -rng.randint(1, 3)]) | {"new"} for base in sets if len(base) > 5]
    expected = brute_force(sets, 0.7)
    assert set(pydocs.similar_pairs(sets, 0.7)) == expected and len(expected) > 50


def test_groups_chain():
    texts = ["a b c d e f g h i j", "a b c d e f g h i k", "a b c d e f g h l k", "x y z", ""]
    assert pydocs.near_duplicate_groups([texts], 0.7) == [
        0,
        0,
        0,
        3,
        4,
    ]  # first and third are joined by the second alone


def records(count=400, packages=("numpy", "torch")):
    rng = random.Random(1)

    def words(letter, many):
        return " ".join(f"{letter}{rng.randrange(10**6)}" for _ in range(many))

    places = [(package, i) for package in packages for i in range(count)]
    return [[f"{p}.m{i % 7}.f{i}", f"{p}.m{i % 7}", p, words("q", 6), words("d", 20)] for p, i in places]


def test_assembly_caps_drops_duplicates_and_keeps_groups_together(monkeypatch):
    monkeypatch.setattr(pydocs, "CAP", 150)
    given_records = records()
    twin = [["torch.m0.twin", "torch.m0", "torch", given_records[0][3] + " other", given_records[0][4] + " more"]]
    inherited = [["torch.m0.sub.f0", "torch.m0.sub", "torch", given_records[3][3], "another document " * 8]]
    docs = pydocs.assemble(given_records + twin + inherited, {"numpy": "1", "torch": "2"})
    shuffled = given_records + twin + inherited
    random.Random(5).shuffle(shuffled)
    assert pydocs.assemble(shuffled, {"numpy": "1", "torch": "2"}) == docs  # the order of the files does not matter
    assert {package: docs.packages.count(package) for package in ("numpy", "torch")} == {"numpy": 150, "torch": 150}
    assert "torch.m0.sub.f0" not in docs.names
    split = dict(zip(docs.names, docs.splits, strict=True))
    if "torch.m0.twin" in split and given_records[0][0] in split:
        assert split["torch.m0.twin"] == split[given_records[0][0]]
    assert 0.1 < docs.splits.count("test") / len(docs.splits) < 0.3  # and the cap's hash is not the split's
    assert "missing" not in docs.missing and "scipy" in docs.missing


def test_near_duplicates_never_cross_a_split():
    rng = random.Random(2)
    base = [" ".join(f"w{rng.randrange(10**6)}" for _ in range(20)) for _ in range(150)]
    twins = [[f"numpy.m.f{i}{kind}", "numpy.m", "numpy", f"the query number {i} {kind}", text + " " + kind]
             for i, text in enumerate(base) for kind in ("one", "two")]  # fmt: skip
    docs = pydocs.assemble(twins, {"numpy": "1"})
    split = dict(zip(docs.names, docs.splits, strict=True))
    assert len(split) == 300 and len(set(split.values())) == 3
    assert all(split[f"numpy.m.f{i}one"] == split[f"numpy.m.f{i}two"] for i in range(150))


def test_rare_modules_join_their_parents():
    modules = ["a.b.c.d"] * 3 + ["a.b.x"] + ["a.b"] * 2 + ["a.y"] + ["a"] * 2 + ["z.q"]
    assert pydocs.merge_rare(modules, [], 3) == ["a.b.c"] * 3 + ["a.b"] * 3 + ["a"] * 3 + ["other"]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Two made-up libraries in place of the real ones, and a cache of our own."""
    rng = random.Random(3)
    for package in ("numpy", "scipy"):
        for sub in ("", "part/", "tests/"):
            (tmp_path / package / sub).mkdir(parents=True, exist_ok=True)
            words = [chr(97 + rng.randrange(26)) * rng.randint(2, 9) for _ in range(20 * 40)]
            text = ""
            for i in range(40):
                own = words[20 * i : 20 * i + 20]
                document = f"The {' '.join(own[4:])} is here."
                text += f'def f{i}():\n    """Return the {" ".join(own[:4])} of it.\n\n    {document}\n    """\n'
            (tmp_path / package / sub / "mod.py").write_text(text, encoding="utf-8")
    found = {package: ("1.0", tmp_path / package) for package in ("numpy", "scipy")}
    monkeypatch.setattr(pydocs, "find_libraries", lambda: found)
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    return found


def test_harvest_is_cached_whole_and_keyed_by_versions(library, monkeypatch, capsys):
    docs = pydocs.load_pydocs()
    assert set(docs.packages) == {"numpy", "scipy"} and not any(".tests." in name for name in docs.names)
    assert docs.fingerprint in capsys.readouterr().err  # count and hash are printed when it is made
    (path,) = files.cache_dir("pydocs").iterdir()
    monkeypatch.setattr(pydocs, "harvest", lambda *_: pytest.fail("read again"))
    assert pydocs.load_pydocs() == docs
    monkeypatch.undo()


def test_damaged_cache_and_new_version_are_read_again(library, monkeypatch):
    docs = pydocs.load_pydocs()
    (path,) = files.cache_dir("pydocs").iterdir()
    path.write_text('{"names": [')
    assert pydocs.load_pydocs() == docs and json.loads(path.read_text())["fingerprint"] == docs.fingerprint
    library["numpy"] = ("2.0", library["numpy"][1])
    assert pydocs.load_pydocs().versions["numpy"] == "2.0" and len(list(files.cache_dir("pydocs").iterdir())) == 2


def test_result_does_not_depend_on_processes(library, monkeypatch):
    files = pydocs.list_files(library)
    steps = []
    one = pydocs.harvest(files, lambda done, total, label: steps.append((done, total)), processes=1)
    assert pydocs.harvest(files, processes=3) == one and len(one) > 100 and steps[-1][0] == steps[-1][1]

    def refuse(*_, **__):
        raise OSError("no processes here")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert pydocs.harvest(files, processes=2) == one


def test_nothing_to_read_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    monkeypatch.setattr(pydocs, "find_libraries", dict)
    with pytest.raises(InputError, match="none of its libraries"):
        pydocs.load_pydocs()


def test_real_libraries_are_found_without_importing_them():
    code = (
        "import sys, mrl_tutorial.tasks.pydocs as p; f = p.list_files(p.find_libraries());"
        "heavy = {'torch', 'scipy', 'sklearn', 'pandas', 'transformers', 'sympy', 'networkx'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "names = {(x[0], x[2]) for x in f}; packages = {x[0] for x in f};"
        "assert {'numpy', 'torch', 'sklearn'} <= packages, packages;"
        "assert ('torch', '_torch_docs.py') in names and ('torch', 'nn/modules/linear.py') in names;"
        "assert not any('/tests/' in '/' + n or n.startswith('models/') and p == 'transformers' for p, n in names)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
