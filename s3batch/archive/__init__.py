"""The cache's archives: trees of files as content-addressed chunks and a manifest. Knows no S3.

    rebuild   scan ─→ survey ─→ packplan ─→ pack.build_chunk (workers) ─→ assemble ─→ manifest
    restore   manifest ─→ restore.plan_restore ─→ unpack.unpack_chunk (workers) ─→ finish

A chunk holds only bytes of files; names, modes, times and where each file's bytes lie are in the
manifest (docs/cache-format.md). So a tree whose times changed costs no chunk, and an unchanged file is never
read or sent again. Chunks come and go as ``bytes``: the caller fetches and stores them.

Trees are held in columns (:mod:`.tree`), plans in files that workers map (:mod:`.table`), and a task for a
worker is three numbers (a recipe), never a list of paths.
"""
