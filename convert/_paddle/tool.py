"""Runs x2paddle: python tool.py MODEL.onnx FOLDER. A script of Paddle's own environment, it imports nothing of ours."""

import sys

from x2paddle.convert import onnx2paddle

onnx2paddle(sys.argv[1], sys.argv[2], convert_to_lite=False, disable_feedback=True)
