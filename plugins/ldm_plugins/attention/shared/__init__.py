"""What attention kernels share."""
