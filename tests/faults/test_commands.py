"""A job that is killed, stopped and hindered again and again comes to the same tables with the same command.

`make faults` is the long form.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.plans import CommandPlan, Fault
from tests.faults.runs import Reference, Setup, judge, litter, run_command
from tests.passes import jobs

# One command after the other: what its workers survive, and last what ends it.
PLANS = (
    [
        Fault(0, "worker", "convert", "after", 2, "kill"),
        Fault(1, "worker", "write pairs/commits/*", "before", 3, "tear"),
        Fault(2, "driver", "replace pairs/_SUCCESS", "before", 1, "kill"),  # between the last commit and the seal
    ],
    [
        Fault(3, "worker", "commit of score", "before", 2, "zombie", seconds=3.0),
        Fault(4, "worker", "link scores/commits/*", "before", 7, "kill_driver"),  # between data and commit
    ],
    [
        Fault(5, "worker", "score", "before", 3, "slow", seconds=0.5),
        Fault(6, "worker", "score", "before", 6, "interrupt"),
    ],
    [
        Fault(7, "worker", "write rewards/data/*", "before", 3, "kill_later", seconds=0.02),
        Fault(8, "worker", "compose", "after", 9, "kill"),
    ],
)
CODES = [-9, -9, 130, 0]


@pytest.mark.timeout(600)
def test_one_fault_after_another_comes_to_the_same(setup: Setup, reference: Reference) -> None:
    run = setup.folder / "disturbed"
    commits: dict[str, int] = {}
    for number, (faults, code) in enumerate(zip(PLANS, CODES, strict=True)):
        plan = CommandPlan(list(faults))
        ended = run_command(setup, "disturbed", plan, folder=setup.folder / f"disturbed-{number}")
        assert sorted(ended.fired, key=lambda fault: fault.number) == faults, ended.output
        assert ended.code == code, ended.output
        assert not ended.problems, (ended.problems, ended.output)
        if code == 130:
            said = " ".join(ended.output.split())
            assert "units committed" in said and "The same command resumes it." in said
        kept = jobs.commit_times(run, "scores")
        assert kept.items() >= commits.items()  # finished units are not redone
        commits = kept
    verdict = judge(run, reference)
    assert verdict.survived, verdict


def test_the_judge_finds_lost_doubled_and_reordered_rows_and_what_lies_about(
    setup: Setup, reference: Reference, tmp_path: Path
) -> None:
    assert judge(reference.run, reference).survived
    for name in ("lost", "doubled", "damaged", "reordered", "littered", "weighed"):
        shutil.copytree(reference.run, tmp_path / name)
    data = sorted((tmp_path / "lost" / "scores" / "data").iterdir())
    data[0].unlink()
    verdict = judge(tmp_path / "lost", reference)
    assert (verdict.lost, verdict.doubled, verdict.survived) == (4, 0, False)
    data = sorted((tmp_path / "doubled" / "rewards" / "data").iterdir())
    shutil.copy(data[0], data[0].with_name("u-00000000.parquet"))
    verdict = judge(tmp_path / "doubled", reference)
    assert (verdict.lost, verdict.doubled, verdict.survived) == (0, 4, False)
    data = sorted((tmp_path / "damaged" / "pairs" / "data").iterdir())
    data[0].write_bytes(data[1].read_bytes())
    assert not judge(tmp_path / "damaged", reference).survived
    manifest = tmp_path / "reordered" / "scores" / "manifest.parquet"
    table = pq.read_table(manifest)
    pq.write_table(table.take(pa.array(range(table.num_rows)[::-1])), manifest)
    (problem,) = judge(tmp_path / "reordered", reference).problems
    assert "scores/manifest.parquet is not what _SUCCESS seals" in problem
    (tmp_path / "littered" / "scores" / "commits" / ".tmp-1").write_text("")
    assert litter(tmp_path / "littered") == ["scores/commits/.tmp-1 is left over"]
    (tmp_path / "weighed" / "weights.json").write_text("{}")
    assert judge(tmp_path / "weighed", reference).problems == ["weights.json differs"]
