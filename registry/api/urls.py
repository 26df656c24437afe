from rest_framework.routers import SimpleRouter

from registry.api.code_reviews import CodeReviewViewSet
from registry.api.credentials import BucketKeyViewSet, HubTokenViewSet
from registry.api.resumable import UploadViewSet
from registry.api.transfers import TransferViewSet
from registry.api.views import AdapterViewSet, BaseModelViewSet, DatasetViewSet

router = SimpleRouter(trailing_slash=False)
router.register("base-models", BaseModelViewSet, basename="base-model")
router.register("datasets", DatasetViewSet, basename="dataset")
router.register("adapters", AdapterViewSet, basename="adapter")
router.register("code-reviews", CodeReviewViewSet, basename="code-review")
router.register("transfers", TransferViewSet, basename="transfer")
router.register("bucket-keys", BucketKeyViewSet, basename="bucket-key")
router.register("hub-tokens", HubTokenViewSet, basename="hub-token")
router.register("uploads", UploadViewSet, basename="upload")
