from django.apps import AppConfig, apps

# What the audit log watches, and the fields that it leaves out. What is long and follows from
# files is in their checksum; a job's moves are in its events, and what people did to it is noted
# by the verbs of `training.services`.
AUDITED: dict[str, tuple[str, ...]] = {
    "registry.BaseModel": (),
    "registry.Dataset": ("integrity_report", "statistics", "row_format", "is_split"),
    "registry.Adapter": (),
    "registry.CodeReview": (),
    "registry.HubToken": (),
    "registry.BucketKey": (),
    "training.Recipe": (),
    "training.Partition": (),
    "accounts.Project": (),
    "accounts.Membership": (),
    "accounts.User": ("last_login",),
    "accounts.Token": ("digest", "token_key"),
    "auth.Group": (),
    "activity.Webhook": ("encrypted_secret",),
}


# Of these it is only said that they changed. An address of Slack or Discord is a secret too.
SECRET = ("password", "encrypted", "url")


class TrainyardConfig(AppConfig):
    name = "trainyard"

    def ready(self) -> None:
        from activity import audit

        for label, left_out in AUDITED.items():
            audit.watch(apps.get_model(label), but=left_out, secret=SECRET)
        audit.watch(apps.get_model("training.Job"), only=("project", "experiment", "name"))
        audit.watch(apps.get_model("registry.Transfer"), only=("project", "hf_repo_id", "name"))
