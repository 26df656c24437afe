"""The whole preflight: what cannot go together, then what it needs, then what would help."""

from __future__ import annotations

from training.preflight import compatibility, exports, limits, methods
from training.preflight.estimate import Estimate, estimate
from training.preflight.facts import Experiment
from training.preflight.findings import Finding, Weight, shortage, warning
from training.preflight.fixes import Fix, find_fixes
from training.preflight.report import Confidence, Report

# Median errors where the rows had no part in the rules: of memory over all sources but
# fms-acceleration, off which several rules were read; of time over each source with the constants
# fitted on the others (``python -m benchmarks.preflight_accuracy``).
ON_A_CARD = Confidence(
    memory_percent=9,
    time_percent=7,
    basis="published runs: 60 for memory, of software that its rules were not read off, and 336 "
    "for speed, each source unseen by the constants",
)
ON_THE_CPU = Confidence(memory_percent=30, time_percent=100, basis="a rough figure per core")
INFERRED = Confidence(
    memory_percent=20, time_percent=40, basis="a shape inferred from the model's size"
)


def check(experiment: Experiment) -> Report:
    """Judge an experiment. Raises nothing, whatever the facts are."""
    rules = compatibility.RULES + methods.RULES + exports.RULES + limits.RULES
    findings = [finding for rule in rules for finding in rule(experiment)]
    if any(finding.weight is Weight.INCOMPATIBLE for finding in findings):
        return _refused(findings)
    needs = estimate(experiment)
    if needs is None:
        unknown = warning(
            f"The size of model '{experiment.model.name}' is not known, so neither memory nor time "
            "can be estimated. Give its config.json or params_b."
        )
        return _refused([*findings, unknown])
    fixes = find_fixes(experiment, needs)
    findings += _too_large(experiment, needs, fixes)
    if experiment.dataset.mean_tokens is None and not experiment.rows_are_alike:
        findings.append(
            warning(
                "The dataset's row lengths are not known: times assume rows half of max_length "
                "long, and their range is wide."
            )
        )
    return _answered(findings, needs, fixes)


def _too_large(experiment: Experiment, needs: Estimate, fixes: tuple[Fix, ...]) -> list[Finding]:
    found = []
    if needs.fits is False:
        has = (needs.capacity_mb or 0) / 1024
        where = "this machine" if needs.card.is_cpu else f"the {needs.card.slug}"
        kind = "memory" if needs.card.is_cpu else "GPU memory"
        sentence = (
            f"Does not fit: needs {needs.memory.total_mb / 1024:.1f} GB of {kind}, "
            f"{where} has {has:.1f} GB."
        )
        way_out = next((fix for fix in fixes if fix.fits), None)
        if way_out:
            sentence += f" {way_out.title}: {way_out.estimated_vram_mb / 1024:.1f} GB."
        found.append(shortage(sentence))
    free = experiment.resources.disk_free_mb
    if free is not None and needs.disk_required_mb > free:
        found.append(
            shortage(
                "Not enough disk: checkpoints and exports need "
                f"{needs.disk_required_mb / 1024:.1f} GB, {max(free, 0) / 1024:.1f} GB are free. "
                "Lower save_total_limit or free space."
            )
        )
    for kind, needs_gb in exports.exports_without_room(experiment, needs.shape, needs.memory):
        found.append(
            shortage(
                f"Export '{kind}' needs {needs_gb:.1f} GB of host memory, the machines here have "
                f"{experiment.resources.host_memory_gb:.1f} GB. Leave it out, or make it elsewhere "
                "from safetensors."
            )
        )
    return found


def _refused(findings: list[Finding]) -> Report:
    errors = _sentences(findings, is_error=True)
    return Report(ok=not errors, warnings=_sentences(findings, is_error=False), errors=errors)


def _answered(findings: list[Finding], needs: Estimate, fixes: tuple[Fix, ...]) -> Report:
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
        total_time_s=needs.speed.total_time_s,
        total_time_range_s=needs.speed.total_time_range_s,
        disk_required_mb=needs.disk_required_mb,
        confidence=_confidence(needs),
        fixes=fixes,
    )


def _sentences(findings: list[Finding], *, is_error: bool) -> tuple[str, ...]:
    return tuple(finding.sentence for finding in findings if finding.is_error == is_error)


def _confidence(needs: Estimate) -> Confidence:
    if needs.card.is_cpu:
        return ON_THE_CPU
    return ON_A_CARD if needs.shape.exact else INFERRED
