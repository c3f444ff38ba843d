"""From a folder of photographs to one checked table, and to splits that do not leak."""
