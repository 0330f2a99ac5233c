"""Measurements that `make bench` runs; nothing here is in the package."""
