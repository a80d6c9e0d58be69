"""Talk to a running service from a terminal: `python -m resync.talk [AGENT] [--port PORT]`."""

import sys
from urllib.parse import quote

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from resync import options


def main() -> None:
    """Talk until the input ends."""
    parser = options.parser("resync.talk", "Talk to an agent; Ctrl-D ends the conversation.")
    parser.add_argument("agent", nargs="?", default="ada", help="default: ada")
    arguments = parser.parse_args()
    try:
        talk(f"ws://127.0.0.1:{arguments.port}/ws/{quote(arguments.agent, safe='')}")
    except (EOFError, KeyboardInterrupt):
        print()  # noqa: T201 - the shell's prompt belongs on a line of its own
    except WebSocketException as error:
        sys.exit(f"the service ended the conversation: {error}")
    except OSError as error:
        sys.exit(f"no service on port {arguments.port} ({error}); start one with: python -m resync")


def talk(url: str) -> None:
    """Send each line of input and print its answer."""
    with connect(url, proxy=None) as websocket:  # a proxy cannot reach this machine's own 127.0.0.1
        while True:
            websocket.send(input("> "))
            print(websocket.recv() or "(silence)")  # noqa: T201 - a terminal client prints


if __name__ == "__main__":
    main()
