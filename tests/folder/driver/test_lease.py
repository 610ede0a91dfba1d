"""A lease on a remote folder: one holder at most, who keeps it through failures, and loses it to who finds it gone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.cli import main
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.folder.driver import lock
from encore_ray.folder.driver.entries import LEASE_DIR, Entry, LeaseFiles
from encore_ray.folder.driver.lease import SLACK, Lease, Watch
from encore_ray.folder.driver.lock import driver_of, only_driver, require_driver
from encore_ray.folder.driver.process import Driver
from encore_ray.folder.pass_table import PassTable
from encore_ray.storage import Folder
from tests.folder.driver.holding import holding
from tests.object_store import FaultProxy, Store, always, fault_proxy, random_faults

RUN = Folder("s3://runs/held")
TERM_S = 4.0
ELSEWHERE = Driver("elsewhere", "another boot", 4711, 0, 1_800_000_000.0)  # 2027-01-15 08:00:00 UTC

# Holds the folder as a command does, and ends as one: with the code and the words of its error.
HOLDER = """
import sys
from encore_ray.errors import EncoreError
from encore_ray.folder.driver import lock
from encore_ray.storage import Folder

lock.TERM_S = float(sys.argv[2])
try:
    with lock.only_driver(Folder(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except EncoreError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""

pytestmark = pytest.mark.usefixtures("s3")


@pytest.fixture(autouse=True)
def short_term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TERM_S", TERM_S)


@pytest.fixture
def proxy(s3: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands between this process, or those that it starts, and the store; it fails no request before it is told to."""
    with fault_proxy(s3, lambda request: None) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield between


@contextlib.contextmanager
def holder(run: Folder = RUN, *, endpoint: str = "", term_s: float = TERM_S) -> "Iterator[subprocess.Popen[str]]":
    """A process that holds a folder until its standard input ends."""
    environment = {**os.environ, **({"AWS_ENDPOINT_URL": endpoint, "AWS_MAX_ATTEMPTS": "2"} if endpoint else {})}
    with holding(HOLDER, run.uri, str(term_s), environment=environment) as process:
        yield process


@contextlib.contextmanager
def held_elsewhere(run: Folder = RUN) -> Iterator[Lease]:
    """A lease that a driver on another machine holds and renews."""
    lease = Lease(run, ELSEWHERE, on_loss=lambda: None, term_s=TERM_S)
    assert lease.take(1)
    try:
        yield lease
    finally:
        lease.release()


def take(run: Folder = RUN, *, timeout_s: float = 0.0) -> float:
    """Seconds until the folder was held; it is let go again."""
    started = time.monotonic()
    with only_driver(run, timeout_s=timeout_s):
        return time.monotonic() - started


# Who holds it


def test_a_second_driver_is_refused_and_told_who_the_first_is() -> None:
    with held_elsewhere(), pytest.raises(ConfigError) as refused:
        take()
    said = str(refused.value)
    assert f"Another process works on {RUN.uri}: process 4711 on elsewhere, since 2027-01-15 08:00:00 UTC" in said
    assert f", last renewal {time.strftime('%Y-', time.gmtime())}" in said and "cluster.lock_timeout_s" in said


def test_one_that_is_to_wait_goes_on_once_the_first_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    with holder() as first, ThreadPoolExecutor(1) as pool:
        second = pool.submit(take, timeout_s=60)
        while not any("It is: waiting up to" in message for message in caplog.messages):
            time.sleep(0.05)
        assert first.stdin is not None
        first.stdin.close()
        assert second.result(timeout=30) < 30
        assert first.wait(30) == 0
    assert f"{RUN.uri} is held by process {first.pid} on" in caplog.text


def test_one_that_waited_long_enough_is_refused() -> None:
    started = time.monotonic()
    with held_elsewhere(), pytest.raises(ConfigError, match="Another process works on"):
        take(timeout_s=2 * TERM_S)
    assert 2 * TERM_S <= time.monotonic() - started < 4 * TERM_S


def test_a_driver_that_ended_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        take()
    assert not caplog.messages


def test_a_driver_killed_on_this_machine_is_known_to_be_gone_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with holder(term_s=600) as first:
        first.kill()  # and not waited for: only its exit code is left of it
        while not (latest := LeaseFiles.of_run(RUN).latest()) or not latest.is_free:
            time.sleep(0.01)
        assert take() < 10
    assert "Taking s3://runs/held over from process" in caplog.text


def test_a_driver_gone_on_another_machine_is_taken_over_from_after_a_term(caplog: pytest.LogCaptureFixture) -> None:
    assert LeaseFiles.of_run(RUN).make(Entry(7, "of nobody now", ELSEWHERE, 1_800_000_000.0, TERM_S))
    assert TERM_S * SLACK <= take() < 5 * TERM_S
    assert "Waiting up to 4 s to see whether it is still there" in caplog.text
    assert "Taking s3://runs/held over from process 4711 on elsewhere" in caplog.text


def test_a_file_that_cannot_be_read_counts_as_held(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encore_ray.folder.driver.entries.Entry.term_s", TERM_S)
    for number, content in enumerate((b"", b"[]", b"\xff", b'{"holder": "x", "driver": null}'), start=1):
        s3.client.put_object(Bucket="runs", Key=f"held/{LEASE_DIR}/{number:012d}", Body=content)
        entry = LeaseFiles.of_run(RUN).latest()
        assert entry is not None and not entry.is_free and "a process that cannot be told" in str(entry)


# Keeping it


def test_a_lease_outlasts_failing_requests_and_an_outage_of_half_a_term(proxy: FaultProxy) -> None:
    with held_elsewhere() as lease:
        proxy.plan = random_faults(seed=5, share=0.25)
        time.sleep(TERM_S)
        proxy.plan = always("drop")
        time.sleep(TERM_S / 2)
        proxy.plan = lambda request: None
        with pytest.raises(ConfigError, match="Another process works on"):
            take()
        lease.require()
    assert proxy.faults["drop"] and len(proxy.faults) > 1


def test_an_outage_that_all_share_is_not_taken_for_the_silence_of_the_holder() -> None:
    watch, entry = Watch(), Entry(1, "held", ELSEWHERE, term_s=TERM_S)
    watch.look(entry)
    time.sleep(0.3 * TERM_S)  # in which nobody reached the store
    watch.look(entry)
    assert watch.silent_s == 2 * watch.pause_s == pytest.approx(2 * TERM_S / 20)
    assert not watch.is_alive
    watch.look(Entry(2, "held", ELSEWHERE, term_s=TERM_S))
    assert watch.silent_s == 0 and watch.is_alive


def test_a_renewal_is_three_requests_and_there_are_four_a_term(proxy: FaultProxy) -> None:
    with held_elsewhere():
        before, started = proxy.num_requests, time.monotonic()
        time.sleep(2.5 * TERM_S)
        renewals = (time.monotonic() - started) / (TERM_S / 4)
        assert 0.5 * 3 * renewals < proxy.num_requests - before <= 3 * (renewals + 1)


def test_nothing_is_left_of_a_lease_but_one_file_that_says_it_is_free(s3: Store) -> None:
    with only_driver(RUN):
        time.sleep(TERM_S)
        assert len(s3.objects("runs")) <= 2  # while one replaces the other
    (key,) = s3.objects("runs")
    latest = LeaseFiles.of_run(RUN).latest()
    assert latest is not None and latest.holder == "" and key.endswith(f"{latest.number:012d}")


def test_a_driver_that_is_asked_to_end_lets_go_at_once(s3: Store) -> None:
    code = """
import sys, time
from encore_ray.config import ClusterOptions, TrackingOptions
from encore_ray.run import hold_run
from encore_ray.storage import Folder
cluster, tracking = ClusterOptions(engine="local"), TrackingOptions(enabled=False)
with hold_run(Folder(sys.argv[1]), cluster=cluster, tracking=tracking, params={}):
    print("held", flush=True)
    time.sleep(600)
"""
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([sys.executable, "-c", code, RUN.uri], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert driver_of(RUN) is not None
        process.send_signal(number)
        process.communicate(timeout=60)
        latest = LeaseFiles.of_run(RUN).latest()
        assert latest is not None and latest.holder == ""


# Losing it


def loses(process: "subprocess.Popen[str]") -> None:
    """Wait for the end of a driver whose lease another one took."""
    assert process.stdout is not None
    said = process.stdout.read()
    assert process.wait(60) == ClusterError.exit_code
    assert f"cut off from {RUN.uri}, or stood still, for more than 4 s, and another one took over: process " in said
    assert f"process {os.getpid()} on {os.uname().nodename}, since " in said


def test_a_driver_that_stood_still_ends_when_it_finds_another_in_its_place() -> None:
    with holder() as first:
        first.send_signal(signal.SIGSTOP)
        with only_driver(RUN):
            first.send_signal(signal.SIGCONT)
            loses(first)
            require_driver()
        assert driver_of(RUN) is None


def test_a_driver_that_was_cut_off_ends_when_it_reaches_the_store_again(s3: Store) -> None:
    with fault_proxy(s3, lambda request: None) as between, holder(endpoint=between.endpoint) as first:
        between.plan = always("drop")
        with only_driver(RUN):
            between.plan = lambda request: None
            loses(first)
            require_driver()


def test_a_driver_that_was_cut_off_and_not_replaced_goes_on(s3: Store) -> None:
    with fault_proxy(s3, lambda request: None) as between, holder(endpoint=between.endpoint) as first:
        between.plan = always("drop")
        time.sleep(1.5 * TERM_S)
        between.plan = lambda request: None
        with pytest.raises(ConfigError, match=f"process {first.pid} on"):
            take()
        assert first.stdin is not None
        first.stdin.close()
        assert first.wait(30) == 0


def test_a_driver_that_was_replaced_deletes_nothing(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, where no signal comes: what would delete asks first."""
    table = PassTable(RUN.child("scores"), RUN, "score").open({"model": "m"})
    monkeypatch.setattr(Lease, "_keep", lambda self: None)  # it stands still, and is not told

    def work() -> None:
        with only_driver(RUN):
            assert (latest := LeaseFiles.of_run(RUN).latest()) is not None
            assert LeaseFiles.of_run(RUN).make(Entry(latest.number + 1, "another", ELSEWHERE, time.time(), TERM_S))
            s3.client.put_object(Bucket="runs", Key="held/scores/data/u-0123abcd.parquet", Body=b"the other's")
            time.sleep(0.6 * TERM_S)
            for deletes in (lambda: table.seal([], {}, {}), table.start_over, table.outdate):
                with pytest.raises(ClusterError, match="another one took over: process 4711 on elsewhere"):
                    deletes()

    with ThreadPoolExecutor(1) as pool, pytest.raises(ClusterError, match="another one took over"):
        pool.submit(work).result()
    assert s3.objects("runs", "held/scores/data/")
    assert driver_of(RUN) is not None  # it took nothing from the other at its end


# What is told


def test_status_tells_who_is_at_work(s3: Store, capsys: pytest.CaptureFixture[str]) -> None:
    s3.client.put_object(Bucket="runs", Key="held/config.yaml", Body=b"{}")

    def status() -> str:
        with pytest.raises(SystemExit) as ended:
            main(["status", RUN.uri])
        assert not ended.value.code
        return capsys.readouterr().out

    with held_elsewhere():
        assert "At work: process 4711 on elsewhere, since 2027-01-15 08:00:00 UTC, last renewal 2" in status()
    assert "No command works on it now." in status()
    with holder() as first:
        assert f"At work: process {first.pid} on {os.uname().nodename}, since" in status()
        first.kill()
        first.wait()
        assert "No command works on it now." in status()


# Laws


def test_of_many_that_try_at_once_one_holds_it() -> None:
    leases = [Lease(RUN, ELSEWHERE, on_loss=lambda: None, term_s=TERM_S) for _ in range(8)]
    barrier = threading.Barrier(len(leases))

    def contend(lease: Lease) -> bool:
        barrier.wait()
        return lease.take(1)

    with ThreadPoolExecutor(len(leases)) as pool:
        holds = list(pool.map(contend, leases))
    assert sum(holds) == 1
    leases[holds.index(True)].release()


class Steps:
    """Lets threads reach a folder one at a time, in an order that is drawn."""

    def __init__(self, order: list[int]):
        self._order = order
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._running = 0
        self._turn: int | None = None
        self.errors: list[Exception] = []

    def run(self, works: list[Callable[[], None]]) -> None:
        threads = [threading.Thread(target=self._work, args=(work,), name=str(i)) for i, work in enumerate(works)]
        self._running = len(threads)
        for thread in threads:
            thread.start()
        drawn = iter(self._order)
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._running == 0)
                if not self._waiting:
                    break
                ready = sorted(self._waiting)
                self._turn = ready[next(drawn, 0) % len(ready)]
                self._waiting.discard(self._turn)
                self._running = 1
                self._changed.notify_all()
        for thread in threads:
            thread.join()

    def await_turn(self) -> None:
        index = int(threading.current_thread().name)
        with self._changed:
            self._waiting.add(index)
            self._running -= 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == index)
            self._turn = None

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.errors.append(error)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()


class SteppedFolder(Folder):
    """A folder whose every request waits for its turn."""

    steps: Steps

    def names(self, name: str = "") -> list[str]:
        self.steps.await_turn()
        return super().names(name)

    def create_once(self, name: str, data: bytes) -> bool:
        self.steps.await_turn()
        return super().create_once(name, data)

    def delete(self, name: str) -> None:
        self.steps.await_turn()
        super().delete(name)

    def read_bytes(self, name: str) -> bytes:
        self.steps.await_turn()
        return super().read_bytes(name)


@settings(max_examples=50)
@given(order=st.lists(st.integers(0, 5), max_size=100))
def test_no_number_counts_twice_in_whatever_order_requests_meet(
    order: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Four drivers who always find the other's lease over: the hardest that can be asked of the files."""
    folder = SteppedFolder(str(tmp_path_factory.mktemp("lease")))
    object.__setattr__(folder, "steps", Steps(order))
    files, made = LeaseFiles(folder), []

    def contend(holder: str) -> Callable[[], None]:
        def work() -> None:
            for _ in range(3):
                latest = files.latest()
                number = latest.number + 1 if latest else 1
                if files.make(Entry(number, holder, ELSEWHERE)):
                    made.append(number)

        return work

    folder.steps.run([contend(str(index)) for index in range(4)])
    assert not folder.steps.errors
    assert len(made) == len(set(made)) and made
    latest = LeaseFiles(Folder(folder.uri)).latest()
    assert latest is not None and latest.number == max(made)
