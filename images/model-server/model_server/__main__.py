"""Entry point: `python -m model_server --port=8500 …`."""

import sys

from model_server.lifecycle import main

if __name__ == "__main__":
    main(sys.argv)
