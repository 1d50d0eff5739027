"""A path of search over the grid: which documents are scored at which layer and dimension, and how many are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.engines import ENGINES

RESCORING = ("float32", "int8", "int8-turned")


@dataclass(frozen=True)
class Stage:
    """Score at `dim` coordinates of `layer` (None: the last) and keep the best `keep` (None, the last stage: as many as
    the search asks for).

    engine: how the first stage scans, one of engines.ENGINES; later stages score with "float32", "int8", or, at full
    width, "int8-turned": int8 codes of the vectors after a random rotation, whose rounding hurts less. options: the
    engine's. query_layer: where the query's vector comes from, if not from `layer` (a fixed document encoder).
    """

    dim: int
    keep: int | None = None
    layer: int | None = None
    engine: str = "float32"
    query_layer: int | None = None
    options: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        layer = "" if self.layer is None else f"layer {self.layer}, "
        options = "".join(f", {name} {value}" for name, value in self.options.items())
        return f"{layer}{self.dim} dims {self.engine}{options}" + (f" -> {self.keep}" if self.keep else "")


def shortlist(ds: int, dr: int, keep: int, *, layer: int | None = None, engine: str = "float32",
              rescore: str = "float32", options: Mapping[str, int] | None = None) -> tuple[Stage, ...]:  # fmt: skip
    """Two stages: the `keep` best at `ds` coordinates, by `engine` at `layer`, reranked at `dr` coordinates of the last
    layer (MRL's adaptive retrieval, 2205.13147, section 4.3)."""
    return Stage(ds, keep, layer, engine, options=options or {}), Stage(dr, engine=rescore)


def funnel(dims: Sequence[int], keeps: Sequence[int], *, layers: Sequence[int | None] | None = None,
           engine: str = "float32", rescore: str = "float32") -> tuple[Stage, ...]:  # fmt: skip
    """Stages at `dims`, of which all but the last keep `keeps`. The paper's: dims 16 32 64 128 256 and the full width,
    keeps 200 100 50 25 10 (2205.13147, section 4.3.1). layers: one a stage.

    Raises InputError where lengths disagree.
    """
    if len(keeps) != len(dims) - 1:
        raise InputError(f"{len(dims)} dimensions need {len(dims) - 1} shortlists, not {len(keeps)}: the last has none")
    if layers is not None and len(layers) != len(dims):
        raise InputError(f"{len(dims)} dimensions need as many layers, not {len(layers)}")
    return tuple(
        Stage(dim, keep, layer, rescore if i else engine)
        for i, (dim, keep, layer) in enumerate(zip(dims, [*keeps, None], layers or [None] * len(dims), strict=True))
    )


def check_stages(stages: Sequence[Stage], n_layers: int, width: int) -> tuple[Stage, ...]:
    """`stages` with their layers filled in. Raises InputError: none, a layer, dimension or engine that does not exist,
    an engine that cannot rescore, a shortlist that grows or is missing."""
    if not stages:
        raise InputError("no stages: give at least one")
    checked, left = [], None
    for i, stage in enumerate(stages):
        layer = n_layers if stage.layer is None else stage.layer
        asked = layer if stage.query_layer is None else stage.query_layer
        for number in (layer, asked):
            if number != int(number) or not 1 <= number <= n_layers:
                raise InputError(f"layer {number} does not exist: these documents have layers 1 to {n_layers}")
        if stage.dim != int(stage.dim) or not 1 <= stage.dim <= width:
            raise InputError(f"dimension {stage.dim} does not exist: these vectors have 1 to {width} coordinates")
        if stage.engine not in (known := RESCORING if i else ENGINES):
            raise InputError(f"engine {stage.engine!r} cannot be stage {i + 1}: choose one of {', '.join(known)}")
        if stage.engine == "int8-turned" and stage.dim != width:
            raise InputError(f"int8-turned scores at full width, {width}, not at {stage.dim}: take int8 there")
        if stage.keep is None and i < len(stages) - 1:
            raise InputError(f"stage {i + 1} keeps no number: only the last stage may leave it to the search")
        if stage.keep is not None and (stage.keep < 1 or (left is not None and stage.keep > left)):
            raise InputError(f"stage {i + 1} keeps {stage.keep}: keep 1 or more, and no more than the stage before")
        left = stage.keep
        checked.append(replace(stage, layer=layer, query_layer=asked))
    return tuple(checked)
