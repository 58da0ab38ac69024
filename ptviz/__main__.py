"""``python -m ptviz`` is the ``ptviz`` command."""

from ptviz.cli import main

if __name__ == "__main__":
    main()
