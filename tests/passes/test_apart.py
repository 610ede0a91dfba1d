"""Long work in a process of its own: what it says, what it raises, and what becomes of it when the process ends."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ray.data import DataContext

from encore_ray.errors import ClusterError, DataError
from encore_ray.passes.apart import DoApart
from encore_ray.passes.nodes import Visible
from encore_ray.passes.pools import Crew
from encore_ray.storage import Folder
from tests.passes.long_work import counts_to_three, dies, finds_bad_data, says_nothing

if TYPE_CHECKING:
    from encore_ray.passes.pools import Resources

APART = DoApart(Crew(1, 0.5, 0.0), tries=2)


def test_work_whose_process_dies_is_begun_again_and_all_it_says_is_heard_in_order(
    have: "Resources", tmp_path: Path
) -> None:
    heard: list[Any] = []
    assert APART(partial(counts_to_three, tmp_path / "died"), heard.append) == "three"
    assert (tmp_path / "died").exists() and heard in ([0, 1, 2], [0, 0, 1, 2], [0, 1, 0, 1, 2])


def test_work_that_kills_its_processes_ends_with_their_number(have: "Resources") -> None:
    with pytest.raises(ClusterError, match=r"^2 workers died of the same work\. Ray says at last: .*larger nodes"):
        APART(dies, lambda message: None)


def test_an_error_keeps_its_type_and_its_words(have: "Resources") -> None:
    with pytest.raises(DataError, match=r"^row 7 is bad$"):
        APART(finds_bad_data, lambda message: None)


def test_a_node_that_does_not_see_the_run_is_refused(have: "Resources", tmp_path: Path) -> None:
    blind = DoApart(APART.crew, Visible(Folder(str(tmp_path / "elsewhere")), "nonce"))
    with pytest.raises(ClusterError, match="does not see"):
        blind(partial(counts_to_three, None), lambda message: None)


def test_silence_ends_it(have: "Resources", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataContext.get_current(), "execution_no_progress_timeout_s", 2.0)
    with pytest.raises(ClusterError, match=r"told of no progress for 2 s \(cluster.no_progress_timeout_s\)"):
        APART(says_nothing, lambda message: None)
