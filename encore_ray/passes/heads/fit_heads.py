"""Fit heads: one linear head a rule on the embeddings of a frozen backbone, saved with it and with fit.json."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encore_ray.artifacts import FitReport
from encore_ray.errors import DataError
from encore_ray.folder.provenance import is_same
from encore_ray.folder.reading.tables import by_content, table_units
from encore_ray.folder.spec import FEATURES, FIT_HEADS
from encore_ray.models.spec.files import FIT_FILE
from encore_ray.passes.heads.features import FeatureModel, FeatureWriter
from encore_ray.passes.heads.map_reduce_fit import FittedHeads, fit_heads
from encore_ray.passes.scorers.by_model import ModelScorer
from encore_ray.passes.scorers.model.place import local_model, model_paths, require_output
from encore_ray.passes.scorers.scorer import fill_table
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import FEATURES_DIR, PAIRS_DIR, SCHEMA_VERSION
from encore_ray.step import Record, Step
from encore_ray.storage import Folder, fingerprint

# Keys of fit.json: heads are finished that tell what they were made from; files are those of their backbone.
FACTS, FILES = "made_from", "files"


@dataclass(frozen=True)
class Features(Step[dict[str, int]]):
    """Write features/: an embedding of every response of pairs/; resumable. Makes counts: rows, scored, quarantined.

    Attributes:
        model: the backbone.
        max_bad_fraction: share of pairs without finite embeddings past which the pass fails.
    """

    spec = FEATURES
    model: FeatureModel
    max_bad_fraction: float

    @property
    def paths(self) -> Sequence[str]:
        return model_paths(self.model.path)

    def __call__(self, run: Run) -> dict[str, int]:
        scorer = ModelScorer(self.model, FeatureWriter(), "embed")
        _, counts = fill_table(run, FEATURES, scorer, max_bad_fraction=self.max_bad_fraction)
        return counts

    def record(self, made: dict[str, int]) -> Record:
        return Record(metrics=made, step=made["rows"])


@dataclass(frozen=True)
class FitHeads(Step[FitReport]):
    """Fit heads to labels, on features/, and save them with their backbone.

    Attributes:
        model: the backbone. rules: of the heads.
        labels: table that has the labels. output: local folder, see `require_place`.
    """

    spec = FIT_HEADS
    model: FeatureModel
    rules: RuleSet
    labels: str
    output: str

    def numbers(self, run: Run) -> int:
        units = table_units(run.path(FEATURES_DIR))
        return sum(unit.rows for unit in units) * 2 * self.model.size

    def __call__(self, run: Run) -> FitReport:
        fitted = fit_heads(run.path(FEATURES_DIR), self.labels, self.rules, run.reducer)
        facts = fit_facts(self.model.decisive_facts, self.labels, self.rules)
        fit = save_heads(self.output, fitted, self.rules, model=self.model, labels=self.labels, facts=facts)
        return FitReport.of(fit)

    def record(self, made: FitReport) -> Record:
        return Record(metrics=made.figures(), artifacts={made.FILE: made.to_json()})


def embed_and_fit(
    run: Run, model: FeatureModel, rules: RuleSet, *, labels: str | None, output: str, max_bad_fraction: float
) -> FitReport:
    """Embed all responses of the run and fit heads to labels, where they are not there already.

    Raises:
        ResumeRefused: other heads are there.
    """
    labels = labels or run.path(PAIRS_DIR)
    facts = fit_facts(model.decisive_facts, labels, rules)
    standing = standing_heads(output, facts=facts, overwrite=run.overwrite)
    if standing is not None:
        run.note(f"fit: {output} holds the heads of these labels already")
        return FitReport.of(standing, where=Folder(output).path(FIT_FILE))
    run.do(Features(model, max_bad_fraction))
    return run.do(FitHeads(model, rules, labels, output))


def require_place(output: str, *, model: str) -> None:
    """Make sure that heads can be saved there, see `require_output`."""
    require_output(output, source=model, ours=(FIT_FILE,))


def fit_facts(embeddings: Mapping[str, Any], labels: str, rules: RuleSet) -> dict[str, Any]:
    """What decides fitted heads.

    Args:
        embeddings: the facts that decide them.
        labels: table of the labels, made from the same pairs.
        rules: of the heads.
    """
    units = fingerprint([[unit.unit, unit.digest] for unit in by_content(table_units(labels))])
    return {"embeddings": dict(embeddings), "labels": units, "rules": rules.to_list()}


def standing_heads(output: str, *, facts: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Content of fit.json where heads made from the same facts are there already; None where they are to be fitted.

    Raises:
        ResumeRefused: finished heads made from others are there, and are not to be overwritten.
    """
    folder = Folder(output)
    if overwrite or not folder.exists(FIT_FILE):
        return None
    fit = folder.read_json(FIT_FILE)
    standing = fit.get(FACTS) if isinstance(fit, dict) else None  # None of a fit that was interrupted
    return fit if is_same(output, standing, facts) else None


def save_heads(
    output: str, fitted: FittedHeads, rules: RuleSet, *, model: FeatureModel, labels: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the backbone with its new heads, and fit.json beside them, which tells last what they were made from.

    Args:
        output: local folder, see `require_place`.
        fitted: heads of the rules.
        model: the backbone as the responses were embedded by.
        labels: where the labels came from.
        facts: that decide them.

    Returns:
        Content of fit.json.
    """

    from encore_ray.models.loading.embedding import backbone_files, save_fitted

    folder, backbone = Folder(output), local_model(model.source)
    stale = _standing_files(folder)
    files = backbone_files(backbone)
    source = {key: model.facts[key] for key in ("model", "model_source", "revision", "pooling", "reads", "max_tokens")}
    fit = {"schema_version": SCHEMA_VERSION, "labels": labels, **source, **fitted.figures}
    folder.write_json(FIT_FILE, {**fit, FILES: sorted({*stale, *files})})
    save_fitted(
        Path(output),
        backbone=backbone,
        weight_KD=fitted.weight_KD,
        bias_K=fitted.bias_K,
        rules=rules,
        pooling=model.pooling,
        reads=model.reads,
        stale=stale,
    )
    fit |= {FILES: files, FACTS: dict(facts)}
    folder.write_json(FIT_FILE, fit)
    return fit


def _standing_files(folder: Folder) -> list[str]:
    """Those of the backbone that is there, also of a fit that was interrupted."""
    with contextlib.suppress(DataError, KeyError, TypeError):
        return list(folder.read_json(FIT_FILE)[FILES])
    return []
