"""Commits of an attached tree: its root as it stood when the maps swapped, from the base root, the
frozen map and the live files, while programs go on.

    link      the driver's side of it: freeze, rows, attributes, what was saved, committed
    plan      the rows, put in order: what is frozen, and where it lay
    blocks    frozen blocks of files, read, settled with the driver and stored
    files     files and other things that are no folders, as entries
    folders   the folders around them, up to the top
    build     all of it, for a commit

A commit asks only for what the frozen map names; everything else comes from the base by its id.
"""
