"""The other end of BuildKit's protocol: what `knarr build` lends a builder and asks of it. Knows no daemon of ours in particular."""
