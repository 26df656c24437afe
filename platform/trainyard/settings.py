"""All settings, from environment variables alone; `.env.example` lists every one of them."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from trainyard import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent.parent

# --- Where we are --------------------------------------------------------------------------------

TRAINYARD_MODE = env.choice("TRAINYARD_MODE", "local", ("local", "server"))
TRAINYARD_HOME = env.folder("TRAINYARD_HOME", BASE_DIR / "var")
TRAINYARD_RUNS = TRAINYARD_HOME / "runs"
TRAINYARD_EXPORTS = TRAINYARD_HOME / "exports"
TRAINYARD_EVAL_TASKS = TRAINYARD_HOME / "eval_tasks"
TRAINYARD_UPLOADS = TRAINYARD_HOME / "uploads"
TRAINYARD_MODELS = TRAINYARD_HOME / "models"
TRAINYARD_DATASETS = TRAINYARD_HOME / "datasets"
TRAINYARD_TOKEN_CACHE = TRAINYARD_HOME / "cache" / "tokens"
# A storage_path must lie below one of these.
TRAINYARD_STORAGE_ROOTS = [
    TRAINYARD_MODELS,
    TRAINYARD_DATASETS,
    TRAINYARD_EXPORTS,
    *(Path(word).expanduser().resolve() for word in env.words("TRAINYARD_STORAGE_ROOTS")),
]
for _folder in (
    TRAINYARD_RUNS,
    TRAINYARD_EXPORTS,
    TRAINYARD_UPLOADS,
    TRAINYARD_MODELS,
    TRAINYARD_DATASETS,
):
    _folder.mkdir(parents=True, exist_ok=True)
PORT = env.integer("PORT", 5000, low=1, high=65535)
TRAINYARD_ADMIN_PASSWORD = env.text("TRAINYARD_ADMIN_PASSWORD")
TRAINYARD_UPLOAD_LIMIT_MB = env.integer("TRAINYARD_UPLOAD_LIMIT_MB", 51_200, low=1, high=10_000_000)

# --- Workers -------------------------------------------------------------------------------------

TRAINYARD_WORKER = env.text("TRAINYARD_WORKER") or socket.gethostname()
TRAINYARD_PARTITION = env.text("TRAINYARD_PARTITION") or "default"
# A worker or a run not heard of for this long is taken for lost.
TRAINYARD_LEASE_SECONDS = env.integer("TRAINYARD_LEASE_SECONDS", 15, low=3, high=3600)
# A trainer that was asked to stop gets this long to write its checkpoint.
TRAINYARD_STOP_SECONDS = env.integer("TRAINYARD_STOP_SECONDS", 120, low=1, high=86_400)
# Above this the tokenized rows that were used longest ago are removed.
TRAINYARD_TOKEN_CACHE_GB = env.integer("TRAINYARD_TOKEN_CACHE_GB", 50, low=0, high=1_000_000)
# A trainer that has shown no sign of life for so long (and for 20 of its steps) is taken for stuck.
TRAINYARD_STALL_SECONDS = env.integer("TRAINYARD_STALL_SECONDS", 1800, low=10, high=604_800)
# Whether each process of the worker keeps a trainer ready, so that a run starts without delay.
TRAINYARD_STANDBY = env.boolean("TRAINYARD_STANDBY", default=True)

# --- Django --------------------------------------------------------------------------------------

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
if TRAINYARD_MODE == "local":
    SECRET_KEY = SECRET_KEY or env.kept_secret(TRAINYARD_HOME / "secret_key")
    ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
elif not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY: must be set when TRAINYARD_MODE is server")
elif not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS: must be set when TRAINYARD_MODE is server")

INSTALLED_APPS = [
    "trainyard.apps.TrainyardConfig",
    "training.apps.TrainingConfig",
    "registry.apps.RegistryConfig",
    "activity.apps.ActivityConfig",
    "accounts.apps.AccountsConfig",
    "unfold",
    "auditlog",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "knox",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_results",
    "django_htmx",
    "template_partials",
    "heroicons",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.LocalOwnerMiddleware",
    "accounts.sign_in.TooManyAttemptsMiddleware",
    "activity.audit.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "trainyard.urls"
ASGI_APPLICATION = "trainyard.asgi.application"
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.sign_in.CountingBackend"]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Database ------------------------------------------------------------------------------------

# IMMEDIATE: a transaction that will write takes the lock when it begins and waits for it, instead
# of failing with "database is locked" half-way (measured: 0 errors with six writers, ~900 without).
_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": TRAINYARD_HOME / "db.sqlite3",
    # In memory, threads would share one connection; tests are to meet the real locks.
    "TEST": {"NAME": TRAINYARD_HOME / "test.sqlite3"},
    "OPTIONS": {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        # mmap: several processes read the same pages of the system's cache, not a copy each.
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA mmap_size=1073741824;"
        ),
    },
}
_database = env.database("DATABASE_URL", _SQLITE)
if env.boolean("DATABASE_POOL", default=False):
    # For the web process, whose threads stay: so do their connections.
    if _database is _SQLITE:
        _database["CONN_MAX_AGE"] = None
    else:
        _pool = {"min_size": 1, "max_size": 20}
        _database["OPTIONS"] = {**_database.get("OPTIONS", {}), "pool": _pool}
DATABASES: dict[str, dict[str, Any]] = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Broker, channel layer, Celery ---------------------------------------------------------------

VALKEY_SOCKET = TRAINYARD_HOME / "valkey.sock"
REDIS_URL = env.redis_url("REDIS_URL", f"unix://{VALKEY_SOCKET}")
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL") or REDIS_URL.replace(
    "unix://", "redis+socket://", 1
)

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # redis-py 8 gives up on a silent connection after 5 s, which would close idle sockets.
            "hosts": [{"address": REDIS_URL, "socket_timeout": None}],
            "prefix": "trainyard",
        },
    }
}

CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = 30 * 24 * 3600
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_DEFAULT_QUEUE = "trainyard"
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a broker that is away comes back
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2}
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 3}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(TRAINYARD_HOME / "celerybeat-schedule")
_RECONCILE_SECONDS = 2.0
CELERY_BEAT_SCHEDULE = {
    "reconcile": {
        "task": "training.reconcile",
        "schedule": _RECONCILE_SECONDS,
        "options": {"expires": 2 * _RECONCILE_SECONDS},
    },
    "forget_old_keys": {"task": "accounts.forget_old_keys", "schedule": timedelta(hours=1)},
    "forget_old_drafts": {"task": "training.forget_old_drafts", "schedule": timedelta(hours=1)},
    "squash_changes": {"task": "accounts.squash_changes", "schedule": timedelta(minutes=1)},
}

# --- REST ----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "api.authentication.BearerAuthentication",
        "api.authentication.LocalOwnerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "api.authentication.ScopeAllows",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["api.throttling.WriteThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["api.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["api.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "api.pagination.EnvelopePagination",
    "DEFAULT_FILTER_BACKENDS": ["api.filters.StrictFilterBackend"],
    "EXCEPTION_HANDLER": "api.errors.handle",
    "DEFAULT_SCHEMA_CLASS": "api.schema.Schema",
}

# `make schema` writes docs/openapi.yaml. Nothing here may depend on the environment.
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Trainyard",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Fine-tune models: base models, datasets, recipes, jobs, and what happened.",
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SERVE_INCLUDE_SCHEMA": False,
    # Served from the sidecar's files: no browser asks another host.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_SUFFIX": "",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.schema.add_components",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ActivityStatus": "activity.models.Status",
        "EntityType": "activity.models.EntityType",
        "EventType": "activity.models.EventType",
        "JobStatus": "training.models.Status",
        "MixedPrecision": "training.trainer.spec.MIXED_PRECISION",
        "StrategyType": "training.trainer.spec.STRATEGIES",
        "Method": "training.models.Method",
        "Modality": "registry.models.Modality",
        "ModelStatus": "registry.models.BaseModel.Status",
        "Stage": "registry.models.Stage",
    },
    # In local mode none is needed: {}.
    "SECURITY": [{"token": []}, {}],
}

# Server mode: how many changes one person may ask of the API in a minute.
TRAINYARD_WRITES_PER_MINUTE = env.integer("TRAINYARD_WRITES_PER_MINUTE", 120, low=1, high=100_000)
# ... and how often one name, or one address, may come with a wrong password.
TRAINYARD_SIGN_INS_PER_MINUTE = env.integer("TRAINYARD_SIGN_INS_PER_MINUTE", 10, low=1, high=10_000)
if TRAINYARD_MODE == "server":
    # Where they are counted: one count for all web processes.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "trainyard",
            "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 2},
        }
    }

KNOX_TOKEN_MODEL = "accounts.Token"
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": "ty_", "TOKEN_TTL": timedelta(days=90)}
# Knox's own table is not used: the migrations that make it have nothing to do here.
MIGRATION_MODULES = {"knox": None}

# Who can say what a project uses of its quota: `accounts` is below `training` and asks by name.
TRAINYARD_PROJECT_USE = "training.quotas.use_of"

# --- Audit ---------------------------------------------------------------------------------------

# `trainyard.apps` lists what is watched. Values are kept as they are, not as text.
AUDITLOG_STORE_JSON_CHANGES = True
# Loading rows that were written down before (loaddata) is no change by anybody.
AUDITLOG_DISABLE_ON_RAW_SAVE = True

# --- Files and words -----------------------------------------------------------------------------

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served from where they lie: finding the 220 files takes 14 ms, so nothing has to be collected.
WHITENOISE_USE_FINDERS = True
FILE_UPLOAD_TEMP_DIR = TRAINYARD_UPLOADS
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
# Two instances side by side on one host must not sign each other out.
SESSION_COOKIE_NAME = f"trainyard_session_{PORT}"
CSRF_COOKIE_NAME = f"trainyard_csrf_{PORT}"
if TRAINYARD_MODE == "server":
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.boolean("TRAINYARD_HTTPS", default=True)
    CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {
        "handlers": ["stderr"],
        "level": env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
    },
    "loggers": {
        # A line for each of the reconciler's runs would bury everything else.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}

# Hugging Face libraries keep their files with ours.
os.environ.setdefault("HF_HOME", str(TRAINYARD_HOME / "huggingface"))

UNFOLD = {
    "SITE_TITLE": "Trainyard",
    "SITE_HEADER": "Trainyard",
    "SITE_URL": "/",
    "DASHBOARD_CALLBACK": "training.dashboard.callback",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: f"{STATIC_URL}icon.svg"}
    ],
}
