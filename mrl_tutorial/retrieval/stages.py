"""Paths of search over the grid: where documents are scored and how many go on; plans: what paths cost and keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells
from mrl_tutorial.retrieval.costs import bytes_per_vector
from mrl_tutorial.retrieval.indexes import ENGINES

RERANKING = ("float32", "int8")
K = 10  # documents that a drawn path returns
COSTS = ("ms", "flops", "bytes_read", "bytes_held")


@dataclass(frozen=True)
class Stage:
    """Score at `dim` coordinates of `layer` (None: the last) and hand the best `depth` on to the next stage (None, in
    the last stage: as many as the search asks for).

    engine: how the first stage searches, one of indexes.ENGINES; later stages rerank with "float32", or with copies in
    "int8". options: the engine's. query_layer: where the query's vector comes from, if not from `layer`: an early
    layer, so that encoding stops there, against the documents of the last (a fixed document encoder).

    >>> print(Stage(64, depth=200, engine="int8"))
    64 dims int8 -> 200
    """

    dim: int
    depth: int | None = None
    layer: int | None = None
    engine: str = "float32"
    query_layer: int | None = None
    options: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("dim", "depth", "layer", "query_layer"):  # 16 / 2 is a float, which cannot cut a vector
            if isinstance(value := getattr(self, name), float) and value.is_integer():
                object.__setattr__(self, name, int(value))

    @property
    def row(self) -> int:
        """Where the documents are in an array (L, N, D): layer - 1, or -1 for the last."""
        return -1 if self.layer is None else self.layer - 1

    @property
    def query_row(self) -> int:
        """Where the queries are in an array (L, B, D)."""
        return self.row if self.query_layer is None else self.query_layer - 1

    def __repr__(self) -> str:
        given = [f for f in fields(self) if getattr(self, f.name) != ({} if f.name == "options" else f.default)]
        return f"Stage({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in given)})"

    def __str__(self) -> str:
        layer = "" if self.layer is None else f"layer {self.layer}, "
        layer += "" if self.query_layer is None else f"query layer {self.query_layer}, "
        options = "".join(f", {name} {value}" for name, value in self.options.items())
        return f"{layer}{self.dim} dims {self.engine}{options}" + (f" -> {self.depth}" if self.depth else "")


def shortlist(
    ds: int,
    dr: int,
    depth: int,
    *,
    layer: int | None = None,
    engine: str = "float32",
    rerank: str = "float32",
    options: Mapping[str, int] | None = None,
) -> tuple[Stage, ...]:
    """Two stages: the `depth` best at `ds` coordinates of `layer`, found by `engine`, reranked at `dr` coordinates of
    the last layer in the type `rerank` (MRL's adaptive retrieval, 2205.13147, section 4.3).

    >>> print(*shortlist(16, 2048, 200), sep="; ")
    16 dims float32 -> 200; 2048 dims float32
    """
    return Stage(ds, depth, layer, engine, options=options or {}), Stage(dr, engine=rerank)


def funnel(
    dims: Sequence[int],
    depths: Sequence[int],
    *,
    layers: Sequence[int | None] | None = None,
    engine: str = "float32",
) -> tuple[Stage, ...]:
    """Stages at `dims`, of which all but the last pass on `depths`. The paper's: dims 16 32 64 128 256 and the full
    width, depths 200 100 50 25 10 (2205.13147, section 4.3.1). layers: one for each stage.

    Raises InputError where lengths disagree.

    >>> [stage.depth for stage in funnel([16, 32, 384], [200, 100])]
    [200, 100, None]
    """
    given = [None] * len(dims) if layers is None else layers
    if len(depths) != len(dims) - 1 or len(given) != len(dims):
        raise InputError(f"{len(dims)} dimensions need {len(dims) - 1} shortlists and {len(dims)} layers, if any")
    return tuple(map(Stage, dims, [*depths, None], given, [engine, *["float32"] * len(depths)]))


def draw_path(
    first: tuple[int, int], depth: int, last: tuple[int, int], middle: int = 0, dims: Sequence[int] | None = None
) -> tuple[Stage, ...]:
    """The path from cell `first` (layer, dim) to cell `last` with `middle` cells between them, evenly spaced in layer
    and in log2 of dimension and depth, as the MRL paper's funnel halves and doubles (2205.13147, section 4.3.1).

    dims: what the middle stages' dimensions are rounded to (None: whole numbers). Cells that repeat the one before them
    are left out. Raises InputError where the last cell is no larger than the first, and for a depth below 10.

    >>> [(s.layer, s.dim, s.depth) for s in draw_path((1, 16), 160, (3, 64), 1)]
    [(1, 16, 160), (2, 32, 40), (3, 64, None)]
    """
    (l1, d1), (l2, d2) = first, last
    if first == last:
        return (Stage(d1, None, l1),)
    if l2 < l1 or (l1 == l2 and d2 <= d1):
        raise InputError(f"reranking at layer {l2}, {d2} dims what {l1}, {d1} found adds nothing: rerank at more")
    if depth < K:
        raise InputError(f"a shortlist of {depth} cannot give {K} documents: hand on {K} or more")
    path = [Stage(d1, depth, l1)]
    for share in np.linspace(0, 1, middle + 2)[1:-1]:
        layer, dim = round(l1 + share * (l2 - l1)), round(d1 * (d2 / d1) ** share)
        if dims is not None:
            dim = min(dims, key=lambda d: abs(np.log2(d / dim)))
        if (layer, dim) not in ((l2, d2), (path[-1].layer, path[-1].dim)):
            path.append(Stage(dim, max(K, round(depth * (K / depth) ** share)), layer))
    return (*path, Stage(d2, None, l2))


def check_stages(stages: Sequence[Stage], n_layers: int, width: int) -> tuple[Stage, ...]:
    """`stages` with their layers filled in. Raises InputError: none, a layer, dimension or engine that does not exist,
    an engine that cannot rerank, a depth that grows or is missing."""
    if not stages:
        raise InputError("no stages: give at least one")
    checked = [replace(stage, layer=n_layers if stage.layer is None else stage.layer) for stage in stages]
    left = None
    for i, stage in enumerate(checked, start=1):
        check_cells([stage.layer or 0], [stage.dim], n_layers, width)
        if (asked := stage.query_layer) is not None:  # documents of one layer may be asked by any
            check_cells([asked], None, max(1, asked) if n_layers == 1 else n_layers, width)
        if stage.engine not in (known := ENGINES if i == 1 else RERANKING):
            raise InputError(f"engine {stage.engine!r} cannot be stage {i}: choose one of {', '.join(known)}")
        if stage.depth is None and i < len(stages):
            raise InputError(f"stage {i} has no depth: only the last stage may leave it to the search")
        if (depth := stage.depth) is not None and not (1 <= depth <= (left or depth) and float(depth).is_integer()):
            limits = "give a whole number, 1 or more, and no more than the stage before"
            raise InputError(f"stage {i} hands on {depth}: {limits}")
        left = stage.depth
    return tuple(checked)


def reranking(stages: Sequence[Stage], n: int) -> tuple[int, int, int]:
    """What the stages after the first cost over `n` documents: the multiply-adds of a query and the bytes that it
    reads, and the bytes held: of each layer and type the widest vectors, an int8 one with its step of 4 bytes."""
    flops, read, widest = 0, 0, dict[tuple, int]()
    for before, stage in pairwise(stages):
        left, key = min(before.depth or n, n), (stage.layer, stage.engine)
        size = bytes_per_vector(stage.dim, stage.engine) + (0 if stage.engine == "float32" else 4)
        flops, read = flops + left * stage.dim, read + left * size
        widest[key] = max(widest.get(key, 0), size)
    return flops, read, n * sum(widest.values())


@dataclass(frozen=True)
class PlanConfig:
    """Which plans are tried, and what counts as cheap.

    cost: "ms" (measured here, in the `race` of "single" queries or a "batch" of 256), "flops" (multiply-adds; a binary
    engine counts 64-bit words), "bytes_read" (by one query) or "bytes_held". chance: that other queries keep the
    target, at least. layers: of the first stage ("last", "all" or a list); a rerank is at that layer or the last, at
    full width. query_layers: early ones that may ask the last layer's documents. cosine: None for what the encoder
    does, where it is given, else True.
    """

    metric: str = "ndcg@10"
    cost: str = "flops"
    race: str = "single"
    chance: float = 0.9
    layers: Sequence[int] | str | None = "last"
    query_layers: Sequence[int] = ()
    dims: Sequence[int] | str | None = None
    depths: Sequence[int] = (10, 20, 50, 100, 200, 400)
    engines: Sequence[str] = ("float32", "torch-int8", "binary")
    reranking: Sequence[str] = ("float32", "int8")
    cosine: bool | None = None
    threads: int = 1


@dataclass(frozen=True)
class Plan:
    """A path and what it gives. dev, test: the measure. chance: that other queries keep the target. flops, bytes_read:
    of one query. ms: of its search, with its encoding where an encoder was given. None: not measured."""

    stages: tuple[Stage, ...]
    dev: float
    chance: float
    flops: float
    bytes_read: float
    bytes_held: int
    ms: float | None = None
    test: float | None = None

    def __str__(self) -> str:
        return "; ".join(str(stage) for stage in self.stages)


@dataclass(frozen=True)
class PlanResult:
    """What `plan_retrieval` found. chosen: the cheapest plan within the target on dev. full: exact search at full size.
    front: plans that no other beats in both cost and dev quality, cheapest first. These three have a test quality and
    milliseconds. tried: every plan. k, n_layers: documents that are asked for, layers that they have."""

    task: str
    target: float
    config: PlanConfig
    k: int
    n_layers: int
    chosen: Plan
    full: Plan
    front: tuple[Plan, ...]
    tried: tuple[Plan, ...]

    @property
    def code(self) -> str:
        """Python that runs the chosen plan with `encoder`, the documents of `task` and texts in `queries`."""
        stages, layers = list(self.chosen.stages), ")"
        if all(stage.layer == self.n_layers for stage in stages):
            stages, layers = [replace(stage, layer=None) for stage in stages], ", layers=[encoder.n_layers])[0]"
        return (
            "from mrl_tutorial import Retriever, Stage\n"
            f'documents = encoder.encode_layers(list(task.corpus.values()), prompt="document"{layers}\n'
            f"retriever = Retriever(documents, {stages}, ids=list(task.corpus), cosine={self.config.cosine})\n"
            f"found = retriever.ask(encoder, queries, k={self.k}).names()\n"
        )

    def as_text(self) -> str:
        """The front as a table, the chosen plan marked."""
        config, race = self.config, {"single": "one query", "batch": "a query of a batch"}[self.config.race]
        lines = [
            f"{self.task}: {config.metric}, {self.target:.1%} of full quality on dev, cheapest by {config.cost}; "
            f"ms of {race} on this machine",
            f"  {'dev':>6} {'test':>6} {'chance':>6} {'ms':>8} {'MFLOPs':>9} {'MB read':>8} {'MB held':>8}",
        ]
        for plan in dict.fromkeys([*self.front, self.chosen, self.full]):
            mark = "*" if plan == self.chosen else " "
            lines.append(
                f"{mark} {plan.dev:>6.4f} {plan.test:>6.4f} {plan.chance:>6.1%} {plan.ms:>8.3f} "
                f"{plan.flops / 1e6:>9.3f} {plan.bytes_read / 1e6:>8.3f} {plan.bytes_held / 1e6:>8.2f}  {plan}"
            )
        return "\n".join(lines)
