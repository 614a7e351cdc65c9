"""The `fabnet` command, for people who have a model and their own videos."""
