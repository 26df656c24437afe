"""All rules: what cannot go together, and what a person should know."""

from __future__ import annotations

from training.preflight import compatibility, exports, limits, methods, pitfalls
from training.preflight.facts import Experiment
from training.preflight.findings import Finding, Rule

RULES: tuple[Rule, ...] = (
    compatibility.RULES + pitfalls.RULES + methods.RULES + exports.RULES + limits.RULES
)


def found_by_rules(experiment: Experiment) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(experiment)]


def errors_by_rules(experiment: Experiment) -> set[str]:
    return {finding.sentence for finding in found_by_rules(experiment) if finding.is_error}
