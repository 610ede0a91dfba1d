"""Saves the composer as an MLflow model: the file composer_model.py and the job's weights.json."""

import hashlib
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from encore_ray.composition.weigh.weights import Weights
from encore_ray.rules import Scale
from encore_ray.schema import (
    CHOSEN_REWARD,
    CHOSEN_VETOES,
    MARGIN,
    REJECTED_REWARD,
    REJECTED_VETOES,
    SUBSET,
    chosen_column,
    rejected_column,
)

WEIGHTS_TAG = "encore_ray.weights_sha256"
_CODE = Path(__file__).with_name("composer_model.py")


def log_composer(client: MlflowClient, *, run_id: str, experiment_id: str, weights: bytes) -> None:
    """Log the composer of these weights as a model of a run, once however often it is called.

    Args:
        client: of the store.
        run_id, experiment_id: the run that the model belongs to.
        weights: content of weights.json.
    """
    digest = hashlib.sha256(weights).hexdigest()
    content = json.loads(weights)
    found = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    same = [model for model in found if model.tags.get(WEIGHTS_TAG) == digest]
    if any(model.status == "READY" for model in same):
        return
    # A model that is not READY is what a delivery that was killed left behind: it is completed.
    model = (
        same[0]
        if same
        else client.create_logged_model(
            experiment_id,
            name=f"composer-{content['scheme']}",
            source_run_id=run_id,
            tags={WEIGHTS_TAG: digest},
            params={"scheme": content["scheme"], **_told(content)},
            model_type="reward-composer",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        save_composer(path, weights=weights, mlflow_model=Model(run_id=run_id, model_id=model.model_id))
        client.log_model_artifacts(model.model_id, str(path))
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, "READY")


def _told(content: dict[str, Any]) -> dict[str, str]:
    """What tells the composers of a list apart."""
    told = {"temperature": content.get("temperature"), "rules": len(content["rules"])}
    return {name: f"{value:g}" for name, value in told.items() if value is not None}


def save_composer(path: Path, *, weights: bytes, mlflow_model: Model | None = None) -> None:
    """Save the composer of these weights as a pyfunc model folder."""
    content = json.loads(weights)
    example: dict[str, Any] = {}
    for rule in content["rules"]:
        scale = Scale.parse(rule["scale"])
        example |= {chosen_column(rule["name"]): scale.hi, rejected_column(rule["name"]): scale.lo}
    names = [rule["name"] for rule in content["rules"]]
    columns = [ColSpec("double", column, required=False) for column in dict.fromkeys([*example, *names])]
    parsed = Weights.from_dict(content)
    weighed_groups = list(parsed.group_weights)
    if weighed_groups:
        example[SUBSET] = weighed_groups[0]
        columns.append(ColSpec("string", SUBSET, required=False))
    inputs = Schema([*columns])
    given = [ColSpec("double", name) for name in (CHOSEN_REWARD, REJECTED_REWARD, MARGIN)]
    if parsed.hard_rules:
        given += [ColSpec(Array(DataType.string), name) for name in (CHOSEN_VETOES, REJECTED_VETOES)]
    outputs = Schema([*given])
    with tempfile.TemporaryDirectory() as folder:
        weights_file = Path(folder, "weights.json")
        weights_file.write_bytes(weights)
        mlflow.pyfunc.save_model(
            path,
            python_model=str(_CODE),
            artifacts={"weights": str(weights_file)},
            input_example=pd.DataFrame([example]),
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            pip_requirements=[f"encore-ray=={version('encore-ray')}"],
            mlflow_model=mlflow_model,
        )
