"""The Snapshotter port and its drivers; tar to tree and tree to tar."""
