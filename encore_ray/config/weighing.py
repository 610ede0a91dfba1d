"""Options of what is made of scores without a model: weights and selected rules."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from encore_ray.composition.weigh.schemes import SCHEMES, find_scheme, name_schemes
from encore_ray.config.section import Section

if TYPE_CHECKING:
    SchemeName = str
else:
    SchemeName = Literal[tuple(scheme.name for scheme in SCHEMES)]


def _that_take(option: str) -> str:
    return name_schemes(scheme for scheme in SCHEMES if option in scheme.takes)


def that_take(option: str) -> list[str]:
    """The schemes that look at an option of `weigh`."""
    return [scheme.name for scheme in SCHEMES if option in scheme.takes]


OF_ONE_SCHEME = ("scheme", "rule", "num_rules")  # which a comparison of all does not have
# Options that some schemes refuse.
OF_SOME_SCHEMES = ("num_rules", "rule", "force_consensus", "ratings", "by_group")


def not_taken(scheme: str) -> list[str]:
    """Options of one scheme or another that this scheme does not look at."""
    own = find_scheme(scheme)
    taken = {*own.takes, *(["by_group"] if own.weighs_by_entropy else [])}
    return sorted({"by_group"}.union(*(other.takes for other in SCHEMES)) - taken)


class WeighOptions(Section):
    scheme: SchemeName = Field(
        default="encore",
        description=f"How rules are weighed. {name_schemes(scheme for scheme in SCHEMES if scheme.lesson)} learn from "
        f"labels; {name_schemes(scheme for scheme in SCHEMES if scheme.why_only_compared)} are for compare only.",
    )
    temperature: float = Field(default=2.0, gt=0, description="ENCORE's tau: w ~ exp(-H / tau).")
    num_rules: int | None = Field(
        default=None, ge=1, description="How many rules lowest_entropy keeps, with equal weights. Default: 5."
    )
    rule: str | None = Field(default=None, description="The rule that has all the weight under single.")
    force_consensus: bool = Field(
        default=False, description="Weigh by consensus even where the rules share no single direction."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the random weights.")
    ratings: str | None = Field(
        default=None,
        description="A second table under the same rules, as a judge's ratings, whose entropies weigh the scores.",
    )
    by_group: bool = Field(
        default=False,
        description="Weigh each subset by its own entropies and compose its pairs with them; others by those of all.",
    )
    num_bins: int | None = Field(
        default=None, ge=2, le=256, description="Equal bins on each scale. Default: declared levels, else 20 bins."
    )
    levels: bool = Field(default=False, description="Insist on rating levels: a rule without them is an error.")
    edges: Literal["declared", "observed", "quantile"] = Field(
        default="declared",
        description="Ends of the bins. observed: the extreme scores, strays included; quantile is refused.",
    )
    log_base: Literal["e", "2"] = Field(default="e", description="Base of the logarithm in the entropies.")
    estimator: Literal["plugin", "miller_madow"] = Field(default="plugin", description="Entropy estimator.")
    min_active: float | None = Field(
        default=None, ge=0, le=1, description="Drop rules whose two scores differ in less than this share of pairs."
    )
    clip: bool = Field(
        default=False,
        description="Count scores outside their scale in the end cells, for every rule. Rewards are composed of "
        "them as they are.",
    )
    score_range: Literal["declared", "unit", "raw"] = Field(
        default="declared",
        description="Rules of different range: declared refuses, unit maps to [0, 1], raw mixes.",
    )

    @model_validator(mode="after")
    def _check_scheme(self) -> "WeighOptions":
        scheme = find_scheme(self.scheme)
        if scheme.why_only_compared:
            raise ValueError(f"scheme: {self.scheme} {scheme.why_only_compared}")
        if ("rule" in scheme.takes) != (self.rule is not None):
            raise ValueError(
                f"rule: scheme {_that_take('rule')} needs the name of its rule, and no other scheme has one"
            )
        if self.num_rules is not None and "num_rules" not in scheme.takes:
            raise ValueError(
                f"num_rules belongs to scheme {_that_take('num_rules')}; {self.scheme} would weigh all rules"
            )
        if self.force_consensus and "force_consensus" not in scheme.takes:
            raise ValueError(
                f"force_consensus belongs to scheme {_that_take('force_consensus')}; {self.scheme} has nothing to force"
            )
        if self.ratings is not None and "ratings" not in scheme.takes:
            raise ValueError(
                f"ratings belongs to schemes that weigh by entropy, {_that_take('ratings')}; {self.scheme} would not "
                "look at them"
            )
        if self.ratings is not None and self.by_group:
            raise ValueError("ratings and by_group exclude each other: a subset weighs by the entropies of its scores")
        if self.by_group and not scheme.weighs_by_entropy:
            by_entropy = ", ".join(other.name for other in SCHEMES if other.weighs_by_entropy)
            raise ValueError(
                f"by_group needs a scheme that weighs by entropy ({by_entropy}): "
                f"a subset keeps its histograms, and {self.scheme} does not look at them"
            )
        return self

    @model_validator(mode="after")
    def _check_bins(self) -> "WeighOptions":
        if self.edges == "quantile":
            raise ValueError(
                "edges: quantile bins hold the same number of scores each, so every rule's entropy is log(num_bins) "
                "and no rule differs from another; use declared or observed"
            )
        if self.levels and self.num_bins is not None:
            raise ValueError("levels and num_bins exclude each other: levels are their own bins")
        if self.levels and self.edges == "observed":
            raise ValueError("levels and edges: observed exclude each other: levels are declared")
        return self


class SelectOptions(Section):
    num_rules: int = Field(
        default=5, ge=1, description="Rules a pair: just so many are selected, equal ones by rule order."
    )
    by: Literal["auto", "scores"] = Field(
        default="auto",
        description="What chooses without an adapter: auto counts a judge's relevance where there is one, scores "
        "leaves it out.",
    )
    score_range: Literal["declared", "unit", "raw"] = Field(
        default="declared",
        description="Rules of different range: declared refuses, unit maps to [0, 1], raw mixes.",
    )
