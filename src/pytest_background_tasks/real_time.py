"""The real clock, whatever a test makes of time.

freezegun replaces ``monotonic`` wherever a module has it, so no module here has. Loaded when pytest starts, before
anything can be frozen.
"""

import time
from collections.abc import Callable
from typing import NamedTuple


class _RealTime(NamedTuple):
    monotonic: Callable[[], float]


real_time = _RealTime(time.monotonic)
