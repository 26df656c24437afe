from django.urls import include, path

from training.views import compare, datasets, experiments, home, job, jobs, recipes, storage

urlpatterns = [
    path("", home.home, name="home"),
    path("jobs", jobs.job_list, name="jobs"),
    path("jobs/bulk", jobs.bulk, name="jobs-bulk"),
    path("jobs/compare", compare.jobs_compare, name="jobs-compare"),
    path("storage", storage.storage, name="storage"),
    path("", include("training.wizard.urls")),
    path("", include("training.playground.urls")),
    path("datasets/<uuid:pk>/tokens", datasets.tokens, name="dataset-tokens"),
    path("jobs/<uuid:pk>", job.job_detail, name="job"),
    path("jobs/<uuid:pk>/fix", job.fix, name="job-fix"),
    path(
        "jobs/<uuid:pk>/checkpoints/<int:step>/evaluate",
        job.evaluate_checkpoint,
        name="checkpoint-evaluate",
    ),
    path(
        "jobs/<uuid:pk>/checkpoints/<int:step>/delete",
        job.delete_checkpoint,
        name="checkpoint-delete",
    ),
    *(
        path(f"jobs/<uuid:pk>/{verb}", job.act, {"verb": verb}, name=f"job-{verb}")
        for verb in job.ACTIONS
    ),
    path("experiments", experiments.experiment_list, name="experiments"),
    path("experiments/bulk", experiments.bulk, name="experiments-bulk"),
    path("experiments/<uuid:pk>", experiments.experiment_detail, name="experiment"),
    path("recipes", recipes.recipe_list, name="recipes"),
    path("recipes/bulk", recipes.bulk, name="recipes-bulk"),
    path("recipes/new", recipes.new, name="recipe-new"),
    path("recipes/<uuid:pk>", recipes.recipe_detail, name="recipe"),
    path("recipes/<uuid:pk>/edit", recipes.edit, name="recipe-edit"),
    path("recipes/<uuid:pk>/clone", recipes.clone, name="recipe-clone"),
    path("recipes/<uuid:pk>/delete", recipes.delete, name="recipe-delete"),
]
