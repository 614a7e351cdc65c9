"""A picture moved as a video: `fabnet animate`."""
