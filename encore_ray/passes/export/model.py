"""Export as a model: a run's weights and the heads of its scorer, folded into one single-label checkpoint."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from encore_ray.composition.weigh.linear import linear_reward
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.composed import composed_weights
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.reading.table_rules import table_rules
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.models.spec.conversation import CLOCK, Reading
from encore_ray.models.spec.files import FACTS
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.rules import Scale
from encore_ray.schema import PAIR_ID, REWARDS_DIR, SCORES_DIR
from encore_ray.storage import Folder, is_remote

if TYPE_CHECKING:
    from encore_ray.models.export.folding import FoldedModel

MODEL_FILE = "config.json"


def export_model(
    run: Folder, output: str, *, model: str | None = None, allow_pickle: bool = False, overwrite: bool = False
) -> "FoldedModel":
    """Write the model whose one output gives the margins of a run's rewards.

    Args:
        run: run folder after `compose`.
        output: local folder for the checkpoint.
        model: where the scorer is now; None for where it was when the pairs were scored.
        allow_pickle: read weights stored as pickles.
        overwrite: replace a model that is in the output folder already.

    Raises:
        ConfigError: files in the way, scores that no model made, another model than made them, or weights that are
            no linear function. DataError: rewards that are not composed to the end, or of other rules.
            ModelError: heads that cannot be folded.
    """
    from encore_ray.models.export.folding import fold_model
    from encore_ray.models.loading.identity import identify_model

    if is_remote(output):
        raise ConfigError(
            f"--as-model {output}: a model is written to a local folder. Name one, and copy it from there."
        )
    if Path(output).is_file():
        raise ConfigError(f"--as-model {output} is a file. Name a folder for the model.")
    _require_place(Folder(output), overwrite=overwrite)
    rewards = run.child(REWARDS_DIR)
    read_manifest(rewards)  # its weights are the run's only once it is composed to the end
    weights = composed_weights(rewards)
    linear = linear_reward(weights)
    units = table_units(run.child(SCORES_DIR).uri)
    rules = table_rules(units, None)
    if rules.names != weights.names:
        raise DataError(f"{rewards.uri} are rewards of other rules than {SCORES_DIR}/ has. Compose again.")
    facts = _facts(units[0])
    path = model or facts["model_source"]
    revision = None if model else facts["revision"] or None
    place = local_model(ModelSource(path, revision, allow_pickle=allow_pickle))
    identity = identify_model(place)
    if identity.digest != facts["model"]:
        raise ConfigError(
            f"{path} is not the model that {SCORES_DIR}/ was made with: its digest is {identity.digest[:12]}, not "
            f"{facts['model'][:12]}. Name that model with --model."
        )
    counted = [rule.name for rule in weights.rules if rule.weight]
    return fold_model(
        place,
        rules=rules,
        factor_K=linear.factor_K,
        constant=linear.constant,
        scale=Scale(linear.low, linear.high),
        text=f"The reward of {', '.join(counted)} under {weights.scheme} weights.",
        folder=Path(output),
        facts={"weights": weights.fingerprint, "model": identity.digest},
        options=LoadOptions(
            max_length=int(facts["max_tokens"]) if facts["max_tokens"] not in ("", "None") else None,
            reading=_reading(facts),
        ),
    )


def _require_place(output: Folder, *, overwrite: bool) -> None:
    """An empty folder, or with `overwrite` one that holds a model of ours."""
    names = output.names()
    if not names:
        return
    ours = MODEL_FILE in names and FACTS in output.read_json(MODEL_FILE)
    if not ours:
        raise ConfigError(f"{output.uri} is not empty, and holds no exported model. Name another folder (--as-model).")
    if not overwrite:
        raise ConfigError(
            f"There is a model already: {output.uri}. Name another folder with --as-model, or replace it with "
            "--overwrite."
        )


def _facts(unit: TableUnit) -> dict[str, str]:
    """What scores say of the model that made them."""
    metadata = unit.read([PAIR_ID]).schema.metadata or {}
    names = ("model", "model_source", "revision", "max_tokens", "reading", "bos", "ending")
    facts = {name: metadata.get(f"encore_ray.{name}".encode(), b"").decode() for name in names}
    if not facts["model_source"]:
        raise ConfigError(
            f"{unit.folder.uri} holds no scores of a model, but ratings that came with the data or scores made "
            "elsewhere: there are no heads to fold. Export the rewards as a dataset instead (--output)."
        )
    return facts


def _reading(facts: Mapping[str, str]) -> Reading:
    """How conversations were read for the scores; ConfigError where no tokenizer by itself reads them so."""
    asked = json.loads(facts["reading"] or "{}")
    template = asked.get("template")
    odd = [f"score.system: {asked['system']}"] if "system" in asked else []
    if template is not None and re.fullmatch("[0-9a-f]{64}", template):
        odd.append("a score.template from a file, whose text the run does not keep")
    if facts["ending"] == "eos":
        odd.append("score.ending: eos")
    if odd:
        raise ConfigError(
            f"{SCORES_DIR}/ was made with {' and '.join(odd)}, which no tokenizer brings about by itself. Export the "
            "rewards as a dataset instead (--output)."
        )
    return Reading(
        template,
        clock=asked.get("clock", CLOCK),
        bos="tokenizer" if facts["bos"] == "tokenizer" else "template",
        ending="whole" if facts["ending"] == "whole" else "transformers",
    )
