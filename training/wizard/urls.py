from django.urls import path

from training.wizard import views

urlpatterns = [
    path("jobs/new", views.new, name="job-new"),
    path("jobs/new/<uuid:pk>/fix", views.fix, name="draft-fix"),
    path("jobs/new/<uuid:pk>/discard", views.discard, name="draft-discard"),
    path("jobs/new/<uuid:pk>/create", views.create, name="draft-create"),
    path("jobs/new/<uuid:pk>/recipe", views.keep_recipe, name="draft-recipe"),
    path("jobs/new/<uuid:pk>", views.go_on, name="draft"),
    path("jobs/new/<uuid:pk>/<str:step>", views.step, name="draft-step"),
]
