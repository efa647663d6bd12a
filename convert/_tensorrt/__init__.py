"""What stands around TensorRT's builder: its published rules, asked of an ONNX file, and half precision."""
