"""What several conditionings share."""
