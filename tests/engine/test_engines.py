"""Who does a pass: this process where the work is small, Ray where it is not, what was asked for where it was."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from encore_ray.config import ClusterOptions
from encore_ray.engine.engines import LOCAL_NUMBERS, Engines
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.schema import NONCE_FILE
from encore_ray.storage import Folder

SMALL = LOCAL_NUMBERS
LARGE = LOCAL_NUMBERS + 1


@dataclass(frozen=True)
class Offered:
    """A run folder, and how its engines are opened."""

    run: Folder

    def engines(self, **options: object) -> Engines:
        return Engines(ClusterOptions(no_progress_timeout_s=120, **options), self.run)  # type: ignore[arg-type]

    def chosen(self, numbers: int | None, *, in_flight: InFlight | None = None, **options: object) -> str:
        with self.engines(**options) as engines:
            return engines.choose(numbers=numbers, in_flight=in_flight).name


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offered:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return Offered(Folder(str(tmp_path / "run")))


def test_a_small_pass_is_done_here_at_once(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encore_ray.engine.on_ray.cluster.cluster", None)  # whoever starts Ray fails
    assert offered.chosen(0) == offered.chosen(SMALL) == "local"
    assert not offered.run.exists()  # nothing is written to choose


@pytest.mark.parametrize("numbers", [None, 0, LARGE])
def test_who_is_asked_for_local_gets_it_for_any_pass(offered: Offered, numbers: int | None) -> None:
    assert offered.chosen(numbers, engine="local", address="ray.example:6379") == "local"


def test_a_hang_ends_the_process_of_a_command_and_nobody_elses(offered: Offered) -> None:
    options = ClusterOptions(no_progress_timeout_s=120)
    with Engines(options, offered.run, ends_process=True) as engines:
        assert engines.choose(numbers=0).unit_timeout_s == options.unit_timeout == 60
    with Engines(options, offered.run) as engines:
        assert engines.choose(numbers=0).unit_timeout_s == float("inf")


@pytest.mark.usefixtures("ray_engine")
def test_models_large_tables_named_clusters_and_who_asks_for_ray_get_it(
    offered: Offered, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offered.chosen(None) == offered.chosen(LARGE) == "ray"
    assert offered.chosen(0, engine="ray") == "ray"
    assert offered.chosen(0, address="auto") == "ray"
    monkeypatch.setenv("RAY_ADDRESS", "ray.example:6379")
    assert offered.chosen(0) == "ray"
    assert offered.chosen(0, engine="local") == "local"


@pytest.mark.usefixtures("ray_engine")
def test_units_that_ended_a_process_before_are_handed_to_ray(offered: Offered) -> None:
    in_flight = InFlight(offered.run.child("scores/attempts"))
    assert offered.chosen(0, in_flight=in_flight) == "local"
    in_flight.begin("unit-00000003")
    assert offered.chosen(0, in_flight=in_flight) == "ray"
    assert offered.chosen(0, in_flight=in_flight, engine="local") == "local"
    in_flight.clear()
    assert offered.chosen(0, in_flight=in_flight) == "local"


def test_what_needs_ray_is_refused_where_it_was_asked_to_do_without(offered: Offered) -> None:
    with offered.engines(engine="local") as engines, pytest.raises(ConfigError, match=r"needs Ray.*--engine"):
        engines.ray()


@pytest.mark.usefixtures("ray_engine")
def test_a_cluster_is_joined_once_and_its_nodes_see_what_each_pass_reads(offered: Offered, tmp_path: Path) -> None:
    read = [str(tmp_path / name) for name in ("corpus.jsonl", "model")]
    for path in read:
        Path(path).touch()
    with offered.engines() as engines:
        first = engines.ray(read[:1])
        assert engines.ray(read[:1]) == first
        both = engines.ray(read[1:])
        assert isinstance(first, RayEngine) and isinstance(both, RayEngine)
        assert first.resources is both.resources is engines.resources
        assert both.visible is not None and both.visible.paths == tuple(read)
        assert offered.run.exists(NONCE_FILE)
        with pytest.raises(ClusterError, match="does not see"):
            engines.ray([str(tmp_path / "missing")])
    assert not offered.run.exists(NONCE_FILE)
