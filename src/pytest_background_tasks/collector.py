"""The garbage collector, which runs other people's code wherever it comes by: finalizers, callbacks."""

from __future__ import annotations

import gc


class CollectorPaused:
    """While this is entered, it comes by only where it is called."""

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()
