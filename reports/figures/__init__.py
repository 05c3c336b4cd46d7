"""Figures for a paper, as PDF and PNG; :func:`diadbench.reports.figures.draw.draw` makes all of them."""
