"""What several guidances share."""
