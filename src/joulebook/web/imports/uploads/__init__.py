"""Uploads: admission, receiving, storage on the disk, and reading them as files of readings."""
