"""Work spread over processes that end when the process that started them ends or stops, however it does."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from ask_lib.errors import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")
_work: Callable[[Any], Any]  # what this process does, where another one has started it


@contextlib.contextmanager
def spread(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Iterator[Result]]:
    """``map(work, items)``, in several processes where that pays.

    Where the system lets none be started (a sandbox without ``/dev/shm``), a warning says so and this one works.

    Args:
        work: A function of a module, so that a process started afresh can find it.
        items: What to work on.
        workers: Processes; 1 works in this one.

    Yields:
        The results, in order.

    Raises:
        WorkerError: If a process ended early: killed, or started by a script without a guard.
    """
    workers = min(workers, len(items))
    pool = _pool(work, workers) if workers > 1 else None
    if pool is None:
        yield map(work, items)
        return
    executor, lifeline = pool
    try:
        with executor, lifeline:  # closed before the executor waits: after an error or Ctrl-C nobody works on
            yield (future.result() for future in _submitted(executor, items))
    except BrokenProcessPool as cause:
        raise WorkerError(
            "A process ended before its work was done. In a script, put what is to run below "
            '`if __name__ == "__main__":`, since each process imports the script anew. If that is so, memory may have '
            "run out: ask for fewer workers; 1 works without any."
        ) from cause


def _pool(work: Callable[[Any], Any], workers: int) -> tuple[ProcessPoolExecutor, Connection] | None:
    """Processes, and the end of a pipe: they end as soon as it is closed, or its owner is gone."""
    # Started afresh, not forked: a fork of a process that has used torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    held, lifeline = context.Pipe(duplex=False)
    try:
        return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(held, work)), lifeline
    except (OSError, ImportError, NotImplementedError) as error:  # the system has no semaphores for us
        warnings.warn(f"cannot start processes ({error}; is /dev/shm writable?): working in this one.", stacklevel=6)
        return None


def _submitted(executor: ProcessPoolExecutor, items: Sequence[Item]) -> list[Future[Any]]:
    try:
        with _deaf_to_interrupts():
            return [executor.submit(_do, item) for item in items]
    except RuntimeError as error:
        if isinstance(error, BrokenProcessPool) or "__mp_main__" not in sys.modules:
            raise
        sys.exit(1)  # a new process that imports a script without the guard comes here again: its parent says it


def _begin(lifeline: Connection, work: Callable[[Any], Any]) -> None:
    """Each process is given the work once, not with each item: it may hold a whole data set."""
    global _work
    _work = work
    end_with(lifeline)


def _do(item: Any) -> Any:
    return _work(item)


def end_with(lifeline: Connection) -> None:
    """End this process as soon as the other end of a pipe is closed.

    Without it, the workers of a killed run wait for work for ever: each of them holds both ends of the queue, so the
    queue never closes.
    """
    threading.Thread(target=_end_after, args=(lifeline,), daemon=True).start()


def _end_after(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)  # at once, in mid-work: shards are whole or absent


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in here do not hear Ctrl-C: the one that started them does, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
