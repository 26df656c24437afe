"""The losses of DPO, ORPO and KTO are those of TRL on the same rows, and those of the papers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.training.trainer import tiny
from training.trainer import objectives
from training.trainer.data.files import RowFiles
from training.trainer.data.preferences import Pair
from training.trainer.distributed import Ranks
from training.trainer.objectives.preference import PairBatch, PairHead, log1m_exp
from training.trainer.spec import BadSpec, RunSpec

CPU = torch.device("cpu")
PAIRS = [
    {"prompt": f"{a} plus {b} is", "chosen": f" {a + b}", "rejected": f" {a * b + 1} or so"}
    for a, b in ((2, 3), (9, 9), (0, 1), (7, 8))
]
JUDGED = [
    {"prompt": pair["prompt"], "completion": pair[name], "label": name == "chosen"}
    for name in ("chosen", "rejected")
    for pair in PAIRS
]
# TRL and its libraries say much; what they warn of is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


class Made(NamedTuple):
    head: PairHead
    batch: PairBatch
    pairs: Sequence[Pair]


@pytest.fixture(scope="module")
def policy(base_model: Path) -> Any:
    """The base model, moved a little, so that policy and reference differ."""
    model = AutoModelForCausalLM.from_pretrained(base_model).eval()
    noise = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=noise))
    return model


@pytest.fixture
def ours(base_model: Path, policy: Any, tmp_path: Path) -> Any:
    """``ours("dpo", rows, beta=0.3)``: the head on the policy, and the batch of all rows with the
    reference of the base model."""

    def make(method: str, rows: list[dict[str, Any]], **train: Any) -> Made:
        file = tiny.write_rows(tmp_path / "train.jsonl", rows)
        spec = RunSpec.from_dict(
            {
                "run_id": "1",
                "name": "a run",
                "method": method,
                "base_model": {"path": str(base_model)},
                "dataset": {"train": [str(file)]},
                "export_dir": str(tmp_path),
                "train": train,
            }
        )
        objective = objectives.build(spec)
        pairs = objective.load(RowFiles((str(file),))).rows
        base = AutoModelForCausalLM.from_pretrained(base_model)
        objective.before_training(objective.head(base), pairs, tmp_path, Ranks(), resumed=False)
        head = objective.head(policy)
        assert isinstance(head, PairHead)
        return Made(head.eval(), objective.collate(pairs, CPU), pairs)

    return make


def loss_of(made: Made) -> float:
    """The mean over the rows."""
    with torch.no_grad():
        return float(made.head(made.batch).loss) / len(made.pairs)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings that keep a trainer of TRL on the CPU and to itself."""
    import datasets

    datasets.disable_progress_bars()
    yield {
        "output_dir": str(tmp_path / "trl"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
    }
    datasets.enable_progress_bars()


def copies(base_model: Path, policy: Any) -> dict[str, Any]:
    """TRL patches the models that it is given."""
    model = AutoModelForCausalLM.from_pretrained(base_model)
    model.load_state_dict(policy.state_dict())
    return {"model": model, "ref_model": AutoModelForCausalLM.from_pretrained(base_model)}


@pytest.mark.parametrize("loss_type", ["sigmoid", "hinge", "ipo"])
def test_dpo_is_that_of_trl(
    loss_type: str, ours: Any, policy: Any, base_model: Path, tokenizer: Any, quiet: Any
) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    theirs = DPOTrainer(
        **copies(base_model, policy),
        args=DPOConfig(per_device_train_batch_size=4, beta=0.3, loss_type=[loss_type], **quiet),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=tokenizer,
    )
    batch = next(iter(theirs.get_train_dataloader()))
    theirs.model.eval()
    with torch.no_grad():
        expected = theirs._compute_loss(theirs.model, batch, return_outputs=False).item()
    assert loss_of(ours("dpo", PAIRS, beta=0.3, loss_type=loss_type)) == pytest.approx(
        expected, abs=1e-5
    )


def test_kto_is_that_of_trl(
    ours: Any, policy: Any, base_model: Path, tokenizer: Any, quiet: Any
) -> None:
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    weights: dict[str, Any] = {"desirable_weight": 1.5, "undesirable_weight": 0.5}
    theirs = KTOTrainer(
        **copies(base_model, policy),
        args=KTOConfig(
            per_device_train_batch_size=8,
            train_sampling_strategy="sequential",
            beta=0.7,
            **weights,
            **quiet,
        ),
        train_dataset=Dataset.from_list(JUDGED),
        processing_class=tokenizer,
    )
    batch = next(iter(theirs.get_train_dataloader()))
    theirs.model.eval()
    with torch.no_grad():
        expected = theirs._compute_loss(theirs.model, batch, return_outputs=False).item()
    assert loss_of(ours("kto", JUDGED, beta=0.7, **weights)) == pytest.approx(expected, abs=1e-5)


def test_orpo_is_that_of_trl(ours: Any, policy: Any) -> None:
    """Of one pair: over several TRL takes the mean over the tokens of all of them."""
    from trl.experimental.orpo import ORPOTrainer

    made = ours("orpo", PAIRS[:1], beta=0.4, completion_only_loss=False)
    their_batch: dict[str, Any] = {}
    for name, row in (("chosen", made.pairs[0].first), ("rejected", made.pairs[0].second)):
        ids = torch.from_numpy(row.ids).long()[None]
        their_batch[f"{name}_input_ids"] = ids
        their_batch[f"{name}_attention_mask"] = torch.ones_like(ids)
        their_batch[f"{name}_labels"] = ids.masked_fill(~torch.from_numpy(row.loss), -100)
    trainer: Any = ORPOTrainer
    theirs = SimpleNamespace(
        beta=0.4,
        accelerator=SimpleNamespace(device=CPU, gather_for_metrics=lambda value: value),
        is_encoder_decoder=False,
        padding_value=0,
        aux_loss_enabled=False,
        concatenated_inputs=ORPOTrainer.concatenated_inputs,
        get_batch_logps=ORPOTrainer.get_batch_logps,
    )
    for name in ("concatenated_forward", "odds_ratio_loss"):
        setattr(theirs, name, getattr(trainer, name).__get__(theirs))
    with torch.no_grad():
        expected, _ = trainer.get_batch_loss_metrics(theirs, policy, their_batch)
    assert loss_of(made) == pytest.approx(expected.item(), abs=1e-5)


def test_smoothed_dpo_is_that_of_the_note(ours: Any) -> None:
    """Mitchell 2023, A note on DPO with noisy preferences, equation 3, by hand."""
    made = ours("dpo", PAIRS, beta=0.3, label_smoothing=0.2)
    with torch.no_grad():
        moved = made.head.log_probs(made.batch.answers).view(2, -1) - made.batch.reference
    expected = 0.0
    for chosen, rejected in moved.T.tolist():
        margin = 0.3 * (chosen - rejected)
        expected += 0.8 * math.log1p(math.exp(-margin)) + 0.2 * math.log1p(math.exp(margin))
    assert loss_of(made) == pytest.approx(expected / 4, abs=1e-5)


def test_log_probabilities_are_sums_over_the_answers(ours: Any, policy: Any) -> None:
    head, batch, pairs = ours("orpo", PAIRS)
    rows = [pair.first for pair in pairs] + [pair.second for pair in pairs]
    with torch.no_grad():
        found = head.log_probs(batch.answers).tolist()
        for row, sum_of_tokens in zip(rows, found, strict=True):
            ids = torch.from_numpy(row.ids).long()
            scores = policy(input_ids=ids[None]).logits[0].log_softmax(-1)
            learned = [at for at in range(1, len(ids)) if row.loss[at]]
            expected = sum(float(scores[at - 1, ids[at]]) for at in learned)
            assert sum_of_tokens == pytest.approx(expected, abs=1e-4)


def test_orpo_learns_the_prompts_only_when_told_to(ours: Any) -> None:
    """One with prompts, by hand from the numbers of the other."""
    head, batch, _ = ours("orpo", PAIRS, beta=0.4)
    whole_head, whole, _ = ours("orpo", PAIRS, beta=0.4, completion_only_loss=False)
    with torch.no_grad():
        _, numbers = head.judge(batch)
        _, whole_numbers = whole_head.judge(whole)
    for name in ("log_odds_chosen", "rewards_chosen", "rewards_rejected"):
        assert whole_numbers[name].tolist() == pytest.approx(numbers[name].tolist(), abs=1e-5)
    assert whole_numbers["nll_loss"].tolist() != pytest.approx(numbers["nll_loss"].tolist())


@pytest.mark.parametrize("x", [-1e-6, -0.1, -0.65, -0.6931, -0.7, -5.0, -80.0])
def test_log_of_one_minus_exp_keeps_its_digits_and_has_a_gradient(x: float) -> None:
    value = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = log1m_exp(value)
    assert found.item() == pytest.approx(math.log(-math.expm1(x)), rel=1e-9)
    found.backward()
    assert value.grad is not None
    assert value.grad.item() == pytest.approx(-1 / math.expm1(-x), rel=1e-6)


def test_kto_needs_two_rows_at_once(ours: Any) -> None:
    with pytest.raises(BadSpec, match="micro batch"):
        ours("kto", JUDGED, global_batch_size=4, grad_accum=4)
