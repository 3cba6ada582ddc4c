"""``python -m scsc_lab`` is ``scsc-lab``."""

from scsc_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
