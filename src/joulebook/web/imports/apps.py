"""The app's name and label for Django."""

from django.apps import AppConfig


class ImportsConfig(AppConfig):
    name = "joulebook.web.imports"
    label = "imports"

    def ready(self) -> None:
        """Have imports into a device end when it gets another owner."""
        from joulebook.web.devices.operations import handed_over
        from joulebook.web.imports.operations import end_imports_of_former_owner

        handed_over.connect(end_imports_of_former_owner, dispatch_uid="imports")
