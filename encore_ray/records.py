"""What of a job goes into its MLflow run: parameters, figures, a summary for people, the commit."""

import subprocess
from collections.abc import Mapping
from typing import Any

from encore_ray.config import JobConfig
from encore_ray.report.drawing.numbers import weight_writer


def flat_params(config: JobConfig) -> dict[str, Any]:
    """The configuration as MLflow params: section.option = value."""
    params: dict[str, Any] = {}
    for name, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            params |= {f"{name}.{option}": inner for option, inner in value.items()}
        else:
            params[name] = value
    return params


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of metrics.json that are worth a curve or a column in MLflow."""
    flat: dict[str, float | None] = {
        key: metrics["overall"][key] for key in ("accuracy", "accuracy_strict", "accuracy_low", "accuracy_high")
    }
    flat |= {key: metrics["overall"][key] for key in ("num_pairs", "wins", "ties", "losses")}
    flat |= {f"accuracy/{name}": subset["accuracy"] for name, subset in metrics["subsets"].items()}
    flat["rewardbench_safety"] = metrics["rewardbench_safety"]
    for benchmark in ("rewardbench", "rewardbench_2"):
        flat |= {f"{benchmark}/{name}": score for name, score in (metrics[benchmark] or {}).items()}
    for name, baseline in metrics["length_baselines"].items():
        flat[f"baseline/{name}"] = baseline["accuracy"] if baseline else None
    if metrics["entropy_accuracy"]:
        flat["entropy_accuracy_pearson"] = metrics["entropy_accuracy"]["pearson"]
    return flat


def flat_comparison(comparison: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of comparison.json by scheme: on the held-out pairs, which judge learned schemes too."""
    flat: dict[str, float | None] = {"heldout_pairs": comparison["heldout"]["num_pairs"]}
    for scheme in (*comparison["schemes"], *comparison["beside"], *comparison["baselines"]):
        flat[f"accuracy/{scheme['name']}"] = scheme["heldout"]["accuracy"]
        flat[f"difference_to_uniform/{scheme['name']}"] = scheme["difference_to_uniform"]["value"]
    flat["entropy_accuracy_pearson"] = comparison["entropy_accuracy"]["pearson"]
    flat["weight_error"] = comparison["sample_size"]["weight_error"]
    return flat


def flat_fit(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of fitted heads by rule, on held-out responses."""
    flat: dict[str, float | None] = {"mean_auc": figures["mean_auc"]["value"], "responses": figures["num_responses"]}
    for rule in figures["rules"]:
        flat |= {f"{figure}/{rule['name']}": rule[figure] for figure in ("auc", "r2", "penalty")}
    return flat


def summary(metrics: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    """The result in a few lines of Markdown: what MLflow shows at the top of the run."""
    overall = metrics["overall"]
    lines = [f"**{weights['scheme']}** on {overall['num_pairs']:,} pairs"]
    if overall["accuracy"] is not None:
        interval = f"{overall['accuracy_low']:.1%} to {overall['accuracy_high']:.1%}"
        lines[0] += f": accuracy **{overall['accuracy']:.1%}** ({interval})"
    lines += ["", "| rule | weight | entropy | accuracy |", "|---|---|---|---|"]
    write_weight = weight_writer(rule["weight"] for rule in weights["rules"])
    for rule in sorted(weights["rules"], key=lambda rule: -abs(rule["weight"])):
        accuracy = "" if rule["accuracy"] is None else f"{rule['accuracy']:.1%}"
        lines.append(f"| {rule['name']} | {write_weight(rule['weight'])} | {rule['entropy']:.3f} | {accuracy} |")
    return "\n".join([*lines, "", *(f"- {warning}" for warning in weights["warnings"])])


def git_commit() -> dict[str, str]:
    """Tag with the commit of the working folder's repository; none where there is no repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"mlflow.source.git.commit": found.stdout.strip()} if found.returncode == 0 else {}
