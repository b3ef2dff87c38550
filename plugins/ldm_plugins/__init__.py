"""The plugins that come with ldm; found, like anyone's, through the entry-point group ``ldm``."""
