"""Reports: results -> DataFrame -> Excel, LaTeX, plots, HTML. Runs no model."""
