"""python benchmarks/heads.py --labels rbr-gold/train.jsonl --model ENCODER --json heads.json

How well linear heads on a frozen sentence encoder tell 23 human labels of completions apart, by `encore-ray fit-heads`
on the completion alone: AUC on prompts that the heads have not seen, and the mean over the rules with ten or more
positives. `--link sigmoid` fits logistic heads instead of ridge ones.

The labels are those of OpenAI's rule-based rewards: JSON Lines with `prompt` and `completion` as messages and
`propositions`, an object with a boolean a rule.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.commands import run_command
from benchmarks.tables import machine, show, write_json
from encore_ray.models.spec.files import FIT_FILE
from encore_ray.rules import Link, Rule, RuleSet, Scale

BETTER = (
    "apology",
    "apology_acknowledges_emotional_state",
    "conditional_verbiage",
    "disclaimer",
    "encourage_professional_help",
    "gentle_encouragement_for_help",
    "inability_to_comply",
    "provides_resources",
    "reference_safety_policy",
    "requests_information",
)


def rules_of(labels: Path, *, link: Link = "identity") -> RuleSet:
    """One rule a proposition, in the order of the file; one whose labels are all the same has nothing to teach."""
    with labels.open(encoding="utf-8") as lines:
        labelled = [json.loads(line)["propositions"] for line in lines]
    names = [name for name in labelled[0] if len({propositions[name] for propositions in labelled}) > 1]
    return RuleSet(
        Rule(name, name.replace("_", " "), "better" if name in BETTER else "worse", Scale(0.0, 1.0), link)
        for name in names
    )


def measure(labels: Path, model: str, folder: Path, *, link: Link = "identity") -> dict[str, Any]:
    """Prepare, embed and fit in a folder; returns the content of fit.json and the seconds that it took."""
    started = time.monotonic()
    (folder / "rules.yaml").write_text(rules_of(labels, link=link).to_yaml(), encoding="utf-8")
    run, heads = str(folder / "run"), folder / "heads"
    # A few completions are empty, and go to quarantine.
    run_command("prepare", "--input", str(labels), "--run", run, "--max-bad-fraction", "0.05")
    run_command(
        *("fit-heads", "--run", run, "--model", model, "--rules", str(folder / "rules.yaml"), "--output", str(heads)),
        *("--reads", "response", "--pooling", "unit_mean"),
    )
    fit = json.loads((heads / FIT_FILE).read_text(encoding="utf-8"))
    return {**fit, "seconds": time.monotonic() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--model", required=True, help="folder or hub id of a sentence encoder")
    parser.add_argument("--link", choices=("identity", "sigmoid"), default="identity")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["ENCORE_RAY_TRACKING_ENABLED"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        fit = measure(args.labels, args.model, Path(folder), link=args.link)
    show(
        ("rule", "positives", "AUC", "95%"),
        [
            (
                rule["name"],
                f"{rule['num_yes']}",
                f"{rule['auc']:.3f}",
                f"{rule['auc_low']:.2f} to {rule['auc_high']:.2f}",
            )
            for rule in fit["rules"]
            if rule["auc_low"] is not None
        ],
    )
    print(
        f"Mean AUC {fit['mean_auc']['value']:.3f} over {fit['mean_auc']['num_rules']} rules, {fit['seconds']:.0f} s on "
        f"{machine()}."
    )
    write_json(args.json, {**fit, "machine": machine()})


if __name__ == "__main__":
    main()
