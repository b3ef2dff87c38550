"""What families check of a network whose tokens say their place by turning queries and keys."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_plugins.families.shared.folder import Folder

COUNTS = {3: "three", 4: "four"}


def check_axes(
    folder: Folder,
    usual: Sequence[int],
    *,
    key: str = "axes_dims_rope",
    head: int | None = None,
) -> None:
    """See that the parts of a head that turn with each axis make the head together, and that there
    are as many axes as usual.

    Args:
        usual: the parts where the network's config does not say them.
        key: what the config calls them.
        head: the width of a head; the config's ``attention_head_dim`` where left out.
    Raises:
        LdmError: they do not.
    """
    config = folder.config("transformer")
    axes = config.get(key, usual)
    width, name = head, f"{head}, the width of its heads,"
    if width is None:
        width = config.get("attention_head_dim", 128)
        name = f"attention_head_dim = {width}"
    if len(axes) != len(usual) or sum(axes) != width or any(n % 2 for n in axes):
        raise folder.error(
            f"the network's {key} should be {COUNTS[len(usual)]} even numbers that make {name} "
            f"together, not {list(axes)}."
        )
