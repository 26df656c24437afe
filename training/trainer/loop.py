"""The training loop, top to bottom: prepare, step, evaluate, checkpoint, export.

Everything that is due *between* two steps (evaluation, checkpoint, stop) is looked at in one place,
at the top of the loop. So a run that was killed anywhere finds, when it is started again, exactly
what was still due after the step it resumes from.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.trainer import (
    checkpoint,
    durable,
    events,
    exports,
    kernels,
    memory,
    model,
    objectives,
    prepare,
    probe,
    result,
    sharding,
    suites,
)
from training.trainer.best import Best
from training.trainer.checkpoint import Checkpoints
from training.trainer.data.examples import Joined, lengths_of
from training.trainer.data.loader import Loader
from training.trainer.data.packing import Packs
from training.trainer.distributed import Ranks
from training.trainer.evaluate import HeldOut
from training.trainer.events import EventLog
from training.trainer.meter import Meter, Taken
from training.trainer.objectives import Objective
from training.trainer.optimizer import build_optimizer, learning_rate
from training.trainer.result import Result
from training.trainer.sharding import Placement
from training.trainer.spec import RunSpec
from training.trainer.stopping import Stop, StopRequested
from training.trainer.suites import Suites

logger = logging.getLogger(__name__)

QUIET_S = 4 * 3600.0  # may go by over what is done in one piece: to read, load, save or export
EVAL_BATCH_SIZE = 8  # rows at least; without gradients even a small micro batch leaves the room


def train(spec: RunSpec, run_dir: Path, log: EventLog, stop: Stop) -> Result:
    """Run ``spec`` to its end, from the newest checkpoint if there is one.

    Raises StopRequested (after a checkpoint), BeginAnew, TrainingFailed, BadSpec, and what torch
    raises.
    """
    log.alive(lasting_s=QUIET_S)
    prepare.make_repeatable(spec)
    device = model.pick_device(spec)
    ranks = Ranks.meet(spec, device)
    stop.agree = ranks.any
    with ranks.first_goes_first():
        durable.remove_halves(run_dir / "checkpoints")
    resume_from = next(reversed(checkpoint.existing(run_dir)), None)

    objective = objectives.build(spec)
    with ranks.first_goes_first():
        rows, held_out_rows = prepare.load_data(spec, objective, log)
    questions = prepare.questions(spec, objective)
    harness = Suites.prepare(spec.eval)
    net = prepare.load_model(spec, objective, device, resume_from, ranks, log)
    for part in filter(None, (rows, held_out_rows)):
        objective.check_fit(net, part)
    if harness is not None:
        harness.check_fit(net)
    exports.check(spec, objective, net)
    run = Run.of(spec, objective, net, rows, device, ranks, log, stop)
    is_tight = bool(memory.noted(run_dir))
    eval_batch_size = max(run.loader.micro_batch_size, 1 if is_tight else EVAL_BATCH_SIZE)
    probed = probe.Probe.of(run, held_out_rows, eval_batch_size) if spec.probe_steps else None
    looked_at: Sequence[Any] = Joined(run.loader.taken(run.max_steps), held_out_rows)
    if probed is not None:
        looked_at = probed.rows
    resumed = resume_from is not None
    with memory.room_for_steps(spec, run_dir):
        objective.before_training(run.head, looked_at, run_dir, ranks, resumed=resumed)
    if not ranks.is_first:
        prepare.seed_all(spec.train.seed + ranks.rank)  # alike so far; every rank drops others out
    checkpoints = Checkpoints(
        run_dir,
        model=net,
        processor=objective.processor,
        optimizer=run.optimizer,
        scaler=run.scaler,
        ranks=ranks,
        device=device,
        keep=spec.train.save_total_limit,
    )
    held_out = HeldOut(
        head=run.head,
        objective=objective,
        rows=held_out_rows,
        questions=questions,
        batch_size=eval_batch_size,
        device=device,
        autocast=run.autocast,
        stop=stop,
        ranks=ranks,
        suites=harness,
        suites_folder=run_dir / suites.FOLDER,
    )
    log.emit(events.PLAN, max_steps=run.max_steps, steps_per_epoch=run.steps_per_epoch)
    memory.tell(run_dir, log)
    if probed is not None:
        with stop.deferred(), memory.room_for_steps(spec, run_dir):
            return probed.measure(run, held_out, take_step)
    best = Best(spec.train, log)

    step = 0
    if resume_from:
        step = checkpoints.restore(resume_from)
        say_checkpoint(log, step, resume_from)
        logger.info("Going on from the checkpoint of step %d.", step)
    with stop.deferred(), memory.room_for_steps(spec, run_dir):
        fit(run, checkpoints, held_out, best, first_step=step)

    log.alive(lasting_s=QUIET_S)
    result_step = settle_on_best(run, net, checkpoints, held_out, best)
    net = prepare.whole(spec, objective, net, ranks)
    ranks.leave()
    if not ranks.is_first:
        return Result(outcome=result.COMPLETED, step=run.max_steps)
    run.optimizer.state.clear()  # the room is needed now
    evaluation = measured(run, result_step)
    made = exports.export_all(
        spec,
        objective,
        net,
        (held_out_rows or rows)[0],
        facts_of(run, rows, evaluation, result_step),
        log,
    )
    log.sync()
    return Result(outcome=result.COMPLETED, step=run.max_steps, exports=made, evaluation=evaluation)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every step needs."""

    spec: RunSpec
    log: EventLog
    stop: Stop
    objective: Objective[Any, Any]
    loader: Loader
    head: nn.Module
    placement: Placement
    ranks: Ranks
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    max_steps: int

    @classmethod
    def of(
        cls,
        spec: RunSpec,
        objective: Objective[Any, Any],
        net: nn.Module,
        rows: Sequence[Any],
        device: torch.device,
        ranks: Ranks,
        log: EventLog,
        stop: Stop,
    ) -> Run:
        train = spec.train
        examples = Packs(rows, train.max_length) if train.packing else rows
        head = objective.head(net)
        if train.torch_compile:
            kernels.compile_layers(net)
        placement = sharding.place(head, spec, device, ranks)
        fp16 = spec.device.mixed_precision == "fp16" and device.type == "cuda"
        return cls(
            spec=spec,
            log=log,
            stop=stop,
            objective=objective,
            loader=Loader(
                examples=examples,
                collate=objective.collate,
                device=device,
                global_batch_size=train.global_batch_size,
                micro_batch_size=train.micro_batch_size(spec.device.ranks),
                seed=train.seed,
                group_by_length=train.group_by_length,
                rank=ranks.rank,
                world_size=ranks.world_size,
            ),
            head=head,
            placement=placement,
            ranks=ranks,
            optimizer=build_optimizer(net, train),
            scaler=torch.amp.GradScaler(device.type, enabled=fp16),
            device=device,
            max_steps=prepare.resolve_max_steps(train, len(examples)),
        )

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.loader.examples) / self.spec.train.global_batch_size)

    def autocast(self) -> AbstractContextManager[Any]:
        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = dtypes.get(self.spec.device.mixed_precision)
        return torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()


