"""The call in which a thread blocks: the name of the C function that its innermost frame is calling.

A frame has the instruction that it executes, and each instruction has its position in the source. The function of a
call is the object loaded last at the position where the call begins. All of this is documented.
"""

import dis
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FrameType
from typing import Any

ENTERING = "with"
"""The name of the function if a ``with`` statement enters its context manager."""
ITERATING = "for"
"""The name of the function if a ``for`` statement requests the next item: ``for item in iter(queue.get, None)``."""


def blocking_call(frame: FrameType) -> str:
    """Return the name of the function that `frame` is calling now, `ENTERING`, `ITERATING`, or "" if it is unknown.

    A function that was bound to another name (``receive = queue.get``) is returned with its original name.
    """
    kind, name = _call_at(frame.f_code, frame.f_lasti)
    if kind == "variable":
        value = _value_of(frame, name)
        if issubclass(type(value), BuiltinFunctionType):  # a C method has a type of its own
            own_name: str = value.__name__
            return own_name
    return name


def _value_of(frame: FrameType, name: str) -> Any:
    missing = object()
    for variables in (frame.f_locals, frame.f_globals, frame.f_builtins):
        value = variables.get(name, missing)
        if value is not missing:
            return value
    return None


@lru_cache(1000)
def _call_at(code: CodeType, instruction: int) -> tuple[str, str]:
    """Return the kind and the name of the function that the instruction at this offset of `code` calls."""
    before: list[dis.Instruction] = []
    for each in dis.get_instructions(code):
        if each.offset >= instruction:
            break
        before.append(each)
    else:
        return "", ""
    if each.opname == "BEFORE_WITH" or (before and before[-1].opname == "LOAD_SPECIAL"):
        return "attribute", ENTERING
    if each.opname == "FOR_ITER":
        return "attribute", ITERATING
    is_call = each.opname.startswith(("CALL", "PRECALL"))  # the latter, on 3.11, if the call is specialized
    return _loaded_last(before, _start_of(each)) if is_call else ("", "")


def _loaded_last(before: list[dis.Instruction], start: object) -> tuple[str, str]:
    for each in reversed(before):
        if each.opname.startswith("LOAD_") and isinstance(each.argval, str) and _start_of(each) == start:
            is_attribute = each.opname.startswith(("LOAD_ATTR", "LOAD_METHOD"))
            return "attribute" if is_attribute else "variable", each.argval
    return "", ""


def _start_of(instruction: dis.Instruction) -> tuple[int, int] | None:
    positions = instruction.positions
    if positions is None or positions.lineno is None or positions.col_offset is None:
        return None
    return positions.lineno, positions.col_offset
