"""Paddle Inference as serving.py wants it: a script of Paddle's own environment, it imports nothing of ours."""

from typing import Any

import paddle.inference

IN_PLACE = "inplace_pass"
"""Left out with oneDNN's kernels: a tensor that passes from one of them to one of Paddle's own keeps its memory under a
second name, and what this pass lets overwrite the one destroys the other, which operators behind may still read."""


class Session:
    """With oneDNN's kernels, unless they turn out not to execute the network: Paddle gives them operators whose
    attributes it then cannot hand over, and says so as it executes the first of them."""

    def __init__(self, graph: str, weights: str, threads: str, kernels: str) -> None:
        self._settings = graph, weights, int(threads)
        self._given: tuple[Any, ...] = ()
        self._make(onednn=kernels == "onednn")

    def load(self, *arrays: Any) -> None:
        self._given = arrays
        for handle, array in zip(self._inputs, arrays, strict=True):
            handle.reshape(array.shape)
            handle.copy_from_cpu(array)

    def invoke(self) -> None:
        try:
            self._predictor.run()
        except NotImplementedError:
            self._make(onednn=False)
            self.load(*self._given)
            self._predictor.run()

    def read(self):  # type: ignore[no-untyped-def]  # of the other NumPy
        return [handle.copy_to_cpu() for handle in self._outputs]

    def _make(self, *, onednn: bool) -> None:
        graph, weights, threads = self._settings
        config = paddle.inference.Config(graph, weights)
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads)
        if onednn:
            config.delete_pass(IN_PLACE)
        else:
            config.disable_mkldnn()
        self._predictor = paddle.inference.create_predictor(config)
        self._inputs = [self._predictor.get_input_handle(name) for name in self._predictor.get_input_names()]
        names = self._predictor.get_output_names()
        self._outputs = [self._predictor.get_output_handle(name) for name in names]
