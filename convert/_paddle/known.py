"""Prints the ONNX operators that x2paddle knows: python known.py. A script of Paddle's own environment, it imports nothing of ours."""

import sys
from types import SimpleNamespace

from x2paddle.op_mapper.onnx2paddle.opset15 import OpSet15

opset = OpSet15(SimpleNamespace(graph=None), None)
methods = {name for name in dir(opset) if name[0].isupper()}
sys.stdout.write(" ".join(methods | {*opset.directly_map_ops} | {*opset.elementwise_ops}))
