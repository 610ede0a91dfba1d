"""Refine, fit: an energy for the composed reward, calibrated and set beside its controls on pairs it never saw.

Runs in the driver's process and streams the units. Of the held-out fifth of the prompts, one half stops the training
and calibrates the probabilities, the other half judges: nothing is fitted to the pairs that the report is about.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from encore_ray.composition.calibration import density_deviations, judge_sources, log_odds_of_densities
from encore_ray.composition.controls import BASE, Control, compare_rewards
from encore_ray.composition.rewards import tie_tolerance
from encore_ray.composition.weights import Weights
from encore_ray.errors import DataError, ResumeRefused
from encore_ray.models.energy_training import EnergySettings, fit_energies
from encore_ray.models.linear_refit import refit_linear
from encore_ray.models.refiner import Refined, Refiner
from encore_ray.passes.committed import Progress, Watch, ignore_progress
from encore_ray.passes.facts import refusal
from encore_ray.passes.refine_source import RewardedUnit, rewarded_units, training_blocks
from encore_ray.schema import (
    ENERGY_FILE,
    ENERGY_TENSORS_FILE,
    REFINE_REPORT_FILE,
    REWARDS_DIR,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
)
from encore_ray.storage import Folder, fingerprint

LEAST_HELDOUT = 20  # pairs of either half; with fewer no probability can be calibrated or judged
REFINED, REFIT = "refined", "linear refit"
MARGIN, DENSITY = "base margin", "energy density"

Tell = Callable[[str], None]


def fit_refinement(
    run: Folder,
    *,
    settings: EnergySettings,
    noise: Sequence[float] = (),
    overwrite: bool = False,
    watch: Watch = ignore_progress,
    tell: Tell = lambda text: None,
) -> dict[str, Any]:
    """Fit, calibrate, judge and write refine/; returns the content of its report.

    Args:
        run: after `compose`, with embeddings.
        settings: of the training.
        noise: further levels of label noise, in (0, .5): the fit and its controls are repeated on labels of which that
            share is turned round, for the report alone.
        overwrite: replace energies that were fitted to something else.
        watch: told of the progress in pairs, epoch after epoch.
        tell: told of each epoch.

    Raises:
        ResumeRefused: other energies are there. DataError: too few pairs, or none that agrees with its label.
    """
    units = rewarded_units(run)
    weights = Weights.from_dict(run.child(REWARDS_DIR).read_json(WEIGHTS_FILE), where=run.path(REWARDS_DIR))
    facts = {
        "units": fingerprint([[unit.rewards.unit, unit.digest] for unit in units]),
        "settings": asdict(settings),
        "noise": list(noise),
    }
    if run.exists(ENERGY_FILE):
        standing = run.read_json(ENERGY_FILE).get("made_from") or {}
        if standing == facts:
            return run.read_json(REFINE_REPORT_FILE)
        if not overwrite:
            raise ResumeRefused(refusal(run.path(ENERGY_FILE), standing, facts))
        run.delete(ENERGY_FILE)
    tolerance = tie_tolerance(weights)
    controls: list[dict[str, Any]] = []
    kept: Refiner | None = None
    judged: _Judged | None = None
    for level in (0.0, *noise):
        refiner, weight_D = _fit(units, settings, level, watch=watch, tell=tell)
        found = _judge(units, refiner, weight_D)
        found.require()
        if judged is None:
            kept, judged = refiner, found
        controls += [{"noise": level, **control.to_dict()} for control in found.controls(tolerance)]
        tell(_verdict(found.controls(tolerance), level))
    assert kept is not None and judged is not None
    report = _report(kept, judged, controls, verdict=_verdict(judged.controls(tolerance), 0.0))
    tensors, description = kept.with_facts({"made_from": facts, "calibration": report["calibration"]}).to_files()
    run.write_atomic(ENERGY_TENSORS_FILE, tensors)
    run.write_json(REFINE_REPORT_FILE, report)
    run.write_atomic(ENERGY_FILE, description)  # last: where it is, all is
    return report


def _fit(
    units: Sequence[RewardedUnit], settings: EnergySettings, noise: float, *, watch: Watch, tell: Tell
) -> tuple[Refiner, np.ndarray]:
    blocks = training_blocks(units, noise=noise, seed=settings.seed)
    total = settings.epochs * sum(unit.rewards.rows for unit in units)
    started, done = time.monotonic(), 0
    name = f"fit {noise:.0%}" if noise else "fit"

    def step(pairs: int) -> None:
        nonlocal done
        done += pairs
        watch(Progress(name, done, total, 0, 0, 0, time.monotonic() - started))

    def epoch(number: int, loss: float, heldout: float | None) -> None:
        said = "" if heldout is None else f", held out {heldout:.4f}"
        tell(f"{name}, epoch {number} of {settings.epochs}: loss {loss:.4f}{said}")

    fit = fit_energies(blocks, settings=settings, on_epoch=epoch, on_step=step)
    watch(Progress(name, total, total, 0, 0, 0, time.monotonic() - started))
    return Refiner.of(fit), refit_linear(blocks, standards=fit.standards, settings=settings)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Held-out pairs under each reward.

    Attributes:
        base_N, refined_N, refit_N: margins. odds_N: log odds by density. width_N: sd of the chosen response's density,
            in standard deviations of the reward.
        at_end_N, outside_N: either response's maximum is at an end; either base reward is outside of the domain.
        test_N: bool, the half that judges. hash_N: of the keys.
    """

    base_N: np.ndarray
    refined_N: np.ndarray
    refit_N: np.ndarray
    odds_N: np.ndarray
    width_N: np.ndarray
    at_end_N: np.ndarray
    outside_N: np.ndarray
    test_N: np.ndarray
    hash_N: np.ndarray

    def require(self) -> None:
        num_test = int(self.test_N.sum())
        num_validation = len(self.test_N) - num_test
        if min(num_test, num_validation) < LEAST_HELDOUT:
            raise DataError(
                f"Of the held-out pairs {num_validation} are there to calibrate on and {num_test} to judge by; each "
                f"needs {LEAST_HELDOUT} or more. A tenth of the prompts goes to either: refine a larger corpus."
            )

    def controls(self, tolerance: float) -> list[Control]:
        margins = {BASE: self.base_N, REFIT: self.refit_N, REFINED: self.refined_N}
        return compare_rewards(
            {name: margin_N[self.test_N] for name, margin_N in margins.items()},
            hash_N=self.hash_N[self.test_N],
            tolerance=tolerance,
        )


