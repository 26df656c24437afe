"""The feed and the audit log, to look at."""

from __future__ import annotations

import json
from typing import Any

import auditlog.admin  # noqa: F401 - its page is registered before ours takes its place
from auditlog.models import LogEntry
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.curators import Page, ReadOnly
from activity import audit
from activity.models import Activity


@admin.register(Activity)
class ActivityAdmin(ReadOnly, Page):
    list_display = ["title", "event_type", "status", "user", "project", "created_at"]
    list_filter = ["event_type", "entity_type", "status", "project"]
    list_select_related = ["user", "project"]
    search_fields = ["title", "message"]
    date_hierarchy = "created_at"


# auditlog's own page, in the dress of the others.
admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class AuditAdmin(ReadOnly, Page):
    list_display = [
        "timestamp",
        "who",
        "verb",
        "content_type",
        "object_repr",
        "what",
        "remote_addr",
    ]
    list_display_links = ["timestamp", "object_repr"]
    list_filter = ["action", "content_type"]
    list_select_related = ["content_type"]
    search_fields = ["object_repr", "object_pk", "actor__username"]
    date_hierarchy = "timestamp"
    fields = ["timestamp", "who", "remote_addr", "verb", "content_type", "object_repr", "changed"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).order_by("-timestamp", "-pk")

    @admin.display(description="Actor", empty_value="the platform")
    def who(self, entry: LogEntry) -> str | None:
        return audit.actor_of(entry)

    @admin.display(description="Action")
    def verb(self, entry: LogEntry) -> str:
        return audit.verb_of(entry)

    @admin.display(description="Fields")
    def what(self, entry: LogEntry) -> str:
        fields = sorted(audit.changes_of(entry))
        return ", ".join(fields[:3]) + (" …" if len(fields) > 3 else "")

    @admin.display(description="Changes")
    def changed(self, entry: LogEntry) -> SafeString:
        rows = format_html_join(
            "",
            '<tr><th class="pr-4 text-left align-top">{}</th><td class="pr-4 break-all">{}</td>'
            '<td class="break-all">{}</td></tr>',
            (
                (field, *(json.dumps(value, ensure_ascii=False) for value in pair))
                for field, pair in sorted(audit.changes_of(entry).items())
            ),
        )
        return format_html(
            '<table class="text-left w-full"><tr><th>Field</th><th>Before</th><th>After</th></tr>'
            "{}</table>",
            rows,
        )
