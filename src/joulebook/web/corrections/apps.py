"""The app's name and label for Django."""

from django.apps import AppConfig


class CorrectionsConfig(AppConfig):
    name = "joulebook.web.corrections"
    label = "corrections"

    def ready(self) -> None:
        """End waiting corrections of a device when its owner changes."""
        # Models can be imported only now, with all apps loaded.
        from joulebook.web.corrections.operations import end_corrections_of_former_owner
        from joulebook.web.devices.operations import handed_over

        handed_over.connect(end_corrections_of_former_owner, dispatch_uid="corrections")
