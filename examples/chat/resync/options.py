"""The command line shared by the server and the client."""

import argparse
import os


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the option `--port`, so that one RESYNC_PORT applies to both sides."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    port = os.environ.get("RESYNC_PORT", "8000")
    parser.add_argument("--port", type=int, default=port, help="default: RESYNC_PORT, or else 8000")
    return parser
