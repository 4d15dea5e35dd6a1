"""The kept side: objects, packs, block index, trees, history, refs, remotes, transfer, fsck.

Reads no environment, no home folder, no terminal; the clock is a parameter.
"""
