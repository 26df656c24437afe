"""Every URL of the platform, gathered from the apps."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from accounts.api.urls import router as accounts_router
from activity.api.urls import router as activity_router
from registry.api.urls import router as registry_router
from training.api.urls import router as training_router
from trainyard import health, styleguide

handler400 = "api.errors.bad_request"
handler404 = "api.errors.not_found"
handler500 = "api.errors.server_error"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/", include(accounts_router.urls)),
    path("api/", include(activity_router.urls)),
    path("api/", include(registry_router.urls)),
    path("api/", include(training_router.urls)),
    path("admin/", admin.site.urls),
    path("styleguide", styleguide.styleguide, name="styleguide"),
    path("", include("accounts.urls")),
    path("", include("training.urls")),
    path("", include("registry.urls")),
    path("", include("activity.urls")),
]
