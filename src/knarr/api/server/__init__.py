"""HTTP to engine calls: translation only."""
