"""The tree of paths: every stage equals a walk of its own, ties and the cache included."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval import paths as of_paths
from mrl_tutorial.retrieval.paths import Paths, PathTree, walk_tree
from mrl_tutorial.retrieval.stages import Stage, draw_path
from mrl_tutorial.tasks.types import RetrievalTask
from tests.helpers.made_retrieval import LAYERS, made_embeddings, made_task
from tests.helpers.walked import walk

FOLLOW = [0, 3, 17]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    return tmp_path


def made_large() -> tuple[RetrievalTask, dict[str, np.ndarray]]:
    """5,000 documents, more than any shortlist holds; whole numbers, so that many scores tie."""
    rng = np.random.default_rng(1)
    documents = rng.integers(-2, 3, size=(2, 5000, 16)).astype(np.float32)
    queries = documents[:, :12] + rng.integers(-2, 3, size=(2, 12, 16)).astype(np.float32)
    queries[:, 0] = 0  # all documents tie
    ids = [f"q{i}" for i in range(12)]
    qrels = {q: {f"d{i}": 1, f"d{i + 20}": 2} for i, q in enumerate(ids)}
    corpus = {f"d{i}": "" for i in range(5000)}
    task = RetrievalTask("large", "here", corpus, dict.fromkeys(ids, "x"), qrels, {"dev": ids})
    return task, {"queries": queries, "documents": documents}


def compared(paths: Paths, tree: PathTree, nodes: np.ndarray, follow: list[int]) -> dict[str, np.ndarray]:
    """What the tree gives, after each of its stages was seen to equal a walk of its own."""
    found = walk_tree(paths, "toy", tree, follow)
    for node in nodes:
        walked = walk(paths, "toy", tree.stages(node))
        rows = walked.survivors[-1]
        assert found["recall"][node] == pytest.approx(walked.recall, abs=1e-12)
        assert found["ndcg"][node] == pytest.approx(walked.ndcg, abs=1e-12)
        assert found["kept"][node] == pytest.approx(walked.kept[-1], abs=1e-12)
        for i, query in enumerate(follow):
            hits = np.flatnonzero(np.isin(rows[query], paths.relevant(query)))
            assert found["place"][node, i] == (hits[0] + 1 if len(hits) else 0)
            assert found["best"][node, i].tolist() == rows[query, :4].tolist()
    return found


def test_all_stages_of_a_small_task_are_those_of_walks():
    paths = Paths(made_task(), {"toy": made_embeddings()["dev"]})
    tree = PathTree.draw(LAYERS, paths.dims, (10, 20, 50))
    nodes = np.arange(len(tree.before))
    assert len(nodes) > 250
    compared(paths, tree, nodes, FOLLOW)


@pytest.mark.parametrize("depths", [(10, 30), (10, 800)])
def test_ties_among_many_documents(depths):
    task, parts = made_large()
    paths = Paths(task, {"toy": parts})
    tree = PathTree.draw(2, paths.dims, depths)
    found = compared(paths, tree, np.arange(len(tree.before)), [0, 5])
    scans = found["best"][tree.before < 0]  # (stages that scan everything, followed queries, best four)
    assert len(scans) > 1 and (scans[:, 0] == np.arange(4)).all()  # query 0 is zero: all tie, in corpus order
    assert not (scans[:, 1] == np.arange(4)).all()  # query 5 is not
    assert (found["best"][:, 0] == np.arange(4)).all()  # and reranking what ties keeps that order


def test_ends_are_the_paths_that_can_be_drawn():
    dims, depths = (8, 16, 32), (9, 10, 50)
    tree = PathTree.draw(3, dims, depths, between=2)
    for place in np.ndindex(tree.ends.shape):
        layer, first, depth, last, middle = place
        try:
            path = draw_path((layer + 1, dims[first]), depths[depth], (3, dims[last]), middle, dims)
        except InputError:
            assert tree.ends[place] == -1
        else:
            want = [(s.layer, s.dim, s.depth or 10) for s in path]
            assert [(s.layer, s.dim, s.depth) for s in tree.stages(int(tree.ends[place]))] == want
    assert (tree.ends < 0).any() and (tree.before < np.arange(len(tree.before))).all()


def test_the_cache_is_read_and_other_embeddings_miss_it(cache, monkeypatch):
    embeddings = made_embeddings()["dev"]
    paths = Paths(made_task(), {"toy": embeddings})
    tree = PathTree.draw(LAYERS, paths.dims, (10, 20))
    first = walk_tree(paths, "toy", tree, FOLLOW)
    assert len(list(cache.rglob("*.npz"))) == 1
    monkeypatch.setattr(of_paths, "_walk", None)  # a walk would fail
    again = walk_tree(paths, "toy", tree, FOLLOW)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    changed = {**embeddings, "documents": embeddings["documents"] + np.float32(0.01)}
    with pytest.raises(TypeError):
        walk_tree(Paths(made_task(), {"toy": changed}), "toy", tree, FOLLOW)
    with pytest.raises(TypeError):
        walk_tree(paths, "toy", tree, FOLLOW[:2])


def test_sortable_numbers_are_a_stable_sort():
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 4, size=(5, 300)).astype(np.float32) / 7
    scores[0, ::2] = -0.0
    numbers = np.sort(of_paths.sortable(scores), axis=1) & 0xFFFFFFFF
    assert np.array_equal(numbers, np.argsort(-scores, axis=1, kind="stable"))


def test_a_path_of_one_stage_is_a_plain_search():
    tree = PathTree.draw(2, (8, 16), (10, 20))
    assert tree.stages(tree.ends[1, 1, 1, 1, 0]) == (Stage(16, 10, 2),)
