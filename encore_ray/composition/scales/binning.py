"""Which histogram cell a score falls into: equal bins on an interval, or the nearest rating level."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.errors import ConfigError
from encore_ray.rules import Rule, Scale
from encore_ray.shell import option

DEFAULT_NUM_BINS = 20
_FEW = 64  # up to so many levels a comparison with each is several times faster than a binary search
MAX_CELLS = 256  # each rule keeps cells x cells int64 counts of (chosen, rejected), a half MiB at this limit


@dataclass(frozen=True)
class Binning:
    """The cells of one rule's histogram.

    Attributes:
        kind: "bins" (equal width) or "levels" (one cell a rating level).
        lo, hi: the ends, lo < hi; with levels, the first and the last of them.
        num_bins: number of bins, None with levels.
        levels: ascending rating levels, None with bins.
    """

    kind: Literal["bins", "levels"]
    lo: float
    hi: float
    num_bins: int | None = None
    levels: tuple[float, ...] | None = None

    @property
    def num_cells(self) -> int:
        if self.levels is not None:
            return len(self.levels)
        assert self.num_bins is not None
        return self.num_bins

    @property
    def step(self) -> float:
        """One bin width, or the smallest distance between two levels, in score units, > 0."""
        if self.levels is not None:
            return float(np.diff(self.levels).min())
        return (self.hi - self.lo) / self.num_cells

    @property
    def tolerance(self) -> float:
        """Distance within which two stored scores are the same value: 1e-6 of a step, or float32's rounding."""
        return max(1e-6 * self.step, _float32_rounding(self.lo), _float32_rounding(self.hi))

    def assign(self, scores: NDArray[np.floating], *, are_within: bool = False) -> NDArray[np.int32]:
        """The cell of each score; a score beyond an end falls into the end's cell.

        Args:
            scores: any shape, finite. Finiteness is the caller's to check: NaN would end in some cell unseen.
            are_within: whether all of them are from lo to hi, which saves passes over them.

        Returns:
            int32 cells in [0, num_cells), of the same shape: min(floor((x - lo) / (hi - lo) * B), B - 1) with bins,
            the nearest level's number with levels (the upper one halfway between two).
        """
        exact = scores.astype(np.float64, copy=False)
        if self.levels is not None:
            return _nearest(exact, self.levels)
        if (self.lo, self.hi) != (0.0, 1.0):  # nothing to do on the commonest scale
            exact = (exact - self.lo) / (self.hi - self.lo)
        position = np.asarray(exact * self.num_cells)
        if not are_within:
            position = np.maximum(position, 0, out=position)
            position = np.minimum(position, self.num_cells, out=position)
        cells = position.astype(np.int32)  # the cast cuts off, as floor does from 0 up
        cells[cells == self.num_cells] = self.num_cells - 1  # several times faster than a minimum, where they are few
        return cells

    def outside(self, scores: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which finite scores are out of range: beyond an end, with levels by more than half a step."""
        lo, hi = self._ends
        return (scores < lo) | (scores > hi)

    def covers(self, lo: float, hi: float) -> bool:
        """Whether all scores from `lo` to `hi` are in range; False if one of the two is NaN."""
        ends = self._ends
        return ends[0] <= lo and hi <= ends[1]

    @property
    def _ends(self) -> tuple[float, float]:
        """The smallest and the largest score that is in range."""
        lo, hi = self.lo, self.hi
        if self.levels is not None:
            lo -= (self.levels[1] - self.levels[0]) / 2
            hi += (self.levels[-1] - self.levels[-2]) / 2
        # An end that float32 cannot hold is stored beside itself and is still in range.
        return lo - _float32_rounding(lo), hi + _float32_rounding(hi)

    def to_dict(self) -> dict[str, Any]:
        """The ``binning`` object of weights.json."""
        ends = {"kind": self.kind, "lo": self.lo, "hi": self.hi}
        return ends | ({"num_bins": self.num_bins} if self.levels is None else {"levels": list(self.levels)})

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Binning":
        """Inverse of `to_dict`; KeyError, TypeError or ValueError on anything else."""
        lo, hi = float(value["lo"]), float(value["hi"])
        if value["kind"] == "levels":
            return cls("levels", lo, hi, levels=tuple(map(float, value["levels"])))
        if value["kind"] == "bins":
            return cls("bins", lo, hi, num_bins=int(value["num_bins"]))
        raise ValueError(f"binning kind must be bins or levels, found {value['kind']!r}")


def choose_binning(
    rule: Rule,
    *,
    num_bins: int | None = None,
    levels: bool = False,
    observed: tuple[float, float] | None = None,
) -> Binning:
    """The cells for one rule: its declared levels, else equal bins on its declared scale.

    Args:
        rule: its scale gives the ends and, where declared, the levels.
        num_bins: equal bins even where levels are declared; None means levels where declared, else 20 bins.
        levels: insist on levels.
        observed: smallest and largest score, to replace the declared ends of equal bins. Only when a user asks for
            it: one stray score changes every entropy. A constant score keeps the declared width.

    Raises:
        ConfigError: levels asked of a scale that declares none, or together with num_bins; num_bins or the number of
            levels outside [2, 256]; observed ends for levels, or not finite and ascending.
    """
    scale = rule.scale
    by_levels, by_bins = (option(name, section="weigh") for name in ("levels", "num_bins"))
    if levels and num_bins is not None:
        raise ConfigError(f"Levels and a number of bins exclude each other: give {by_levels} or {by_bins}, not both.")
    if levels and scale.levels is None:
        raise ConfigError(
            f"Rule {rule.name}: {by_levels} needs rating levels, its scale is lo {scale.lo:g}, hi {scale.hi:g}. "
            f"Declare `scale: {{levels: [..]}}` in its rules, or use {by_bins}."
        )
    if num_bins is None and scale.levels is not None:
        if observed is not None:
            raise ConfigError(f"Rule {rule.name}: observed ends apply to equal bins, its cells are levels.")
        if len(scale.levels) > MAX_CELLS:
            raise ConfigError(
                f"Rule {rule.name} declares {len(scale.levels)} levels, at most {MAX_CELLS} can be counted one by one. "
                f"Use {by_bins}."
            )
        return Binning("levels", scale.lo, scale.hi, levels=scale.levels)
    num_bins = DEFAULT_NUM_BINS if num_bins is None else num_bins
    if not 2 <= num_bins <= MAX_CELLS:
        raise ConfigError(f"The number of bins must be from 2 to {MAX_CELLS}, found {num_bins}.")
    if observed is None:
        return Binning("bins", scale.lo, scale.hi, num_bins=num_bins)
    lo, hi = map(float, observed)
    if not (np.isfinite(lo) and np.isfinite(hi) and lo <= hi):
        raise ConfigError(f"Rule {rule.name}: observed ends must be finite and ascending, found {lo} and {hi}.")
    return Binning("bins", lo, hi if lo < hi else lo + scale.width, num_bins=num_bins)


def snap(scores: ArrayLike, *, scale: Scale) -> NDArray[np.float64]:
    """Scores in float64, stored float32 ratings restored to the declared levels that they are.

    Without it, (.3 - .2) - (.2 - .1) of float32 ratings is not 0 and fakes a win. A score farther than the tolerance
    (1e-6 of a step, or float32's rounding) from every level, or on a scale without levels, keeps its value.
    """
    exact = np.asarray(scores, dtype=np.float64)
    if scale.levels is None:
        return exact
    cells = Binning("levels", scale.lo, scale.hi, levels=scale.levels)
    nearest = np.asarray(scale.levels)[_nearest(exact, scale.levels)]
    return np.where(np.abs(exact - nearest) <= cells.tolerance, nearest, exact)


def _float32_rounding(value: float) -> float:
    """How far off a number may be stored: scores are float32, where a declared 0.1 comes back as 0.100000001."""
    return 2.0**-24 * max(abs(value), 2.0**-126)  # half a unit in the last place; below 2^-126 the spacing is fixed


def _nearest(exact: NDArray[np.float64], levels: tuple[float, ...]) -> NDArray[np.int32]:
    """The number of the nearest level, the upper one halfway between two: how many midpoints a score reaches."""
    level_L = np.asarray(levels, dtype=np.float64)
    midpoints = (level_L[1:] + level_L[:-1]) / 2
    if len(midpoints) > _FEW:
        return np.searchsorted(midpoints, exact, side="right").astype(np.int32)
    reached = np.zeros(exact.shape, dtype=np.int8)
    for midpoint in midpoints:
        reached += exact >= midpoint
    return reached.astype(np.int32)
