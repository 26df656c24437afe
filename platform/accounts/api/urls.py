from rest_framework.routers import SimpleRouter

from accounts.api.views import MemberViewSet, ProjectViewSet, TokenViewSet

router = SimpleRouter(trailing_slash=False)
router.register("projects", ProjectViewSet, basename="project")
router.register(r"projects/(?P<project_id>[^/]+)/members", MemberViewSet, basename="member")
router.register("tokens", TokenViewSet, basename="token")
