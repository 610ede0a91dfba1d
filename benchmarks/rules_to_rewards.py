"""python benchmarks/rules_to_rewards.py --json rules_to_rewards.json

From ratings to rewards on planted text corpora, where the truth is known: heads and a rule adapter are trained on the
ratings of one corpus and evaluated on another, by the commands that a user would type.

- Heads: does a trained model's score give each rule the entropy that its planted ratings have? Spearman's correlation
  over the ten rules, and ENCORE by both.
- Adapter: how often the labels agree with equal weights inside the rules that a trained adapter selects, against as
  many at random, those of the largest discrepancy, all rules (uniform), ENCORE, and a Bradley-Terry reward model
  trained on the adaptively labelled pairs.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

import yaml

from benchmarks.commands import run_command
from benchmarks.tables import machine, show, write_json
from encore_ray.composition.inference.agreement import correlate
from encore_ray.corpora.planted.corpus import PlantedText, planted_text
from encore_ray.models.training.demo_model import build_backbone, build_tokenizer
from encore_ray.schema import chosen_column, rejected_column

World = Literal["noise", "signal"]
WORLDS: tuple[World, ...] = ("noise", "signal")
TRAINING_SEED, SEED = 1, 2
UNIT_PAIRS = 256
SHOWN = ("selected", "random_selected", "max_discrepancy", "encore_selected", "uniform", "encore")
TRAINING = {"pooling": "mean", "batch_rows": 32, "learning_rate": 3e-3, "evaluate_every": 48}


def measure(world: World, folder: Path, *, num_pairs: int, num_rules: int, epochs: int) -> dict[str, Any]:
    """Train on one corpus, judge on another; the figures of a world."""
    corpora = {"rated": planted_text(num_pairs, seed=TRAINING_SEED, world=world)}
    corpora["truth"] = planted_text(num_pairs, seed=SEED, world=world)
    for name, corpus in corpora.items():
        write_corpus(folder, name, corpus)
    (folder / "rules.yaml").write_text(corpora["rated"].world.rules.to_yaml(), encoding="utf-8")
    write_base(folder / "base", corpora["rated"])
    (folder / "chain.yaml").write_text(yaml.safe_dump({"steps": steps(num_rules, epochs)}), encoding="utf-8")
    run_command("chain", str(folder / "chain.yaml"))
    weights = {name: read(folder / name / "weights.json")["rules"] for name in ("truth", "scored")}
    entropies = [[rule["entropy"] for rule in found] for found in weights.values()]
    compared = read(folder / "truth" / "comparison.json")
    lines = {line["name"]: line["heldout"] for line in (*compared["schemes"], *compared["beside"])}
    return {
        "spearman": correlate(*entropies).spearman,
        "scored_encore": read(folder / "scored" / "metrics.json")["overall"]["accuracy"],
        "true_encore": read(folder / "truth" / "metrics.json")["overall"]["accuracy"],
        "heldout": {name: lines[name] for name in (*SHOWN, "reward_model")},
    }


def steps(num_rules: int, epochs: int) -> list[dict[str, Any]]:
    """The chain of commands, on corpora, jobs and a base model that lie beside it."""
    train = {"run": "rated", "model": "base", "epochs": epochs, **TRAINING}
    return [
        {"run rated.yaml": {}},
        {"run truth.yaml": {}},
        {"train": {**train, "rules": "rules.yaml", "labels": "rated/scores", "output": "heads"}},
        {"prepare": {"input": "truth.jsonl", "run": "scored", "unit_pairs": UNIT_PAIRS}},
        {"score": {"run": "scored", "model": "heads"}},
        {"weigh": {"run": "scored"}},
        {"compose": {"run": "scored"}},
        {"evaluate": {"run": "scored"}},
        {"select": {"run": "rated", "num_rules": num_rules}},
        {"train": {**train, "objective": "multilabel", "output": "adapter"}},
        {"select": {"run": "truth", "adapter": "adapter", "num_rules": num_rules}},
        {"train": {**train, "objective": "bradley-terry", "labels": "selection", "output": "reward-model"}},
        {"prepare": {"input": "truth.jsonl", "run": "reward", "unit_pairs": UNIT_PAIRS}},
        {"score": {"run": "reward", "model": "reward-model"}},
        {"weigh": {"run": "reward", "scheme": "uniform", "clip": True}},
        {"compose": {"run": "reward"}},
        {"compare": {"run": "truth", "beside": {"reward_model": "reward/rewards"}}},
    ]


def write_corpus(folder: Path, name: str, corpus: PlantedText) -> None:
    """Pairs with their ratings, and the job that takes these as scores."""
    names = corpus.world.rules.names
    sides = (corpus.world.chosen_NK.tolist(), corpus.world.rejected_NK.tolist())
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        for row, chosen_K, rejected_K in zip(corpus.rows, *sides, strict=True):
            ratings = {chosen_column(rule): rating for rule, rating in zip(names, chosen_K, strict=True)}
            ratings |= {rejected_column(rule): rating for rule, rating in zip(names, rejected_K, strict=True)}
            file.write(json.dumps({**row, **ratings}) + "\n")
    job = {"inputs": [f"{name}.jsonl"], "rules": "rules.yaml", "run": name, "prepare": {"unit_pairs": UNIT_PAIRS}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")


def write_base(folder: Path, corpus: PlantedText) -> None:
    """A small Llama with random weights, and a tokenizer learnt from the corpus."""
    tokenizer = build_tokenizer(row[key] for row in corpus.rows for key in ("prompt", "chosen", "rejected"))
    build_backbone(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3072, help="of each corpus (default: %(default)s)")
    parser.add_argument("--num-rules", type=int, default=3, help="selected a pair (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="of each training (default: %(default)s)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["ENCORE_RAY_TRACKING_ENABLED"] = "false"
    found: dict[str, Any] = {"machine": machine(), **{key: value for key, value in vars(args).items() if key != "json"}}
    for world in WORLDS:
        with tempfile.TemporaryDirectory() as folder:
            found[world] = measure(
                world, Path(folder), num_pairs=args.pairs, num_rules=args.num_rules, epochs=args.epochs
            )
    names = (*SHOWN, "reward_model")
    rows = [["Spearman, learned and planted entropies", *(f"{found[world]['spearman']:.2f}" for world in WORLDS)]]
    for name in names:
        of_worlds = [found[world]["heldout"][name] for world in WORLDS]
        rows.append([f"accuracy, {name}", *(_interval(stats) for stats in of_worlds)])
    show(("", *WORLDS), rows)
    write_json(args.json, found)


def _interval(stats: dict[str, Any]) -> str:
    return f"{stats['accuracy']:.3f} ({stats['accuracy_low']:.3f} to {stats['accuracy_high']:.3f})"


if __name__ == "__main__":
    main()
