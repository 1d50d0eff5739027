"""Records of docstrings -> rows of the corpus: no duplicates, libraries capped, modules merged, queries split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from mrl_tutorial.tasks.task import hash_fraction, normalized, split_of
from tools.harvest.docstrings import Record

CAP = 700  # documents of a library, so that none is the whole corpus
MIN_CLASS = 25  # a module with fewer documents joins its parent


def assemble(records: Iterable[Record], cap: int = CAP) -> list[dict[str, Any]]:
    """The corpus, a dict of `mrl_tutorial.tasks.pydocs.COLUMNS` a document, ordered by name. It does not depend on the
    order of the records."""
    chosen = capped(without_duplicates(records), cap)
    queries, documents = [record.query for record in chosen], [record.document for record in chosen]
    both = [f"{query} {document}" for query, document in zip(queries, documents, strict=True)]
    groups = near_duplicate_groups([queries, documents, both])
    modules = merge_rare([record.module for record in chosen], MIN_CLASS)
    return [
        {
            "name": record.name,
            "package": record.package,
            "module": module,
            "query": record.query,
            "document": record.document,
            # near duplicates are in one group, and a group is in one split
            "group": group,
            "split": split_of(f"split {chosen[group].name}", dev=0.1, test=0.2),
        }
        for record, module, group in zip(chosen, modules, groups, strict=True)
    ]


def without_duplicates(records: Iterable[Record]) -> list[Record]:
    """The records whose query and document are both new; of those that share one, the shortest name stays. Inherited
    docstrings repeat a query, a document or both."""
    seen: set[str] = set()
    kept: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: (record.name.count("."), *record)):
        texts = normalized(record.query), normalized(record.document)
        if record.name not in kept and not seen.intersection(texts):
            kept[record.name] = record
        seen.update(texts)
    return list(kept.values())


def capped(records: Sequence[Record], cap: int) -> list[Record]:
    """At most `cap` records of each package, chosen by the hash of their names, ordered by name."""
    counts: Counter[str] = Counter()
    chosen = []
    for record in sorted(records, key=lambda record: hash_fraction(record.name)):
        counts[record.package] += 1
        if counts[record.package] <= cap:
            chosen.append(record)
    return sorted(chosen)


def merge_rare(modules: Sequence[str], least: int) -> list[str]:
    """Fine labels: at most three dotted parts; a label with fewer than `least` documents joins its parent, and a
    package with fewer the label "other".

    >>> merge_rare(["a.b.c.d", "a.b.c.e", "a.b.x", "a.b", "z"], least=2)
    ['a.b.c', 'a.b.c', 'a.b', 'a.b', 'other']
    """
    labels = [".".join(module.split(".")[:3]) for module in modules]
    for dots in (2, 1):
        counts = Counter(labels)
        labels = [
            label.rsplit(".", 1)[0] if label.count(".") == dots and counts[label] < least else label for label in labels
        ]
    counts = Counter(labels)
    return ["other" if counts[label] < least else label for label in labels]


def near_duplicate_groups(columns: Sequence[Sequence[str]], threshold: float = 0.7) -> list[int]:
    """The group of each item, as the index of the group's first: items whose sets of words have a Jaccard similarity
    above `threshold` in any of the columns are in one group, and so is what they chain to.

    >>> near_duplicate_groups([["a b c d", "x y", "d c b a"]])
    [0, 1, 0]
    """
    parent = list(range(len(columns[0])))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for texts in columns:
        for left, right in similar_pairs([frozenset(normalized(text).split()) for text in texts], threshold):
            parent[max(root(left), root(right))] = min(root(left), root(right))
    return [root(item) for item in range(len(parent))]


def similar_pairs(sets: Sequence[frozenset[str]], threshold: float) -> list[tuple[int, int]]:
    """All pairs of items with Jaccard similarity > `threshold` (empty sets are similar to nothing). Exact: prefix
    filtering (Chaudhuri et al. 2006), then verified.

    >>> similar_pairs([frozenset("abcd"), frozenset("abce"), frozenset("xyz")], threshold=0.5)
    [(0, 1)]
    """
    counts = Counter(word for words in sets for word in words)
    holders: dict[str, list[int]] = defaultdict(list)
    pairs = []
    for item in sorted(range(len(sets)), key=lambda item: len(sets[item])):
        words = sorted(sets[item], key=lambda word: (counts[word], word))
        # two sets this similar share one of their first n - floor(threshold n) rarest words
        prefix = words[: len(words) - int(threshold * len(words) + 1e-9)]
        least = threshold * len(words)  # a smaller set cannot be that similar
        for other in {other for word in prefix for other in holders[word] if len(sets[other]) >= least}:
            common = len(sets[item] & sets[other])
            if common > threshold * (len(words) + len(sets[other]) - common) + 1e-9:
                pairs.append((min(item, other), max(item, other)))
        for word in prefix:
            holders[word].append(item)
    return pairs
