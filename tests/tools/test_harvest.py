"""The harvest of pydocs: near duplicates are found exactly, none crosses a split, and it gives the frozen corpus."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import pydocs
from tools.harvest import libraries
from tools.harvest.__main__ import FOLDER, harvest, write_corpus
from tools.harvest.assemble import assemble, merge_rare, near_duplicate_groups, similar_pairs
from tools.harvest.docstrings import Record, read_sources
from tools.harvest.libraries import Library, SourceFile, list_files

ROOT = Path(__file__).parents[2]


def brute_force(sets, threshold):
    pairs = ((i, j) for i in range(len(sets)) for j in range(i + 1, len(sets)) if sets[i] | sets[j])
    return {(i, j) for i, j in pairs if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) > threshold}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.frozensets(st.sampled_from("abcdefghijkl"), max_size=12), max_size=25), st.sampled_from([0.5, 0.7, 0.8])
)
def test_similar_pairs_are_exactly_those_of_all_pairs(sets, threshold):
    found = similar_pairs(sets, threshold)
    assert len(found) == len(set(found)) and set(found) == brute_force(sets, threshold)


def test_similar_pairs_on_text_like_sets():
    rng = random.Random(0)
    words = [f"w{int(rng.paretovariate(0.7))}" for _ in range(4000)]
    sets = [frozenset(rng.sample(words, rng.randint(4, 30))) for _ in range(150)]
    sets += [frozenset(list(base)[: -rng.randint(1, 3)]) | {"new"} for base in sets if len(base) > 5]
    expected = brute_force(sets, 0.7)
    assert set(similar_pairs(sets, 0.7)) == expected and len(expected) > 50


def test_groups_chain():
    texts = ["a b c d e f g h i j", "a b c d e f g h i k", "a b c d e f g h l k", "x y z", ""]
    # the first and the third are joined by the second alone
    assert near_duplicate_groups([texts], 0.7) == [0, 0, 0, 3, 4]


def made_records(count=400, packages=("numpy", "torch")):
    rng = random.Random(1)

    def words(letter, many):
        return " ".join(f"{letter}{rng.randrange(10**6)}" for _ in range(many))

    places = [(package, i) for package in packages for i in range(count)]
    return [Record(f"{p}.m{i % 7}.f{i}", f"{p}.m{i % 7}", p, words("q", 6), words("d", 20)) for p, i in places]


def test_assembly_caps_libraries_and_does_not_depend_on_the_order():
    records = made_records()
    rows = assemble(records, cap=150)
    assert [row["package"] for row in rows].count("numpy") == [row["package"] for row in rows].count("torch") == 150
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    assert 0.1 < [row["split"] for row in rows].count("test") / 300 < 0.3  # the cap's hash is not the split's
    random.Random(5).shuffle(records)
    assert assemble(records, cap=150) == rows


def test_inherited_docstrings_are_dropped():
    records = made_records(40)
    third = records[3]
    same_query = Record("torch.m0.sub.f0", "torch.m0.sub", "torch", third.query.upper() + "!", "another document " * 8)
    same_document = Record("torch.m0.sub.f1", "torch.m0.sub", "torch", "another query", third.document)
    assert assemble([same_query, same_document, *records]) == assemble(records)


def test_near_duplicates_never_cross_a_split():
    rng = random.Random(2)
    base = [" ".join(f"w{rng.randrange(10**6)}" for _ in range(20)) for _ in range(150)]
    twins = [
        Record(f"numpy.m.f{i}{kind}", "numpy.m", "numpy", f"the query number {i} {kind}", text + " " + kind)
        for i, text in enumerate(base)
        for kind in ("one", "two")
    ]
    rows = {row["name"]: row for row in assemble(twins)}
    assert len(rows) == 300 and len({row["split"] for row in rows.values()}) == 3
    for i in range(150):
        one, two = rows[f"numpy.m.f{i}one"], rows[f"numpy.m.f{i}two"]
        assert one["split"] == two["split"] and one["group"] == two["group"]


def test_rare_modules_join_their_parents():
    modules = ["a.b.c.d"] * 3 + ["a.b.x"] + ["a.b"] * 2 + ["a.y"] + ["a"] * 2 + ["z.q"]
    assert merge_rare(modules, 3) == ["a.b.c"] * 3 + ["a.b"] * 3 + ["a"] * 3 + ["other"]


@pytest.fixture
def made_libraries(tmp_path):
    """Two made-up libraries in place of the real ones."""
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
    return {package: Library("1.0", tmp_path / package) for package in ("numpy", "scipy")}


def test_result_does_not_depend_on_processes(made_libraries):
    sources = list_files(made_libraries)
    one = harvest(sources, processes=1)
    assert one == harvest(sources, processes=2) == sorted(read_sources(sources))
    assert len(one) > 100 and not any(".tests." in record.name for record in one)


def test_what_is_written_is_what_is_loaded(made_libraries, tmp_path, monkeypatch):
    rows = assemble(harvest(list_files(made_libraries), processes=1))
    folder = tmp_path / "pydocs"
    write_corpus(folder, rows, {"numpy": "1.0", "scipy": "1.0"}, {"numpy": "free", "scipy": "as well"})
    first = (folder / "corpus.jsonl.gz").read_bytes()
    write_corpus(folder, rows, {"numpy": "1.0", "scipy": "1.0"}, {"numpy": "free"})
    assert (folder / "corpus.jsonl.gz").read_bytes() == first
    assert licenses(folder) == {"numpy": "free"}
    monkeypatch.setattr(pydocs.files, "data_file", {"pydocs": folder}.__getitem__)
    found, origin = pydocs.read_corpus()
    assert found == rows and f"{len(rows)} documents of 2 libraries" in origin


def test_missing_libraries_are_named(monkeypatch):
    monkeypatch.setitem(libraries.LIBRARIES, "no_such_library", ("no-such-library", ()))
    with pytest.raises(InputError, match=r"not installed: no-such-library; pip install"):
        libraries.find_libraries()


def test_real_libraries_are_found_without_importing_them():
    code = (
        "import sys, tools.harvest.libraries as p; f = p.list_files(p.find_libraries());"
        "heavy = {'torch', 'scipy', 'sklearn', 'pandas', 'transformers', 'sympy', 'networkx'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "names = {(x.package, str(x.relative)) for x in f}; packages = {x.package for x in f};"
        "assert packages == set(p.LIBRARIES), packages;"
        "assert ('torch', '_torch_docs.py') in names and ('torch', 'nn/modules/linear.py') in names;"
        "assert not any('/tests/' in '/' + n or n.startswith('models/') and p == 'transformers' for p, n in names)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def frozen_corpus():
    lines = gzip.decompress((FOLDER / "corpus.jsonl.gz").read_bytes()).decode().splitlines()
    return json.loads((FOLDER / "about.json").read_text()), [json.loads(line) for line in lines]


FILES = {
    "sklearn": ("pipeline.py", "cluster/_kmeans.py", "linear_model/_ridge.py"),
    "numpy": ("lib/_function_base_impl.py",),
    "torch": ("nn/modules/loss.py",),
}


@pytest.mark.parametrize("package", FILES)
def test_files_of_the_pinned_versions_give_the_frozen_records(package):
    """A few files: a whole harvest takes a minute. What the corpus holds of their modules is what is read there."""
    about, rows = frozen_corpus()
    installed = libraries.find_installed(package)
    if installed is None or installed.version.split("+")[0] != about["versions"][package]:
        pytest.skip(f"the corpus has {package} {about['versions'][package]}, not the one that is installed")
    frozen = {row["name"]: (row["query"], row["document"]) for row in rows}
    read = read_sources([SourceFile(package, installed.root, Path(name)) for name in FILES[package]])
    shared = [record for record in read if record.name in frozen]
    assert len(shared) >= 4
    assert {record.name: record[3:] for record in shared} == {record.name: frozen[record.name] for record in shared}


def test_frozen_corpus_groups_and_licenses():
    """No two of its documents are near duplicates across a split, and each library's license lies beside it."""
    about, rows = frozen_corpus()
    assert about["documents"] == len(rows) == 6306 and about["fingerprint"] == "6ab77ab2d2465bf1"
    splits = {}
    for row in rows:
        assert splits.setdefault(row["group"], row["split"]) == row["split"]
    sample = rows[::200]
    words = {row["name"]: set(plain_words(f"{row['query']} {row['document']}")) for row in rows}
    for row in sample:
        mine = words[row["name"]]
        for other, theirs in zip(rows, words.values(), strict=True):
            if len(mine & theirs) > 0.7 * len(mine | theirs):
                assert other["group"] == row["group"]
    texts = licenses(FOLDER)
    assert set(texts) == {row["package"] for row in rows} == set(about["versions"])
    for name, text in texts.items():
        text = text.lower()
        assert "copyright" in text and ("redistribut" in text or "permission is hereby granted" in text), name
    assert sum(file.stat().st_size for file in FOLDER.rglob("*")) < 950_000


def licenses(folder):
    """Library -> license."""
    text = gzip.decompress((folder / "licenses.txt.gz").read_bytes()).decode()
    return dict(part.rstrip("\n").split("\n\n", 1) for part in text.split("######## ")[1:])


def plain_words(text):
    return "".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()
