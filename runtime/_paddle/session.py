"""Paddle Inference as serving.py wants it: a script of Paddle's own environment, it imports nothing of ours."""

import paddle.inference


class Session:
    def __init__(self, graph: str, weights: str, threads: str) -> None:
        config = paddle.inference.Config(graph, weights)
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(int(threads))
        self._predictor = paddle.inference.create_predictor(config)
        self._inputs = [self._predictor.get_input_handle(name) for name in self._predictor.get_input_names()]
        names = self._predictor.get_output_names()
        self._outputs = [self._predictor.get_output_handle(name) for name in names]

    def load(self, *arrays):  # type: ignore[no-untyped-def]  # of the other NumPy
        for handle, array in zip(self._inputs, arrays, strict=True):
            handle.reshape(array.shape)
            handle.copy_from_cpu(array)

    def invoke(self) -> None:
        self._predictor.run()

    def read(self):  # type: ignore[no-untyped-def]  # of the other NumPy
        return [handle.copy_to_cpu() for handle in self._outputs]
