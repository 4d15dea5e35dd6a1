"""The live side: the work tree, its scan, commit, status and restore.

Reads no environment, no home folder, no terminal; the clock is a parameter.
"""
