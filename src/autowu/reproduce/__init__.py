"""`autowu reproduce`: the paper's tables and figures, each by a command.

    a target ─▶ cells ─▶ runs of `autowu train` ─▶ a line each in results.jsonl ─▶ Markdown, a figure

cells      a cell: a task, a batch size, a schedule, a seed
paper      the cells of each table and figure, and the paper's numbers
scales     what a cell is at the paper's size and at smaller ones; how long it takes
sets       where the data are; the small sets are made here
plan       a cell's settings, its key and its command
results    finished cells, one JSON line each
runner     what is not done, trained in slices of time; running: the process of one cell
markdown   the tables
curves     Figures 2 to 4 and 6; grids: Figures 5 and 7
jobs       the cells as a job array
command    the command `autowu reproduce`
"""

from __future__ import annotations

from autowu.reproduce.command import add_arguments, run

__all__ = ["add_arguments", "run"]
