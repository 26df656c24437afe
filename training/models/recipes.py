"""Ways to train, and what they were before they were changed."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet
from registry.models import Modality


class Method(models.TextChoices):
    FULL = "full"
    LORA = "lora", "LoRA"
    QLORA = "qlora", "QLoRA"
    PRETRAIN = "pretrain", "Continued pre-training"
    DPO = "dpo", "DPO"
    ORPO = "orpo", "ORPO"
    KTO = "kto", "KTO"
    TEXT_CLASSIFICATION = "text_classification"
    IMAGE_CLASSIFICATION = "image_classification"


class Recipe(models.Model):
    """A way to train with sensible defaults: what the contract calls a template."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    name = models.SlugField(max_length=60)
    display_name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    method = models.CharField(max_length=30, choices=Method)
    modality = models.CharField(max_length=12, choices=Modality, default=Modality.TEXT)
    supports_quantized = models.BooleanField(default=False)
    defaults = models.JSONField(default=dict, blank=True)
    built_in = models.BooleanField(default=False, editable=False)
    # Counts the changes of what it does; `training.recipes.edit` keeps each earlier one.
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-built_in", "display_name"]
        indexes = [
            # /recipes in each of its orders, narrowed to a method.
            models.Index(
                fields=["-built_in", "display_name", "id", "project", "method"],
                name="recipe_by_name",
            ),
            models.Index(fields=["-created_at", "id", "project", "method"], name="recipe_newest"),
            models.Index(fields=["-updated_at", "id", "project", "method"], name="recipe_changed"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(method__in=Method.values), name="recipe_method_is_known"
            ),
            models.UniqueConstraint(
                fields=["name"], condition=Q(project=None), name="one_shared_recipe_per_name"
            ),
            models.UniqueConstraint(
                fields=["project", "name"], name="one_recipe_per_project_and_name"
            ),
        ]

    def __str__(self) -> str:
        return self.display_name


class RecipeVersion(models.Model):
    """What a recipe did before it was changed. What it does now is in the recipe itself."""

    recipe = models.ForeignKey(Recipe, on_delete=models.CASCADE, related_name="earlier")
    version = models.PositiveIntegerField()
    method = models.CharField(max_length=30, choices=Method)
    modality = models.CharField(max_length=12, choices=Modality)
    supports_quantized = models.BooleanField()
    defaults = models.JSONField()
    replaced_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["recipe", "version"], name="one_row_per_version_of_a_recipe"
            )
        ]

    def __str__(self) -> str:
        return f"{self.recipe}, version {self.version}"
