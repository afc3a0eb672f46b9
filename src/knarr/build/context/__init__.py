"""The files that a build is given: an index of entries a context, and a store of contents by digest that all share."""
