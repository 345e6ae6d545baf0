"""Work spread over processes that end when the process that started them ends, however it ends."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """``map(work, items)``, in several processes where that pays.

    Args:
        work: A function of a module, so that a process started afresh can find it.
        items: What to work on.
        workers: Processes; 1 works in this one.

    Yields:
        The results, in order.
    """
    if workers <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    # Started afresh, not forked: a fork of a process that has used torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(items)), mp_context=context, initializer=end_with_parent) as pool:
        yield from pool.map(work, items)


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone.

    Without it, the workers of a killed run wait for work for ever: each of them holds both ends of the queue, so the
    queue never closes.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)  # at once, in mid-work: shards are whole or absent
