"""The command line that server and client have in common."""

import argparse
import os


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows `--port`, so that one RESYNC_PORT serves both sides."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    port = os.environ.get("RESYNC_PORT", "8000")
    parser.add_argument("--port", type=int, default=port, help="default: RESYNC_PORT, or else 8000")
    return parser
