"""Reading ONNX: a model becomes plain operations, those an nn.Module of torch functions, and that is captured."""
