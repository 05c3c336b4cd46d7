"""Layouts of files on disk: folders, lists, detection of a layout, roots."""
