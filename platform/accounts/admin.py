"""People and projects."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.curators import Page
from accounts.models import Membership, Project, Token, User


@admin.register(User)
class UserAdmin(DjangoUserAdmin, Page):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, Page):
    pass


class MembershipInline(TabularInline):
    model = Membership
    autocomplete_fields = ["user"]
    extra = 1


@admin.register(Project)
class ProjectAdmin(Page):
    list_display = [
        "name",
        "is_default",
        "max_gpus",
        "max_gpu_hours",
        "max_storage_gb",
        "created_at",
    ]
    search_fields = ["name", "description"]
    inlines = [MembershipInline]


@admin.register(Token)
class TokenAdmin(Page):
    """To look and to revoke. A secret is shown to its owner only, by the API."""

    list_display = ["name", "user", "scope", "token_key", "created", "expiry"]
    list_filter = ["scope"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return False
