"""Start the service: `python -m resync [--port PORT]`."""

import logging

import uvicorn

from resync import options
from resync.api.app import app


def main() -> None:
    """Serve on 127.0.0.1 until interrupted, and log the reports of the audits."""
    arguments = options.parser("resync", "A chat service; Ctrl-C ends it.").parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(message)s")
    uvicorn.run(app, host="127.0.0.1", port=arguments.port)


if __name__ == "__main__":
    main()
