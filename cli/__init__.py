"""The face of treering: commands, rendering, progress, config. The only package that reads the
environment, the home folder and the terminal, and the only one that exits."""
