"""The garbage collector, which runs foreign code (finalizers, callbacks) at unpredictable moments."""

from __future__ import annotations

import gc


class CollectorPaused:
    """Disable automatic garbage collection inside the block."""

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()
