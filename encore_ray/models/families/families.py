"""The families of checkpoints, and which of them one is of.

A family is one class in one table, and nothing else knows it: see `score_head` for a short one.
"""

from encore_ray.models.families.classification import Classifiers
from encore_ray.models.families.family import Family
from encore_ray.models.families.label_distribution import LabelDistributionModels
from encore_ray.models.families.linear_head import LinearHeadModels
from encore_ray.models.families.mean_and_spread import MeanAndSpreadModels
from encore_ray.models.families.model_folder import ModelFolder, Opened
from encore_ray.models.families.own_form import OwnFormModels
from encore_ray.models.families.regression_layer import RegressionLayerModels
from encore_ray.models.families.score_head import ScoreHeadModels

FAMILIES: tuple[Family, ...] = (
    OwnFormModels(),
    LabelDistributionModels(),
    RegressionLayerModels(),
    ScoreHeadModels(),
    MeanAndSpreadModels(),
    LinearHeadModels(),
)
OTHERS = Classifiers()


def family_of(folder: ModelFolder) -> Family:
    """The family that a checkpoint is of: the first that is known by what is in it, else by its architecture.

    What neither tells is a classifier, or an error of its loader.
    """
    architectures = set(folder.config.architectures or ())
    by_content = (family for family in FAMILIES if family.has(folder))
    by_name = (family for family in FAMILIES if architectures & set(family.architectures))
    return next(by_content, None) or next(by_name, OTHERS)


def open_model(folder: ModelFolder) -> Opened:
    """What a model's heads are, and how to load it; errors as of its `Family.open`."""
    return family_of(folder).open(folder)
