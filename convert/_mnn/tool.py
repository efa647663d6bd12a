"""Runs MNN's converter: python tool.py ARGUMENT ... A script of its own process, it imports nothing of ours.

Only the C module is imported. MNN's Python modules of the same tools install a package that reports each use.
"""

import sys

import _tools

_tools.mnnconvert(["mnnconvert", *sys.argv[1:]])
