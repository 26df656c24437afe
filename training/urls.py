from django.urls import include, path

from training import views

urlpatterns = [
    path("", views.home, name="home"),
    path("jobs", views.job_list, name="jobs"),
    path("", include("training.wizard.urls")),
    path("jobs/<uuid:pk>", views.job_detail, name="job"),
    *(
        path(f"jobs/<uuid:pk>/{verb}", views.act, {"verb": verb}, name=f"job-{verb}")
        for verb in views.ACTIONS
    ),
]
