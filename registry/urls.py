from django.urls import include, path

from registry import dataset_views, views
from registry.new_model import new_model
from registry.uploads import model_views as model_uploads
from registry.uploads import views as uploads

urlpatterns = [
    path("models", views.model_list, name="models"),
    path("models/new", new_model, name="model-new"),
    path("models/upload", model_uploads.upload_model, name="model-upload"),
    path("models/bulk", views.models_bulk, name="models-bulk"),
    path("models/<uuid:pk>", views.model_detail, name="model"),
    path("models/<uuid:pk>/check", views.model_check, name="model-check"),
    path("models/<uuid:pk>/stage", views.move_stage, name="model-stage"),
    path("adapters/<uuid:pk>", views.adapter_detail, name="adapter"),
    path("datasets/new", uploads.new_dataset, name="dataset-new"),
    path("uploads/<uuid:pk>/discard", uploads.discard, name="upload-discard"),
    path("datasets", dataset_views.dataset_list, name="datasets"),
    path("datasets/bulk", dataset_views.bulk, name="datasets-bulk"),
    path("datasets/<uuid:pk>", dataset_views.dataset_detail, name="dataset"),
    path("datasets/<uuid:pk>/check", dataset_views.check, name="dataset-check"),
    path("datasets/<uuid:pk>/repair", dataset_views.repair, name="dataset-repair"),
    path("datasets/<uuid:pk>/download", dataset_views.download, name="dataset-download"),
    path("datasets/<uuid:pk>/difference", dataset_views.compare, name="dataset-compare"),
    path(
        "datasets/<uuid:pk>/difference/<uuid:other>",
        dataset_views.difference,
        name="dataset-difference",
    ),
    path("", include("registry.hub.urls")),
]
