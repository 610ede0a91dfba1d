"""The job's configuration: every option once, with its default, its meaning and its checks."""

from encore_ray.config.job import SECTIONS, JobConfig, TrackingOptions
from encore_ray.config.scoring import ClusterOptions, InputOptions, PrepareOptions, RateOptions, ScoreOptions
from encore_ray.config.section import Section
from encore_ray.config.training import FitHeadsOptions, RefineOptions, TrainOptions
from encore_ray.config.weighing import SelectOptions, WeighOptions

__all__ = [
    "SECTIONS",
    "ClusterOptions",
    "FitHeadsOptions",
    "InputOptions",
    "JobConfig",
    "PrepareOptions",
    "RateOptions",
    "RefineOptions",
    "ScoreOptions",
    "Section",
    "SelectOptions",
    "TrackingOptions",
    "TrainOptions",
    "WeighOptions",
]
