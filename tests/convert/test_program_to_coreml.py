"""Core ML files, as far as they can be checked where they do not run: their structure, and every stored weight."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
import tiny_networks
from torch import nn

from edgepress import compress, convert
from edgepress.artifact import Artifact
from edgepress.cli._conversion import verify
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._coreml.convert import converted
from edgepress.convert._coreml.weights import checked
from edgepress.coreml_file import MEMBERS, unpack
from edgepress.errors import BadInput, BadOption, VerificationFailed
from edgepress.program import Program
from edgepress.recipe import Recipe

coremltools = pytest.importorskip("coremltools", reason="needs the coreml extra")
pytestmark = pytest.mark.coreml


def quantized(network: type[nn.Module]) -> Program:
    recipe = Recipe((QuantizeStatic(samples=64),))
    return compress.apply(tiny_networks.capture(network), recipe, tiny_networks.Patches(64))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    program = tiny_networks.capture(tiny_networks.Separable)
    return convert.to(program, "coreml", tmp_path_factory.mktemp("coreml") / "model.coreml")


def operators(path: Path, folder: Path) -> list[str]:
    spec = coremltools.utils.load_spec(str(unpack(path, folder)))
    function = spec.mlProgram.functions["main"]
    return [operator.type for operator in function.block_specializations[function.opset].operations]


def test_the_file_is_the_network_as_far_as_it_can_be_read(artifact: Artifact, tmp_path: Path) -> None:
    spec = coremltools.utils.load_spec(str(unpack(artifact.path, tmp_path)))
    (given,), (result,) = spec.description.input, spec.description.output
    assert (given.name, list(given.type.multiArrayType.shape)) == ("pictures", [1, 3, 16, 16])
    assert result.name == artifact.manifest.signature.outputs[0].name
    assert artifact.manifest.signature.inputs[0].shape == (1, 3, 16, 16)
    made = operators(artifact.path, tmp_path)
    assert (made.count("conv"), made.count("linear"), made.count("batch_norm")) == (3, 1, 0)
    assert artifact.manifest.quality["weights_compared"] == 4
    # float32 against float32; batch-norm is folded in double precision and rounded once.
    assert float(str(artifact.manifest.quality["worst_weight_db"])) > 120


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_what_cannot_run_is_never_a_success(artifact: Artifact) -> None:
    program = tiny_networks.capture(tiny_networks.Separable)
    verification = verify(program, artifact, [program.signature.example(1)]).manifest.verification
    assert verification is not None
    assert verification.status == "skipped"
    assert "runs only on macOS" in str(verification.results["reason"])


def test_a_quantized_network_keeps_its_integers_and_scales(tmp_path: Path) -> None:
    artifact = convert.to(quantized(tiny_networks.Separable), "coreml", tmp_path / "model.coreml")
    made = operators(artifact.path, tmp_path)
    assert made.count("constexpr_affine_dequantize") == 4
    assert made.count("quantize") > 4
    assert artifact.manifest.precision == "int8"
    # Integers and float32 scales are stored as they are: what is left is the product's own rounding.
    assert float(str(artifact.manifest.quality["worst_weight_db"])) > 120


@pytest.mark.slow
def test_palettes_hold_sixteen_values(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    artifact = convert.to(program, "coreml", tmp_path / "model.coreml", {"weights": "palette4"})
    assert "constexpr_lut_to_dense" in operators(artifact.path, tmp_path)
    assert artifact.manifest.precision == "palette4"
    # 16 values for evenly spread weights: 24 dB, less what a batch-norm spreads them.
    assert 10 < float(str(artifact.manifest.quality["worst_weight_db"])) < 40


def test_other_weights_are_refused(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    package = converted(program, "float32", tmp_path)
    another = tiny_networks.capture(tiny_networks.Residual, seed=1)
    with pytest.raises(VerificationFailed, match="a weight departs"):
        checked(package, another, "float32")
    with pytest.raises(VerificationFailed, match="weights in place of|weight departs"):
        checked(package, tiny_networks.capture(tiny_networks.Separable), "float32")


def test_small_weights_are_for_float_networks() -> None:
    with pytest.raises(BadOption, match="float networks"):
        convert.check(quantized(tiny_networks.Separable), "coreml", {"weights": "palette4"})


def test_other_archives_are_refused(artifact: Artifact, tmp_path: Path) -> None:
    for names, kind in ((MEMBERS[:2], zipfile.ZIP_STORED), (MEMBERS, zipfile.ZIP_DEFLATED)):
        path = tmp_path / "model.coreml"
        with zipfile.ZipFile(path, "w", kind) as joined:
            for name in names:
                joined.writestr(name, "content")
        with pytest.raises(BadInput, match=r"no \.coreml file"):
            unpack(path, tmp_path)
    path.write_bytes(artifact.path.read_bytes()[:1000])
    with pytest.raises(BadInput, match=r"no \.coreml file"):
        unpack(path, tmp_path)
