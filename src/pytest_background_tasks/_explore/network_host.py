"""The in-process network of a run, as part of that run: names, threads, and refusals."""

import asyncio
import threading
from typing import Any

from .._network.network import InProcessNetwork
from ..errors import UncontrolledOperation
from .helper_thread import HelperThread
from .network_of_loop import NetworkOfLoop


class NetworkHost:
    """The surroundings of the network of one run.

    Args:
        run: the run.
        helper: runs the functions that the program sends to threads.
    """

    def __init__(self, run: Any, helper: HelperThread) -> None:
        self._run = run
        self._helper = helper
        self._home = run.thread
        self._count = 0

    def name(self, kind: str) -> str:
        """Return a name for what the running task has created."""
        loop = asyncio._get_running_loop()
        if isinstance(loop, NetworkOfLoop):
            return loop.name_of(kind)
        self._count += 1
        return f"outside:{kind}#{self._count}"

    def refuses(self, name: str) -> bool:
        """Return True if the schedule lets a connection be refused."""
        loop = asyncio._get_running_loop()
        return isinstance(loop, NetworkOfLoop) and loop.refuses(name)

    def owns_thread(self) -> bool:
        """Return True if the current thread belongs to the run."""
        ident = threading.get_ident()
        return ident in (self._home, self._helper.ident) or not self._helper.foreign.is_known(
            threading.current_thread()
        )

    def may_leave(self) -> bool:
        """Return False: what is outside cannot be controlled."""
        return False

    def refuse(self, problem: UncontrolledOperation) -> UncontrolledOperation:
        """Take note that the program wants to leave the network: this run cannot be controlled."""
        self._run.refusal = self._run.refusal or problem
        for loop in self._run.loops:
            loop.refuse(problem)
        return problem

    def watches_sockets(self) -> bool:
        """Return True if the running loop is explored."""
        return isinstance(asyncio._get_running_loop(), NetworkOfLoop)

    def refuse_to_block(self, call: str) -> None:
        """Raise an error: the loop, on which the other side depends, would wait too."""
        raise self.refuse(
            UncontrolledOperation(
                f"the test calls {call}() of a socket that blocks, while the event loop waits\n"
                "Use instead: a socket that does not block, with methods of the loop such as sock_recv(), or streams",
                "network",
            )
        )


def network_of(run: Any, helper: HelperThread, kind: type[InProcessNetwork]) -> InProcessNetwork:
    """Return the network of `run`."""
    return kind(NetworkHost(run, helper), are_descriptors_watched=False)
