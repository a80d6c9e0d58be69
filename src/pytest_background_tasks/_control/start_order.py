"""The order in which held tasks start."""

import random
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from .._capture.captured_task import CapturedTask
from .._capture.held_task import HeldTask
from .._capture.targets import Target, matcher

Order: TypeAlias = Literal["created", "reversed", "random"] | Sequence[Target]
"""``"created"``, ``"reversed"``, ``"random"``, or targets: tasks that match the first start first, those without last.

It is the order in which the tasks of one loop start. asyncio's queue is first in, first out, so they also resume in
that order as long as only the queue decides: after a bare yield, and when one event wakes all of them.
"""


def ordered(
    tasks: list[HeldTask], view: Callable[[HeldTask], CapturedTask], order: Order, seed: str, call: str
) -> list[HeldTask]:
    """Return `tasks` in `order`.

    Args:
        tasks: the tasks in creation order.
        view: returns the object that targets are matched with.
        order: see `Order`.
        seed: determines the result of ``"random"``.
        call: the user's call as text, with ``{}`` for the order; for the error message.

    Raises:
        ValueError: if `order` is another string.
        TypeError: if it is not a sequence, or one of its items is not a target.
    """
    if order == "created":
        return list(tasks)
    if order == "reversed":
        return tasks[::-1]
    if order == "random":
        return random.Random(seed).sample(tasks, len(tasks))
    if isinstance(order, str):
        raise ValueError(  # noqa: TRY004  # the type is right, the value is not
            f"order={order!r} is not 'created', 'reversed', 'random' or a list of targets\n"
            f"  to start tasks that match {order!r} first, write:  {call.format(f'order=[{order!r}]')}"
        )
    if isinstance(order, CapturedTask) or not isinstance(order, Sequence):
        raise TypeError(
            f"order={order!r} is not an order\n  write:  {call.format('order=[first, second]')}, with targets"
        )
    matches = [matcher(target, call.format("order=[{}]")) for target in order]

    def place(task: HeldTask) -> int:
        captured = view(task)
        return next((number for number, match in enumerate(matches) if match(captured)), len(matches))

    return sorted(tasks, key=place)
