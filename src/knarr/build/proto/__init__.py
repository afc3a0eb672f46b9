"""The messages of BuildKit's protocols that knarr speaks. The modules are made from the .proto files by scripts/protos."""
