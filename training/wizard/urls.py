from django.urls import path

from training.wizard import probes, views

urlpatterns = [
    path("jobs/new", views.new, name="job-new"),
    path("jobs/new/<uuid:pk>/fix", views.fix, name="draft-fix"),
    path("jobs/new/<uuid:pk>/anew", views.begin_anew, name="draft-anew"),
    path("jobs/new/<uuid:pk>/probe", probes.start, name="draft-probe"),
    path("jobs/new/<uuid:pk>/probe/cancel", probes.cancel, name="draft-probe-cancel"),
    path("jobs/new/<uuid:pk>/discard", views.discard, name="draft-discard"),
    path("jobs/new/<uuid:pk>/create", views.create, name="draft-create"),
    path("jobs/new/<uuid:pk>/recipe", views.keep_recipe, name="draft-recipe"),
    path("jobs/new/<uuid:pk>", views.go_on, name="draft"),
    path("jobs/new/<uuid:pk>/<str:step>", views.step, name="draft-step"),
]
