"""A base model with code of its own trains when its code is named, and by no other code."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import inspect
from tests.training.trainer import runs
from training.trainer import failures, own_code, result
from training.trainer.spec import BaseModelSpec

CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "our_own_llama"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture(scope="module")
def own_model(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Llama, under a name that Transformers does not know."""
    folder = tmp_path_factory.mktemp("own") / "model"
    shutil.copytree(base_model, folder)
    (folder / "modeling_own.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    asks = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
    }
    config |= {"model_type": "our_own_llama", "auto_map": asks}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.py")
    }


def test_named_code_runs_and_goes_along_with_the_result(
    own_model: Path, make_run: Callable[..., Path]
) -> None:
    base = {"path": str(own_model), "code": hashes(own_model)}
    run_dir = make_run("own", base_model=base, train={"max_steps": 2})
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    exported = run_dir / "exports" / "safetensors"
    assert hashes(exported) == hashes(own_model)
    code = inspect.custom_code(own_model)
    found = inspect.model_folder(exported, lambda asked: asked == code)
    assert found.family == "our_own_llama"


def test_without_a_name_it_does_not(own_model: Path, make_run: Callable[..., Path]) -> None:
    run_dir = make_run("own", base_model={"path": str(own_model)}, train={"max_steps": 2})
    assert runs.finish(run_dir) == 1
    ending = result.Result.read(run_dir)
    assert ending is not None
    assert ending.failure is not None
    assert ending.failure.kind == "bad_model"


def test_other_code_under_the_same_name_does_not_run(own_model: Path, tmp_path: Path) -> None:
    named = BaseModelSpec(path=str(tmp_path), code=hashes(own_model))
    shutil.copy(own_model / "modeling_own.py", tmp_path)
    assert own_code.may_run(named, str(tmp_path))
    (tmp_path / "more.py").write_text("")
    with pytest.raises(failures.BadModel, match=r"more\.py is not the code that was approved"):
        own_code.may_run(named, str(tmp_path))
    (tmp_path / "more.py").unlink()
    (tmp_path / "modeling_own.py").write_text(CODE + "import os\n")
    with pytest.raises(failures.BadModel, match=r"modeling_own\.py"):
        own_code.may_run(named, str(tmp_path))
