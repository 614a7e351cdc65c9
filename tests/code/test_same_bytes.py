"""The same bytes on every x86-64 processor, from random numbers to crops (docs/reproducibility.md)."""

import ast
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fabnet.synthetic.portable import angle, bell, exact_product, exponential, falloff, normal, sin_cos
from tests.code.simulated_processors import OWN, PROCESSORS, ROOT

#: What NumPy, or the C library below it, computes by another routine for each instruction set; and what BLAS sums.
PROCESSOR_DEPENDENT = {
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "cos", "cosh", "exp",
    "exp2", "expm1", "float_power", "hypot", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2",
    "power", "sin", "sinh", "tan", "tanh", "convolve", "correlate", "cov", "dot", "einsum", "fft", "inner",
    "linalg", "matmul", "matvec", "outer", "polyfit", "tensordot", "vdot", "vecdot", "vecmat",
}  # fmt: skip
#: Of Python's own arithmetic, all of `math` but these; and the operators ** and @.
EXACT_MATH = {"ceil", "floor", "pi", "sqrt"}
#: Drawn from the C library's functions.
DEPENDENT_DRAWS = {
    "beta", "binomial", "chisquare", "dirichlet", "exponential", "f", "gamma", "geometric", "gumbel", "laplace",
    "logistic", "lognormal", "logseries", "multivariate_normal", "normal", "pareto", "poisson", "power",
    "rayleigh", "standard_exponential", "standard_gamma", "standard_normal", "standard_t", "vonmises", "wald",
    "weibull", "zipf",
}  # fmt: skip
ALLOWED = {("portable.py", name) for name in ("@", "normal", "exponential")}  # it says why they are safe there


def processor_dependent(path: Path) -> list[str]:
    """What a file of the renderer calls that depends on the processor: names and operators."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            base = ast.unparse(node.value)
            if (
                (base == "np" and node.attr in PROCESSOR_DEPENDENT)
                or (base == "math" and node.attr not in EXACT_MATH)
                or (base.endswith("rng") and node.attr in DEPENDENT_DRAWS)
                or node.attr == "dot"
            ):
                found.append(node.attr)
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, (ast.Pow, ast.MatMult)):
            found.append("**" if isinstance(node.op, ast.Pow) else "@")
        elif isinstance(node, ast.ImportFrom) and node.module in {"math", "numpy", "cmath"}:
            found.append(f"from {node.module}")
        elif isinstance(node, ast.Name) and node.id == "pow":
            found.append("pow")
    return [name for name in found if (path.name, name) not in ALLOWED]


@pytest.fixture(scope="module")
def own() -> dict[str, Any]:
    return OWN.found()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="simulates x86-64 processors")
@pytest.mark.parametrize("name", PROCESSORS)
def test_the_same_bytes_on(name: str, own: dict[str, Any]) -> None:
    processor = PROCESSORS[name]
    if processor.needs not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip(f"this processor has no {processor.needs}")
    found = processor.found()
    # It did simulate.
    assert not [target for target in found["numpy"] if target.startswith(processor.numpy)]
    assert found["libav"] == processor.libav
    differing = [part for part, hashed in own["hashes"].items() if found["hashes"][part] != hashed]
    assert differing == []


@pytest.mark.parametrize("path", sorted((ROOT / "fabnet/synthetic").glob("*.py")), ids=lambda path: path.stem)
def test_the_renderer_calls_nothing_that_depends_on_the_processor(path: Path) -> None:
    assert processor_dependent(path) == []


@pytest.mark.parametrize(
    "line",
    [
        "np.exp(x)",
        "x ** 2",
        "a @ b",
        "math.hypot(x, y)",
        "rng.normal()",
        "self.rng.gamma(1)",
        "x.dot(y)",
        "pow(x, 2)",
        "np.linalg.norm(x)",
    ],
)
def test_the_guard_finds(line: str, tmp_path: Path) -> None:
    (tmp_path / "lines.py").write_text(line)
    assert processor_dependent(tmp_path / "lines.py") != []


def test_smooth_functions_are_near_the_true_ones() -> None:
    x = np.linspace(0, 40, 4001)
    for kind in (np.float32, np.float64):
        close = falloff(x.astype(kind))
        assert close.dtype == kind
        assert np.abs(close - np.exp(-x)).max() < 0.0011
        assert (np.diff(close) <= 0).all()
        assert np.abs(bell(x.astype(kind)) - np.exp(-x * x)).max() < 0.0011
    around = np.radians(np.arange(-179.75, 180, 0.5))
    turned = angle(np.sin(around).astype(np.float32), np.cos(around).astype(np.float32))
    assert turned.dtype == np.float32
    assert np.abs(turned - around).max() < 0.005
    assert angle(np.zeros(1, np.float32), np.zeros(1, np.float32)) == 0


def test_sines_are_exact_but_for_the_last_digit() -> None:
    for degrees in np.linspace(-180, 180, 1801).tolist():
        true = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        np.testing.assert_allclose(sin_cos(degrees), true, rtol=0, atol=1e-15)
        np.testing.assert_allclose(sin_cos(degrees + 720), true, rtol=0, atol=1e-14)
    assert sin_cos(90.0) == (1, 0)


def test_a_product_is_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.uniform(-1.9, 1.9, (30, 200)).astype(np.float32), rng.uniform(0, 1, (200, 40)).astype(np.float32)
    product = exact_product(left, right)
    np.testing.assert_allclose(product, left.astype(float) @ right, atol=2e-4)
    order = rng.permutation(200)
    np.testing.assert_array_equal(exact_product(left[:, order], right[order]), product)


def test_draws_are_numpys_without_their_tails() -> None:
    mine, its = normal(np.random.default_rng(1), 300, 400), np.random.default_rng(1).normal(size=(300, 400))
    tail = np.abs(its) > 3.65
    assert 0 < tail.mean() < 0.0005
    np.testing.assert_array_equal(mine[~tail], its[~tail])
    np.testing.assert_array_equal(mine[tail], np.sign(its[tail]) * 3.65)
    rng, same = np.random.default_rng(2), np.random.default_rng(2)
    pairs = [(exponential(rng, 2.0), 2 * float(same.exponential())) for _ in range(20000)]
    assert all(a == b or (b > 15.38 and a == 15.38) for a, b in pairs)
    assert any(a != b for a, b in pairs)
