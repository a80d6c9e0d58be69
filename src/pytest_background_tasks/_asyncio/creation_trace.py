"""The traceback of the creation of a task or a handle, which asyncio records in debug mode.

Private name of CPython used here: ``_source_traceback``, which is changed.
"""

from typing import Any, TypeVar

from .._introspect.project_code import PACKAGE

_Created = TypeVar("_Created")


def without_our_frames(created: _Created, *more: str) -> _Created:
    """Return `created`, whose creation traceback now ends where it would without this plugin.

    Args:
        created: a task, a future or a handle.
        more: other files whose frames are cut off at the end, besides those of this package.
    """
    frames: Any = getattr(created, "_source_traceback", None)
    while frames and frames[-1].filename.startswith((PACKAGE, *more)):
        del frames[-1]
    return created
