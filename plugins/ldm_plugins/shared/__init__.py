"""What several kinds of plugins share."""
