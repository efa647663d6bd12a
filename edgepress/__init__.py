"""edgepress: compress a trained network, convert it, prove it still works, measure it on the device."""

__version__ = "0.1.0"
