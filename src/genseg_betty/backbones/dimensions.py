"""Which backbones take images (2D), which volumes (3D)."""

from genseg_betty.errors import UserError

FOR_VOLUMES = ("unet3d", "monai")


def images_only(backbone: str, spatial_dims: int) -> None:
    """Raises UserError where a backbone for images is asked for volumes."""
    if spatial_dims != 2:
        choices = " or ".join(f"backbone={name}" for name in FOR_VOLUMES)
        raise UserError(
            f"backbone={backbone} segments images; the data has {spatial_dims} spatial dimensions. Choose {choices}."
        )


def images_or_volumes(backbone: str, spatial_dims: int) -> None:
    """Raises UserError for other than 2 or 3 spatial dimensions."""
    if spatial_dims not in (2, 3):
        raise UserError(f"backbone={backbone}: spatial_dims={spatial_dims}; expected 2 (images) or 3 (volumes).")
