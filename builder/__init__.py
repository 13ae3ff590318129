"""A commit becomes an image: export the tree, run make in a box, keep the result."""
