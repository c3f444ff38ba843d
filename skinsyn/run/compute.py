"""On what engine: one executor for all fan-out, from one process to a cluster, with progress that a log can bear."""

import atexit
import contextlib
import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Executor, Future, as_completed
from typing import Any

from tqdm.auto import tqdm

__all__ = ["TaskError", "fan_out", "get_executor", "progress", "set_threads", "warm_up"]

# For a process that is to start: let glibc keep freed memory. PyTorch asks for it again in the next layer, and Dask's
# own setting, to hand it back at once, nearly doubled the time of a training step. glibc ignores an MMAP of over 32
# MiB.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}


_SHARED: dict[tuple, Any] = {}  # of a notebook: at most one set of workers
_LOCK = threading.Lock()
SLURM_EVERY = 15.0  # seconds between two looks at SLURM's queue


class TaskError(RuntimeError):
    """A task failed; the message names its parameters."""


class SerialExecutor(Executor):
    """The default engine: each task runs at once, in this process."""

    def submit(self, fn: Callable, /, *args: object, **kwargs: object) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # handed over by Future.result, as every Executor does
            future.set_exception(error)
        return future


def set_threads(threads: int) -> None:
    """Use the same number of torch threads on every engine: the number decides the last bits of every sum."""
    import torch

    torch.set_num_threads(threads)


@contextlib.contextmanager
def get_executor(spec: str = "serial") -> Iterator[Executor]:
    """An executor: `serial`, `dask` (local processes, one a core), `dask:N`, `dask:tcp://host:port`, or `slurm`.

    `slurm` reads dask-jobqueue's own configuration (`jobqueue.slurm` in ~/.config/dask), one worker a job, and takes
    the number of jobs from `slurm:N`. Raises ValueError for another spec, ImportError where the extra `cluster` is
    missing.
    """
    engine, _, rest = spec.partition(":")
    if engine == "serial" and not rest:
        yield SerialExecutor()
        return
    if engine not in ("dask", "slurm"):
        raise ValueError(f"executor {spec!r}: expected serial, dask, dask:N, dask:tcp://host:port, slurm or slurm:N")
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(f"executor {spec!r} needs the extra: pip install 'skinsyn[cluster]'") from error
    with contextlib.ExitStack() as stack:
        if rest.startswith(("tcp:", "tls:")):
            client = stack.enter_context(Client(rest))
        elif engine == "dask":
            workers = int(rest) if rest else os.cpu_count() or 1
            # The cells of a notebook share their workers, which take seconds to start.
            client = _shared_workers(workers) if "ipykernel" in sys.modules else _start_workers(workers)
            if client not in _SHARED.values():
                stack.callback(_stop_workers, client)
        else:
            from dask_jobqueue import SLURMCluster

            cluster = stack.enter_context(SLURMCluster())
            client = stack.enter_context(Client(cluster))
            stack.enter_context(_jobs_kept(cluster, client, int(rest) if rest else 1))
        yield client.get_executor(retries=2)


def _start_workers(workers: int) -> Any:
    """A client of new local processes, one torch thread each."""
    import dask
    from distributed import Client, LocalCluster

    keep: dict[str, str | bool] = {
        f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in KEEP_MEMORY.items()
    }
    keep["distributed.worker.profile.enabled"] = False  # a hundred looks a second at the stack, for a page not shown
    with dask.config.set(keep):
        # memory_limit 0: a training step may hold more than its share for a moment; Dask would kill the worker.
        return Client(LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0))


def _stop_workers(client: Any) -> None:
    client.close()
    client.cluster.close()


def _shared_workers(workers: int) -> Any:
    """A client of a notebook's own workers, kept until it ends or asks for others: another number, or for another
    store."""
    wanted = workers, os.environ.get("SKINSYN_RUNS")
    with _LOCK:
        if wanted not in _SHARED:
            while _SHARED:
                _stop_workers(_SHARED.popitem()[1])
            _SHARED[wanted] = _start_workers(workers)
        return _SHARED[wanted]


@atexit.register
def _stop_shared_workers() -> None:
    while _SHARED:
        _stop_workers(_SHARED.popitem()[1])


def _import(module: str) -> None:
    importlib.import_module(module)


