from django.urls import path

from training.playground import views

urlpatterns = [
    path("playground", views.playground, name="playground"),
    path("playground/<uuid:pk>", views.generation_detail, name="generation"),
    path("playground/<uuid:pk>/cancel", views.cancel, name="generation-cancel"),
]
