"""A plan of search: what may be tried, what a plan costs and keeps, and the code that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mrl_tutorial.retrieval.stages import Stage

COSTS = ("ms", "flops", "bytes_read", "bytes_held")


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
