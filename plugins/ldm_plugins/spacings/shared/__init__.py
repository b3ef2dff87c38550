"""What several spacings share."""
