"""The ONNX file: names, the batch axis, opsets, uint8 activations, simplification and refusals."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import shared_data
import tiny_networks
import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgepress import compress, convert, graph, runtime
from edgepress.artifact import Artifact
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._onnx_writing import simplify
from edgepress.convert._tensorrt.preflight import unsupported
from edgepress.errors import BackendMissing, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe

FLOAT = {"rtol": 1e-4, "atol": 1e-5}
"""Other kernels add in another order: some units in the last place of float32."""


class OneLayer(nn.Module):
    """To be quantized by hand: input, weight and output on grids whose steps are powers of two."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.inner(pictures)


def quantize_weight(module: GraphModule, layer: Node) -> None:
    """Random integers in place of the weight, in steps of 2**-9."""
    name = str(layer.args[1].target)
    owner, _, leaf = name.rpartition(".")
    shape = graph.constant(module, layer.args[1]).shape
    delattr(module.get_submodule(owner), leaf)
    integers = torch.randint(-127, 128, shape, generator=torch.Generator().manual_seed(1))
    graph.set_constant(module, name, integers.to(torch.int8))
    graph.set_constant(module, f"{name}_scale", torch.full(shape[:1], 2.0**-9))
    graph.set_constant(module, f"{name}_zero_point", torch.zeros(shape[0], dtype=torch.int64))
    with module.graph.inserting_before(layer):
        stored = [module.graph.get_attr(f"{name}{suffix}") for suffix in ("", "_scale", "_zero_point")]
        arguments = (*stored, 0, -127, 127, torch.int8)
        layer.update_arg(1, module.graph.call_function(graph.DEQUANTIZE_CHANNELS, arguments))


def insert_pair(module: GraphModule, tensor: Node, scale: float, zero_point: int) -> None:
    arguments = (scale, zero_point, -128, 127, torch.int8)
    with module.graph.inserting_after(tensor):
        quantize = module.graph.call_function(graph.QUANTIZE, (tensor, *arguments))
    with module.graph.inserting_after(quantize):
        dequantize = module.graph.call_function(graph.DEQUANTIZE, (quantize, *arguments))
    tensor.replace_all_uses_with(dequantize, delete_user_cb=lambda user: user is not quantize)


