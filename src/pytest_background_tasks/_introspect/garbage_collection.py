"""The garbage collector, which runs code of the program at a moment of its choice."""

import gc


class GarbageCollectionDisabled:
    """Disable automatic garbage collection inside the block."""

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()