def fit(
    run: Run, checkpoints: Checkpoints, held_out: HeldOut, best: Best, *, first_step: int
) -> None:
    """Take the steps after ``first_step``. Raises StopRequested after a checkpoint, Diverged."""
    train, log = run.spec.train, run.log
    step = saved = first_step
    meter = Meter(
        log,
        train,
        rows=len(run.loader.examples),
        max_steps=run.max_steps,
        device=run.device,
        scaled=run.scaler.is_enabled(),
        first_step=first_step,
        saved_steps=lambda: checkpoint.steps(checkpoints.run_dir),
    )

    def save() -> None:
        nonlocal saved
        meter.check_health(step)
        if step > saved:
            log.alive(lasting_s=QUIET_S)
            path = checkpoints.save(step, log.sync, spare=best.step)
            say_checkpoint(log, step, path)
            saved = step

    try:
        while True:
            last = step >= run.max_steps
            if evaluation_is_due(run, held_out, step):
                meter.check_health(step)
                numbers = held_out.measure(step, suites=step == 0 or last)
                best.add(step, numbers)
                log.emit(events.EVALUATION, step=step, **numbers)
                logger.info("Measured at step %d: %s.", step, in_words(numbers))
            if last or step % train.checkpoint_interval == 0 or step == best.step:
                save()
            if last:
                return
            run.stop.check()
            rate = learning_rate(step, run.max_steps, train)
            meter.start_step(rate)
            taken = take_step(run, step, rate)
            step += 1
            meter.end_step(step, taken)
    except StopRequested:
        save()
        raise