def warm_up(spec: str, module: str) -> None:
    """Start a notebook's local workers and let them import a module, while the notebook does the same; else nothing."""
    engine, _, rest = spec.partition(":")
    if engine != "dask" or rest.startswith(("tcp:", "tls:")) or "ipykernel" not in sys.modules:
        return

    def start() -> None:
        with contextlib.suppress(ImportError):  # without Dask; `get_executor` says so where it is asked for
            client = _shared_workers(int(rest) if rest else os.cpu_count() or 1)
            client.run(_import, module)

    threading.Thread(target=start, daemon=True).start()


@contextlib.contextmanager
def _jobs_kept(cluster: Any, client: Any, jobs: int) -> Iterator[None]:
    """Hold a number of SLURM jobs: one that was cancelled, ran out of time or died is asked for again.

    dask-jobqueue asks once, and a study longer than a job would wait for ever. Raises RuntimeError where jobs end again
    and again before a worker of theirs has come, which is a fault of their configuration.
    """
    import distributed

    over, in_vain = threading.Event(), 0

    def queued() -> set[str]:
        asked = ["squeue", "--me", "--noheader", "--format=%A"]
        return set(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())

    def keep() -> None:
        nonlocal in_vain
        before: set[str] = set()
        while not over.wait(SLURM_EVERY):
            begun = {job.job_id: name for name, job in dict(cluster.workers).items()}  # before the queue is read
            try:
                gone = set(begun) - queued() - {None}
            except (OSError, subprocess.CalledProcessError):  # a controller that does not answer just now
                continue
            # Gone at two looks: Dask itself forgets a job whose worker was here, and must not meet its successor.
            lost, before = gone & before, gone
            in_vain = 0 if client.scheduler_info()["workers"] else in_vain + len(lost)
            if in_vain > 2 * jobs:
                client.cancel([distributed.Future(key, client) for key in list(client.futures)])
                return
            for number in lost:
                print(f"SLURM: job {number} is gone; another is asked for", flush=True)
                cluster.loop.add_callback(cluster.workers.pop, begun[number], None)
            cluster.scale(jobs=jobs)

    cluster.scale(jobs=jobs)
    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
    if in_vain > 2 * jobs:
        raise RuntimeError(
            f"SLURM: {in_vain} jobs ended before their worker came; read their logs (jobqueue.slurm.log-directory), "
            f"and compare this job script with one that works there:\n{cluster.job_script()}"
        )


def progress(items: Iterable, total: int | None = None, label: str = "") -> Iterator:
    """Iterate with a bar in JupyterLab and a terminal, and with one line a minute where a log is written."""
    headless = bool(os.environ.get("SKINSYN_HEADLESS")) or not ("ipykernel" in sys.modules or sys.stderr.isatty())
    total = len(items) if total is None and isinstance(items, Sized) else total
    if not headless:
        yield from tqdm(items, total=total, desc=label, leave=False)
        return
    begun = told = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - told >= 60:
            left = f", about {(now - begun) / done * (total - done) / 60:.0f} min left" if done and total else ""
            print(f"{label}: {done} of {total or '?'}{left}", flush=True)
            told = now
        yield item


def _completed(executor: Executor, function: Callable, tasks: Sequence[tuple]) -> Iterator[tuple[int, Future]]:
    """Each task's number and finished future; the serial engine starts a task only when the one before it is done."""
    if isinstance(executor, SerialExecutor):
        yield from ((number, executor.submit(function, *task)) for number, task in enumerate(tasks))
    else:
        numbers = {executor.submit(function, *task): number for number, task in enumerate(tasks)}
        yield from ((numbers[future], future) for future in as_completed(numbers))


def fan_out(spec: str, function: Callable, tasks: Sequence[tuple], label: str) -> list:
    """`function(*task)` for each task on the engine `spec`; results in the order of `tasks`.

    Tasks hold JSON-able values and the function keeps its unit, so that nothing is lost when one fails: the others are
    finished first, then TaskError names the parameters of the failed ones.
    """
    results: list = [None] * len(tasks)
    failed: list[tuple[tuple, BaseException]] = []
    with get_executor(spec) as executor:
        for number, future in progress(_completed(executor, function, tasks), len(tasks), label):
            try:
                results[number] = future.result()
            except Exception as error:
                failed.append((tasks[number], error))
    if failed:
        told = "\n".join(f"  {task}: {type(error).__name__}: {error}" for task, error in failed[:5])
        message = f"{label}: {len(failed)} of {len(tasks)} tasks failed; the others are kept.\n{told}"
        raise TaskError(message) from failed[0][1]
    return results
