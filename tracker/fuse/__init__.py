"""The FUSE driver: a file system over the work tree that tells the map pair of every change."""
