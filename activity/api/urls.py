from rest_framework.routers import SimpleRouter

from activity.api.audit import AuditViewSet
from activity.api.views import ActivityViewSet

router = SimpleRouter(trailing_slash=False)
router.register("activity", ActivityViewSet, basename="activity")
router.register("audit", AuditViewSet, basename="audit")
