"""The contract files of a run, each as a typed class: what a file holds is checked once, when it is read.

weights.json (`WeightsFile`) · metrics.json (`Metrics`) · comparison.json (`Comparison`) · fit.json (`FitReport`) ·
train.json (`TrainReport`) · refine/report.json (`RefineReport`) · refine/rules/report.json (`RuleRefineReport`) ·
refine/label_errors.json (`LabelErrors`)
"""

from encore_ray.artifacts.artifact import Artifact
from encore_ray.artifacts.comparison import Comparison
from encore_ray.artifacts.fit import FitReport
from encore_ray.artifacts.metrics import Metrics
from encore_ray.artifacts.refine import LabelErrors, RefineReport, RuleRefineReport
from encore_ray.artifacts.train import TrainReport
from encore_ray.artifacts.weights import WeightsFile, read_weights

__all__ = [
    "Artifact",
    "Comparison",
    "FitReport",
    "LabelErrors",
    "Metrics",
    "RefineReport",
    "RuleRefineReport",
    "TrainReport",
    "WeightsFile",
    "read_weights",
]
