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
TRAINYARD_TRANSFERS = TRAINYARD_HOME / "transfers"
TRAINYARD_TOKEN_CACHE = TRAINYARD_HOME / "cache" / "tokens"
TRAINYARD_CPU_RATE = TRAINYARD_HOME / "cache" / "cpu_rate.json"
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
    TRAINYARD_TRANSFERS,
):
    _folder.mkdir(parents=True, exist_ok=True)
# A folder named by a UUID in one of these belongs to the row of that id in one of these tables, and
# is removed when there is none any more (`registry.garbage`).
TRAINYARD_FOLDERS_OF = {
    TRAINYARD_MODELS: ["registry.BaseModel", "registry.Adapter"],
    TRAINYARD_DATASETS: ["registry.Dataset"],
    TRAINYARD_RUNS: ["training.Job"],
    TRAINYARD_EXPORTS: ["training.Job"],
    TRAINYARD_UPLOADS: ["registry.Upload"],
}
# ... but not before it has been left alone for so long.
TRAINYARD_GARBAGE_GRACE_HOURS = env.integer("TRAINYARD_GARBAGE_GRACE_HOURS", 24, low=1, high=8760)
# All registered files are read again and compared with their hashes once in so many days; 0: never.
TRAINYARD_VERIFY_DAYS = env.integer("TRAINYARD_VERIFY_DAYS", 7, low=0, high=3650)
PORT = env.integer("PORT", 5000, low=1, high=65535)
TRAINYARD_ADMIN_PASSWORD = env.text("TRAINYARD_ADMIN_PASSWORD")
# Files of rows up to this size are checked while the request waits, larger ones by a worker.
TRAINYARD_CHECK_AT_ONCE_MB = env.integer("TRAINYARD_CHECK_AT_ONCE_MB", 8, low=0, high=100_000)
# What has come of a file is kept for so long after its last part.
TRAINYARD_UPLOAD_HOURS = env.integer("TRAINYARD_UPLOAD_HOURS", 72, low=1, high=10_000)
TRAINYARD_UPLOAD_LIMIT_MB = env.integer("TRAINYARD_UPLOAD_LIMIT_MB", 51_200, low=1, high=10_000_000)

# --- Workers -------------------------------------------------------------------------------------

TRAINYARD_WORKER = env.text("TRAINYARD_WORKER") or socket.gethostname()
TRAINYARD_PARTITION = env.text("TRAINYARD_PARTITION") or "default"
# How many of the CPU's threads a run without a card may use; 0 for all that this process may.
TRAINYARD_CPU_THREADS = env.integer("TRAINYARD_CPU_THREADS", 0, low=0, high=4096)
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
# Playground: how long one prompt may be answered, how long a model stays loaded for the next one,
# and for how many days prompts and answers are kept.
TRAINYARD_PLAYGROUND_SECONDS = env.integer("TRAINYARD_PLAYGROUND_SECONDS", 120, low=1, high=3600)
TRAINYARD_PLAYGROUND_IDLE_SECONDS = env.integer(
    "TRAINYARD_PLAYGROUND_IDLE_SECONDS", 60, low=0, high=86_400
)
TRAINYARD_PLAYGROUND_DAYS = env.integer("TRAINYARD_PLAYGROUND_DAYS", 30, low=1, high=36_500)

# --- Transfers -----------------------------------------------------------------------------------

HF_ENDPOINT = env.web_address("HF_ENDPOINT", "https://huggingface.co")
HF_HUB_OFFLINE = env.boolean("HF_HUB_OFFLINE", default=False)
# How many move at the same time, over all workers.
TRAINYARD_PARALLEL_TRANSFERS = env.integer("TRAINYARD_PARALLEL_TRANSFERS", 4, low=1, high=64)
# MB a second of all transfers of one worker together. 0: no limit.
TRAINYARD_TRANSFER_BANDWIDTH_MB = env.integer(
    "TRAINYARD_TRANSFER_BANDWIDTH_MB", 0, low=0, high=1_000_000
)
# The largest transfer. 0: no limit but the disk.
TRAINYARD_TRANSFER_LIMIT_GB = env.integer("TRAINYARD_TRANSFER_LIMIT_GB", 0, low=0, high=1_000_000)
# Tries in a row that bring nothing new, and the first pause between two; it doubles.
TRAINYARD_TRANSFER_TRIES = env.integer("TRAINYARD_TRANSFER_TRIES", 8, low=1, high=1000)
TRAINYARD_TRANSFER_BACKOFF_SECONDS = env.integer(
    "TRAINYARD_TRANSFER_BACKOFF_SECONDS", 5, low=0, high=3600
)
# A hub that sends nothing for so long is asked again.
TRAINYARD_TRANSFER_SILENCE_SECONDS = env.integer(
    "TRAINYARD_TRANSFER_SILENCE_SECONDS", 30, low=1, high=3600
)

