from django.urls import path

from training.consumers import JobConsumer
from training.playground.consumers import GenerationConsumer

websocket_urlpatterns = [
    path("ws/jobs/<uuid:job_id>", JobConsumer.as_asgi()),
    path("ws/generations/<uuid:generation_id>", GenerationConsumer.as_asgi()),
]
