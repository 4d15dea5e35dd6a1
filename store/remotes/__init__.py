"""Replication: what a remote is, how bytes travel to it, how it finalizes."""
