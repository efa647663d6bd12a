"""The interpreter of small boards as edgepress/serving.py wants it; it runs in an environment of its own."""

from tflite_runtime.interpreter import Interpreter


class Session:
    def __init__(self, path: str) -> None:
        self.interpreter = Interpreter(model_path=path, num_threads=1)
        self.interpreter.allocate_tensors()

    def run(self, *arrays):
        for detail, array in zip(self.interpreter.get_input_details(), arrays, strict=True):
            self.interpreter.set_tensor(detail["index"], array)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(one["index"]) for one in self.interpreter.get_output_details()]
