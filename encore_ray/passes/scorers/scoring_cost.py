"""What scores took: tokens computed for tokens read, and how long the actors had no forward pass to run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encore_ray.models.loading.ensemble_scorer import PreparedPairs, ScoredPairs


_TIMES = ("forward_ms", "idle_ms")


@dataclass(frozen=True)
class ScoringCost:
    """Of one unit, or summed over the units of a pass; each field is a count of the commits.

    Attributes:
        tokens: of all sequences, as every member model reads them.
        computed_tokens: token slots that went through the models: less where prefixes are shared, more with padding.
        forward_ms, idle_ms: with and without a forward pass, summed over the actors; from an actor's first pass on.
            On a GPU a forward lasts from its first to its last kernel, pauses between its kernels included.
        rescored_units: units that ran out of memory and were scored with a smaller budget.
    """

    tokens: int
    computed_tokens: int
    forward_ms: int
    idle_ms: int
    rescored_units: int

    @classmethod
    def of_unit(cls, prepared: "PreparedPairs", scored: "ScoredPairs") -> "ScoringCost":
        return cls(
            prepared.num_tokens,
            scored.num_computed,
            round(1000 * scored.occupied.busy_s),
            round(1000 * scored.occupied.idle_s),
            int(scored.batch_tokens is not None),
        )

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> "ScoringCost":
        return cls(
            tokens=counts.get("tokens", 0),
            computed_tokens=counts.get("computed_tokens", 0),
            forward_ms=counts.get("forward_ms", 0),
            idle_ms=counts.get("idle_ms", 0),
            rescored_units=counts.get("rescored_units", 0),
        )

    @property
    def shared(self) -> float:
        """Share of the tokens that were not computed anew; negative where padding outweighs it."""
        return 1 - self.computed_tokens / self.tokens if self.tokens else 0.0

    @property
    def idle(self) -> float:
        """Share of the actors' time in which no forward pass ran."""
        return self.idle_ms / max(self.forward_ms + self.idle_ms, 1)

    def __str__(self) -> str:
        parts = [
            f"{self.computed_tokens:,} of {self.tokens:,} tokens computed: {self.shared:.0%} shared"
            if self.computed_tokens <= self.tokens
            else f"{self.computed_tokens:,} token slots computed for {self.tokens:,} tokens: the rest is padding",
            f"no forward ran for {self.idle:.1%} of the actors' time",
        ]
        if self.rescored_units:
            units = "unit" if self.rescored_units == 1 else "units"
            parts.append(f"{self.rescored_units:,} {units} ran out of memory and took a smaller budget")
        return "; ".join(parts)


def without_times(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts that are about pairs and tokens, for people who want to know what became of their data."""
    return {key: value for key, value in counts.items() if key not in _TIMES}
