"""What the pipeline found, as sections of text, tables and figures; one content, as Markdown and as a page."""
