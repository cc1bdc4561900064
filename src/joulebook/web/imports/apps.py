"""The app's name and label for Django."""

from django.apps import AppConfig


class ImportsConfig(AppConfig):
    name = "joulebook.web.imports"
    label = "imports"

    def ready(self) -> None:
        """Cancel imports into a device when its owner changes."""
        # Models can be imported only now, with all apps loaded.
        from joulebook.web.devices.operations import handed_over
        from joulebook.web.imports.operations import cancel_imports_of_former_owner

        handed_over.connect(cancel_imports_of_former_owner, dispatch_uid="imports")