def quantized_by_hand() -> Program:
    program = Program.capture(OneLayer(), (torch.zeros(2, 3, 8, 8),))
    module = program.graph_module()
    layer = next(node for node in module.graph.nodes if graph.op_name(node) == "conv2d")
    quantize_weight(module, layer)
    insert_pair(module, layer.args[0], 2.0**-5, -11)
    insert_pair(module, layer, 2.0**-3, 7)
    return program.replace(module)


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def exported(program: Program, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return written(program, tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture(scope="module")
def quantized() -> Program:
    torch.manual_seed(0)
    return quantized_by_hand()


def written(program: Program, path: Path, **options: object) -> onnx.ModelProto:
    return onnx.load(convert.to(program, "onnx", path, options).path)


def types(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_names_are_the_users(program: Program, tmp_path: Path) -> None:
    model = written(program, tmp_path / "model.onnx")
    (inputs,), (outputs,) = model.graph.input, model.graph.output
    assert (inputs.name, outputs.name) == ("pictures", program.signature.outputs[0].name)
    assert [axis.dim_param or axis.dim_value for axis in inputs.type.tensor_type.shape.dim] == [
        "batch",
        3,
        16,
        16,
    ]
    names = [node.name for node in model.graph.node]
    assert {"stem/Conv", "first/Conv", "second/Conv", "head/Gemm"} <= set(names)
    assert len(set(names)) == len(names)
    assert {initializer.name for initializer in model.graph.initializer} >= {"stem.weight", "head.bias"}


def test_equal_weights_of_two_layers_leave_each_its_name(tmp_path: Path) -> None:
    """The exporter stores the ones of untrained norms once."""
    layers = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.LayerNorm(6))
    program = Program.capture(layers.eval(), (torch.zeros(2, 6),))

    model = written(program, tmp_path / "model.onnx")

    norms = [node.name for node in model.graph.node if node.op_type == "LayerNormalization"]
    assert norms == ["0/LayerNormalization", "2/LayerNormalization"]


def test_the_signatures_names_win_over_the_exporters(program: Program, tmp_path: Path) -> None:
    module = program.graph_module()
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    last = output.all_input_nodes[0]
    with module.graph.inserting_after(last):
        output.replace_input_with(last, module.graph.call_function(torch.ops.aten.neg.default, (last,)))
    negated = program.replace(module)
    assert negated.signature.outputs[0].name == last.name, "an inner node has the name of the output now"
    model = written(negated, tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.output[0].name == last.name


def test_tells_nothing_of_the_users_machine(program: Program, tmp_path: Path) -> None:
    content = written(program, tmp_path / "model.onnx").SerializeToString()
    assert str(Path(__file__).parents[1]).encode() not in content
    assert b"stack_trace" not in content


def test_says_nothing(program: Program, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.getLogger("torch.onnx").level
    written(program, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level


@pytest.mark.parametrize("network", tiny_networks.NETWORKS)
@pytest.mark.parametrize("opset", [18, 20])
def test_answers_as_the_program(network: type[nn.Module], opset: int, tmp_path: Path) -> None:
    program = tiny_networks.capture(network)
    artifact = convert.to(program, "onnx", tmp_path / "model.onnx", {"opset": opset})
    assert onnx.load(artifact.path).opset_import[0].version == opset
    inputs = program.signature.example(3)
    with runtime.open(artifact) as runner:
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], **FLOAT)


def test_pooling_to_one_pixel_is_a_global_pool(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    program = Program.capture(module, (torch.zeros(2, 3, 5, 5),))
    assert types(written(program, tmp_path / "model.onnx")) == {
        "Conv": 1,
        "GlobalAveragePool": 1,
        "Reshape": 1,
    }


def test_other_adaptive_pools_stay_right(tmp_path: Path) -> None:
    program = Program.capture(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((2, 3))), (torch.zeros(2, 3, 6, 6),)
    )
    inputs = program.signature.example(2)
    with runtime.open(convert.to(program, "onnx", tmp_path / "model.onnx")) as runner:
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], **FLOAT)


def test_weights_are_int8_and_pairs_survive(quantized: Program, tmp_path: Path) -> None:
    model = written(quantized, tmp_path / "model.onnx")
    assert types(model) == {"QuantizeLinear": 2, "DequantizeLinear": 3, "Conv": 1}
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert stored["inner.weight"] == onnx.TensorProto.INT8


def test_uint8_is_int8_with_every_zero_point_moved(quantized: Program, tmp_path: Path) -> None:
    zero_points = {}
    for activations in ("uint8", "int8"):
        model = written(quantized, tmp_path / f"{activations}.onnx", activations=activations)
        onnx.checker.check_model(model, full_check=True)
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        zero_points[activations] = [
            stored[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"
        ]
    assert [int(zero) for zero in zero_points["int8"]] == [-11, 7]
    assert [int(zero) for zero in zero_points["uint8"]] == [117, 135]
    assert zero_points["uint8"][0].dtype == np.uint8


def test_uint8_and_int8_and_the_program_agree_exactly(quantized: Program, tmp_path: Path) -> None:
    inputs = quantized.signature.example(4)
    for activations in ("uint8", "int8"):
        path = tmp_path / f"{activations}.onnx"
        convert.to(quantized, "onnx", path, {"activations": activations})
        # Unfused, ONNX Runtime computes in float as PyTorch does; all scales are powers of two, so without error.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(path), options)
        output = session.run(None, {session.get_inputs()[0].name: inputs[0]})[0]
        np.testing.assert_allclose(output, quantized.run(*inputs)[0], atol=1e-6)


def test_symmetric_activations_span_what_was_recorded(quantized: Program, tmp_path: Path) -> None:
    """Steps of 2**-5 about -11 reach 138 steps below the top of the range: 127 codes have to span them."""
    model = written(quantized, tmp_path / "model.onnx", activations="symmetric")
    onnx.checker.check_model(model, full_check=True)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    found = [(float(stored[node.input[1]]), stored[node.input[2]]) for node in pairs]
    assert [scale for scale, _ in found] == pytest.approx([2.0**-5 * 138 / 127, 2.0**-3 * 135 / 127])
    assert all(zero.dtype == np.int8 and zero == 0 for _, zero in found)
    users = {name for node in model.graph.node for name in node.input}
    assert set(stored) <= users, "nothing is stored that nobody reads"


def test_symmetric_activations_compute_as_the_program_to_their_step(
    quantized: Program, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    convert.to(quantized, "onnx", path, {"activations": "symmetric"})
    inputs = quantized.signature.example(4)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    output = session.run(None, {session.get_inputs()[0].name: inputs[0]})[0]
    difference = np.abs(output - quantized.run(*inputs)[0])
    assert difference.max() > 0, "other steps round otherwise"
    # The output's own step, and what half a step of each input adds through the layer: far below two steps.
    assert difference.max() < 2 * 2.0**-3 * 135 / 127


def test_precise_mode_of_old_x86_loads(tmp_path: Path) -> None:
    """Two layers of the same width: their zero points are equal, but must not be one tensor (_onnx_weights)."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    program = Program.capture(network, (torch.zeros(2, 3, 8, 8),))
    module = program.graph_module()
    for node in list(graph.operators(module)):
        if graph.op_name(node) == "conv2d":
            quantize_weight(module, node)
            insert_pair(module, node.args[0], 2.0**-5, 0)
    insert_pair(module, node, 2.0**-5, 0)
    artifact = convert.to(program.replace(module), "onnx", tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    assert onnxruntime.InferenceSession(str(artifact.path), options)


def test_simplified_answers_the_same(program: Program, tmp_path: Path) -> None:
    pytest.importorskip("onnxsim", reason="needs the simplify extra")
    artifact = convert.to(program, "onnx", tmp_path / "model.onnx", {"simplify": True})
    assert artifact.manifest.notes == ()
    inputs = program.signature.example(3)
    with runtime.open(artifact) as runner:
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], **FLOAT)


SIMPLIFIERS = {
    "changes": (
        """
import sys, onnx
model = onnx.load(sys.argv[1])
(bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "head.bias")
bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, bias.name))
onnx.save(model, sys.argv[2])
""",
        "would change by",
    ),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "refuses": ("import sys; sys.exit('a reason')", "a reason (exit code 1)"),
    "writes nothing": ("", "exit code 0"),
    "writes no model": ("import sys; open(sys.argv[2], 'wb').write(b'\\xff' * 9)", "it wrote no model"),
    "breaks the graph": (
        "import sys, onnx; m = onnx.load(sys.argv[1]); del m.graph.node[0]; onnx.save(m, sys.argv[2])",
        "does not run the result",
    ),
}


@pytest.mark.parametrize("name", SIMPLIFIERS)
def test_what_a_simplifier_spoils_stays_as_it_was(
    name: str, exported: onnx.ModelProto, program: Program, tmp_path: Path
) -> None:
    script, why = SIMPLIFIERS[name]
    (tmp_path / "simplifier.py").write_text(script)
    result, note = simplify.simplified(exported, program.signature, tmp_path / "simplifier.py")
    assert result is exported
    assert note.startswith("not simplified: ")
    assert why in note


def test_without_the_simplifier_nothing_is_written(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    with pytest.raises(BackendMissing, match=r"edgepress\[simplify\]"):
        convert.to(program, "onnx", tmp_path / "model.onnx", {"simplify": True})
    assert not list(tmp_path.iterdir())


def test_the_manifest_notes_that_a_file_is_not_simplified(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxsim", reason="needs the simplify extra")
    monkeypatch.setattr(
        "edgepress.convert.program_to_onnx.simplified", lambda proto, _: (proto, "not simplified: why")
    )
    artifact = convert.to(program, "onnx", tmp_path / "model.onnx", {"simplify": True})
    assert Artifact.open(artifact.path).manifest.notes == ("not simplified: why",)


def test_an_operator_onnx_lacks_is_named_with_its_layer(tmp_path: Path) -> None:
    class Bessel(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x)

    network = nn.Sequential()
    network.add_module("stem", nn.Conv2d(3, 4, 1))
    network.add_module("odd", Bessel())
    program = Program.capture(network, (torch.zeros(2, 3, 4, 4),))
    with pytest.raises(UnsupportedModel, match="bessel_j0") as caught:
        convert.to(program, "onnx", tmp_path / "model.onnx")
    assert "layer odd" in caught.value.where
    assert list(tmp_path.iterdir()) == []


class Echo(nn.Module):
    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        doubled = pictures * 2
        return pictures, doubled, doubled


def test_an_output_may_be_an_input_or_another_output(tmp_path: Path) -> None:
    program = Program.capture(Echo(), (torch.zeros(2, 3, 4, 4),))
    artifact = convert.to(program, "onnx", tmp_path / "model.onnx")
    inputs = program.signature.example(2)
    with runtime.open(artifact) as runner:
        found = runner.run(*inputs)
    for have, want in zip(found, program.run(*inputs), strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("format", ["onnx", pytest.param("tflite", marks=pytest.mark.tflite)])
def test_weights_beyond_one_file_are_refused_before_any_work(
    program: Program, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgepress.convert._file_size.LIMIT_BYTES", 1000)
    with pytest.raises(UnsupportedModel, match="at most 2 GiB"):
        convert.check(program, format)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "least_db"), [("resnet20", 27.0), ("squeezenet", 21.0)])
def test_symmetric_activations_of_real_networks(network: str, least_db: float, tmp_path: Path) -> None:
    """What TensorRT is given, run as written, on 64 pictures: 29.1 and 22.5 dB from the quantized program, which
    itself is 32.1 and 27.0 dB from the float one. Behind a ReLU half of the symmetric codes go unused."""
    program = shared_data.resnet20() if network == "resnet20" else shared_data.squeezenet()
    data = shared_data.cifar10(2000, 1000) if network == "resnet20" else shared_data.imagenet_sample()
    program = compress.apply(program, Recipe((QuantizeStatic(samples=100),)), data)
    path = convert.to(program, "onnx", tmp_path / "model.onnx", {"activations": "symmetric"}).path
    assert not unsupported(onnx.load(path)), "it breaks none of TensorRT's rules"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    name = session.get_inputs()[0].name
    batches = data.batches("evaluate", program.preprocess, batch_size=8, limit=64)
    comparison = runtime.compare(
        program.run,
        lambda array: tuple(session.run(None, {name: array})),
        (batch.inputs for batch in batches),
    )
    assert comparison.sqnr_db > least_db
    assert comparison.top1_agreement > 93


@pytest.mark.parametrize(("dim", "descending"), [(1, True), (-1, False)])
def test_a_stable_sort_puts_the_first_of_equal_values_first(
    dim: int, descending: bool, tmp_path: Path
) -> None:
    class Sorted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = torch.sort(x.round(), dim=dim, descending=descending, stable=True)
            return found[0], found[1]

    program = Program.capture(Sorted(), (torch.zeros(2, 5, 7),))
    artifact = convert.to(program, "onnx", tmp_path / "model.onnx")
    with runtime.open(artifact) as runner:
        inputs = program.signature.example(3)
        for want, have in zip(program.run(*inputs), runner.run(*inputs), strict=True):
            assert (want == have).all()
