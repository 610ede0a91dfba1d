"""What everybody asks about a model costs no import of the libraries that run one."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "safetensors", "huggingface_hub", "scipy")

SPEC = [f"models.spec.{name}" for name in ("conversation", "energy", "files", "forward", "load_options", "source")]
LIGHT = [
    *SPEC,
    "models.spec.training",
    "models.energy.pair_blocks",
    "models.families.form",
    "models.forward.host_memory",
    "models.judge.questions",
    "models.loading.fetch",
    "models.text.pair_prompt",
    "models.training.progress",
]
PASSES = [
    *("compare", "compose", "evaluate", "prepare", "report", "score", "weigh"),
    *("export.model", "export.rewards", "heads.features", "heads.fit_heads", "selection.relevance", "selection.select"),
    *("refine.apply", "refine.fit_reward", "refine.fit_rules", "scorers.model.plan", "selection.relate", "train.plan"),
]


def imported(modules: list[str]) -> list[str]:
    """The heavy libraries that a fresh interpreter has loaded after importing these modules of ours."""
    names = ", ".join(f"encore_ray.{module}" for module in modules)
    code = f"import sys, {names}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_telling_what_a_model_is_loads_none_of_what_runs_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    code = (
        "import sys; from encore_ray.config import ScoreOptions; "
        "from encore_ray.passes.scorers.model.plan import model_digest; "
        f"model_digest({str(tmp_path)!r}, ScoreOptions()); "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "modules",
    [LIGHT, [f"passes.{name}" for name in PASSES], ["folder.status", "console.show", "console.inspect"]],
    ids=["models", "passes", "console"],
)
def test_asking_about_models_loads_none_of_what_runs_them(modules: list[str]) -> None:
    assert imported(modules) == []
