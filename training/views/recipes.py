"""Recipes: what each sets and why, earlier versions, and changing one's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import IntegrityError
from django.db.models import ProtectedError, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from rest_framework.exceptions import ValidationError

from accounts import lists, ticked
from accounts.scoping import may_change
from accounts.ticked import Deed
from api.errors import flatten
from api.pages import render_page
from training import recipes, settings_form
from training.api.recipes import RecipeSerializer
from training.models import Method, Recipe
from training.wizard.drafts import projects_of

VERSIONS_SHOWN = 20


def _delete(recipe: Recipe, *, actor: Any) -> None:
    """Raises CannotChange."""
    try:
        recipes.delete(recipe)
    except ProtectedError as error:
        raise recipes.CannotChange(
            f"'{recipe}' stays: experiments were made with it, and name it."
        ) from error


DEEDS = {
    "delete": Deed(
        "Delete",
        "trash",
        _delete,
        "deleted",
        tone="bad",
        confirm="Delete these recipes? Jobs that were made with them keep their settings.",
    ),
}


class RecipesAsked(lists.Asked):
    orders = {
        "name": ("-built_in", "display_name", "pk"),
        "newest": ("-created_at", "pk"),
        "changed": ("-updated_at", "pk"),
    }
    selects = ("method", "sort")

    method = forms.ChoiceField(choices=[("", "Any"), *Method.choices], required=False)

    def of(self, rows: Any) -> Any:
        """Raises BadRequest."""
        asked = self.valid().cleaned_data
        if words := asked["q"]:
            named = Q(name__icontains=words) | Q(display_name__icontains=words)
            rows = rows.filter(named | Q(description__icontains=words))
        return rows.filter(method=asked["method"]) if asked["method"] else rows


@login_required
@require_safe
def recipe_list(request: HttpRequest) -> HttpResponse:
    form = RecipesAsked(request.GET)
    rows = form.in_order(form.of(Recipe.objects.visible_to(request.user)))
    question = form.question(request.user, Recipe)
    shown = Recipe.objects.select_related("project").defer("defaults")
    context = {
        "form": form,
        "page": lists.page_of(rows, shown, request.GET.get("page"), question),
        "may_create": bool(projects_of(request.user)),
        "deeds": DEEDS.items(),
    }
    return render_page(request, "recipes/recipe_list.html", context, part="rows")


@login_required
@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    visible = Recipe.objects.visible_to(request.user)
    refuses = (recipes.CannotChange,)
    return ticked.answer(request, visible, DEEDS, name="recipe", refuses=refuses, back="recipes")


@login_required
@require_safe
def recipe_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    recipe = _recipe_or_404(request, pk)
    earlier = list(recipe.earlier.all()[:VERSIONS_SHOWN])
    context = {
        "recipe": recipe,
        "explained": settings_form.explained(recipe.method, recipe.defaults),
        "versions": settings_form.versions(recipe, earlier),
        "uses": recipe.experiments.filter(is_probe=False).count(),
        "may_change": _may_edit(request, recipe),
        "may_clone": bool(projects_of(request.user)),
    }
    return render_page(request, "recipes/recipe_detail.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """A recipe of one's own. ``?method=`` says how it trains, and so what it can set."""
    projects = projects_of(request.user)
    if not projects:
        raise PermissionDenied
    said = request.POST if request.method == "POST" else request.GET
    method = said.get("method") or Method.LORA
    if method not in Method.values:
        raise BadRequest(f"method: '{method}' is none of {', '.join(Method.values)}.")
    recipe = Recipe(method=method, project=projects[0], modality=settings_form.modality_of(method))
    return _form(request, recipe, projects)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    recipe = _recipe_or_404(request, pk)
    if not may_change(request.user, recipe.project_id):
        raise PermissionDenied
    if recipe.built_in:
        messages.error(request, f"'{recipe}' comes with the platform. Clone it, change the clone.")
        return redirect("recipe", pk)
    return _form(request, recipe, [])


def _form(request: HttpRequest, recipe: Recipe, projects: list[Any]) -> HttpResponse:
    errors: dict[str, str] = {}
    said: dict[str, str] = {}
    if request.method == "POST":
        said = {name: values[-1] for name, values in request.POST.lists()}
        try:
            saved = _save(request, recipe, said)
        except ValidationError as error:
            errors = flatten(error.detail)
        except recipes.CannotChange as error:
            errors = {"": str(error)}
        except IntegrityError:
            errors = {"name": "There is a recipe of this name already."}
        else:
            messages.success(request, f"Saved: version {saved.version} of '{saved}'.")
            return redirect("recipe", saved.pk)
    about = {
        name: said.get(name, getattr(recipe, name)) for name in ("display_name", "description")
    }
    context = {
        "recipe": recipe,
        "is_new": recipe._state.adding,
        "about": about,
        "methods": Method.choices,
        "projects": projects if len(projects) > 1 else [],
        "project_id": said.get("project_id", ""),
        "groups": settings_form.groups(recipe.method, recipe.defaults, said, errors),
        "errors": settings_form.not_of_a_field(recipe.method, errors),
    }
    status = 422 if errors else 200
    return render_page(request, "recipes/recipe_form.html", context, status=status)


def _save(request: HttpRequest, recipe: Recipe, said: dict[str, str]) -> Recipe:
    """Raises ValidationError, CannotChange, IntegrityError."""
    body: dict[str, Any] = {
        "display_name": said.get("display_name", ""),
        "description": said.get("description", ""),
        "supports_quantized": said.get("supports_quantized") == "true",
        "defaults": settings_form.defaults_of(recipe.method, said),
    }
    is_new = recipe._state.adding
    if is_new:
        body |= {
            "name": slugify(body["display_name"])[:60],
            "method": recipe.method,
            "modality": recipe.modality,
            "project_id": said.get("project_id") or str(recipe.project_id),
        }
        if not body["name"]:
            raise ValidationError({"display_name": "A name with letters or digits."})
    form = RecipeSerializer(
        None if is_new else recipe, data=body, partial=not is_new, context={"request": request}
    )
    form.is_valid(raise_exception=True)
    saved: Recipe = form.save()
    return saved


@login_required
@require_POST
def clone(request: HttpRequest, pk: UUID) -> HttpResponse:
    recipe = _recipe_or_404(request, pk)
    projects = projects_of(request.user)
    if not projects:
        raise PermissionDenied
    own = next((one for one in projects if one.pk == recipe.project_id), projects[0])
    copy = recipes.clone(recipe, project=own)
    messages.success(request, f"'{copy}' is yours to change.")
    return redirect("recipe-edit", copy.pk)


@login_required
@require_POST
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    recipe = _recipe_or_404(request, pk)
    if not may_change(request.user, recipe.project_id):
        raise PermissionDenied
    try:
        _delete(recipe, actor=request.user)
    except recipes.CannotChange as error:
        messages.error(request, str(error))
        return redirect("recipe", pk)
    messages.success(request, f"'{recipe}' is deleted.")
    return redirect("recipes")


def _may_edit(request: HttpRequest, recipe: Recipe) -> bool:
    return not recipe.built_in and may_change(request.user, recipe.project_id)


def _recipe_or_404(request: HttpRequest, pk: UUID) -> Recipe:
    visible = Recipe.objects.visible_to(request.user).select_related("project")
    recipe: Recipe = get_object_or_404(visible, pk=pk)
    return recipe
