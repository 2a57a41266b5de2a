"""Files that type checkers read: what must hold is written with ``assert_type``, what must not with an expected error."""
