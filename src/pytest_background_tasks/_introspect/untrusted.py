"""Access to objects of the program under test that runs none of their code.

Any operation on a foreign object may raise, take long, warn or have a side effect: `getattr`, `hasattr`, ``==``,
``in``, `bool`, `hash`, `repr`, and `isinstance`, which reads ``__class__``. Flask's ``request`` raises a `RuntimeError`
for most of them outside a request. The installed plugin must not change what a suite does, so it only compares the
types of such objects, and reads their attributes as `inspect.getattr_static` does (which itself returns the descriptor
instead of the value for a C type, and costs ten times as much).
"""

from __future__ import annotations

from types import CodeType, CoroutineType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType
from typing import Any

_mro_of: Any = type.__dict__["__mro__"].__get__
_members_of: Any = type.__dict__["__dict__"].__get__  # of a class, even if its metaclass overrides the attribute
_module_of_class: Any = type.__dict__["__module__"].__get__
_MISSING: Any = object()


def attribute(thing: Any, name: str, default: Any = None) -> Any:
    """Return the attribute as it is stored: in the object, in a slot, or as a plain value in its class."""
    found = _in_class(type(thing), name)
    is_slot = type(found) is GetSetDescriptorType or type(found) is MemberDescriptorType  # written in C, or __slots__
    if found is not _MISSING and not is_slot and _in_class(type(found), "__get__") is not _MISSING:
        return default  # a property or the like
    try:
        return object.__getattribute__(thing, name)
    except Exception:  # there is no such attribute
        return default


def _in_class(cls: type, name: str) -> Any:
    for each in _mro_of(cls):
        members = _members_of(each)
        if name in members:
            return members[name]
    return _MISSING


def owner_of(callback: Any) -> object:
    """Return the object that a bound or built-in method belongs to."""
    return callback.__self__ if type(callback) is MethodType else attribute(callback, "__self__")


def text_attribute(thing: Any, name: str, default: str = "") -> str:
    """Return the attribute if it is a string, else `default`."""
    function = thing.__func__ if type(thing) is MethodType else thing
    found = attribute(function, name)
    return found if type(found) is str else default


def qualified_name(function: Any) -> str:
    """Return the qualified name of a function or a coroutine, or that of the type of any other object."""
    if type(function) is CoroutineType or type(function) is FunctionType:  # called for every task; always a string
        return function.__qualname__
    return text_attribute(function, "__qualname__") or type_name(function)


def type_name(thing: object) -> str:
    """Return the qualified name of the type of `thing`."""
    name: str = type.__dict__["__qualname__"].__get__(type(thing))
    return name


def module_name(thing: Any) -> str:
    """Return the module of a function, or that of the type of any other object; empty if it is unknown."""
    return text_attribute(thing, "__module__") or type_module(thing)


def type_module(thing: object) -> str:
    """Return the module of the type of `thing`; empty if it is unknown."""
    module = _module_of_class(type(thing))
    return module if type(module) is str else ""


def unwrapped(function: Any) -> Any:
    """Return the function inside all decorators that store it as ``__wrapped__``."""
    seen: set[int] = set()
    while id(function) not in seen:
        seen.add(id(function))
        function = function.__func__ if type(function) is MethodType else function
        function = attribute(function, "__wrapped__", function)
    return function


def code_of_function(function: Any) -> CodeType | None:
    """Return the code of a function, inside all decorators; None for any other callable."""
    inner = unwrapped(function)
    return inner.__code__ if type(inner) is FunctionType else None


def safe_repr(value: object) -> str:
    """Return the repr of `value`, or a text that names the exception that it raised."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type_name(error)} raised in repr() of a {type_name(value)} object>"


def add_note(error: BaseException, note: str) -> None:
    """Add `note` unless it is there, even to an exception whose class forbids new attributes (a frozen dataclass)."""
    notes = attribute(error, "__notes__")
    if type(notes) is not list:
        object.__setattr__(error, "__notes__", [note])
    elif not any(type(each) is str and each == note for each in notes):
        notes.append(note)
