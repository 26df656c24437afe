from django.urls import path

from activity.views import feed, settings, webhooks

urlpatterns = [
    path("activity", feed.activity_list, name="activity"),
    path("activity/bell", feed.bell, name="activity-bell"),
    path("activity/news", feed.news_after, name="activity-news"),
    path("activity/read", feed.read_all, name="activity-read-all"),
    path("activity/visited", feed.visited, name="activity-visited"),
    path("activity/<uuid:pk>/read", feed.read_one, name="activity-read"),
    path("settings/notifications", settings.notifications, name="notification-settings"),
    path("settings/push/key", settings.push_key, name="push-key"),
    path("settings/push", settings.subscribe, name="push-subscribe"),
    path("settings/push/<int:pk>/remove", settings.unsubscribe, name="push-unsubscribe"),
    path("settings/webhooks", webhooks.webhook_list, name="settings-webhooks"),
    path("settings/webhooks/new", webhooks.webhook_new, name="settings-webhook-new"),
    path("settings/webhooks/<uuid:pk>", webhooks.webhook_detail, name="settings-webhook"),
    *(
        path(
            f"settings/webhooks/<uuid:pk>/{verb}",
            webhooks.act,
            {"verb": verb},
            name=f"settings-webhook-{verb}",
        )
        for verb in webhooks.VERBS
    ),
    # At the root, or it could not watch over the pages below it.
    path("service-worker.js", feed.service_worker, name="service-worker"),
]
