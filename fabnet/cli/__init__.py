"""The `fabnet` command."""
