"""A corpus that brings its ratings along, and the job on it: a run without a model."""

import json
from pathlib import Path

RULES = ("a", "b", "c")


def save_rated(folder: Path, *, num_pairs: int, num_empty: int = 0) -> None:
    """Write rated.jsonl, rules.yaml and job.yaml, whose run folder is `run`.

    Args:
        num_empty: further rows that cannot be used.
    """
    sides = ("chosen", "rejected")
    rows = [
        {
            **{"prompt": f"Question {n}", "chosen": "Yes.", "rejected": "No, never."},
            **{f"{side}__{rule}": (n * 7 + number) % 5 for side in sides for number, rule in enumerate(RULES)},
        }
        for n in range(num_pairs)
    ]
    rows += [{**rows[0], "prompt": ""} for _ in range(num_empty)]
    (folder / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rule = "- {{name: {0}, text: {0}, higher_is: better, scale: {{levels: [0, 1, 2, 3, 4]}}}}\n"
    (folder / "rules.yaml").write_text("".join(rule.format(name) for name in RULES))
    (folder / "job.yaml").write_text("inputs: rated.jsonl\nrules: rules.yaml\nrun: run\n")
