"""How many tokens the rows of a dataset are for a model, once somebody has counted."""

from __future__ import annotations

from django.db import models

from registry.models import BaseModel, Dataset


class TokenCount(models.Model):
    """What `training.trainer.counting` has answered, condensed. ``key`` is a hash of all that the
    count follows from: files that have changed are counted anew, under another one."""

    key = models.CharField(max_length=64, primary_key=True, editable=False)
    base_model = models.ForeignKey(BaseModel, on_delete=models.CASCADE, related_name="+")
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="+")
    found = models.JSONField()
    counted_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Tokens of {self.dataset} for {self.base_model}"
