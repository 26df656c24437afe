"""The whole preflight: what cannot go together, then what it needs, then what would help."""

from __future__ import annotations

from dataclasses import replace

from training.preflight import host
from training.preflight.batches import batches_of
from training.preflight.changes import Needs
from training.preflight.corrections import NO_RUNS, Correction, Corrections, Factor
from training.preflight.estimate import Estimate, estimate
from training.preflight.facts import Experiment, ModelFacts
from training.preflight.findings import Finding, Weight, shortage, warning
from training.preflight.fixes import Fix, find_fixes
from training.preflight.hardware import MIB
from training.preflight.report import Confidence, Report
from training.preflight.rules import found_by_rules
from training.preflight.shape import shape_of
from training.preflight.shortages import lacks
from training.preflight.way_out import way_out

# Median errors over each source with the rules and constants that the others have taught
# (``python -m benchmarks.preflight_accuracy``, "A source that nothing was read off").
ON_A_CARD = Confidence(
    memory_percent=7,
    time_percent=4,
    basis="published runs: 197 for memory and 336 for speed, each source judged by what the "
    "others have taught",
)
ON_ANOTHER_CARD = Confidence(
    memory_percent=7, time_percent=200, basis="a card whose rate nobody has told"
)
ON_THE_CPU = Confidence(memory_percent=30, time_percent=100, basis="a rough figure per core")
INFERRED = Confidence(
    memory_percent=20, time_percent=40, basis="a shape inferred from the model's size"
)


def check(experiment: Experiment, corrections: Corrections = NO_RUNS) -> Report:
    """Judge an experiment, with what own runs have taught. Raises nothing, whatever the facts
    are."""
    findings = found_by_rules(experiment)
    if any(finding.weight is Weight.INCOMPATIBLE for finding in findings):
        return _refused(findings)
    needs_of = _needs(experiment.model, corrections)
    needs = needs_of(experiment)
    if needs is None:
        unknown = warning(
            f"The size of model '{experiment.model.name}' is not known, so neither memory nor time "
            "can be estimated. Give its config.json or params_b."
        )
        return _refused([*findings, unknown])
    fixes = find_fixes(experiment, needs, needs_of)
    findings += _too_large(experiment, needs, fixes, needs_of)
    if experiment.dataset.mean_tokens is None and not experiment.rows_are_alike:
        findings.append(
            warning(
                "The dataset's row lengths are not known: times assume rows half of max_length "
                "long, and their range is wide."
            )
        )
    confidence = _confidence(experiment, needs, corrections.of(experiment))
    return _answered(experiment, findings, needs, fixes, confidence)


def smaller(experiment: Experiment, corrections: Corrections = NO_RUNS) -> tuple[Fix, ...]:
    """What takes less memory, for a run that has run out of it whatever the estimate was."""
    needs_of = _needs(experiment.model, corrections)
    needs = needs_of(experiment)
    return find_fixes(experiment, needs, needs_of, ran_out=True) if needs else ()


def _needs(model: ModelFacts, corrections: Corrections) -> Needs:
    """Of experiments with this model, whose shape none of the settings that are tried changes."""
    shape = shape_of(model)

    def needs_of(one: Experiment) -> Estimate | None:
        return estimate(one, corrections.of(one).calibration, shape)

    return needs_of


def _too_large(
    experiment: Experiment, needs: Estimate, fixes: tuple[Fix, ...], needs_of: Needs
) -> list[Finding]:
    found = []
    for lack in lacks(experiment, needs):
        more = f" {way_out(experiment, needs, fixes, needs_of)}" if lack.what == "memory" else ""
        found.append(shortage(lack.sentence + more))
    return found


def _refused(findings: list[Finding]) -> Report:
    errors = _sentences(findings, is_error=True)
    return Report(ok=not errors, warnings=_sentences(findings, is_error=False), errors=errors)


def _answered(
    experiment: Experiment,
    findings: list[Finding],
    needs: Estimate,
    fixes: tuple[Fix, ...],
    confidence: Confidence,
) -> Report:
    duration = needs.duration
    errors = _sentences(findings, is_error=True)
    return Report(
        ok=not errors,
        warnings=_sentences(findings, is_error=False),
        errors=errors,
        estimated_vram_mb=needs.memory.total_mb,
        vram_breakdown=needs.memory,
        time_per_step_ms=needs.speed.time_per_step_ms,
        throughput=needs.speed.throughput(),
        headroom_mb=needs.headroom_mb,
        fits=needs.fits,
        bottleneck=needs.speed.bottleneck,
        total_time_s=duration.total_s if duration else None,
        total_time_range_s=duration.range_s if duration else None,
        time_breakdown_s=duration.parts() if duration else {},
        batches=batches_of(experiment),
        disk_required_mb=needs.disk_required_mb,
        exports_bytes=needs.exports_bytes,
        host_memory_required_mb=needs.host.total_mb,
        download_mb=-(-host.download_bytes(experiment) // MIB),
        confidence=confidence,
        fixes=fixes,
    )


def _sentences(findings: list[Finding], *, is_error: bool) -> tuple[str, ...]:
    return tuple(finding.sentence for finding in findings if finding.is_error == is_error)


def _confidence(experiment: Experiment, needs: Estimate, correction: Correction) -> Confidence:
    """That of own runs, where there are enough, else that of the kind in general."""
    general = ON_A_CARD if needs.shape.exact else INFERRED
    if needs.card.is_cpu:
        general = ON_THE_CPU
    elif needs.card.is_guessed:
        general = ON_ANOTHER_CARD
    dataset = experiment.dataset
    return replace(
        general,
        memory_percent=_first(correction.memory.percent, general.memory_percent),
        time_percent=_first(correction.time.percent, general.time_percent),
        basis=_basis(correction, general.basis),
        correction=correction,
        knows_lengths=experiment.rows_are_alike
        or dataset.lengths is not None
        or (dataset.mean_tokens is not None and dataset.max_tokens is not None),
    )


def _first(measured: float | None, general: float) -> float:
    return general if measured is None else measured


def _basis(correction: Correction, general: str) -> str:
    """What both errors were measured on: own runs, or what is known in general."""
    memory, time = (_runs(one) or general for one in (correction.memory, correction.time))
    return memory if memory == time else f"memory: {memory}; time: {time}"


def _runs(factor: Factor) -> str:
    if factor.percent is None:
        return ""
    return f"{factor.runs} own run{'s' if factor.runs > 1 else ''}"
