"""The report for a paper: LaTeX tables, macros, references, a document that compiles."""
