"""The escape corpus: each known class of attack works on a weakened container, and fails on a default one."""