# --- Django --------------------------------------------------------------------------------------

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
if TRAINYARD_MODE == "local":
    SECRET_KEY = SECRET_KEY or env.kept_secret(TRAINYARD_HOME / "secret_key")
    ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
elif not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY: must be set when TRAINYARD_MODE is server")
elif not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS: must be set when TRAINYARD_MODE is server")

# Where people reach us, for links in e-mails and webhooks.
_here = f"http://127.0.0.1:{PORT}"
if TRAINYARD_MODE == "server":
    _here = f"https://{ALLOWED_HOSTS[0].lstrip('*.')}"
TRAINYARD_URL = env.web_address("TRAINYARD_URL", _here)

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
                "activity.context.bell",
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
_DELIVER_SECONDS = 5.0
CELERY_BEAT_SCHEDULE = {
    "reconcile": {
        "task": "training.reconcile",
        "schedule": _RECONCILE_SECONDS,
        "options": {"expires": 2 * _RECONCILE_SECONDS},
    },
    "reconcile_transfers": {
        "task": "registry.reconcile_transfers",
        "schedule": _RECONCILE_SECONDS,
        "options": {"expires": 2 * _RECONCILE_SECONDS},
    },
    "reconcile_dataset_tasks": {
        "task": "registry.reconcile_dataset_tasks",
        "schedule": _RECONCILE_SECONDS,
        "options": {"expires": 2 * _RECONCILE_SECONDS},
    },
    "forget_old_keys": {"task": "accounts.forget_old_keys", "schedule": timedelta(hours=1)},
    "forget_old_generations": {
        "task": "training.forget_old_generations",
        "schedule": timedelta(hours=1),
    },
    "forget_expired_uploads": {
        "task": "registry.forget_expired_uploads",
        "schedule": timedelta(minutes=10),
    },
    "forget_old_drafts": {"task": "training.forget_old_drafts", "schedule": timedelta(hours=1)},
    "verify_files": {"task": "registry.verify_files", "schedule": timedelta(hours=1)},
    "collect_garbage": {"task": "registry.collect_garbage", "schedule": timedelta(hours=6)},
    "deliver": {
        "task": "activity.deliver",
        "schedule": _DELIVER_SECONDS,
        "options": {"expires": 2 * _DELIVER_SECONDS},
    },
    "forget_old_deliveries": {
        "task": "activity.forget_old_deliveries",
        "schedule": timedelta(hours=1),
    },
    "squash_marks": {"task": "activity.squash_marks", "schedule": timedelta(hours=1)},
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
        "WebhookKind": "activity.models.Webhook.Kind",
        "DeliveryState": "activity.models.WebhookDelivery.State",
        "JobStatus": "training.models.Status",
        "MixedPrecision": "training.trainer.spec.MIXED_PRECISION",
        "StrategyType": "training.trainer.spec.STRATEGIES",
        "Method": "training.models.Method",
        "Modality": "registry.models.Modality",
        "ModelStatus": "registry.models.BaseModel.Status",
        "TransferKind": "registry.hub.models.Kind",
        "TransferStatus": "registry.hub.models.Status",
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

# --- Telling people ------------------------------------------------------------------------------

# Signs push messages. Several hosts that share a database need the same one.
VAPID_PRIVATE_KEY = env.text("VAPID_PRIVATE_KEY") or env.kept_secret(
    TRAINYARD_HOME / "vapid_private_key", env.new_vapid_key
)
# Beside public addresses, what webhooks may be posted to.
TRAINYARD_ALLOWED_NETWORKS = env.networks("TRAINYARD_ALLOWED_NETWORKS")
_mail = env.email("EMAIL_URL")
TRAINYARD_SENDS_EMAIL = bool(_mail)
EMAIL_BACKEND = _mail.get("EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend")
EMAIL_HOST = _mail.get("EMAIL_HOST") or "localhost"
EMAIL_PORT = _mail.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = _mail.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _mail.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _mail.get("EMAIL_USE_SSL", False)
EMAIL_FILE_PATH = _mail.get("EMAIL_FILE_PATH") or None
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "trainyard@localhost")

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
        "httpx2": {"level": "WARNING"},
    },
}

# Hugging Face libraries keep their files with ours.
os.environ.setdefault("HF_HOME", str(TRAINYARD_HOME / "huggingface"))
# They report nothing about us, and show no bars where nobody looks.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

UNFOLD = {
    "SITE_TITLE": "Trainyard",
    "SITE_HEADER": "Trainyard",
    "SITE_URL": "/",
    "DASHBOARD_CALLBACK": "training.dashboard.callback",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: f"{STATIC_URL}icon.svg"}
    ],
}
