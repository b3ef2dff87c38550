"""Attention kernels, one file each."""
