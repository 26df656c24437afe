from rest_framework.routers import SimpleRouter

from registry.api.views import AdapterViewSet, BaseModelViewSet, DatasetViewSet

router = SimpleRouter(trailing_slash=False)
router.register("base-models", BaseModelViewSet, basename="base-model")
router.register("datasets", DatasetViewSet, basename="dataset")
router.register("adapters", AdapterViewSet, basename="adapter")
