from rest_framework.routers import SimpleRouter

from activity.api.audit import AuditViewSet
from activity.api.views import ActivityViewSet
from activity.api.webhooks import DeliveryViewSet, WebhookViewSet

router = SimpleRouter(trailing_slash=False)
router.register("activity", ActivityViewSet, basename="activity")
router.register("audit", AuditViewSet, basename="audit")
router.register("webhooks", WebhookViewSet, basename="webhook")
router.register(
    "webhooks/(?P<webhook_id>[^/]+)/deliveries", DeliveryViewSet, basename="webhook-delivery"
)
