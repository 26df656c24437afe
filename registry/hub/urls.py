from django.urls import path

from registry.hub import views

urlpatterns = [
    path("transfers", views.transfer_list, name="transfers"),
    path("transfers/bulk", views.bulk, name="transfers-bulk"),
    path("transfers/new", views.new, name="transfer-new"),
    path("transfers/tokens", views.hub_tokens, name="hub-tokens"),
    path("transfers/tokens/<uuid:pk>/remove", views.remove_hub_token, name="hub-token-remove"),
    path("transfers/keys", views.set_bucket_key, name="bucket-key-set"),
    path("transfers/keys/<uuid:pk>/remove", views.remove_bucket_key, name="bucket-key-remove"),
    path("transfers/<uuid:pk>", views.transfer_detail, name="transfer"),
    *(
        path(f"transfers/<uuid:pk>/{verb}", views.act, {"verb": verb}, name=f"transfer-{verb}")
        for verb in views.ACTIONS
    ),
]
