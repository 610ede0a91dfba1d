"""What a person sees of a run: tables for the terminal (`tables`), one figure (`figure`), and the HTML report (`page`)
with the same numbers as Arrow tables (`data_tables`).

Everything here reads the contents of weights.json, metrics.json and comparison.json, so it works on any run, also an
old one.
"""

from encore_ray.report.charts.lines import picture, reliability_chart, robustness_chart
from encore_ray.report.data.contents import ReportContents, missing_keys
from encore_ray.report.data.data_tables import report_tables
from encore_ray.report.figure import evaluation_figure
from encore_ray.report.page import render_page
from encore_ray.report.tables.comparison import comparison_table
from encore_ray.report.tables.heads import heads_table
from encore_ray.report.tables.refinement import calibration_table, refined_rules_table, refinement_table
from encore_ray.report.tables.training import training_table
from encore_ray.report.tables.weights import entropy_against_accuracy, flag_legend, metrics_table, weights_table

__all__ = [
    "ReportContents",
    "calibration_table",
    "comparison_table",
    "entropy_against_accuracy",
    "evaluation_figure",
    "flag_legend",
    "heads_table",
    "metrics_table",
    "missing_keys",
    "picture",
    "refined_rules_table",
    "refinement_table",
    "reliability_chart",
    "render_page",
    "report_tables",
    "robustness_chart",
    "training_table",
    "weights_table",
]
