"""Prints the nodes of an ONNX file that x2paddle lacks or fails on, by their first outputs: python refused.py MODEL.onnx.
A script of Paddle's own environment, it imports nothing of ours."""

import sys

import onnx
from x2paddle.core.program import PaddleGraph
from x2paddle.decoder.onnx_decoder import ONNXDecoder
from x2paddle.op_mapper.onnx2paddle.opset15 import OpSet15

file = sys.argv[1]
decoder = ONNXDecoder(file, False)
opset = OpSet15(decoder, PaddleGraph(parent_layer=None, source_type="onnx"))
outputs = {decoder.make_variable_name(node.output[0]): node.output[0] for node in onnx.load(file).graph.node}
for name in list(decoder.graph.topo_sort):
    node = decoder.graph.get_node(name)
    kind, answer = node.layer_type, ""
    try:
        if hasattr(opset, kind):
            getattr(opset, kind)(node)
        elif kind in opset.directly_map_ops:
            opset.directly_map(node)
        elif kind in opset.elementwise_ops:
            opset.elementwise_map(node)
        else:
            answer = "lacks"
    except Exception:  # whatever x2paddle raises
        first = decoder.graph.get_node(node.layer.input[0]) if node.layer.input else None
        # Of what it could not read before, x2paddle knows no shape.
        answer = "fails" if first is None or first.out_shapes[0] else "follows"
    if answer and name in outputs:
        sys.stdout.write(f"\n{answer}\t{outputs[name]}\n")
