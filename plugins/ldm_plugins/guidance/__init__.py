"""Combine the network's answers for several conditions, one file each."""
