"""Face crops on disk: track shards, their index, splits by identity, sampling of pairs and augmentation."""
