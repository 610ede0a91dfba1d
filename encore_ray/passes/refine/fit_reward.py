"""Refine, fit: an energy for the composed reward, calibrated and set beside its controls on pairs it never saw.

Of the held-out fifth of the prompts, one half stops the training, calibrates the probabilities and decides what they
are read from; the other half tests: nothing is fitted to, or chosen by, the pairs that the report is about.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from encore_ray.artifacts import RefineReport
from encore_ray.composition.evaluate.calibration import ProbabilitySource, calibrate
from encore_ray.composition.evaluate.controls import BASE, Control, compare_rewards
from encore_ray.composition.weigh.rewards import margin_tolerance
from encore_ray.engine.base import Send
from encore_ray.folder.composed import composed_weights
from encore_ray.folder.spec import FIT_REWARD
from encore_ray.models.spec.energy import EnergySettings
from encore_ray.passes.refine.energies import REWARD_ENERGY, units_fingerprint
from encore_ray.passes.refine.fit_energies import TRAINING_FACTS, FitMessage, Trainer, Training, advice, supervise
from encore_ray.passes.refine.rows import RefinedRows, heldout_rows, refit_rewards
from encore_ray.passes.refine.source import REWARD, embedded_units
from encore_ray.run import Run
from encore_ray.schema import REWARDS_DIR, SCHEMA_VERSION
from encore_ray.step import Record, Step
from encore_ray.storage import Folder

if TYPE_CHECKING:
    from encore_ray.models.energy.refiner import Refiner


@dataclass(frozen=True)
class FitReward(Step[RefineReport]):
    """Fit energies to the composed reward. See `fit_refinement`.

    Attributes:
        noise: further levels of label noise. cpus, gpus: that the worker holds.
    """

    spec = FIT_REWARD
    settings: EnergySettings
    noise: Sequence[float] = ()
    cpus: float | None = None
    gpus: float | None = None

    def __call__(self, run: Run) -> RefineReport:
        trainer = Trainer(run.engine, self.cpus, self.gpus, run.watch, run.note)
        made = fit_refinement(
            run.folder, settings=self.settings, trainer=trainer, noise=self.noise, overwrite=run.overwrite
        )
        return RefineReport.of(made, where=run.path(RefineReport.FILE))

    def record(self, made: RefineReport) -> Record:
        return Record(params=vars(self.settings), metrics=made.figures(), artifacts={made.FILE: made.to_json()})


REFINED, REFIT = "refined", "linear refit"
MARGIN, DENSITY = "base margin", "energy density"


def fit_refinement(
    run: Folder,
    *,
    settings: EnergySettings,
    trainer: Trainer,
    noise: Sequence[float] = (),
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fit, calibrate, test and write refine/; returns the content of its report.

    Args:
        run: after `compose`, with embeddings.
        settings: of the training.
        trainer: where the fit runs.
        noise: further levels of label noise, in (0, .5): the fit and its controls are repeated on labels of which that
            share is turned round, for the report alone.
        overwrite: replace energies that were fitted to something else.

    Raises:
        ResumeRefused: other energies are there. DataError: too few pairs, or none that agrees with its label.
    """
    units = embedded_units(run, REWARD)
    weights = composed_weights(run.child(REWARDS_DIR))
    facts = {"units": units_fingerprint(units), "settings": asdict(settings), "noise": list(noise)}
    standing = REWARD_ENERGY.standing_report(run, facts, overwrite=overwrite)
    if standing is not None:
        return standing
    tolerance = margin_tolerance(weights)
    controls: list[dict[str, Any]] = []
    kept: Refiner | None = None
    heldout: _HeldoutPairs | None = None
    for level in (0.0, *noise):
        training = Training(
            tuple(units), settings, f"fit {level:.0%}" if level else "fit", run.child(REWARD_ENERGY.training), level
        )
        refiner, found = supervise(trainer, partial(_fit_and_evaluate, training), training)
        if heldout is None:
            kept, heldout = refiner, found
        controls += [{"noise": level, **control.to_dict()} for control in found.controls(tolerance)]
        trainer.note(_verdict(found.controls(tolerance), level))
    assert kept is not None and heldout is not None
    sources = calibrate({MARGIN: heldout.base_N, DENSITY: heldout.odds_N}, fitted_N=~heldout.test_N)
    used = find_used(sources)
    verdict = _verdict(heldout.controls(tolerance), 0.0) + advice(kept.facts) + ("" if used else _no_use(sources))
    if weights.hard_rules:
        named = ", ".join(weights.hard_rules)
        verdict += f" Pairs that the vetoes of {named} decide are left out: no reward decides them."
    report = _report(kept, heldout, controls, verdict=verdict, sources=sources)
    REWARD_ENERGY.keep(run, kept.with_facts({"made_from": facts, "calibration": report["calibration"]}), report)
    return report


