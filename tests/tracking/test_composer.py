"""The composer as an MLflow model gives the rewards that `compose` gives, to the last bit."""

import warnings
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from encore_ray.composition.inference.agreement import Correlation
from encore_ray.composition.inference.entropy import Entropy
from encore_ray.composition.scales.binning import Binning
from encore_ray.composition.weigh.groups import compose_by_group
from encore_ray.composition.weigh.rewards import compose
from encore_ray.composition.weigh.schemes import Consensus
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.composition.weigh.weights import RuleWeight, Weights
from encore_ray.corpora.planted.corpus import planted_ratings
from encore_ray.rules import Scale, Veto
from encore_ray.storage import Folder, to_json
from encore_ray.tracking.composer import save_composer
from encore_ray.tracking.delivery import Delivery
from tests.composition.builders import measure
from tests.tracking.conftest import job_of, journaling_tracker

NUM_PAIRS = 200


def _weights() -> Weights:
    def rule(name: str, weight: float, higher_is, scale: Scale) -> RuleWeight:
        return RuleWeight(
            name=name,
            higher_is=higher_is,
            binning=Binning("bins", scale.lo, scale.hi, num_bins=20),
            entropy=Entropy(1.0, 0.9, 1.1),
            weight=weight,
            mode_share=0.1,
            active_pair_share=0.9,
            contribution_share=0.5,
            wins=1,
            ties=0,
            losses=1,
            accuracy=0.5,
            flags=(),
            scale=scale,
        )

    levels = Scale(0.0, 1.0, tuple(step / 10 for step in range(11)))
    return Weights(
        scheme="encore",
        temperature=2.0,
        scheme_params={},
        num_calibration_pairs=None,
        log_base="e",
        estimator="plugin",
        score_range="declared",
        min_active=None,
        clip=False,
        num_pairs=2,
        num_responses=4,
        num_keys=2,
        counts_sha256="0" * 64,
        rules=(
            rule("no_threats", 1 / 3, "better", levels),
            rule("insults", 0.5, "worse", Scale(0.0, 1.0)),
            rule("helps-1.a", 1 / 6, "better", levels),
        ),
        entropy_accuracy=Correlation(None, None, None, None, 3),
        warnings=(),
        groups={},
    )


def _scores() -> tuple[np.ndarray, np.ndarray]:
    """Float32 ratings in tenths, [K, N] a side, as scores/ stores them; every tenth pair is a single response."""
    generator = np.random.default_rng(7)
    chosen_KN, rejected_KN = (generator.integers(0, 11, (2, 3, NUM_PAIRS)) / 10).astype(np.float32)
    rejected_KN[:, ::10] = np.nan
    return chosen_KN, rejected_KN


def _table(weights: Weights, chosen_KN: np.ndarray, rejected_KN: np.ndarray) -> pd.DataFrame:
    columns = {f"chosen__{name}": chosen_KN[k] for k, name in enumerate(weights.names)}
    columns |= {f"rejected__{name}": rejected_KN[k] for k, name in enumerate(weights.names)}
    return pd.DataFrame({"pair_id": [f"p{n}" for n in range(NUM_PAIRS)], **columns})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, sqlite_uri: str) -> mlflow.pyfunc.PyFuncModel:
    """The composer, logged by a tracked job and loaded from the store as anybody would."""
    folder = Folder(str(tmp_path_factory.mktemp("composer") / "run"))
    with journaling_tracker(folder, experiment="composer") as tracker:
        tracker.log_composer(_weights().to_dict())
        tracker.log_composer(_weights().to_dict())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)  # mlflow 3.17 under pandas 3
        progress = Delivery(folder, uri=sqlite_uri).catch_up()
    assert progress["failed"] == []
    client = mlflow.MlflowClient(sqlite_uri)
    run = client.get_run(progress["run_ids"][job_of(folder)])
    (logged,) = client.search_logged_models([run.info.experiment_id])
    assert (logged.name, logged.source_run_id, logged.status) == ("composer-encore", run.info.run_id, "READY")
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", sqlite_uri)
        return mlflow.pyfunc.load_model(f"models:/{logged.model_id}")


def test_the_logged_model_gives_the_rewards_of_compose_to_the_last_bit(model: mlflow.pyfunc.PyFuncModel):
    weights = _weights()
    chosen_KN, rejected_KN = _scores()
    expected = compose(chosen_KN, rejected_KN, weights=weights)
    found = model.predict(_table(weights, chosen_KN, rejected_KN))
    np.testing.assert_array_equal(found["chosen_reward"], expected.chosen_N)
    np.testing.assert_array_equal(found["rejected_reward"], expected.rejected_N)
    np.testing.assert_array_equal(found["margin"], expected.margin_N)
    assert np.isnan(found["margin"]).sum() == NUM_PAIRS / 10


