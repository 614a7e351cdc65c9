"""Layouts of clips: which there are, who they show, and where their faces are. One file per layout, one protocol."""
