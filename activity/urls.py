from django.urls import path

from activity import views

urlpatterns = [
    path("activity", views.activity_list, name="activity"),
    path("activity/read", views.read_all, name="activity-read-all"),
    path("activity/<uuid:pk>/read", views.read_one, name="activity-read"),
]