def refined_odds(refined: Refined, reward: float) -> tuple[np.ndarray, np.ndarray]:
    """Log odds by density of N pairs, whose 2N responses follow each other, and widths in units of `reward`."""
    energy_NG, grid_G = refined.energy_KNG[0], refined.grid_KG[0]
    odds_N = log_odds_of_densities(energy_NG[::2], energy_NG[1::2])
    return odds_N, density_deviations(energy_NG[::2], grid_G) / reward


def _judge(units: Sequence[RewardedUnit], refiner: Refiner, weight_D: np.ndarray) -> _Judged:
    parts: list[list[np.ndarray]] = []
    for unit in units:
        rows = unit.read_pairs()
        rows = rows.take(rows.validation_N | rows.test_N)
        if not len(rows.r_N2):
            continue
        flat_ND = rows.e_N2D.reshape(2 * len(rows.r_N2), -1)
        refined = refiner.refine(flat_ND, rows.r_N2.reshape(-1, 1))
        refit_N2 = (refiner.embedding.apply(flat_ND) @ weight_D).reshape(-1, 2)
        odds_N, width_N = refined_odds(refined, float(refiner.reward.deviation_D[0]))
        refined_N2 = refined.reward_NK.reshape(-1, 2)
        parts.append(
            [
                rows.r_N2[:, 0] - rows.r_N2[:, 1],
                refined_N2[:, 0] - refined_N2[:, 1],
                refit_N2[:, 0] - refit_N2[:, 1],
                odds_N,
                width_N,
                refined.boundary_NK[::2, 0] | refined.boundary_NK[1::2, 0],
                refined.outside_NK[::2, 0] | refined.outside_NK[1::2, 0],
                rows.test_N,
                rows.hash_N,
            ]
        )
    if not parts:
        raise DataError("No pair is held out to judge by: refine a corpus of some hundred prompts or more.")
    return _Judged(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _report(refiner: Refiner, judged: _Judged, controls: list[dict[str, Any]], *, verdict: str) -> dict[str, Any]:
    sources = judge_sources({MARGIN: judged.base_N, DENSITY: judged.odds_N}, fitted_N=~judged.test_N)
    settings = refiner.facts["settings"]
    num_test = int(judged.test_N.sum())
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict,
        "pairs": {
            "trainable": refiner.facts["num_pairs"],
            "agreeing": refiner.facts["num_agreeing"][0],
            "conflicting": refiner.facts["num_pairs"] - refiner.facts["num_agreeing"][0],
            "calibration": len(judged.test_N) - num_test,
            "test": num_test,
        },
        "training": {key: refiner.facts[key] for key in ("losses", "heldout_losses", "best_epoch", "num_threads")},
        "controls": controls,
        "at_end": float(judged.at_end_N.mean()),
        "outside": float(judged.outside_N.mean()),
        "calibration": {"used": sources[0].name, "sources": [source.to_dict() for source in sources]},
        # The density is about as wide as the noise that training added, whatever the labels are worth.
        "density_width": {"mean": float(judged.width_N.mean()), "beta_sigma": settings["beta"] * settings["sigma"]},
    }


def _verdict(controls: Sequence[Control], noise: float) -> str:
    base, *others = controls
    refined = next(control for control in others if control.name == REFINED)
    interval = refined.difference_interval
    bounds = f" (95% {100 * interval.low:+.1f} to {100 * interval.high:+.1f})" if interval else ""
    if refined.differs:
        words = "significantly better" if refined.difference > 0 else "significantly worse: do not use them"
    else:
        words = "no significant difference: the refinement buys nothing that these pairs could show"
    labels = f" Of the labels to learn from, {noise:.0%} were turned round." if noise else ""
    return (
        f"On {refined.tally.num_pairs:,} held-out pairs refined rewards agree with {refined.accuracy:.1%} of the "
        f"labels, base rewards with {base.accuracy:.1%}: {100 * refined.difference:+.1f} points{bounds}, {words}."
        f"{labels}"
    )
