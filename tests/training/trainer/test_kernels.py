"""Compiled layers compute the same; what needs a GPU says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.trainer import runs
from tests.training.trainer.test_model import make_spec
from tests.training.trainer.test_packing import some_rows
from training.trainer import kernels
from training.trainer.data.loader import Loader
from training.trainer.failures import BadModel
from training.trainer.objectives.language import LossHead, collate
from training.trainer.spec import BadSpec


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch looks at it while it compiles
def test_compiled_layers_give_the_same_losses_and_gradients(
    base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler that needs no C++ compiler: what it traces is the same."""
    from transformers import AutoModelForCausalLM

    real_compile = torch.compile
    counted: list[int] = []

    def compile(function: Any, **options: Any) -> Any:
        counted.append(1)
        return real_compile(function, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", compile)
    plain, compiled = (
        LossHead(AutoModelForCausalLM.from_pretrained(base_model).train()) for _ in range(2)
    )
    kernels.compile_layers(compiled)
    assert len(counted) == 2  # the layers of the model
    for lengths in ((9, 30, 4), (17, 30, 21, 2)):
        batch = collate(some_rows(*lengths), 0, torch.device("cpu"))
        expected, found = plain(batch).loss, compiled(batch).loss
        torch.testing.assert_close(found, expected)
        expected.backward()
        found.backward()
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()


@pytest.mark.parametrize(("tf32", "precision"), [(True, "high"), (False, "highest")])
def test_tensor_cores_round_float32_products_only_where_asked(
    tf32: bool, precision: str, base_model: Path
) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        kernels.allow_tf32(make_spec(base_model, train={"tf32": tf32}))
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cudnn.allow_tf32 is tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def test_liger_without_a_gpu_is_refused(make_run: Callable[..., Path]) -> None:
    run_dir = make_run("liger", train={"max_steps": 1, "use_liger_kernel": True})
    assert runs.finish(run_dir) == 1
    failure = json.loads((run_dir / "result.json").read_text())["failure"]
    assert failure["kind"] == "bad_settings"
    assert "use_liger_kernel: its kernels need a GPU" in failure["message"]


def test_liger_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadModel, match="needs liger-kernel"):
        kernels.use_liger(torch.nn.Module(), torch.device("cuda"))
    with pytest.raises(BadSpec, match="need a GPU"):
        kernels.use_liger(torch.nn.Module(), torch.device("cpu"))


def test_a_gpu_finds_the_batches_of_the_next_step_ready() -> None:
    """On a device that keeps nothing but shapes, so that the test needs no GPU."""
    made: list[int] = []

    def count(rows: Any, device: torch.device) -> list[int]:
        made.append(len(rows))
        return [row.length for row in rows]

    settings: dict[str, Any] = {
        "examples": some_rows(*range(2, 12)),
        "collate": count,
        "global_batch_size": 4,
        "micro_batch_size": 2,
        "seed": 3,
    }
    ahead = Loader(**settings, device=torch.device("meta"))
    as_needed = Loader(**settings, device=torch.device("cpu"))
    for step in (0, 1, 2, 7, 8, 3):  # also where a run goes on from somewhere else
        assert ahead.step(step) == as_needed.step(step)
    assert ahead.step(4) == as_needed.step(4)
    assert len(made) >= 2 * (7 + 7 + 1)  # one step more than was asked for


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_run_on_the_gpu_learns_with_every_kernel(make_run: Callable[..., Path]) -> None:
    """Without Liger, which is not among the requirements."""
    train = {"max_steps": 30, "learning_rate": 3e-3, "dtype": "float32", "torch_compile": True}
    run_dir = make_run("cuda", train=train, device={"gpus": 1, "mixed_precision": "bf16"})
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    found = runs.losses(run_dir)
    assert found[30] < 0.7 * found[1]
