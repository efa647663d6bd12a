# ruff: noqa: UP031, UP036  any Python has to read this file, and say that it is too old
"""The first file that a device's interpreter executes: it refuses what cannot work, then answers our calls."""

import importlib
import sys

NO_NUMPY = 66
"""The exit code that stands for a device without NumPy."""

if __name__ == "__main__":
    if sys.version_info < (3, 9):
        sys.exit("this is Python %d.%d, and edgepress needs 3.9 or newer there" % sys.version_info[:2])
    import importlib.util

    if importlib.util.find_spec("numpy") is None:
        sys.exit(NO_NUMPY)
    if sys.version_info < (3, 10):
        importlib.import_module("python_3_9").complete()
    importlib.import_module("edgepress.benchmarks._agent").main()
