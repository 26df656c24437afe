from django.urls import path

from registry import views

urlpatterns = [
    path("models", views.model_list, name="models"),
    path("models/<uuid:pk>", views.model_detail, name="model"),
    path("adapters/<uuid:pk>", views.adapter_detail, name="adapter"),
    path("datasets", views.dataset_list, name="datasets"),
    path("datasets/<uuid:pk>", views.dataset_detail, name="dataset"),
]
