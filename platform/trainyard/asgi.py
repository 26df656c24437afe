"""What the web server runs: HTTP through Django, WebSockets through Channels."""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")

from django.core.wsgi import get_wsgi_application

django_application = get_wsgi_application()  # loads the apps: everything below needs them

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator

from accounts.sockets import LocalOwnerSocket, TokenSocket
from activity.routing import websocket_urlpatterns as activity_sockets
from training.routing import websocket_urlpatterns as training_sockets
from trainyard.http import InThreads

application = ProtocolTypeRouter(
    {
        "http": InThreads(django_application),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(
                LocalOwnerSocket(TokenSocket(URLRouter([*activity_sockets, *training_sockets])))
            )
        ),
    }
)

# What is loaded by now stays. The collector need not look at it again and again while it answers.
gc.freeze()
