"""The garbage collector, which runs code of the program at a moment of its choice."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


class GarbageCollectionDisabled:
    """Disable automatic garbage collection inside the block."""

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()


@contextmanager
def own_garbage_collected() -> Iterator[None]:
    """Collect the garbage of the block at its end, and leave all older garbage to the usual collections.

    If the program itself has frozen objects, which `gc.unfreeze` would undo, recent older garbage is collected too.
    """
    is_free = not gc.get_freeze_count()
    if is_free:
        gc.freeze()
    try:
        yield
    finally:
        gc.collect(1)  # a full collection would make Python begin the next one soon
        if is_free:
            gc.unfreeze()
