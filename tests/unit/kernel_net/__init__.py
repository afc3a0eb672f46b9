"""Tests of netlink and nftables: codecs against pyroute2."""