def settle_on_best(
    run: Run, net: nn.Module, checkpoints: Checkpoints, held_out: HeldOut, best: Best
) -> int:
    """The step whose weights are the result, and ``net`` has them: the last one, or where the run
    wants it the best. All ranks call this together."""
    last = run.max_steps
    if best.step is None:
        return last
    if best.step != last:
        prepare.take_back(run.spec, run.objective, net, checkpoints, best.step)
    if not run.log.said(events.BEST, best.step):
        numbers = (
            measured(run, last)["after"]
            if best.step == last
            else held_out.measure(best.step, suites=True)
        )
        run.log.emit(events.BEST, step=best.step, **numbers)
    logger.info("The result is the checkpoint of step %d, the best.", best.step)
    return best.step


def evaluation_is_due(run: Run, held_out: HeldOut, step: int) -> bool:
    """Before the first step, after the last, at every interval; once each, also over restarts."""
    interval = run.spec.eval.interval
    first_or_last = step in (0, run.max_steps)
    due = first_or_last or (interval is not None and step % interval == 0)
    something = held_out.has_something(suites=first_or_last)
    return due and something and not run.log.said(events.EVALUATION, step)


def take_step(run: Run, step: int, rate: float) -> Taken:
    """Forward, backward and update for one global batch.

    The loss of every micro batch is divided by the weight of the whole global batch, so that every
    token (or row) counts the same however the batch is split, over ranks too.
    """
    taken = run.loader.step(step)
    total = torch.zeros((), device=run.device)
    for number, batch in enumerate(taken.batches, start=1):
        with run.placement.micro_batch(is_last=number == len(taken.batches)):
            with run.autocast():
                loss = run.placement.learner(batch).loss / taken.weight
            run.scaler.scale(loss).backward()
        total += loss.detach()
    run.ranks.sum(total)
    run.scaler.unscale_(run.optimizer)
    grad_norm = sharding.clip_gradients(
        (p for group in run.optimizer.param_groups for p in group["params"]),
        run.spec.train.max_grad_norm or math.inf,
    )
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return Taken(total, grad_norm, taken.rows, taken.tokens)


# --- words and numbers -----------------------------------------------------------------------


def measured(run: Run, last: int) -> dict[str, dict[str, float]]:
    """The numbers before and after (``last`` step), as the events tell them, whichever process
    measured them."""
    numbers = {}
    for name, step in (("before", 0), ("after", last)):
        event = events.BEST if run.log.said(events.BEST, step) else events.EVALUATION
        if not run.log.said(event, step):
            continue
        said = run.log.recall(event, step)
        numbers[name] = {k: v for k, v in said.items() if k not in ("seq", "event", "time", "step")}
    return numbers


def facts_of(
    run: Run, rows: Sequence[Any], evaluation: dict[str, dict[str, float]], step: int
) -> exports.Facts:
    """What the model card tells of the result, the weights after ``step``."""
    losses = run.log.curve(events.STEP, "loss")
    return exports.Facts(
        step=step,
        train_rows=len(rows),
        train_tokens=int(lengths_of(rows).sum()),
        loss=[loss for logged, loss in losses if logged <= step][-1],
        evaluation=evaluation,
        losses=losses,
        held_out=run.log.curve(events.EVALUATION, "eval_loss"),
    )


def say_checkpoint(log: EventLog, step: int, path: Path) -> None:
    kept = checkpoint.steps(path.parent.parent)
    size = durable.size_bytes(path)
    log.emit(events.CHECKPOINT, step=step, path=str(path), size_bytes=size, kept=kept)


def in_words(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:.4f}" for name, number in numbers.items())
