"""The pages, followed by the letter: every command in their order, in one folder, on the demo at a smaller size.

Commands work in this process, and what a page says to save is saved. What takes a cluster, a server or minutes is left
out by name below. docs/refinement.md takes a corpus of a larger size: tests/passes/refine.
"""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from encore_ray.cli import main
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.models.forward.heads import LinearHeads, regressed_rule
from encore_ray.models.loading.saving import save_multihead
from encore_ray.models.training.demo_model import build_backbone, build_tokenizer
from encore_ray.rules import RuleSet
from tests.docs.pages import DOCS, README, blocks, lines_of, text_of, words_of
from tests.models import judges

BEHIND_README = ("guide", "python", "rules", "judges", "selection", "training")  # in an order that needs nothing else
LEFT_OUT = {  # lines by their beginning, and why
    "make": "demo is run at another size, below",
    ". .venv/bin/activate": "these commands have an environment",
    "mlflow ui": "serves until it is ended",
    "encore-ray track": "nothing is tracked in tests: tests/tracking",
    "encore-ray train": "needs Ray: tests/passes/train",
    "encore-ray chain jobs/train-8b.yaml": "trains eight billion weights: tests/test_jobs.py",
    "encore-ray select --run runs/new --adapter": "of a model that is trained: tests/passes/selection",
    "encore-ray rate --run runs/served": "asks a server: tests/passes/scorers",
}
UNIT_PAIRS = 32
PAIRS, MIDDLE, SPREAD = 64, 5.0, 1.5


def saved_as(page: Path, content: str) -> str | None:
    """The name under which a page says to save a block: the last one in the paragraph before it."""
    before = text_of(page).partition(content)[0].rpartition("```")[0].rstrip().rpartition("\n\n")[2]
    named = re.findall(r"Save this as\s+`([^`]+)`", before)
    return named[-1] if named else None


def save_demo_model(folder: Path) -> None:
    """A model as the demo's, untrained: each rule goes by a direction of its own in which its embeddings differ."""
    planted = planted_text(64, seed=1)
    tok = build_tokenizer(row["chosen"] for row in planted.rows)
    backbone = build_backbone(tok, seed=0)
    with torch.no_grad():
        ids = [tok(row["chosen"], return_tensors="pt")["input_ids"] for row in planted.rows]
        e_ND = torch.cat([backbone(input_ids=each).last_hidden_state.mean(dim=1) for each in ids])
    mean_D = e_ND.mean(dim=0)
    _, deviation_K, axis_KD = torch.pca_lowrank(e_ND, q=len(planted.world.rules))
    weight_KD = SPREAD * axis_KD.T * len(e_ND) ** 0.5 / deviation_K[:, None]
    heads = LinearHeads(weight_KD, MIDDLE - weight_KD @ mean_D)
    rules = RuleSet(map(regressed_rule, planted.world.rules))
    save_multihead(folder, backbone=backbone, tokenizer=tok, heads=heads, rules=rules, pooling="mean")


def follow(line: str, *, done: list[str], said: pytest.CaptureFixture[str]) -> None:
    """Run a command line as it stands; it must end well, with something to do next."""
    if reason := next((begin for begin in LEFT_OUT if line.startswith(begin)), None):
        done.append(reason)
        return
    assert line.startswith("encore-ray "), line
    _, _, target = line.partition(" > ")
    with contextlib.ExitStack() as stack:
        if target:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(target, "w", encoding="utf-8"))))
        with pytest.raises(SystemExit) as ended:
            main(words_of(line))
    assert ended.value.code == 0, line
    told = said.readouterr()
    assert "Next, " in told.out + told.err, line


@pytest.mark.timeout(900)
def test_the_pages_can_be_followed_from_the_first_line_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENCORE_RAY_PREPARE_UNIT_PAIRS", str(UNIT_PAIRS))
    judges.save_judge(tmp_path / "models" / "judge", max_position_embeddings=4096)
    save_demo_model(tmp_path / "demo-run" / "model")
    follow(f"encore-ray demo --pairs {PAIRS}", done=[], said=capsys)
    left_out: list[str] = []
    names: dict[str, Any] = {"__name__": "__main__"}
    for page in [README, *(DOCS / f"{name}.md" for name in BEHIND_README)]:
        for language, content in blocks(page):
            if language == "bash":
                for line in lines_of(content):
                    follow(line, done=left_out, said=capsys)
            elif language == "python":
                exec(compile(content, str(page), "exec"), names)
            elif name := saved_as(page, content):
                Path(name).write_text(content, encoding="utf-8")
    assert set(left_out) == {*LEFT_OUT}