def test_the_names_of_broken_rules_come_with_the_rewards_of_weights_with_vetoes(tmp_path: Path):
    weights = _weights()
    rules = (replace(weights.rules[0], veto=Veto("below", 0.3)), *weights.rules[1:])
    weights = replace(weights, rules=rules)
    model = _saved(tmp_path / "model", weights)
    chosen_KN, rejected_KN = _scores()
    expected = compose(chosen_KN, rejected_KN, weights=weights)
    found = model.predict(_table(weights, chosen_KN, rejected_KN))
    assert expected.broken is not None
    chosen, rejected = expected.broken.listed
    assert [list(names) for names in found["chosen_vetoes"]] == chosen
    assert [None if names is None else list(names) for names in found["rejected_vetoes"]] == rejected
    np.testing.assert_array_equal(found["margin"], expected.margin_N)
    assert 0 < np.count_nonzero(expected.broken.decided_N) < np.isnan(found["margin"]).sum()
    alone = model.predict(pd.DataFrame({name: chosen_KN[k] for k, name in enumerate(weights.names)}))
    assert [list(names) for names in alone["vetoes"]] == chosen


def test_columns_named_by_rule_are_single_responses(model: mlflow.pyfunc.PyFuncModel):
    weights = _weights()
    chosen_KN, rejected_KN = _scores()
    table = pd.DataFrame({name: chosen_KN[k] for k, name in reversed(list(enumerate(weights.names)))})
    found = model.predict(table)
    np.testing.assert_array_equal(found["reward"], compose(chosen_KN, rejected_KN, weights=weights).chosen_N)


def test_chosen_columns_alone_are_single_responses_of_a_scores_table(model: mlflow.pyfunc.PyFuncModel):
    weights = _weights()
    chosen_KN, rejected_KN = _scores()
    table = _table(weights, chosen_KN, rejected_KN)
    found = model.predict(table[[column for column in table if not column.startswith("rejected__")]])
    np.testing.assert_array_equal(found["chosen_reward"], compose(chosen_KN, rejected_KN, weights=weights).chosen_N)
    assert found["margin"].isna().all()


def test_a_table_without_a_rule_is_refused_by_the_columns_name(model: mlflow.pyfunc.PyFuncModel):
    weights = _weights()
    table = _table(weights, *_scores()).drop(columns=["rejected__insults"])
    with pytest.raises(ValueError, match="lack the columns rejected__insults"):
        model.predict(table)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> mlflow.pyfunc.PyFuncModel:
    """A composer whose weights differ by subset."""
    return _saved(tmp_path_factory.mktemp("grouped") / "model", _by_group())


def _saved(path: Path, weights: Weights) -> mlflow.pyfunc.PyFuncModel:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)  # mlflow 3.17 under pandas 3
        save_composer(path, weights=to_json(weights.to_dict()))
    return mlflow.pyfunc.load_model(str(path))


def _by_group() -> Weights:
    weights = _weights()
    own = {"num_responses": 4, "entropies": dict.fromkeys(weights.names, 1.0)}
    return replace(
        weights, groups={"a": own | {"weights": dict(zip(weights.names, (1.0, 0.0, 0.0), strict=True))}, "b": own}
    )


def test_weights_by_group_compose_each_row_by_its_subset(grouped: mlflow.pyfunc.PyFuncModel):
    weights = _by_group()
    chosen_KN, rejected_KN = _scores()
    subsets = [("a", "b", None)[n % 3] for n in range(NUM_PAIRS)]
    table = _table(weights, chosen_KN, rejected_KN).assign(subset=pd.Series(subsets, dtype=object))
    has_rejected_N = ~np.isnan(rejected_KN[0])
    expected = compose_by_group(
        chosen_KN, rejected_KN, weights=weights, subsets=subsets, has_rejected_N=has_rejected_N
    ).rewards
    found = grouped.predict(table)
    np.testing.assert_array_equal(found["chosen_reward"], expected.chosen_N)
    np.testing.assert_array_equal(found["margin"], expected.margin_N)
    assert found["chosen_reward"][0] == round(chosen_KN[0, 0] * 10) / 10  # in a, the first rule is all


def test_weights_by_group_refuse_a_table_without_subsets(grouped: mlflow.pyfunc.PyFuncModel):
    with pytest.raises(ValueError, match="differ by subset, and the scores lack the column subset"):
        grouped.predict(_table(_weights(), *_scores()))


def test_weights_by_consensus_compose_as_a_model(tmp_path):
    planted = planted_ratings("noise", num_pairs=300, seed=2)
    sides = planted.chosen_NK.T, planted.rejected_NK.T
    weights = weigh(measure(*sides, rules=planted.rules, with_products=True), scheme=Consensus())
    assert weights.consensus is not None and weights.consensus.trusted
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)  # mlflow 3.17 under pandas 3
        save_composer(tmp_path / "model", weights=to_json(weights.to_dict()))
    found = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    columns = {f"chosen__{name}": planted.chosen_NK[:, k] for k, name in enumerate(planted.rules.names)}
    columns |= {f"rejected__{name}": planted.rejected_NK[:, k] for k, name in enumerate(planted.rules.names)}
    np.testing.assert_array_equal(
        found.predict(pd.DataFrame(columns))["margin"], compose(*sides, weights=weights).margin_N
    )
