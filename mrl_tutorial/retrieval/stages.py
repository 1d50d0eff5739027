"""A path of search over the grid: which documents are scored at which layer and dimension, and how many go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells
from mrl_tutorial.retrieval.indexes import ENGINES

RERANKING = ("float32", "int8")


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
    rerank: str = "float32",
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
    return tuple(map(Stage, dims, [*depths, None], given, [engine, *[rerank] * len(depths)]))


def check_stages(stages: Sequence[Stage], n_layers: int, width: int) -> tuple[Stage, ...]:
    """`stages` with their layers filled in. Raises InputError: none, a layer, dimension or engine that does not exist,
    an engine that cannot rerank, a depth that grows or is missing."""
    if not stages:
        raise InputError("no stages: give at least one")
    checked = [replace(stage, layer=n_layers if stage.layer is None else stage.layer) for stage in stages]
    left = None
    for i, stage in enumerate(checked, start=1):
        asked = None if n_layers == 1 else stage.query_layer
        check_cells([stage.layer or 0, asked or n_layers], [stage.dim], n_layers, width)
        if stage.engine not in (known := ENGINES if i == 1 else RERANKING):
            raise InputError(f"engine {stage.engine!r} cannot be stage {i}: choose one of {', '.join(known)}")
        if stage.depth is None and i < len(stages):
            raise InputError(f"stage {i} has no depth: only the last stage may leave it to the search")
        if stage.depth is not None and not 1 <= stage.depth <= (left or stage.depth):
            raise InputError(f"stage {i} hands on {stage.depth}: give 1 or more, and no more than the stage before")
        left = stage.depth
    return tuple(checked)
