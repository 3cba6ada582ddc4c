"""``python -m scsc_lab`` is ``scsc-lab``."""

import os
import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line as a process of its own, which ends when it is asked to."""
    try:
        from scsc_lab.execution import ending

        ending.listen()
        from scsc_lab.cli import main

        code = main()
    except KeyboardInterrupt:  # while it was imported
        print("scsc-lab: interrupted", file=sys.stderr)
        if "ending" not in locals():
            os._exit(130)
        code = ending.exit_code()
    ending.leave(code)


if __name__ == "__main__":
    run()
