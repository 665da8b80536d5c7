"""The local tree: where it is, its walk, its filters, and reads of its files that notice a change."""
