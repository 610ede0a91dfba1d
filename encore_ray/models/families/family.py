"""What a family of checkpoints is: how one is known, and how it is opened."""

from typing import ClassVar

from encore_ray.models.families.model_folder import ModelFolder, Opened


class Family:
    """Checkpoints that are built alike; known by their tensors or files, not by what their class is called.

    Attributes:
        architectures: of config.json. They count where no family is known by what is in the folder (as where tensors
            cannot be listed, for they lie in a pickle that may not be read): the error then comes from the right one.
    """

    architectures: ClassVar[tuple[str, ...]] = ()

    def has(self, folder: ModelFolder) -> bool:
        """Whether what is in a folder is of this family."""
        raise NotImplementedError

    def open(self, folder: ModelFolder) -> Opened:
        """What a model's heads are, and how to load it; its weights stay where they are.

        Raises:
            ModelError: it is not built as the family's models are.
        """
        raise NotImplementedError