@dataclass(frozen=True, eq=False)
class _HeldoutPairs:
    """Held-out pairs under each reward.

    Attributes:
        base_N, refined_N, refit_N: margins. odds_N: log odds by density. width_N: sd of the chosen response's density,
            in standard deviations of the reward.
        at_end_N, outside_N: either response's maximum is at an end; either base reward is outside of the domain.
        test_N: bool, the half that tests. hash_N: of the keys.
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

    def controls(self, tolerance: float) -> list[Control]:
        margins = {BASE: self.base_N, REFIT: self.refit_N, REFINED: self.refined_N}
        return compare_rewards(
            {name: margin_N[self.test_N] for name, margin_N in margins.items()},
            hash_N=self.hash_N[self.test_N],
            tolerance=tolerance,
        )


def _fit_and_evaluate(training: Training, send: Send) -> tuple["Refiner", _HeldoutPairs]:
    refiner, weight_KD = training.run(send)
    parts: list[list[np.ndarray]] = []
    for rows in heldout_rows(training.units):
        send(FitMessage())
        refined = RefinedRows.of(rows, refiner)
        refit_N2 = refit_rewards(rows, refiner, weight_KD)[:, :, 0]
        parts.append(
            [
                rows.r_N2K[:, 0, 0] - rows.r_N2K[:, 1, 0],
                refined.r_N2K[:, 0, 0] - refined.r_N2K[:, 1, 0],
                refit_N2[:, 0] - refit_N2[:, 1],
                refined.odds_N,
                refined.width_N / float(refiner.reward.deviation_D[0]),
                np.any(refined.at_end_N2K, axis=(1, 2)),
                np.any(refined.outside_N2K, axis=(1, 2)),
                rows.test_N,
                rows.hash_N,
            ]
        )
    return refiner, _HeldoutPairs(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def find_used(sources: Sequence[ProbabilitySource]) -> str | None:
    """What the probability of a label is read from: what fits best, unless that is no better than a coin on others.

    None then: the other one is not tried in its place, since that would choose by the pairs that judge it.
    """
    return sources[0].name if sources[0].beats_coin else None


def _no_use(sources: Sequence[ProbabilitySource]) -> str:
    first = sources[0]
    what = (
        "fall as it rises"
        if first.logistic.slope <= 0
        else f"lose {first.reliability.log_loss:.3f} nats a label on other pairs, a coin .693"
    )
    return (
        f" Probabilities of labels read from the {first.name}, which fits best, {what}: none is given, and no label is "
        "called a likely error."
    )


def _report(
    refiner: "Refiner",
    heldout: _HeldoutPairs,
    controls: list[dict[str, Any]],
    *,
    verdict: str,
    sources: Sequence[ProbabilitySource],
) -> dict[str, Any]:
    settings = refiner.facts["settings"]
    num_test = int(heldout.test_N.sum())
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict,
        "pairs": {
            "trainable": refiner.facts["num_pairs"],
            "agreeing": refiner.facts["num_agreeing"][0],
            "conflicting": refiner.facts["num_pairs"] - refiner.facts["num_agreeing"][0],
            "calibration": len(heldout.test_N) - num_test,
            "test": num_test,
        },
        "training": {key: refiner.facts[key] for key in TRAINING_FACTS},
        "controls": controls,
        "at_end": float(heldout.at_end_N.mean()),
        "outside": float(heldout.outside_N.mean()),
        "calibration": {"used": find_used(sources), "sources": [source.to_dict() for source in sources]},
        # The density is about as wide as the noise that training added, whatever the labels are worth.
        "density_width": {"mean": float(heldout.width_N.mean()), "beta_sigma": settings["beta"] * settings["sigma"]},
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
