"""Two things at once: DuckDB writes in a thread, and what it is to write next is made meanwhile.

Invariant: the thread has ended when the block has, whatever either of the two raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Does the work in another thread while the block runs; what it raises comes at the end.

    A cursor belongs to one of the two as long as that takes.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="store-beside") as pool:
        future = pool.submit(work)
        yield
        future.result()
