"""Coded storage: the members of a `.pt2` in far fewer bytes, and those very bytes again (the `.epz` file).

Bottom up: `ans` and `huffman` turn symbols into bits, `streams` takes the smaller of them, `tensors` makes
symbols of weights, `file` is the container. No torch here: a board reads the manifest inside with this.
"""
