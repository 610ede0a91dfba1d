"""What a person sees of a run first: tables for the terminal (`tables`) and one figure (`figure`).

Everything here reads the contents of weights.json and metrics.json, so it works on any run, also an old one.
"""

from encore_ray.report.figure import evaluation_figure
from encore_ray.report.tables import entropy_against_accuracy, flag_legend, metrics_table, weights_table

__all__ = ["entropy_against_accuracy", "evaluation_figure", "flag_legend", "metrics_table", "weights_table"]
