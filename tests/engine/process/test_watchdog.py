"""A process that hangs is ended with its stacks; one that advances is not."""

import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S

HANGS = {
    "sleeps": "import time\ndef culprit(): time.sleep(60)",
    "holds the lock": "import re\ndef culprit(): re.match(r'(a+)+$', 'a' * 64 + 'b')",
}

WATCHED = """
import os, sys, threading, time
from encore_ray.engine.process.watchdog import Watchdog
from encore_ray.folder.protocol.in_flight import place
dog = Watchdog(1.0)
{body}
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WATCHED.format(body=body)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS.keys())
def test_a_hang_ends_the_process_and_leaves_its_stack(hang: str) -> None:
    ended = run(f"{hang}\nwith dog.watching(): culprit()")
    assert ended.returncode == 1
    assert "Timeout (0:00:01)!" in ended.stderr
    assert "in culprit" in ended.stderr


def test_calls_that_advance_live_and_one_that_hangs_beside_them_is_waited_for() -> None:
    """A second call is in flight for 2.5 s; others finish beside it every .4 s. Alone, it has one more second."""
    ended = run(
        """
def second():
    with dog.watching(): time.sleep(30)
threading.Thread(target=second, daemon=True).start()
for _ in range(6):
    with dog.watching(): time.sleep(.4)
print("advanced", flush=True)
time.sleep(30)
"""
    )
    assert (ended.returncode, ended.stdout) == (1, "advanced\n")
    assert "in second" in ended.stderr


def test_a_call_that_says_that_it_advances_lives_until_it_does_not() -> None:
    ended = run(
        """
from encore_ray.engine.process.watchdog import advance
def culprit():
    for _ in range(6):
        advance()
        time.sleep(.4)
    print("advanced", flush=True)
    time.sleep(30)
advance()
with dog.watching(): culprit()
"""
    )
    assert (ended.returncode, ended.stdout) == (1, "advanced\n")
    assert "in culprit" in ended.stderr


@pytest.mark.parametrize(("hang", "code"), [*zip(HANGS.values(), (4, 1), strict=True)], ids=HANGS.keys())
def test_a_process_ends_in_its_own_way_unless_the_lock_is_held(hang: str, code: int) -> None:
    """Then the timer does it: after 1 s and the 5 that the other way is given."""
    ended = run(f"{hang}\ndog = Watchdog(1.0, lambda: os._exit(4))\nwith dog.watching(): culprit()")
    assert ended.returncode == code
    assert ("Timeout (0:00:06)!" in ended.stderr) is (code == 1)


def test_calls_that_advance_are_left_alone_in_either_way_and_no_thread_waits_for_the_next_one() -> None:
    ended = run(
        """
from encore_ray.engine.process.watchdog import advance
dog = Watchdog(1.0, lambda: os._exit(4))
for _ in range(3):
    with dog.watching():
        for _ in range(3):
            time.sleep(.5)
            advance()
time.sleep(1.5)
print(threading.active_count(), flush=True)
with dog.watching(): time.sleep(30)
"""
    )
    assert (ended.returncode, ended.stdout) == (4, "1\n")


def test_calls_that_nobody_waits_for_end_when_they_advance_and_later_ones_are_others() -> None:
    ended = run(
        """
from encore_ray.engine.process.watchdog import CalledOff, advance
with dog.watching():
    dog.call_off()
    try: advance()
    except CalledOff: print("called off")
advance()
with Watchdog(1.0).watching(): advance()
print("others go on")
"""
    )
    assert (ended.returncode, ended.stdout) == (0, "called off\nothers go on\n")


def test_who_waits_for_ever_leaves_the_timer_to_others() -> None:
    ended = run(
        """
import faulthandler
for forever in (float("inf"), 1e300):
    faulthandler.dump_traceback_later(1.0, exit=True)
    with Watchdog(forever, lambda: os._exit(4)).watching(): pass
time.sleep(30)
"""
    )
    assert (ended.returncode, "Timeout (0:00:01)!" in ended.stderr) == (1, True)


def test_nothing_ends_a_process_between_its_calls() -> None:
    ended = run("with dog.watching(): pass\ntime.sleep(1.5)\nprint(place())")
    assert ended.returncode == 0
    assert "process " in ended.stdout
