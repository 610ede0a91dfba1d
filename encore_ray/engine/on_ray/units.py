"""Units over workers: the one place where a pass hands work to Ray.

A pass gives a picklable factory and its units; it gets back an iterator of the results in the order in which units
finish. Work that holds a model runs on a pool of actors, scheduled by Ray Data: the factory is called once in each.
Work that only reads, counts and writes runs as plain Ray tasks, which start in milliseconds. All that a unit needs
travels as one pickle; large data is read and written by the workers themselves. An error in a worker comes back as
a value and is raised here, with its own type, so that a user's mistake keeps its message and its exit code. So does
the death of a worker: `map_units` tries its unit a few times more, `try_units` hands it to the caller.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import cloudpickle
import ray.data
import ray.exceptions
from ray.data import ActorPoolStrategy, DataContext
from ray.data.exceptions import ExecutionTimeoutError

from encore_ray.engine.on_ray.cluster import unit_timeout_s
from encore_ray.engine.on_ray.memory import NAMED, SHOWN_CHARS, MemoryPatience
from encore_ray.engine.on_ray.worker import UNIT_MARK, Worker, WorkOrder
from encore_ray.engine.outcomes import Lost, open_answer
from encore_ray.engine.pools import ActorPool, TaskPool
from encore_ray.engine.visible import Visible
from encore_ray.errors import ClusterError
from encore_ray.folder.protocol.in_flight import InFlight

Unit = TypeVar("Unit")
Result = TypeVar("Result")

Answers = Generator[bytes, None, None]

TRIES = 4  # of a task in `map_units` whose workers die; a lost node is one such death

_DEATHS = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError)


def map_units(
    factory: Callable[[], Callable[[Unit], Result]],
    units: Sequence[Unit],
    *,
    pool: ActorPool | TaskPool,
    visible: Visible | None = None,
) -> Iterator[Result]:
    """Run the work on every unit; yields results as units finish, in no particular order.

    Args:
        factory: makes the work inside each worker; picklable.
        units: picklable descriptions, one task each.
        pool: actors that keep what the factory made, or plain tasks that make it anew for each unit.
        visible: checked in each worker before its first unit, also on nodes that join later.

    Raises:
        EncoreError: what a worker raised, as it raised it.
        ClusterError: no unit finished for the configured time, or a unit's workers kept dying.
        WorkerError: anything else that a worker raised.
    """
    with contextlib.closing(_outcomes(factory, units, pool, visible, unit_timeout_s(), tries=TRIES)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Lost):
                raise ClusterError(
                    f"{TRIES} workers died of the same unit of work, {str(outcome.unit)[:SHOWN_CHARS]}. Ray says: "
                    f"{outcome.how} If memory ran out, use larger nodes; if the file is damaged, leave it out."
                )
            yield outcome


def try_units(
    factory: Callable[[], Callable[[Unit], Result]],
    units: Sequence[Unit],
    *,
    pool: ActorPool | TaskPool,
    visible: Visible | None,
    in_flight: InFlight,
    timeout_s: float,
) -> Generator[Result | Lost, None, None]:
    """As `map_units`, yet a unit whose worker dies is yielded as Lost, at its first such death.

    Args:
        in_flight: where actors mark their units; cleared first.
        timeout_s: a worker in which no unit finishes for so long ends itself.
    """
    in_flight.clear()
    yield from _outcomes(factory, units, pool, visible, timeout_s, in_flight=in_flight)


def _outcomes(
    factory: Callable[[], Callable[[Unit], Result]],
    units: Sequence[Unit],
    pool: ActorPool | TaskPool,
    visible: Visible | None,
    timeout_s: float,
    *,
    in_flight: InFlight | None = None,
    tries: int = 1,
) -> Generator[Any, None, None]:
    if not units:
        return
    pickles = [cloudpickle.dumps(unit) for unit in units]
    order = WorkOrder(cloudpickle.dumps(factory), visible, timeout_s)
    struck: list[int] = []
    memory = MemoryPatience(lambda: [str(units[number]) for number in _in_work(struck, in_flight)])
    if isinstance(pool, ActorPool):
        answers = _on_actors(replace(order, in_flight=in_flight), pickles, pool)
    else:
        answers = _on_tasks(order, pickles, pool, tries, memory, struck)
    try:
        # Closed now, not when the generator is collected: Ray may be shut down by then.
        with contextlib.closing(answers):
            while (answer := _next(answers, memory)) is not None:
                outcome = open_answer(answer)
                yield Lost(units[outcome.unit], outcome.how) if isinstance(outcome, Lost) else outcome
    except (ExecutionTimeoutError, TimeoutError) as error:
        raise ClusterError(
            "No unit finished for longer than cluster.no_progress_timeout_s; the job is stopped. Raise it if a unit "
            f"honestly takes that long, or make units smaller (prepare.unit_pairs). Ray says: {error}"
        ) from None
    except ray.exceptions.RayError as error:
        raise ClusterError(f"The cluster failed: {error}") from None


def _in_work(struck: Sequence[int], in_flight: InFlight | None) -> list[int]:
    """Units whose tasks were killed for memory; of actors all that are marked as in work."""
    marks = in_flight.standing() if in_flight else []
    return [*struck, *(int(mark.removeprefix(UNIT_MARK)) for mark in marks if mark.startswith(UNIT_MARK))]


def _next(answers: Answers, memory: MemoryPatience) -> bytes | None:
    """The next answer, or None after the last."""
    with memory.watching():
        answer = next(answers, None)
    memory.progressed()
    return answer


def _on_actors(order: WorkOrder, units: list[bytes], pool: ActorPool) -> Answers:
    items = [{"number": number, "unit": unit} for number, unit in enumerate(units)]
    # Ray restarts actors that die, and hands them their units again, without end: marks see to it that this ends.
    answers = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Worker,
        fn_constructor_args=(order,),
        batch_size=1,  # a block is one unit; beside GPUs Ray insists on a number
        batch_format="numpy",
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        compute=ActorPoolStrategy(
            min_size=pool.min_actors,
            max_size=pool.max_actors,
            max_tasks_in_flight_per_actor=pool.calls_at_a_time,
            max_concurrent_calls_per_actor=pool.calls_at_a_time,
            enable_true_multi_threading=pool.calls_at_a_time > 1,
        ),
    )
    for batch in answers.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        yield from batch["answer"]


@ray.remote
def _answer(order: WorkOrder, number: int, unit: bytes) -> bytes:
    return Worker(order).answer(number, unit)


def _on_tasks(
    order: WorkOrder,
    units: list[bytes],
    pool: TaskPool,
    tries: int,
    memory: MemoryPatience,
    struck: list[int],
) -> Answers:
    """`struck` takes the units whose workers were killed for their node's memory, the last one at its end."""
    submit = _answer.options(num_cpus=pool.cpus, max_retries=0, scheduling_strategy="SPREAD")
    shared = ray.put(order)
    timeout_s = DataContext.get_current().execution_no_progress_timeout_s
    waiting = list(reversed(range(len(units))))
    running: dict[Any, int] = {}
    deaths: Counter[int] = Counter()
    # Where this ends early, running tasks are left to finish, or to end with the driver: a task that completes while
    # ray.cancel is on its way can abort the driver in Ray's own code ("Tried to complete task that was not pending").
    while waiting or running:
        while waiting and len(running) < 2 * pool.size:
            number = waiting.pop()
            running[submit.remote(shared, number, units[number])] = number
        finished, _ = ray.wait(list(running), num_returns=1, timeout=timeout_s)
        if not finished:
            raise TimeoutError(f"{len(running)} tasks run or wait for a worker.")
        number = running.pop(finished[0])
        try:
            answer = ray.get(finished[0])
        except ray.exceptions.OutOfMemoryError:  # of its node, whoever used it
            waiting.append(number)
            struck[:] = [*(each for each in struck if each != number), number][-NAMED:]
            memory.pause()
            continue
        except _DEATHS as error:
            deaths[number] += 1
            if deaths[number] < tries:
                waiting.append(number)
                continue
            answer = cloudpickle.dumps(("done", Lost(number, str(error))))
        yield answer
