from rest_framework.routers import SimpleRouter

from training.api import dataset_rows, generations, probes, recipes, views

router = SimpleRouter(trailing_slash=False)
router.register("recipes", recipes.RecipeViewSet, basename="recipe")
router.register("partitions", views.PartitionViewSet, basename="partition")
# Before the experiments, whose ids take any word.
router.register("experiments/probe", probes.ProbeViewSet, basename="probe")
router.register("experiments", views.ExperimentViewSet, basename="experiment")
router.register("generations", generations.GenerationViewSet, basename="generation")
router.register("jobs", views.JobViewSet, basename="job")
# Datasets are the registry's; what needs a model's tokens is ours.
router.register("datasets", dataset_rows.DatasetRowsViewSet, basename="dataset-rows")
